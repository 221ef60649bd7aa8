//! A value that can be used but not printed.

use std::fmt;

/// Bytes of a key, a token or a password. `Debug` prints a placeholder, there is no `Display` and no `Serialize`:
/// a secret reaches a log, an error text or a reply only if somebody writes [`Secret::expose`] there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Wraps the bytes as they are; nothing is trimmed.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into().into_boxed_slice())
    }

    /// The bytes themselves, for a MAC or an `Authorization` header.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// True if there is nothing in it. An empty key authenticates everybody, so sources refuse it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

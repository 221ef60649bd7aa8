//! A request as it came in: bytes and headers, nothing parsed.

use bytes::Bytes;

use crate::clock::Timestamp;

/// What the receiver hands to verification. The body is complete and within the source's cap.
#[derive(Debug, Clone)]
pub struct Inbound {
    /// `POST`, `GET`, … in capitals.
    pub method: String,
    /// Path as sent, still percent-encoded, without the query.
    pub path: String,
    /// Query as sent, without `?`; empty if there is none.
    pub query: String,
    /// Names in lower case, in the order received; a name occurs as often as it was sent. Values are raw bytes.
    pub headers: Vec<(String, Bytes)>,
    /// The raw body.
    pub body: Bytes,
    /// When the last byte was read.
    pub received_at: Timestamp,
}

impl Inbound {
    /// The only value of a header. `None` if it is missing, occurs twice (which one was meant?) or is not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?;
        text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)).then_some(text)
    }
}

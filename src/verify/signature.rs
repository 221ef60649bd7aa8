//! Where in a header the signatures are, and how they are written. Strict: what the provider never sends is refused.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

/// Signatures in one header; a provider sends one or two, a forger may send thousands.
const MAX_CANDIDATES: usize = 16;

/// How a signature's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower case only.
    Hex,
    /// Either case: some providers' own checkers compare bytes.
    HexAnyCase,
    /// The standard alphabet with padding.
    Base64,
    /// The alphabet for addresses, with padding or without.
    Base64Url,
}

impl Encoding {
    /// The bytes, or `None` if it is not written exactly so.
    pub fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Hex if text.bytes().any(|byte| byte.is_ascii_uppercase()) => None,
            Self::Hex | Self::HexAnyCase => hex::decode(text).ok(),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Base64Url => URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok(),
        }
    }

    /// Writes the bytes, for `declic send`.
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex | Self::HexAnyCase => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(bytes),
        }
    }
}

/// How the value of the signature header is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One signature after a fixed prefix, which may be empty: `sha256=…`.
    Prefixed(String),
    /// Items with labels: `t=1,v1=…,v1=…`, or `v1,… v1,…`. Items with other labels are skipped, so that a provider can add versions.
    Labelled {
        /// Between the items.
        separator: char,
        /// Before each signature: `v1=`.
        label: String,
    },
}

impl Layout {
    /// The signatures as written; an error says what is wrong without quoting the value.
    pub fn candidates<'v>(&self, value: &'v str) -> Result<Vec<&'v str>, &'static str> {
        match self {
            Self::Prefixed(prefix) => match value.strip_prefix(prefix.as_str()) {
                Some("") => Err("is empty"),
                Some(signature) => Ok(vec![signature]),
                None => Err("does not begin as it must"),
            },
            Self::Labelled { separator, label } => {
                let items = value.split(*separator).map(str::trim);
                let found: Vec<&str> =
                    items.filter_map(|item| item.strip_prefix(label.as_str())).take(MAX_CANDIDATES + 1).collect();
                match found.len() {
                    0 => Err("holds no signature of the expected version"),
                    count if count > MAX_CANDIDATES => Err("holds too many signatures"),
                    _ => Ok(found),
                }
            }
        }
    }

    /// The one item with this label, as for `t=` in `t=1,v1=…`. Twice is as bad as never: which one is meant?
    pub fn labelled<'v>(&self, value: &'v str, wanted: &str) -> Option<&'v str> {
        let Self::Labelled { separator, .. } = self else { return None };
        let mut found = value.split(*separator).filter_map(|item| item.trim().strip_prefix(wanted));
        let first = found.next()?;
        if found.next().is_some() { None } else { Some(first) }
    }

    /// Writes a header value, for `declic send`.
    pub fn write(&self, signature: &str, timestamp: Option<(&str, &str)>) -> String {
        match self {
            Self::Prefixed(prefix) => format!("{prefix}{signature}"),
            Self::Labelled { separator, label } => {
                let stamp = timestamp.map(|(label, time)| format!("{label}{time}{separator}")).unwrap_or_default();
                format!("{stamp}{label}{signature}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_mandatory_and_something_must_follow() {
        let layout = Layout::Prefixed("sha256=".into());
        assert_eq!(layout.candidates("sha256=ab"), Ok(vec!["ab"]));
        assert!(layout.candidates("ab").is_err());
        assert!(layout.candidates("sha256=").is_err());
        assert!(layout.candidates("SHA256=ab").is_err());
    }

    #[test]
    fn labels_select_and_are_bounded() {
        let layout = Layout::Labelled { separator: ',', label: "v1=".into() };
        assert_eq!(layout.candidates("t=1,v1=a,v0=b, v1=c"), Ok(vec!["a", "c"]));
        assert!(layout.candidates("t=1,v0=b").is_err());
        assert!(layout.candidates(&vec!["v1=a"; 17].join(",")).is_err());
        assert_eq!(layout.labelled("t=1,v1=a", "t="), Some("1"));
        assert_eq!(layout.labelled("t=1,t=2,v1=a", "t="), None);
    }

    #[test]
    fn hexadecimal_is_lower_case_and_whole() {
        assert_eq!(Encoding::Hex.decode("0aff"), Some(vec![0x0A, 0xFF]));
        for text in ["0aFF", "0af", "0axx", " 0a"] {
            assert_eq!(Encoding::Hex.decode(text), None);
        }
        assert_eq!(Encoding::HexAnyCase.decode("0aFF"), Some(vec![0x0A, 0xFF]));
        assert_eq!(Encoding::Base64.decode("Cv8="), Some(vec![0x0A, 0xFF]));
        assert_eq!(Encoding::Base64.decode("Cv8"), None);
    }
}

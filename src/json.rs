//! Strict JSON: duplicate keys, too deep, too many values and numbers that would lose digits are errors.
//!
//! [`check`] looks at the bytes once and builds nothing but a list of the keys of the objects that are open, so it costs little and
//! its memory is bounded by [`MAX_VALUES`]. A body that passes reads the same in every parser: that is what makes it safe to filter on
//! one reading and act on another.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use serde_json::Value;

#[cfg(test)]
mod tests;

/// Arrays and objects inside one another. Real deliveries stay below 20.
pub const MAX_DEPTH: usize = 64;
/// Values and keys together.
pub const MAX_VALUES: usize = 250_000;
/// Bytes of one number; a double needs at most 25.
const MAX_NUMBER: usize = 64;

/// What is wrong, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// Offset from 0.
    pub at: usize,
    /// Never quotes the document.
    pub what: &'static str,
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (at byte {})", self.what, self.at)
    }
}

/// What the document is at its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// Text, number, `true`, `false`, `null`.
    Scalar,
}

/// Checks a whole document.
pub fn check(document: &[u8]) -> Result<Kind, Flaw> {
    if let Err(error) = std::str::from_utf8(document) {
        return Err(Flaw { at: error.valid_up_to(), what: "not UTF-8" });
    }
    if document.starts_with(b"\xEF\xBB\xBF") {
        return Err(Flaw { at: 0, what: "a byte order mark before the JSON" });
    }
    Checker { document, at: 0, values: 0, open: Vec::new(), keys: Vec::new(), unescaped: Vec::new() }.run()
}

/// Checks a document and reads it.
pub fn parse(document: &[u8]) -> Result<Value, Flaw> {
    check(document)?;
    serde_json::from_slice(document).map_err(|_| Flaw { at: 0, what: "cannot be read" })
}

/// A key of an object that is still open. `start..end` are bytes of the document, or of `unescaped` for keys written with escapes.
#[derive(Clone, Copy)]
struct Key {
    hash: u64,
    start: usize,
    end: usize,
    escaped: bool,
}

enum Open {
    Array,
    /// With the place of its first key in `keys`.
    Object(usize),
}

struct Checker<'a> {
    document: &'a [u8],
    at: usize,
    values: usize,
    open: Vec<Open>,
    keys: Vec<Key>,
    unescaped: Vec<u8>,
}

/// Different in every process, so that nobody can prepare keys that collide.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64));

fn hash(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(MULTIPLIER).rotate_left(23);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(*SEED ^ (bytes.len() as u64), |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)))
}

impl Checker<'_> {
    fn flaw<T>(&self, what: &'static str) -> Result<T, Flaw> {
        Err(Flaw { at: self.at, what })
    }

    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn run(mut self) -> Result<Kind, Flaw> {
        self.skip_space();
        let kind = match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => Kind::Scalar,
        };
        self.value()?;
        // One turn for every member or element; a stack of our own, so depth costs no call frames.
        while let Some(open) = self.open.last() {
            let object = match open {
                Open::Array => None,
                Open::Object(first) => Some(*first),
            };
            self.skip_space();
            match (self.peek(), object) {
                (Some(b','), Some(_)) => {
                    self.at += 1;
                    self.member()?;
                }
                (Some(b','), None) => {
                    self.at += 1;
                    self.value()?;
                }
                (Some(b'}'), Some(first)) => {
                    self.close_object(first)?;
                }
                (Some(b']'), None) => {
                    self.at += 1;
                    self.open.pop();
                }
                (None, _) => return self.flaw("ends in the middle"),
                (Some(_), _) => return self.flaw("a comma or the end of the list or object is missing"),
            }
        }
        self.skip_space();
        if self.at < self.document.len() {
            return self.flaw("something follows the JSON document");
        }
        Ok(kind)
    }

    fn count(&mut self) -> Result<(), Flaw> {
        self.values += 1;
        if self.values > MAX_VALUES { self.flaw("too many values") } else { Ok(()) }
    }

    fn push(&mut self, open: Open) -> Result<(), Flaw> {
        if self.open.len() >= MAX_DEPTH {
            return self.flaw("nested too deeply");
        }
        self.at += 1;
        self.open.push(open);
        Ok(())
    }

    /// One value; of an array or object only its beginning and first element or member.
    fn value(&mut self) -> Result<(), Flaw> {
        loop {
            self.skip_space();
            self.count()?;
            match self.peek() {
                Some(b'{') => {
                    let first = self.keys.len();
                    self.push(Open::Object(first))?;
                    self.skip_space();
                    if self.peek() == Some(b'}') {
                        return self.close_object(first);
                    }
                    self.key()?;
                }
                Some(b'[') => {
                    self.push(Open::Array)?;
                    self.skip_space();
                    if self.peek() == Some(b']') {
                        self.at += 1;
                        self.open.pop();
                        return Ok(());
                    }
                }
                Some(b'"') => return self.string().map(|_| ()),
                Some(b'-' | b'0'..=b'9') => return self.number(),
                Some(b't') => return self.word(b"true"),
                Some(b'f') => return self.word(b"false"),
                Some(b'n') => return self.word(b"null"),
                None => return self.flaw("ends in the middle"),
                Some(_) => return self.flaw("not a JSON value"),
            }
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Flaw> {
        if self.document.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(())
        } else {
            self.flaw("not a JSON value")
        }
    }

    fn member(&mut self) -> Result<(), Flaw> {
        self.skip_space();
        self.key()?;
        self.value()
    }

    fn key(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b'"') {
            return self.flaw("a key in double quotes is missing");
        }
        self.count()?;
        let start = self.at + 1;
        let escaped = self.string()?;
        let end = self.at - 1;
        let key = if escaped {
            let from = self.unescaped.len();
            unescape(self.document.get(start..end).unwrap_or_default(), &mut self.unescaped);
            let bytes = self.unescaped.get(from..).unwrap_or_default();
            Key { hash: hash(bytes), start: from, end: self.unescaped.len(), escaped }
        } else {
            Key { hash: hash(self.document.get(start..end).unwrap_or_default()), start, end, escaped }
        };
        self.keys.push(key);
        self.skip_space();
        if self.peek() != Some(b':') {
            return self.flaw("a colon is missing");
        }
        self.at += 1;
        Ok(())
    }

    fn close_object(&mut self, first: usize) -> Result<(), Flaw> {
        let Self { document, unescaped, keys, .. } = self;
        let keys_of_it = keys.get_mut(first..).unwrap_or_default();
        let bytes_of = |key: &Key| {
            let place = if key.escaped { unescaped.as_slice() } else { *document };
            place.get(key.start..key.end).unwrap_or_default()
        };
        let same = |a: &Key, b: &Key| a.hash == b.hash && bytes_of(a) == bytes_of(b);
        let doubled = if keys_of_it.len() <= 8 {
            keys_of_it.iter().enumerate().any(|(place, key)| keys_of_it.iter().take(place).any(|earlier| same(earlier, key)))
        } else {
            keys_of_it.sort_unstable_by(|a, b| a.hash.cmp(&b.hash).then_with(|| bytes_of(a).cmp(bytes_of(b))));
            keys_of_it.windows(2).any(|pair| matches!(pair, [a, b] if same(a, b)))
        };
        if doubled {
            return self.flaw("a key occurs twice in the object that ends here");
        }
        self.keys.truncate(first);
        self.at += 1;
        self.open.pop();
        if self.keys.is_empty() {
            self.unescaped.clear();
        }
        Ok(())
    }

    /// A string from its opening quote; true if it has escapes. UTF-8 was checked before.
    fn string(&mut self) -> Result<bool, Flaw> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.document.get(self.at..).unwrap_or_default();
            let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) else {
                self.at = self.document.len();
                return self.flaw("ends in the middle");
            };
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.flaw("a control character in a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        match self.document.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let Some(unit) = code_unit(self.document, self.at) else { return self.flaw("a faulty escape in a string") };
                let low = code_unit(self.document, self.at + 6);
                match unit {
                    0xD800..=0xDBFF if low.is_some_and(|low| (0xDC00..=0xDFFF).contains(&low)) => self.at += 12,
                    0xD800..=0xDFFF => return self.flaw("half of a surrogate pair in a string"),
                    _ => self.at += 6,
                }
                Ok(())
            }
            _ => self.flaw("a faulty escape in a string"),
        }
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<(), Flaw> {
        let from = self.at;
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return self.flaw("a faulty number");
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            if self.digits() == 0 {
                return self.flaw("a faulty number");
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return self.flaw("a faulty number");
            }
        }
        self.fits(from, negative, integer)
    }

    fn fits(&self, from: usize, negative: bool, integer: bool) -> Result<(), Flaw> {
        let bytes = self.document.get(from..self.at).unwrap_or_default();
        let lost = Err(Flaw { at: from, what: "a number that cannot be kept exactly" });
        if bytes.len() > MAX_NUMBER {
            return lost;
        }
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let kept = if !integer {
            let nonzero = bytes.iter().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'));
            text.parse::<f64>().is_ok_and(|number| number.is_finite() && (number != 0.0 || !nonzero))
        } else if negative {
            text.parse::<i64>().is_ok()
        } else {
            text.parse::<u64>().is_ok()
        };
        if kept { Ok(()) } else { lost }
    }
}

/// The four hexadecimal digits of `\uXXXX` at `at`.
fn code_unit(document: &[u8], at: usize) -> Option<u32> {
    let digits = document.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u32, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// Appends what a checked key means.
fn unescape(raw: &[u8], into: &mut Vec<u8>) {
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    // The scanner has accepted it; if the reader did not, the raw form still tells keys apart.
    match serde_json::from_slice::<String>(&quoted) {
        Ok(text) => into.extend_from_slice(text.as_bytes()),
        Err(_) => into.extend_from_slice(raw),
    }
}

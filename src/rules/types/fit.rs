//! Does a value have a type? For declared bodies, parameters and responses, and for what `any` turns out to be.

use serde_json::Value;

use super::Type;

/// Where a value does not fit its declared shape, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// Path within the value: `items[0].sku`; empty for the value itself.
    pub path: String,
    /// `is missing`, `must be an int, this is a string`.
    pub message: String,
}

impl Type {
    /// Holds a value against the type. Names that the shape does not mention are let through; an optional name may be left out or
    /// `null`; an int fits `double`, but `1.0` does not fit `int`.
    pub fn fits(&self, value: &Value) -> Result<(), Mismatch> {
        let wrong =
            || Mismatch { path: String::new(), message: format!("must be {}, this is {}", self.described(), kind(value)) };
        let check = |holds: bool| if holds { Ok(()) } else { Err(wrong()) };
        match (self, value) {
            (Self::Any | Self::Optional(_), Value::Null) => Ok(()),
            (Self::Null, value) => check(value.is_null()),
            (_, Value::Null) => Err(Mismatch { path: String::new(), message: "is missing".to_owned() }),
            (Self::Any, _) => Ok(()),
            (Self::Optional(inner), value) => inner.fits(value),
            (Self::Either(structure, _), Value::Array(_) | Value::Object(_)) => structure.fits(value),
            (Self::Either(_, plain), value) => plain.fits(value).map_err(|_| wrong()),
            (Self::Bool, value) => check(value.is_boolean()),
            (Self::Int, value) => check(value.is_i64()),
            (Self::Double, value) => check(value.is_number()),
            (Self::Enum(words), Value::String(text)) if !words.contains(text) => Err(Mismatch {
                path: String::new(),
                message: format!("must be {}, this is {}", self.described(), crate::rules::expr::show(value)),
            }),
            (Self::Duration, Value::String(text)) => check(is_duration(text)),
            (Self::Timestamp, Value::String(text)) => check(chrono::DateTime::parse_from_rfc3339(text).is_ok()),
            (Self::List(inner), Value::Array(items)) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| inner.fits(item).map_err(|fault| fault.below(&format!("[{index}]")))),
            (Self::Object(fields), Value::Object(entries)) => fields.iter().try_for_each(|(name, field)| {
                let value = entries.get(name).unwrap_or(&Value::Null);
                field.fits(value).map_err(|fault| fault.below(name))
            }),
            (Self::Map(inner), Value::Object(entries)) => {
                entries.iter().try_for_each(|(name, value)| inner.fits(value).map_err(|fault| fault.below(name)))
            }
            (Self::List(_) | Self::Object(_) | Self::Map(_), _) => Err(wrong()),
            (_, value) => check(value.is_string()),
        }
    }
}

impl Mismatch {
    /// The same fault seen from one level further out.
    fn below(mut self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "`{}` {}", self.path, self.message)
        }
    }
}

/// What a value is, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "missing",
        Value::Bool(_) => "a bool",
        Value::Number(number) if number.is_i64() => "an int",
        Value::Number(number) if number.is_u64() => "a number too large for an int",
        Value::Number(_) => "a double",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `250ms`, `30s`, `5m`, `2h`, `7d`: a whole number and one unit.
pub(crate) fn is_duration(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    (1..=9).contains(&digits) && matches!(text.get(digits..), Some("ms" | "s" | "m" | "h" | "d"))
}

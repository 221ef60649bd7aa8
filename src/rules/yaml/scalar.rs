//! Scalars: how they are written, and what YAML's core schema makes of plain ones.

use std::time::Duration;

use serde_json::Value;

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may be a number, `true`, `null`.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// A scalar as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Its text, with escapes and folding resolved.
    pub text: String,
    /// How it is written.
    pub style: Style,
}

/// What the core schema makes of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plain {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that 64 bits hold.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// A text.
    Text,
}

impl Scalar {
    /// What it is. Quoted and block scalars are texts, whatever is in them; `yes` and `on` are texts too.
    pub fn plain(&self) -> Plain {
        if self.style != Style::Plain {
            return Plain::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
            "true" | "True" | "TRUE" => Plain::Bool(true),
            "false" | "False" | "FALSE" => Plain::Bool(false),
            text => number(text),
        }
    }

    /// Is nothing there?
    pub fn is_null(&self) -> bool {
        self.plain() == Plain::Null
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self.plain() {
            Plain::Null => "nothing",
            Plain::Bool(_) => "a bool",
            Plain::Int(_) => "an int",
            Plain::Double(_) => "a double",
            Plain::Text => "a string",
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        match self.plain() {
            Plain::Null => Value::Null,
            Plain::Bool(value) => value.into(),
            Plain::Int(value) => value.into(),
            Plain::Double(value) => value.into(),
            Plain::Text => self.text.as_str().into(),
        }
    }

    /// Does it become a number that reads differently (`1.20`, `0123`)? Then that number.
    pub fn changed_number(&self) -> Option<String> {
        let canonical = match self.plain() {
            Plain::Int(value) => value.to_string(),
            Plain::Double(value) => value.to_string(),
            _ => return None,
        };
        (canonical != self.text && format!("{canonical}.0") != self.text).then_some(canonical)
    }
}

/// Decimal, `0o` and `0x` integers, and decimal floats. `.inf` and `.nan` stay texts: JSON has neither.
fn number(text: &str) -> Plain {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(value) = text.parse::<i64>() {
            return Plain::Int(value);
        }
    } else if let Some(radix_digits) =
        text.strip_prefix("0x").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return i64::from_str_radix(radix_digits, 16).map_or(Plain::Text, Plain::Int);
    } else if let Some(radix_digits) = text.strip_prefix("0o").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return i64::from_str_radix(radix_digits, 8).map_or(Plain::Text, Plain::Int);
    }
    if !is_float(digits) {
        return Plain::Text;
    }
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Plain::Double(f64::from(sign) * value),
        _ => Plain::Text,
    }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_fits && exponent_fits
}

/// A length of time as rule and settings files write it: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    // A hundred years are enough, and far from any overflow in later sums.
    let total = number.checked_mul(milliseconds).filter(|total| *total <= 3_153_600_000_000)?;
    Some(Duration::from_millis(total))
}

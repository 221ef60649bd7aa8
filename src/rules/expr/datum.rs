//! Values while they are evaluated: borrowed from the environment, never copied to read a field.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::{Number, Value};

use crate::rules::types;

/// A value. Lists that were computed are shared; lists, objects and oversized numbers of the environment are borrowed.
#[derive(Debug, Clone)]
pub(super) enum Datum<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    List(Rc<Vec<Datum<'a>>>),
    Json(&'a Value),
}

impl<'a> From<&'a Value> for Datum<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.is_f64(), number.as_f64()) {
                (Some(int), ..) => Self::Int(int),
                (None, true, Some(double)) => Self::Double(double),
                _ => Self::Json(value),
            },
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(_) | Value::Object(_) => Self::Json(value),
        }
    }
}

impl<'a> Datum<'a> {
    /// What it is, with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "missing",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an int",
            Self::Double(_) => "a double",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Json(value) => types::kind(value),
        }
    }

    /// The number of items, if it is a list.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::List(items) => Some(items.len()),
            Self::Json(Value::Array(items)) => Some(items.len()),
            _ => None,
        }
    }

    /// One item of a list.
    pub fn item(&self, index: usize) -> Option<Self> {
        match self {
            Self::List(items) => items.get(index).cloned(),
            Self::Json(Value::Array(items)) => items.get(index).map(Self::from),
            _ => None,
        }
    }

    /// A scalar as text: strings as they are, numbers and flags in canonical form.
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Self::Int(value) => Some(Cow::Owned(value.to_string())),
            Self::Double(value) => Some(Cow::Owned(double_text(*value))),
            Self::Json(Value::Number(number)) => Some(Cow::Owned(number.to_string())),
            Self::Null | Self::List(_) | Self::Json(_) => None,
        }
    }

    /// The order of two numbers, exact also between ints and doubles.
    pub fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Double(b)) => int_to_double(*a, *b),
            (Self::Double(a), Self::Int(b)) => int_to_double(*b, *a).map(Ordering::reverse),
            _ => None,
        }
    }

    /// A value of its own; `left` is the memory it may still take, in bytes. `None` if that is not enough.
    pub fn into_value(self, left: &mut usize) -> Option<Value> {
        match self {
            Self::Null => Some(Value::Null),
            Self::Bool(value) => Some(Value::Bool(value)),
            Self::Int(value) => Some(Value::from(value)),
            Self::Double(value) => Some(Number::from_f64(value).map_or(Value::Null, Value::Number)),
            Self::Text(text) => {
                *left = left.checked_sub(text.len())?;
                Some(Value::String(text.into_owned()))
            }
            Self::List(items) => items.iter().map(|item| item.clone().into_value(left)).collect::<Option<_>>().map(Value::Array),
            Self::Json(value) => {
                *left = left.checked_sub(weight(value, *left)?)?;
                Some(value.clone())
            }
        }
    }
}

/// Roughly the bytes that a copy of the value takes; `None` as soon as it is more than `most`.
fn weight(value: &Value, most: usize) -> Option<usize> {
    const NODE: usize = 32;
    let mut total = NODE;
    match value {
        Value::String(text) => total += text.len(),
        Value::Array(items) => {
            for item in items {
                total += weight(item, most.checked_sub(total)?)?;
            }
        }
        Value::Object(entries) => {
            for (name, item) in entries {
                total += name.len() + weight(item, most.checked_sub(total)?)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    (total <= most).then_some(total)
}

fn int_to_double(int: i64, double: f64) -> Option<Ordering> {
    /// 2^63, the first double above every int.
    const ABOVE: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= ABOVE {
        return Some(Ordering::Less);
    }
    if double < -ABOVE {
        return Some(Ordering::Greater);
    }
    // In range, so the conversion only drops the fraction.
    let whole = double.trunc() as i64;
    Some(int.cmp(&whole).then_with(|| 0.0_f64.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}

/// A double as people write it: shortest digits that read back the same, `10` for `10.0`, an exponent only where digits would be endless.
fn double_text(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e16).contains(&size) { format!("{value:e}") } else { format!("{value}") }
}

/// A scalar as text, in the form that templates put it in; `None` for what is missing, lists and objects.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    Datum::from(value).as_text().map(|text| text.into_owned())
}

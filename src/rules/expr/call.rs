//! Functions and methods on values.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::Value;

use super::EvaluationError;
use super::datum::Datum;
use super::eval::{Machine, Outcome, error, name_of};
use super::node::{Function, Method, Node};
use super::show::show;

/// Characters of a commit id that `short` keeps, as git does.
const SHORT: usize = 7;
/// The longest name that `slug` makes: a DNS label.
const LONGEST_SLUG: usize = 63;

impl<'a> Machine<'a> {
    pub(super) fn call(&mut self, node: &'a Node, function: Function, argument: &'a Node) -> Outcome<'a> {
        let datum = self.datum(argument)?;
        let wrong = || error(argument, format!("this cannot be made from {}: {} is {0}", datum.kind(), name_of(argument)));
        match function {
            Function::Int => self.int(node, &datum),
            Function::Double => self.double(node, &datum),
            Function::Json => {
                let mut left = 4 << 20;
                let value = datum.into_value(&mut left).ok_or_else(|| error(node, "this is too large to be written as text"))?;
                let text = value.to_string();
                self.room(node, text.len())?;
                Ok(Datum::Text(Cow::Owned(text)))
            }
            Function::String | Function::Has => datum.as_text().map(Datum::Text).ok_or_else(wrong),
            Function::Short => {
                let text = datum.as_text().ok_or_else(wrong)?;
                let end = text.char_indices().nth(SHORT).map_or(text.len(), |(index, _)| index);
                Ok(Datum::Text(part(&text, 0, end)))
            }
            Function::Slug => {
                let text = datum.as_text().ok_or_else(wrong)?;
                let name = slug(&text);
                if name.is_empty() {
                    return Err(error(node, "slug() found no letter and no digit to make a name of"));
                }
                Ok(Datum::Text(Cow::Owned(name)))
            }
        }
    }

    fn int(&mut self, node: &Node, datum: &Datum<'a>) -> Outcome<'a> {
        let fault = |text: &str| error(node, format!("{text} is not an int"));
        match datum {
            Datum::Int(value) => Ok(Datum::Int(*value)),
            Datum::Double(value) if value.abs() < 9_223_372_036_854_775_808.0 => Ok(Datum::Int(value.trunc() as i64)),
            Datum::Double(value) => Err(fault(&value.to_string())),
            Datum::Text(text) => match text.parse() {
                Ok(value) => Ok(Datum::Int(value)),
                Err(_) => Err(fault(&show(&Value::from(text.chars().take(100).collect::<String>())))),
            },
            other => Err(fault(other.kind())),
        }
    }

    fn double(&mut self, node: &Node, datum: &Datum<'a>) -> Outcome<'a> {
        match datum {
            Datum::Int(value) => Ok(Datum::Double(*value as f64)),
            Datum::Double(value) => Ok(Datum::Double(*value)),
            Datum::Text(text) => {
                self.look(node, text)?;
                let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
                match text.parse::<f64>() {
                    Ok(value) if plain && value.is_finite() => Ok(Datum::Double(value)),
                    _ => Err(error(
                        node,
                        format!("{} is not a number", show(&Value::from(text.chars().take(100).collect::<String>()))),
                    )),
                }
            }
            other => Err(error(node, format!("{} is not a number", other.kind()))),
        }
    }

    pub(super) fn method(&mut self, node: &'a Node, method: Method, receiver: &'a Node, arguments: &'a [Node]) -> Outcome<'a> {
        let of = self.datum(receiver)?;
        match (method, &of, arguments) {
            (Method::Contains, of, [item]) if of.length().is_some() => {
                let item = self.datum(item)?;
                Ok(Datum::Bool(self.contains(node, of, &item)?.unwrap_or(false)))
            }
            (Method::Size, of, _) => self.size(node, receiver, of),
            (Method::First, of, _) if of.length().is_some() => Ok(of.item(0).unwrap_or(Datum::Null)),
            (Method::Last, of, _) if of.length().is_some() => {
                Ok(of.length().and_then(|length| length.checked_sub(1)).and_then(|last| of.item(last)).unwrap_or(Datum::Null))
            }
            (Method::Join, of, [between]) if of.length().is_some() => {
                let between = self.text(between)?;
                self.join(node, of, &between)
            }
            (_, Datum::Text(text), arguments) => {
                self.look(node, text)?;
                let first = arguments.first().map(|argument| self.text(argument)).transpose()?.unwrap_or_default();
                let second = arguments.get(1).map(|argument| self.text(argument)).transpose()?.unwrap_or_default();
                self.text_method(node, method, text, &first, &second)
            }
            (_, of, _) => {
                Err(error(receiver, format!("this method does not work on it: {} is {}", name_of(receiver), of.kind())))
            }
        }
    }

    fn size(&mut self, node: &Node, receiver: &Node, of: &Datum<'a>) -> Outcome<'a> {
        let size = match of {
            Datum::Text(text) => {
                self.look(node, text)?;
                text.chars().count()
            }
            Datum::Json(Value::Object(entries)) => entries.len(),
            other => other
                .length()
                .ok_or_else(|| error(receiver, format!("{} is {} and has no size", name_of(receiver), other.kind())))?,
        };
        Ok(Datum::Int(i64::try_from(size).unwrap_or(i64::MAX)))
    }

    fn join(&mut self, node: &Node, of: &Datum<'a>, between: &str) -> Outcome<'a> {
        let mut out = String::new();
        for index in 0..of.length().unwrap_or(0) {
            self.step(node, 1)?;
            let Some(item) = of.item(index) else { continue };
            let text = item
                .as_text()
                .ok_or_else(|| error(node, format!("`join` works on texts, item {} is {}", index + 1, item.kind())))?;
            self.room(node, text.len() + between.len())?;
            if index > 0 {
                out.push_str(between);
            }
            out.push_str(&text);
        }
        Ok(Datum::Text(Cow::Owned(out)))
    }

    fn text_method(&mut self, node: &Node, method: Method, text: &Cow<'a, str>, first: &str, second: &str) -> Outcome<'a> {
        Ok(match method {
            Method::Contains => Datum::Bool(text.contains(first)),
            Method::StartsWith => Datum::Bool(text.starts_with(first)),
            Method::EndsWith => Datum::Bool(text.ends_with(first)),
            Method::Lower | Method::Upper => {
                // Some letters grow threefold when their case changes.
                self.room(node, text.len().saturating_mul(3))?;
                Datum::Text(Cow::Owned(if method == Method::Lower { text.to_lowercase() } else { text.to_uppercase() }))
            }
            Method::Trim => {
                let start = text.len() - text.trim_start().len();
                Datum::Text(part(text, start, start + text.trim().len()))
            }
            Method::Split => return self.split(node, text, first),
            Method::Replace => {
                let found = text.matches(first).count();
                self.room(node, text.len().saturating_add(found.saturating_mul(second.len())))?;
                Datum::Text(Cow::Owned(text.replace(first, second)))
            }
            Method::Size | Method::Join | Method::First | Method::Last => {
                return Err(error(node, "this method works on a list, and a text was found"));
            }
        })
    }

    fn split(&mut self, node: &Node, text: &Cow<'a, str>, between: &str) -> Result<Datum<'a>, EvaluationError> {
        if between.is_empty() {
            return Err(error(node, "split() needs something to split at"));
        }
        let mut items = Vec::new();
        let mut start = 0;
        for piece in text.split(between) {
            self.step(node, 1)?;
            items.push(Datum::Text(part(text, start, start + piece.len())));
            start += piece.len() + between.len();
        }
        Ok(Datum::List(Rc::new(items)))
    }
}

/// A part of a text, borrowed if the text is.
fn part<'a>(text: &Cow<'a, str>, start: usize, end: usize) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(start..end).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(start..end).unwrap_or_default().to_owned()),
    }
}

/// A name that is safe anywhere: lower-case letters, digits and `-`, with neither end a `-`.
fn slug(text: &str) -> String {
    let safe: String = text
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' })
        .skip_while(|character| *character == '-')
        .take(LONGEST_SLUG)
        .collect();
    safe.trim_end_matches('-').to_owned()
}

//! Values into their positions.

use serde_json::{Map, Value};

use super::Part;
use crate::rules::expr::{
    Environment, EvaluationError, Expression, escape_markdown, escape_mrkdwn, escape_post, escape_url_path, text_of,
};
use crate::rules::types::{Escape, Type, kind};

/// One expression for a position of a type.
pub(super) fn whole(expression: &Expression, position: &Type, environment: &Environment) -> Result<Value, EvaluationError> {
    let value = expression.evaluate(environment)?;
    settle(value, position).map_err(|message| about(expression, message))
}

fn about(expression: &Expression, message: impl Into<String>) -> EvaluationError {
    EvaluationError {
        span: 0..expression.source().len(),
        message: format!("${{{{ {} }}}} {}", expression.source(), message.into()),
    }
}

/// Makes a value fit its position: scalars become text where text is asked for, escaped where the position is.
fn settle(value: Value, position: &Type) -> Result<Value, String> {
    match (position, value) {
        (Type::Any, value) => Ok(value),
        (Type::Optional(_), Value::Null) => Ok(Value::Null),
        (Type::Optional(inner), value) => settle(value, inner),
        (Type::Either(structure, _), value @ (Value::Array(_) | Value::Object(_))) => settle(value, structure),
        (Type::Either(_, plain), value) => settle(value, plain),
        (Type::String | Type::Text, value) => text_of(&value).map(Value::String).ok_or_else(|| not_a_text(&value)),
        (Type::Escaped(escape), value) => {
            let text = text_of(&value).ok_or_else(|| not_a_text(&value))?;
            let text = escaped(&text, Some(*escape))?;
            if *escape == Escape::UrlPath {
                stays_in_place(&text)?;
            }
            Ok(Value::String(text))
        }
        (Type::List(inner), Value::Array(items)) => {
            items.into_iter().map(|item| settle(item, inner)).collect::<Result<_, _>>().map(Value::Array)
        }
        (Type::Map(inner), Value::Object(fields)) => {
            let fields = fields.into_iter().map(|(name, field)| Ok((name, settle(field, inner)?)));
            fields.collect::<Result<Map<_, _>, String>>().map(Value::Object)
        }
        (Type::Object(shape), Value::Object(fields)) => {
            let fields = fields.into_iter().map(|(name, field)| match shape.get(&name) {
                Some(position) => Ok((name, settle(field, position)?)),
                None => Ok((name, field)),
            });
            let value = fields.collect::<Result<Map<_, _>, String>>().map(Value::Object)?;
            position.fits(&value).map(|()| value).map_err(|mismatch| mismatch.to_string())
        }
        (position, value) => position.fits(&value).map(|()| value).map_err(|mismatch| mismatch.to_string()),
    }
}

fn not_a_text(value: &Value) -> String {
    format!("must be a text, this is {}", kind(value))
}

/// Text and values in turn.
pub(super) fn text(parts: &[Part], environment: &Environment) -> Result<String, EvaluationError> {
    let mut out = String::new();
    let mut path = None;
    for part in parts {
        match part {
            Part::Literal(literal) => out.push_str(literal),
            Part::Value(expression, escape) => {
                let value = expression.evaluate(environment)?;
                let text = text_of(&value).ok_or_else(|| about(expression, not_a_text(&value)))?;
                out.push_str(&escaped(&text, *escape).map_err(|message| about(expression, message))?);
                if *escape == Some(Escape::UrlPath) {
                    path = Some(expression);
                }
            }
        }
    }
    match path {
        Some(expression) => stays_in_place(&out).map(|()| out).map_err(|message| about(expression, message)),
        None => Ok(out),
    }
}

fn escaped(text: &str, escape: Option<Escape>) -> Result<String, String> {
    match escape {
        None | Some(Escape::Plain) => Ok(text.to_owned()),
        Some(Escape::Markdown) => Ok(escape_markdown(text)),
        Some(Escape::Mrkdwn) => Ok(escape_mrkdwn(text)),
        Some(Escape::Post) => Ok(escape_post(text)),
        // `/orders/` + "" would be another address than any order's.
        Some(Escape::UrlPath) if text.is_empty() => Err("is empty, and that would make it another address".to_owned()),
        Some(Escape::UrlPath) => Ok(escape_url_path(text)),
    }
}

/// Values are one segment each, so only a segment that became `.` or `..` could still leave the place. URL parsers take `%2e` for a dot.
fn stays_in_place(path: &str) -> Result<(), String> {
    let path = path.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase().replace("%2e", ".");
    if path.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
        return Err("makes a segment `.` or `..`, and that would be another address".to_owned());
    }
    Ok(())
}

//! Bodies by their media type, read strictly.

use serde_json::{Map, Value};

use crate::journal::record::NewDelivery;
use crate::json;
use crate::sources::{form, media_type};

/// What a body is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Json,
    Form,
    Other,
}

/// A kept header.
pub(super) fn header<'d>(content: &'d NewDelivery, name: &str) -> Option<&'d str> {
    content.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// By the media type that was sent, never by what the body looks like.
pub(super) fn written(content: &NewDelivery) -> Written {
    let essence = header(content, "content-type").map(media_type);
    match essence.as_deref() {
        Some("application/x-www-form-urlencoded") => Written::Form,
        Some(essence) if essence == "application/json" || essence == "text/json" || essence.ends_with("+json") => Written::Json,
        _ => Written::Other,
    }
}

/// A body that must be a JSON object.
pub(super) fn json_object(body: &[u8]) -> Result<Value, String> {
    match json::parse(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("the body is not a JSON object".to_owned()),
        Err(flaw) => Err(format!("the body is not acceptable JSON: {flaw}")),
    }
}

/// Any body as a value: JSON as it is, a form as an object of texts, everything else as a text; nothing is `null`.
pub(super) fn value(content: &NewDelivery) -> Result<Value, String> {
    let body = &content.body;
    if body.is_empty() {
        return Ok(Value::Null);
    }
    match written(content) {
        Written::Json => json::parse(body).map_err(|flaw| format!("the body is not acceptable JSON: {flaw}")),
        Written::Form => Ok(Value::Object(form_lists(body)?)),
        Written::Other => match json::parse(body) {
            // Some senders of JSON say nothing, or text/plain.
            Ok(value @ (Value::Object(_) | Value::Array(_))) => Ok(value),
            _ => std::str::from_utf8(body).map(Value::from).map_err(|_| "the body is neither JSON nor text".to_owned()),
        },
    }
}

/// The fields of a form; one that occurs several times is a list, as Twilio sends several pictures.
fn form_lists(body: &[u8]) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    for (name, value) in form::fields(body)? {
        match object.get_mut(&name) {
            None => {
                object.insert(name, Value::String(value));
            }
            Some(Value::Array(values)) => values.push(Value::String(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
        }
    }
    Ok(object)
}

/// The fields of a form. One that occurs twice is refused: which one was meant?
pub(super) fn form_object(body: &[u8]) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    for (name, value) in form::fields(body)? {
        if object.insert(name, Value::String(value)).is_some() {
            return Err("a form has a field twice".to_owned());
        }
    }
    Ok(object)
}

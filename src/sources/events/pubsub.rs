//! Pub/Sub push, wrapped and unwrapped. What publishers can choose (data, attributes) is never taken for who they are.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};

use super::{Decoded, body};
use crate::journal::record::NewDelivery;
use crate::json;

/// The kind of event.
pub const KIND: &str = "pubsub.message";

/// Headers of an unwrapped push that are not attributes of the message.
const NOT_ATTRIBUTES: &[&str] =
    &["content-type", "from", "forwarded", "user-agent", "via", "traceparent", "tracestate", "x-cloud-trace-context"];

/// A message out of its envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Pub/Sub's id of it.
    pub id: String,
    /// RFC 3339.
    pub published_at: String,
    /// Texts by name.
    pub attributes: Map<String, Value>,
    /// The key within which order is kept.
    pub ordering_key: Option<String>,
    /// JSON where it is JSON, else a text; base64 where it is neither.
    pub body: Value,
}

/// The message as an event.
pub fn decode(content: &NewDelivery, _payload: bool) -> Result<Option<Decoded>, String> {
    let Message { id, published_at, attributes, ordering_key, body } = message(content)?;
    Ok(Some(Decoded::new(
        KIND,
        json!({
            "id": id,
            "published_at": published_at,
            "attributes": attributes,
            "ordering_key": ordering_key,
            "body": body,
        }),
    )))
}

/// Opens the envelope. An unwrapped push with metadata says so in its headers; one without is its bare data.
pub fn message(content: &NewDelivery) -> Result<Message, String> {
    if body::header(content, "x-goog-pubsub-message-id").is_some() {
        return unwrapped(content);
    }
    let wrapped = json::parse(&content.body).ok().filter(|body| body.get("subscription").is_some_and(Value::is_string));
    match wrapped {
        Some(Value::Object(mut envelope)) => match envelope.remove("message") {
            Some(message @ Value::Object(_)) => opened(content, &message),
            _ => Err("the push has no message".to_owned()),
        },
        _ => unwrapped(content),
    }
}

fn opened(content: &NewDelivery, message: &Value) -> Result<Message, String> {
    let either = |camel: &str, snake: &str| {
        let value = message.get(camel).or_else(|| message.get(snake));
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let attributes = match message.get("attributes") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(attributes)) if attributes.values().all(Value::is_string) => attributes.clone(),
        Some(_) => return Err("attributes of a message are texts".to_owned()),
    };
    let body = match message.get("data") {
        None | Some(Value::Null) => Value::Null,
        Some(Value::String(data)) => self::content(data)?,
        Some(_) => return Err("data of a message is base64".to_owned()),
    };
    Ok(Message {
        id: either("messageId", "message_id").ok_or("the message has no id")?,
        published_at: moment(either("publishTime", "publish_time"), content)?,
        attributes,
        ordering_key: either("orderingKey", "ordering_key"),
        body,
    })
}

fn unwrapped(content: &NewDelivery) -> Result<Message, String> {
    let given = |name: &str| body::header(content, name).filter(|text| !text.is_empty()).map(str::to_owned);
    let is_attribute = |name: &str| {
        !name.starts_with(':')
            && !name.starts_with("x-goog-")
            && !name.starts_with("x-forwarded-")
            && !NOT_ATTRIBUTES.contains(&name)
    };
    let attributes = content.headers.iter().filter(|(name, _)| is_attribute(name));
    Ok(Message {
        id: given("x-goog-pubsub-message-id").unwrap_or_else(|| content.delivery_id.clone()),
        published_at: moment(given("x-goog-pubsub-publish-time"), content)?,
        attributes: attributes.map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect(),
        ordering_key: given("x-goog-pubsub-ordering-key"),
        body: read(&content.body),
    })
}

/// When it was published; when it came, if that is not told.
fn moment(told: Option<String>, content: &NewDelivery) -> Result<String, String> {
    match told {
        None => Ok(content.received_at.rfc3339()),
        Some(told) if chrono::DateTime::parse_from_rfc3339(&told).is_ok() => Ok(told),
        Some(_) => Err("the time of publishing is not RFC 3339".to_owned()),
    }
}

/// Data behind base64.
pub(super) fn content(encoded: &str) -> Result<Value, String> {
    let bytes =
        STANDARD.decode(encoded).or_else(|_| URL_SAFE.decode(encoded)).map_err(|_| "the data is not base64".to_owned())?;
    Ok(read(&bytes))
}

fn read(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    json::parse(bytes).unwrap_or_else(|_| match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(STANDARD.encode(bytes)),
    })
}

//! CloudEvents over HTTP: binary, structured and batched. Rules see `http.webhook`: the data as `event.body`, the attributes as
//! `ce-` headers, as the binary mode has them.

use serde_json::Value;

use super::{Decoded, body, webhook};
use crate::journal::record::NewDelivery;
use crate::json;
use crate::sources::media_type;

/// Attributes become headers up to this size; a subject may be long.
const MAX_ATTRIBUTE: usize = 4096;

/// By the media type. The events of a batch are one delivery, whose body is the list of them.
pub fn decode(content: &NewDelivery, payload: bool) -> Result<Option<Decoded>, String> {
    match body::header(content, "content-type").map(media_type).as_deref() {
        Some("application/cloudevents+json") => structured(content).map(Some),
        Some("application/cloudevents-batch+json") => match json::parse(&content.body) {
            Ok(events @ Value::Array(_)) => webhook::request(content, events).map(Some),
            Ok(_) => Err("a batch of CloudEvents is a list".to_owned()),
            Err(flaw) => Err(format!("the body is not acceptable JSON: {flaw}")),
        },
        _ => webhook::decode(content, payload),
    }
}

fn structured(content: &NewDelivery) -> Result<Decoded, String> {
    let Value::Object(mut envelope) = body::json_object(&content.body)? else {
        return Err("a CloudEvent is an object".to_owned());
    };
    for required in ["id", "source", "type", "specversion"] {
        if !envelope.get(required).is_some_and(Value::is_string) {
            return Err(format!("a CloudEvent needs the attribute `{required}`"));
        }
    }
    let data = match (envelope.remove("data"), envelope.remove("data_base64")) {
        (Some(_), Some(_)) => return Err("a CloudEvent has either `data` or `data_base64`".to_owned()),
        (Some(data), None) => data,
        (None, Some(Value::String(encoded))) => super::pubsub::content(&encoded)?,
        (None, Some(_)) => return Err("`data_base64` is not a text".to_owned()),
        (None, None) => Value::Null,
    };
    let mut decoded = webhook::request(content, data)?;
    if let Some(Value::Object(headers)) = decoded.fields.get_mut("headers") {
        for (name, value) in envelope {
            let text = match value {
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                _ => continue,
            };
            if text.len() <= MAX_ATTRIBUTE {
                headers.insert(format!("ce-{}", name.to_ascii_lowercase()), Value::String(text));
            }
        }
    }
    Ok(decoded)
}

//! `http.webhook`: a request of any sender, with whatever body.

use serde_json::{Map, Value, json};

use super::kept::{METHOD, PATH, QUERY};
use super::{Decoded, body};
use crate::journal::record::NewDelivery;

/// The kind of event.
pub const KIND: &str = "http.webhook";

/// The whole request as fields; the sender's shape of the body is declared by rules.
pub fn decode(content: &NewDelivery, _payload: bool) -> Result<Option<Decoded>, String> {
    request(content, body::value(content)?).map(Some)
}

/// The same around a body that was read in another way.
pub(super) fn request(content: &NewDelivery, body: Value) -> Result<Decoded, String> {
    let method = body::header(content, METHOD).unwrap_or("POST");
    if !matches!(method, "GET" | "POST" | "PUT") {
        return Err("the method is none that rules know".to_owned());
    }
    let query = body::header(content, QUERY).unwrap_or_default();
    let query: Map<String, Value> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
        .collect();
    let headers: Map<String, Value> = content
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(':'))
        .map(|(name, value)| (name.clone(), Value::String(value.clone())))
        .collect();
    Ok(Decoded::new(
        KIND,
        json!({
            "type": content.event_type,
            "method": method,
            "path": body::header(content, PATH).unwrap_or_default(),
            "query": query,
            "headers": headers,
            "body": body,
        }),
    ))
}

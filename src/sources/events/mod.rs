//! Stored deliveries as events of rules: one file a kind of content, pure, shared by all sources that bring it.
//!
//! Providers add fields whenever they like, so unknown ones are let through; what a rule can read has the type that the registry
//! says, or the delivery is refused with a reason.

pub mod alert;
mod body;
pub mod cloudevents;
pub mod dialogflow;
pub mod image;
pub mod kept;
pub mod pubsub;
pub mod slack;
#[cfg(test)]
mod tests;
pub mod webhook;

use declic_actions::hops;
use serde_json::{Map, Value};

use super::journaled;
use crate::clock::Timestamp;
use crate::event::{Event, HOPS, OWN};
use crate::journal::record::{Delivery, NewDelivery};

/// Reads a stored delivery. `payload` asks for the whole body as `event.payload` where the kind has it. `None`: nothing that a rule
/// can ask for. The error names what is wrong and quotes nothing.
pub type Decode = fn(&NewDelivery, payload: bool) -> Result<Option<Decoded>, String>;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// As in `on:`.
    pub kind: &'static str,
    /// The `event` context.
    pub fields: Map<String, Value>,
    /// Was it caused by an effect of ours?
    pub own: bool,
}

/// Reads a body as its provider sends it as an event of that kind, for trying rules out; nothing says who sent it. `None` for kinds whose bodies
/// can be anything.
pub fn unproved(kind: &str, body: &str) -> Result<Option<Decoded>, String> {
    let is_form = matches!(kind, slack::COMMAND | slack::ACTION);
    let json: Value = if is_form { Value::Null } else { serde_json::from_str(body).map_err(|error| error.to_string())? };
    let has = |key: &str| json.get(key).is_some_and(Value::is_object);
    let decode: Decode = match kind {
        slack::COMMAND | slack::ACTION | slack::EVENT => slack::decode,
        image::KIND => image::decode,
        alert::KIND if has("message") => alert::by_pubsub,
        alert::KIND => alert::direct,
        dialogflow::KIND if has("sessionInfo") => dialogflow::cx,
        dialogflow::KIND => dialogflow::es,
        pubsub::KIND if has("message") => pubsub::decode,
        _ => return Ok(None),
    };
    let written = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    let content = NewDelivery {
        share: String::new(),
        source: String::new(),
        delivery_id: String::new(),
        event_type: String::new(),
        headers: vec![("content-type".to_owned(), written.to_owned())],
        body: body.trim().to_owned().into(),
        received_at: Timestamp(0),
        trace: String::new(),
        verified: String::new(),
    };
    match decode(&content, true)? {
        Some(decoded) if decoded.kind == kind => Ok(Some(decoded)),
        Some(other) => Err(format!("this is a {}, not a {kind}", other.kind)),
        None => Err(format!("there is no {kind} in it")),
    }
}

impl Decoded {
    /// From an object.
    fn new(kind: &'static str, fields: Value) -> Self {
        match fields {
            Value::Object(fields) => Self { kind, fields, own: false },
            _ => Self { kind, fields: Map::new(), own: false },
        }
    }
}

/// The event of a delivery, with its contexts.
pub fn event(decode: Decode, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String> {
    let decoded = decode(&delivery.content, payload)?;
    Ok(decoded.map(|Decoded { kind, fields, own }| {
        let mut lineage = Map::new();
        if own {
            lineage.insert(OWN.to_owned(), true.into());
        }
        // A message brings its count as an attribute, since its push is not ours.
        let attribute = fields.get("attributes").filter(|_| kind == pubsub::KIND).and_then(|all| all.get(hops::ATTRIBUTE));
        let hops = attribute.and_then(Value::as_str).and_then(|text| text.parse::<u32>().ok()).filter(|hops| *hops > 0);
        if let Some(hops) = hops {
            lineage.insert(HOPS.to_owned(), hops.into());
        }
        let event = Event {
            kind: kind.to_owned(),
            source: delivery.content.source.clone(),
            event: Value::Object(fields),
            repo: Value::Null,
            actor: Value::Null,
            delivery: Value::Object(lineage),
        };
        journaled(event, delivery)
    }))
}

/// A text inside a document; empty where it is missing.
fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The object at a place; empty where it is missing.
fn object(document: &Value, pointer: &str) -> Map<String, Value> {
    document.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default()
}

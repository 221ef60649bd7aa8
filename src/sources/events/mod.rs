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

use serde_json::{Map, Value, json};

use super::journaled;
use crate::event::{Event, OWN};
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
        let event = Event {
            kind: kind.to_owned(),
            source: delivery.content.source.clone(),
            event: Value::Object(fields),
            repo: Value::Null,
            actor: Value::Null,
            delivery: if own { json!({ OWN: true }) } else { Value::Null },
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

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

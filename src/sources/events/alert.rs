//! `gcp.alert`: incidents of Cloud Monitoring, by Pub/Sub or by its own webhook. Their fields come in several spellings.

use serde_json::{Map, Value, json};

use super::{Decoded, body, object, pubsub, text};
use crate::clock::Timestamp;
use crate::journal::record::NewDelivery;

/// The kind of event.
pub const KIND: &str = "gcp.alert";

/// From a Pub/Sub push.
pub fn by_pubsub(content: &NewDelivery, _payload: bool) -> Result<Option<Decoded>, String> {
    incident(&pubsub::message(content)?.body, content)
}

/// From a webhook of Monitoring.
pub fn direct(content: &NewDelivery, _payload: bool) -> Result<Option<Decoded>, String> {
    incident(&body::json_object(&content.body)?, content)
}

fn incident(document: &Value, content: &NewDelivery) -> Result<Option<Decoded>, String> {
    let Some(incident @ Value::Object(_)) = document.get("incident") else {
        return Err("there is no incident in it".to_owned());
    };
    // What the console sends to try a channel looks like an incident, and there is none.
    if text(document, "/version") == "test" {
        return Ok(None);
    }
    let state = text(incident, "/state").to_ascii_lowercase();
    if !matches!(state.as_str(), "open" | "closed") {
        return Err("the incident's state is neither open nor closed".to_owned());
    }
    let condition = match text(incident, "/condition_name") {
        name if name.is_empty() => text(incident, "/condition/displayName"),
        name => name,
    };
    Ok(Some(Decoded::new(
        KIND,
        json!({
            "state": state,
            "policy": text(incident, "/policy_name"),
            "condition": condition,
            "severity": severity(&text(incident, "/severity")),
            "summary": text(incident, "/summary"),
            "url": text(incident, "/url"),
            "incident_id": text(incident, "/incident_id"),
            "started_at": started_at(incident.get("started_at"), content),
            "resource": { "type": text(incident, "/resource/type"), "labels": labels(object(incident, "/resource/labels")) },
            "user_labels": labels(object(incident, "/policy_user_labels")),
        }),
    )))
}

/// Monitoring writes `CRITICAL`, `Critical` and `No severity`.
fn severity(text: &str) -> &'static str {
    match text.to_ascii_uppercase().as_str() {
        "CRITICAL" => "CRITICAL",
        "ERROR" => "ERROR",
        "WARNING" => "WARNING",
        _ => "NO_SEVERITY",
    }
}

/// Unix seconds, as a number or a text; when it came, where it is not told.
fn started_at(told: Option<&Value>, content: &NewDelivery) -> String {
    let seconds = match told {
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let moment = seconds.filter(|seconds| *seconds > 0).and_then(|seconds| seconds.checked_mul(1000));
    moment.map_or(content.received_at, Timestamp).rfc3339()
}

/// Labels are texts; what is not, is shown as JSON.
fn labels(labels: Map<String, Value>) -> Map<String, Value> {
    let text = |value: Value| if value.is_string() { value } else { Value::String(value.to_string()) };
    labels.into_iter().map(|(name, value)| (name, text(value))).collect()
}

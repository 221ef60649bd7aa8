//! A provider's body as an event that rules can be held against, without a source: for trying rules out.

use serde_json::{Value, json};

use crate::rules::registry;
use crate::rules::suggest::did_you_mean;
use crate::rules::testing::Happening;
use crate::sources::{events, github};

/// The event of that name. The error is for people, with a suggestion.
pub fn known(event: &str) -> Result<&'static str, String> {
    let names = || registry::EVENTS.iter().map(|event| event.name);
    registry::event(event).map(|spec| spec.name).ok_or_else(|| {
        let help = did_you_mean(event, registry::events().map(|event| event.name)).unwrap_or_else(|| {
            format!("there is: {}, and github.TYPE for each of GitHub's webhooks", names().collect::<Vec<_>>().join(", "))
        });
        format!("there is no event {event}: {help}")
    })
}

/// The fields of the event in a body as the provider sends it.
pub fn from_body(event: &'static str, text: &str, body: Value) -> Result<Happening, String> {
    let happening = |with: Value| Happening { event: event.to_owned(), with, ..Happening::default() };
    if let Some(event_type) = registry::github_event_type(event) {
        let decoded = github::decode(event_type, text.as_bytes())?;
        let (kind, contexts) = decoded.ok_or_else(|| format!("this {event_type} of GitHub's is none that rules can ask for"))?;
        if !registry::is_heard_as(kind, event) {
            return Err(format!("this is a {kind}, not a {event}"));
        }
        let mut with = Value::Object(contexts.event);
        with["payload"] = body;
        return Ok(Happening {
            event: kind.to_owned(),
            actor: contexts.actor,
            repo: contexts.repo,
            whole: true,
            ..happening(with)
        });
    }
    if let Some(decoded) = events::unproved(event, text)? {
        return Ok(happening(Value::Object(decoded.fields)));
    }
    Ok(happening(json!({ "body": body, "method": "POST" })))
}

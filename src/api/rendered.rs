//! What calls would send: their actions run against clients that write requests down and send nothing, with placeholders for secrets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::action::{Action, Context, Failure, Intent, Progress, RESPONSE_URL, Stop};
use declic_actions::http::{Method, UnsentRequest};
use declic_actions::kinds;
use declic_actions::secret::Secret;
use poem_openapi::Object;
use poem_openapi::types::Any;
use serde_json::Value;

use super::deliveries::Header;
use super::redact::Body;
use super::state::State;
use crate::rules::testing::PlayedCall;

/// Nothing is waited for, so this is only for what waits by itself.
const PATIENCE: Duration = Duration::from_millis(500);
/// Calls that are rendered, at most.
const MOST: usize = 50;
/// Begins a placeholder. Some secrets are addresses, so it is one.
const NOWHERE: &str = "https://secret.invalid/";

/// A request that would be sent.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct RenderedRequest {
    /// Its method.
    pub method: String,
    /// Where it would go, redacted.
    pub url: String,
    /// Its headers, redacted.
    pub headers: Vec<Header>,
    /// Its body, redacted, if it is JSON or a form.
    pub body: Option<Any<Value>>,
    /// Its body, redacted, if it is other text.
    pub text: Option<String>,
}

/// What a call would send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rendered {
    /// What it would do, in one line.
    pub summary: Option<String>,
    /// In order, until an answer is needed to go on.
    pub requests: Vec<RenderedRequest>,
    /// What is to be said of them, or of there being none.
    pub note: Option<String>,
}

/// What is told while nothing happens.
struct Silent;

#[async_trait]
impl Progress for Silent {
    fn stage(&self, _name: &'static str, _line: &str) {}

    async fn save(&self, _saved: Value) -> Result<(), Failure> {
        Ok(())
    }
}

impl State {
    /// What each of these calls would send.
    pub(crate) async fn rendered(&self, calls: &[PlayedCall]) -> Vec<Rendered> {
        let mut rendered = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            rendered.push(match (&call.intent, kinds::find(&call.uses)) {
                (Some(intent), Some(action)) if number < MOST => self.rendered_one(action, intent).await,
                _ => Rendered::default(),
            });
        }
        rendered
    }

    async fn rendered_one(&self, action: &dyn Action, intent: &Intent) -> Rendered {
        let summary = Some(intent.summary.clone());
        if action.acts_here() {
            let note = "It is done on the machine of the service, and sends nothing.".to_owned();
            return Rendered { summary, note: Some(note), ..Rendered::default() };
        }
        let mut note = None;
        // One that signs with a key does not get as far as sending with an address in its place.
        for placeholder in [address as fn(&str) -> String, key] {
            let (sent, why) = match self.attempt(action, intent, placeholder).await {
                Ok(came) => came,
                Err(why) => (Vec::new(), Some(why)),
            };
            if sent.is_empty() {
                note = note.or(why);
                continue;
            }
            let reads = sent.last().is_some_and(|last| matches!(last.method, Method::GET | Method::HEAD));
            let note = reads.then(|| "What follows depends on the answer.".to_owned());
            return Rendered { summary, requests: sent.into_iter().map(|one| self.request(one)).collect(), note };
        }
        Rendered { summary, note, ..Rendered::default() }
    }

    /// What was asked for, and how it ended.
    async fn attempt(
        &self,
        action: &dyn Action,
        intent: &Intent,
        placeholder: fn(&str) -> String,
    ) -> Result<(Vec<UnsentRequest>, Option<String>), String> {
        let (clients, unsent) = (self.parts.unsent)()?;
        let names = self.parts.settings.secret_entries.keys().map(String::as_str).chain([RESPONSE_URL]);
        let secrets: BTreeMap<String, Secret> =
            names.map(|name| (name.to_owned(), Secret::new(placeholder(name.trim_start_matches(':'))))).collect();
        let stop = Stop::never();
        let context = Context {
            clients: &clients,
            deadline: Instant::now() + PATIENCE,
            attempt: 1,
            is_last: false,
            saved: None,
            progress: &Silent,
            secrets: &secrets,
            stop: &stop,
            waited: Duration::ZERO,
            answer: None,
            streak: None,
        };
        let came = tokio::time::timeout(PATIENCE, action.run(&context, intent)).await;
        let why = match came {
            Ok(Err(failure)) => Some(failure.why().message.clone()),
            Ok(Ok(outcome)) => Some(outcome.summary),
            Err(_) => None,
        };
        Ok((unsent.take(), why))
    }

    fn request(&self, sent: UnsentRequest) -> RenderedRequest {
        let UnsentRequest { method, url, headers, body } = sent;
        let header = |(name, value): (&poem::http::HeaderName, &poem::http::HeaderValue)| {
            let value = self.redaction.header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
            Header { name: name.as_str().to_owned(), value: named(&value) }
        };
        let (body, text) = match self.redaction.body(&body) {
            _ if body.is_empty() => (None, None),
            Body::Json(value) => (Some(Any(value)), None),
            Body::Text(text) => (None, Some(named(&text))),
            Body::Binary => (None, Some(format!("{} bytes that are no text", body.len()))),
        };
        RenderedRequest {
            method: method.as_str().to_owned(),
            url: named(&self.redaction.text(url.into())),
            headers: headers.iter().map(header).collect(),
            body,
            text,
        }
    }
}

fn address(name: &str) -> String {
    format!("{NOWHERE}{name}/")
}

fn key(name: &str) -> String {
    format!("whsec_{}", STANDARD.encode(format!("placeholder of {name}")))
}

/// With the names of secrets where their placeholders stand.
fn named(text: &str) -> String {
    let mut parts = text.split(NOWHERE);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('/').unwrap_or((part, ""));
        shown.push_str(&format!("‹secret {name}›{rest}"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_shown_as_the_names_of_their_secrets() {
        assert_eq!(named("a b"), "a b");
        assert_eq!(named(&address("slack_hook")), "‹secret slack_hook›");
        assert_eq!(named(&format!("{}x, {}", address("a"), address("b"))), "‹secret a›x, ‹secret b›");
    }
}

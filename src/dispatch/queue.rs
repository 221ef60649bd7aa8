//! Wake-ups through a queue of Google's, for hosts that give a process no time between requests: each call of `/internal/dispatch` does a
//! piece of work inside its request, and asks for the next call before it is answered.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::google::Google;
use declic_actions::http::{HttpError, Method, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::clock::Timestamp;

/// Asking for a call may take this long; whoever sent the delivery waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// `dispatch:` as a queue.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which service calls.
    pub kind: Kind,
    /// `projects/P/locations/L/queues/Q` or `projects/P/topics/T`.
    pub name: String,
    /// The account whose ID token every call must bring.
    pub account: String,
    /// The address that is called.
    pub url: String,
    /// Whom the token must be for: the address, if nothing else is agreed on.
    pub audience: String,
    /// Where the issuer publishes its keys.
    pub keys_url: String,
    /// How long one call may take: less than the host and the queue give it.
    pub deadline: Duration,
}

/// The services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Calls at a time, and once for each name.
    CloudTasks,
    /// Calls at once, at least once; what is due later waits for the sweep.
    PubSub,
}

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// A delivery to be matched.
    Delivery(String),
    /// A run, of which one step is to be done.
    Run(String),
    /// Whatever is due: wake-ups may have been lost.
    Sweep(bool),
}

/// A call that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What it is about.
    pub subject: Subject,
    /// Two of the same words are one call.
    pub same: String,
    /// Not before.
    pub after: Duration,
}

/// Where calls are asked for.
pub struct Queue {
    google: Google,
    settings: Settings,
}

impl Queue {
    /// By the client that everything of Google's goes through.
    pub fn new(google: Google, settings: Settings) -> Self {
        Self { google, settings }
    }

    /// Asks for a call. The error is for the log: the sweep finds what is not called.
    pub async fn call(&self, call: &Call) -> Result<(), String> {
        let deadline = (Instant::now() + PATIENCE).into_std();
        let body = STANDARD.encode(serde_json::to_vec(&call.subject).map_err(|error| error.to_string())?);
        let request = match self.settings.kind {
            Kind::CloudTasks => {
                let address = format!("{}/v2/{}/tasks", self.google.settings().cloud_tasks_url, self.settings.name);
                Request::to(Method::POST, &address, deadline).json(&json!({ "task": self.task(call, &body) }))
            }
            Kind::PubSub if call.after.is_zero() => {
                let address = format!("{}/v1/{}:publish", self.google.settings().pubsub_url, self.settings.name);
                Request::to(Method::POST, &address, deadline).json(&json!({ "messages": [{ "data": body }] }))
            }
            Kind::PubSub => return Ok(()),
        };
        match self.google.send(None, request).await {
            Ok(_) => Ok(()),
            // The same call is wanted already, or was made.
            Err(HttpError::Status { status: 409, .. }) => Ok(()),
            Err(error) => Err(error.into_failure(self.settings.kind.service()).why().message.clone()),
        }
    }

    fn task(&self, call: &Call, body: &str) -> Value {
        let Settings { name, url, account, audience, deadline, .. } = &self.settings;
        // Names that begin alike make the queue slow.
        let hash = hex::encode(Sha256::digest(call.same.as_bytes()));
        let mut task = json!({
            "name": format!("{name}/tasks/{}", hash.get(..40).unwrap_or(&hash)),
            "dispatchDeadline": format!("{}s", deadline.as_secs().clamp(15, 1800)),
            "httpRequest": {
                "url": url,
                "httpMethod": "POST",
                "headers": { "content-type": "application/json" },
                "body": body,
                "oidcToken": { "serviceAccountEmail": account, "audience": audience },
            },
        });
        if !call.after.is_zero() {
            task["scheduleTime"] = Timestamp::now().after(call.after).rfc3339().into();
        }
        task
    }
}

impl Kind {
    fn service(self) -> &'static str {
        match self {
            Self::CloudTasks => "Cloud Tasks",
            Self::PubSub => "Pub/Sub",
        }
    }
}

impl Subject {
    /// What the body of a call says; Pub/Sub wraps it. `None`: it is no call of ours.
    pub fn read(body: &[u8]) -> Option<Self> {
        if let Ok(subject) = serde_json::from_slice(body) {
            return Some(subject);
        }
        let wrapped: Value = serde_json::from_slice(body).ok()?;
        let data = STANDARD.decode(wrapped.pointer("/message/data")?.as_str()?).ok()?;
        serde_json::from_slice(&data).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_bare_and_wrapped_and_nothing_else_is() {
        let run = Subject::Run("06f3k9z2m8x1q-1".to_owned());
        let bare = serde_json::to_vec(&run).unwrap();
        assert_eq!(String::from_utf8_lossy(&bare), r#"{"run":"06f3k9z2m8x1q-1"}"#);
        assert_eq!(Subject::read(&bare), Some(run.clone()));
        let wrapped = json!({ "message": { "data": STANDARD.encode(&bare), "messageId": "1" }, "subscription": "s" }).to_string();
        assert_eq!(Subject::read(wrapped.as_bytes()), Some(run));
        assert_eq!(Subject::read(br#"{"sweep":true}"#), Some(Subject::Sweep(true)));
        for other in ["", "{}", "[]", r#"{"rum":"x"}"#, r#"{"message":{"data":"!"}}"#, r#"{"message":{}}"#] {
            assert_eq!(Subject::read(other.as_bytes()), None, "{other}");
        }
    }
}

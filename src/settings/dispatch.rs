//! `dispatch:`

use std::time::Duration;

use declic_actions::action::Field;

use super::read::Reader;
use super::sections::{field, length, text};
use crate::dispatch::queue::{Kind, Settings};
use crate::receive::dispatch::PATH;
use crate::rules::suggest::did_you_mean;
use crate::rules::yaml::Entry;

/// `dispatch:` as a mapping.
pub static DISPATCH: &[Field] = &[
    field("cloud-tasks", "string?", "Queue of Cloud Tasks that calls: `projects/PROJECT/locations/LOCATION/queues/QUEUE`"),
    field("pubsub", "string?", "Topic of Pub/Sub whose push subscription calls: `projects/PROJECT/topics/TOPIC`"),
    field("account", "string?", "Address of the service account whose ID token comes with every call"),
    field("audience", "string?", "Whom the token must be for; the address that is called, if not given"),
    field("keys-url", "string?", "Where the issuer of the tokens publishes its keys; Google's, if not given"),
    field("deadline", "duration?", "How long one call may take, 5m if not given: no longer than the host lets a request take"),
];

const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

impl Reader<'_> {
    /// `dispatch: local`, or a queue that calls.
    pub fn dispatch(&mut self, entry: Option<&Entry>, public_url: Option<&str>) -> Option<Settings> {
        let entry = entry?;
        if let Some(scalar) = entry.value.scalar() {
            if scalar.text != "local" {
                let help = match scalar.text.as_str() {
                    word @ ("cloud-tasks" | "pubsub") => format!("say which: `dispatch: {{ {word}: projects/…, account: … }}`"),
                    word => {
                        did_you_mean(word, ["local"]).unwrap_or_else(|| "write `dispatch: local`, or leave it out".to_owned())
                    }
                };
                let message = "`dispatch` is local, or a mapping with `cloud-tasks` or `pubsub`";
                self.faults.error("name", entry.value.span.clone(), message, Some(help));
            }
            return None;
        }
        let fields = self.mapping(entry, DISPATCH);
        let mut wrong = |key: &str, message: &str, help: &str| {
            let span = entry.value.get(key).map_or_else(|| entry.value.span.clone(), |found| found.value.span.clone());
            self.faults.error("value", span, message, Some(help.to_owned()));
        };
        let (kind, name) = match (text(&fields, "cloud-tasks"), text(&fields, "pubsub")) {
            (Some(name), None) => (Kind::CloudTasks, name),
            (None, Some(name)) => (Kind::PubSub, name),
            _ => {
                wrong(
                    "pubsub",
                    "`dispatch` names a queue or a topic",
                    "write `cloud-tasks: …` or `pubsub: …`, or `dispatch: local`",
                );
                return None;
            }
        };
        let (key, words): (_, &[&str]) = match kind {
            Kind::CloudTasks => ("cloud-tasks", &["projects", "locations", "queues"]),
            Kind::PubSub => ("pubsub", &["projects", "topics"]),
        };
        if !is_resource(&name, words) {
            let help: Vec<String> = words.iter().map(|word| format!("{word}/…")).collect();
            wrong(key, "this is no full name of a queue or topic", &help.join("/"));
        }
        let Some(account) = text(&fields, "account") else {
            wrong(
                "account",
                "`dispatch` needs `account`: anybody can get a token for our address",
                "the service account that calls",
            );
            return None;
        };
        let Some(public_url) = public_url else {
            wrong(key, "a queue needs an address to call", "set `public-url`");
            return None;
        };
        let url = format!("{public_url}{PATH}");
        let deadline = length(&fields, "deadline").unwrap_or(Duration::from_secs(300));
        if !(Duration::from_secs(15)..=Duration::from_secs(1800)).contains(&deadline) {
            wrong("deadline", "`deadline` must be from 15s to 30m", "Cloud Run gives a request 5m unless it is told otherwise");
        }
        Some(Settings {
            kind,
            name,
            account,
            audience: text(&fields, "audience").unwrap_or_else(|| url.clone()),
            url,
            keys_url: text(&fields, "keys-url").unwrap_or_else(|| GOOGLE_KEYS.to_owned()),
            deadline,
        })
    }
}

/// Pairs of these words and something.
fn is_resource(name: &str, words: &[&str]) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'~'))
    };
    parts.len() == words.len() * 2
        && parts.chunks(2).zip(words).all(|(pair, word)| matches!(pair, [kind, name] if kind == word && plain(name)))
}

//! Who belongs to which user group of Slack: asked of Slack before a delivery is matched, and kept for a minute. Nobody belongs to a group
//! that cannot be looked up.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use declic_actions::kinds::slack;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::shared::Shared;
use crate::event::Event;

/// How long somebody who was taken out of a group still counts as one of it.
const AGE: Duration = Duration::from_secs(60);
/// How long a group that could not be looked up is not asked for again.
const PAUSE: Duration = Duration::from_secs(5);
/// Slack waits three seconds for an answer to a command; this is the part for looking a group up.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Groups that are kept at once.
const MOST: usize = 256;
/// Groups that are looked up for one delivery.
const MOST_OF_ONE: usize = 16;

/// Members by connection and group. `None`: it could not be looked up.
#[derive(Default)]
pub(super) struct Groups {
    kept: Mutex<HashMap<(String, String), Kept>>,
    /// Held while Slack is asked: whoever comes meanwhile reads what it said.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    members: Option<Arc<HashSet<String>>>,
    until: Instant,
}

/// What there is to learn of the person that caused an event: which of these groups they belong to.
pub(super) async fn ask(shared: &Shared, event: &Event, wanted: &BTreeSet<String>) -> Value {
    let Some(Value::Object(user)) = event.event.get("user") else { return Value::Null };
    let Some(id) = user.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) else { return Value::Null };
    let source = event.source.as_str();
    let Some((connection, settings)) = shared.offer.slack_of(source) else {
        tracing::warn!(source, "nobody is let in by `slack-groups`: the source has no connection of type slack");
        return Value::Null;
    };
    let mut groups = Vec::new();
    for group in wanted.iter().take(MOST_OF_ONE) {
        if shared.groups.has(shared, (connection, settings), group, id).await {
            groups.push(group.clone());
        }
    }
    let mut user = user.clone();
    user.insert("groups".to_owned(), groups.into());
    json!({ "event": { "user": user } })
}

impl Groups {
    async fn has(&self, shared: &Shared, connection: (&str, &Value), group: &str, user: &str) -> bool {
        let key = (connection.0.to_owned(), group.to_owned());
        if self.fresh(&key).is_none() {
            let _asking = self.asking.lock().await;
            if self.fresh(&key).is_none() {
                let members = fetch(shared, connection.1, group).await;
                self.keep(key.clone(), members);
            }
        }
        self.fresh(&key).and_then(|kept| kept.members).is_some_and(|members| members.contains(user))
    }

    fn fresh(&self, key: &(String, String)) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|kept| Instant::now() < kept.until).cloned()
    }

    fn keep(&self, key: (String, String), members: Option<HashSet<String>>) {
        let now = Instant::now();
        let until = now + if members.is_some() { AGE } else { PAUSE };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.retain(|_, entry| now < entry.until);
        }
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, Kept { members: members.map(Arc::new), until });
    }
}

async fn fetch(shared: &Shared, settings: &Value, group: &str) -> Option<HashSet<String>> {
    let token = settings.get("token").and_then(Value::as_str).and_then(|name| shared.secrets.get(name))?;
    let api = settings.get("api-url").and_then(Value::as_str);
    match slack::members(&shared.clients.http, api, token, group, (Instant::now() + PATIENCE).into_std()).await {
        Ok(Some(members)) => Some(members.into_iter().collect()),
        Ok(None) => {
            tracing::warn!(group, "there is no such user group in Slack: nobody belongs to it");
            None
        }
        Err(failure) => {
            tracing::warn!(
                group,
                "who belongs to a user group of Slack cannot be looked up, so nobody does: {}",
                failure.why().message
            );
            None
        }
    }
}

//! Every other webhook of GitHub's: what happened, where, and by whom. The rest is read as `event.payload`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::context::{Contexts, Repository, Sender};
use super::object::Object;

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    repository: Option<Object<Repository>>,
    #[serde(default)]
    sender: Option<Object<Sender>>,
}

/// The contexts. Events of an organisation or an App name no repository.
pub(super) fn contexts(body: &[u8]) -> Result<Contexts, String> {
    let payload: Payload = super::read(body)?;
    let repo = payload.repository.as_deref().map(Repository::context).transpose()?;
    let event: Map<String, Value> = payload.action.map(|action| ("action".to_owned(), Value::from(action))).into_iter().collect();
    Ok(Contexts {
        event,
        repo: repo.unwrap_or(Value::Null),
        actor: payload.sender.as_deref().map_or(Value::Null, Sender::context),
    })
}

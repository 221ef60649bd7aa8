//! `pull_request`: the actions that rules can ask for. Titles, bodies and branch names are whatever an outsider wrote.

use serde::Deserialize;
use serde_json::{Value, json};

use super::context::{Contexts, Repository, Sender, is_commit, optional};
use super::object::Object;

/// Actions that a rule can name under `types:`; others are kept and never matched.
const ACTIONS: &[&str] =
    &["opened", "reopened", "synchronize", "closed", "labeled", "unlabeled", "ready_for_review", "converted_to_draft", "edited"];

#[derive(Debug, Deserialize)]
struct Payload {
    action: String,
    pull_request: Object<PullRequest>,
    #[serde(default)]
    label: Option<Object<Label>>,
    repository: Object<Repository>,
    #[serde(default)]
    sender: Option<Object<Sender>>,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    number: u64,
    title: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    merged: Option<bool>,
    html_url: String,
    #[serde(default)]
    labels: Vec<Object<Label>>,
    head: Object<End>,
    base: Object<End>,
    #[serde(default)]
    user: Option<Object<User>>,
}

#[derive(Debug, Deserialize)]
struct Label {
    name: String,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

#[derive(Debug, Deserialize)]
struct End {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    /// `null` once a fork was deleted.
    #[serde(default)]
    repo: Option<Object<Origin>>,
}

#[derive(Debug, Deserialize)]
struct Origin {
    id: u64,
    full_name: String,
}

/// The contexts; `None` for an action that no rule can ask for.
pub(super) fn contexts(body: &[u8]) -> Result<Option<Contexts>, String> {
    let payload: Payload = super::read(body)?;
    if !ACTIONS.contains(&payload.action.as_str()) {
        return Ok(None);
    }
    let request = &payload.pull_request;
    if !is_commit(&request.head.sha) || !is_commit(&request.base.sha) {
        return Err("head or base is not a commit id".to_owned());
    }
    let names = |labels: &[Object<Label>]| labels.iter().map(|label| Value::from(label.name.as_str())).collect::<Vec<_>>();
    // A head without a repository was a fork; only what is known to be the same repository is not one.
    let fork = request.head.repo.as_ref().is_none_or(|head| head.id != payload.repository.id);
    let mut event = json!({
        "action": payload.action,
        "number": request.number,
        "title": request.title,
        "body": request.body.as_deref().unwrap_or_default(),
        "draft": request.draft.unwrap_or_default(),
        "merged": request.merged.unwrap_or_default(),
        "fork": fork,
        "labels": names(&request.labels),
        "url": request.html_url,
        "head": {
            "branch": request.head.branch,
            "sha": request.head.sha,
            "repo": request.head.repo.as_ref().map_or("", |repo| repo.full_name.as_str()),
        },
        "base": { "branch": request.base.branch, "sha": request.base.sha },
        "author": request.user.as_ref().map_or("", |user| user.login.as_str()),
        // The payload does not list them.
        "files": [],
        "files_complete": false,
    });
    optional(&mut event, "label", payload.label.as_ref().map(|label| Value::from(label.name.as_str())));
    Contexts::new(event, &payload.repository, payload.sender.as_deref()).map(Some)
}

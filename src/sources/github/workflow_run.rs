//! `workflow_run`: a run of GitHub Actions that ended.

use serde::Deserialize;
use serde_json::json;

use super::context::{Contexts, Repository, Sender, is_commit};
use super::object::Object;

/// Ends that a rule can name under `conclusions:`.
const CONCLUSIONS: &[&str] = &["success", "failure", "cancelled", "skipped", "timed_out", "action_required", "neutral", "stale"];

#[derive(Debug, Deserialize)]
struct Payload {
    action: String,
    workflow_run: Object<Run>,
    repository: Object<Repository>,
    #[serde(default)]
    sender: Option<Object<Sender>>,
}

#[derive(Debug, Deserialize)]
struct Run {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    head_branch: Option<String>,
    head_sha: String,
    event: String,
    html_url: String,
    #[serde(default)]
    head_repository: Option<Object<Origin>>,
}

#[derive(Debug, Deserialize)]
struct Origin {
    id: u64,
}

/// The contexts; `None` for a run that has not ended.
pub(super) fn contexts(body: &[u8]) -> Result<Option<Contexts>, String> {
    let payload: Payload = super::read(body)?;
    let run = &payload.workflow_run;
    let ended = run.conclusion.as_deref().filter(|end| payload.action == "completed" && CONCLUSIONS.contains(end));
    let Some(conclusion) = ended else { return Ok(None) };
    if !is_commit(&run.head_sha) {
        return Err("head_sha is not a commit id".to_owned());
    }
    let event = json!({
        "workflow": run.name.as_deref().unwrap_or_default(),
        "conclusion": conclusion,
        "branch": run.head_branch.as_deref().unwrap_or_default(),
        "sha": run.head_sha,
        "event": run.event,
        "url": run.html_url,
        "fork": run.head_repository.as_ref().is_none_or(|head| head.id != payload.repository.id),
    });
    Contexts::new(event, &payload.repository, payload.sender.as_deref()).map(Some)
}

//! Check runs: made and updated by Apps, set by tests for others, listed for a commit.

use serde_json::{Map, Value, json};

use super::answers::{Refusal, body, invalid, refused};
use super::commits::commit_of;
use super::state::State;
use super::{Call, GitHub, Reply, number, repository, text};
use crate::demo::stand_ins::ledger::lock;

/// Annotations that one request may bring.
const BATCH: usize = 50;

impl GitHub {
    /// Adds a check run of somebody else; a conclusion means that it is completed.
    pub fn add_check_run(&self, repository: &str, sha: &str, name: &str, conclusion: Option<&str>) {
        let status = if conclusion.is_some() { "completed" } else { "in_progress" };
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            let runs = repository.check_runs.entry(sha.to_owned()).or_default();
            runs.push(json!({ "id": runs.len() + 1, "name": name, "head_sha": sha, "status": status, "conclusion": conclusion }));
        }
    }

    /// Check runs of a commit, oldest first, each with all its annotations.
    pub fn check_runs(&self, repository: &str, sha: &str) -> Vec<Value> {
        self.read(repository, |repository| repository.check_runs.get(sha).cloned().unwrap_or_default())
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["commits", reference @ .., "check-runs"]) => list(call, state, &reference.join("/")),
        ("POST", ["check-runs"]) => create(call, state),
        ("PATCH", ["check-runs", id]) => update(call, state, id),
        _ => return None,
    })
}

/// A list inside a document, which is cut into pages all the same.
fn list(call: &Call<'_>, state: &mut State, reference: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = commit_of(repository, reference)?;
    let name = call.request.parameter("check_name");
    let fits = |run: &&Value| name.is_none() || run.get("name").and_then(Value::as_str) == name;
    let runs: Vec<Value> = repository.check_runs.get(&sha).into_iter().flatten().filter(fits).map(shown).collect();
    let number = |name: &str, default: usize| call.request.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (size, page) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let page: Vec<&Value> = runs.iter().skip((page - 1) * size).take(size).collect();
    Ok(Reply::Ok(json!({ "total_count": runs.len(), "check_runs": page })))
}

/// Annotations are at an address of their own; the run only counts them.
fn shown(run: &Value) -> Value {
    let mut run = run.clone();
    if let Some(output) = run.get_mut("output").and_then(Value::as_object_mut) {
        output.shift_remove("annotations");
    }
    run
}

fn create(call: &Call<'_>, state: &mut State) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateCheckRun")?;
    let id = state.next_id();
    let repository = repository(call, state)?;
    let sha = text(&fields, "head_sha").unwrap_or_default().to_owned();
    if !repository.commits.contains_key(&sha) {
        return Err(refused(422, format!("No commit found for SHA: {sha}")));
    }
    let mut run = json!({
        "id": id, "node_id": format!("CR_{id}"), "url": call.api_url(&format!("/check-runs/{id}")), "head_sha": sha,
        "html_url": call.html_url(&format!("/runs/{id}")), "external_id": "", "details_url": call.html_url(""), "status": "queued",
        "conclusion": null, "started_at": null, "completed_at": null, "pull_requests": [], "check_suite": { "id": 1 }, "app": null,
        "output": { "title": null, "summary": null, "text": null, "annotations_count": 0,
                    "annotations_url": call.api_url(&format!("/check-runs/{id}/annotations")), "annotations": [] },
    });
    apply(&mut run, &fields)?;
    call.ledger.effect("check-run.created", text(&fields, "name").unwrap_or_default(), json!({ "repository": call.full_name() }));
    repository.check_runs.entry(sha).or_default().push(run.clone());
    Ok(Reply::Created(shown(&run)))
}

fn update(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "UpdateCheckRun")?;
    let id = number(id)?;
    let runs = &mut repository(call, state)?.check_runs;
    let found = runs.values_mut().flatten().find(|run| run.get("id").and_then(Value::as_u64) == Some(id));
    let run = found.ok_or_else(|| refused(404, "Not Found"))?;
    apply(run, &fields)?;
    Ok(Reply::Ok(shown(run)))
}

fn apply(run: &mut Value, fields: &Map<String, Value>) -> Result<(), Refusal> {
    let output = fields.get("output").and_then(Value::as_object);
    let annotations = output.and_then(|output| output.get("annotations")).and_then(Value::as_array);
    if annotations.is_some_and(|annotations| annotations.len() > BATCH) {
        return Err(invalid("CheckRun", "annotations", "custom", "annotations exceeds a maximum quantity of 50"));
    }
    if text(fields, "status") == Some("completed") && text(fields, "conclusion").is_none() {
        return Err(invalid("CheckRun", "conclusion", "missing_field", "conclusion is required for the status completed"));
    }
    let Some(run) = run.as_object_mut() else { return Ok(()) };
    for (name, value) in fields.iter().filter(|(name, _)| *name != "output" && *name != "head_sha") {
        run.insert(name.clone(), value.clone());
    }
    if fields.contains_key("conclusion") {
        run.insert("status".into(), "completed".into());
    }
    let Some(kept) = run.get_mut("output").and_then(Value::as_object_mut) else { return Ok(()) };
    for (name, value) in output.into_iter().flatten().filter(|(name, _)| *name != "annotations") {
        kept.insert(name.clone(), value.clone());
    }
    if let Some(list) = kept.get_mut("annotations").and_then(Value::as_array_mut) {
        list.extend(annotations.into_iter().flatten().cloned());
        let count = list.len();
        kept.insert("annotations_count".into(), count.into());
    }
    Ok(())
}

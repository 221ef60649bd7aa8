//! Workflows that can be started, their runs, and events for them.

use serde_json::{Value, json};

use super::answers::{Refusal, body, refused};
use super::state::State;
use super::{Call, GitHub, Reply, repository, text};
use crate::demo::stand_ins::ledger::lock;

impl GitHub {
    /// Adds a workflow by its file, with the inputs it declares. Its runs are named by their inputs.
    pub fn add_workflow(&self, repository: &str, file: &str, inputs: &[&str]) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            let inputs = inputs.iter().map(|input| (*input).to_owned()).collect();
            repository.workflows.insert(file.to_owned(), (inputs, Vec::new()));
        }
    }

    /// Runs of a workflow, oldest first.
    pub fn workflow_runs(&self, repository: &str, file: &str) -> Vec<Value> {
        self.read(repository, |repository| repository.workflows.get(file).map(|(_, runs)| runs.clone()).unwrap_or_default())
    }

    /// Events that were sent to the workflows of a repository, oldest first.
    pub fn dispatches(&self, repository: &str) -> Vec<Value> {
        self.read(repository, |repository| repository.dispatches.clone())
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("POST", ["actions", "workflows", file, "dispatches"]) => start(call, state, file),
        ("GET", ["actions", "workflows", file, "runs"]) => runs(call, state, file),
        ("POST", ["dispatches"]) => dispatch(call, state),
        _ => return None,
    })
}

fn start(call: &Call<'_>, state: &mut State, file: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "WorkflowDispatch")?;
    let id = state.next_id();
    let (api, html) = (call.api_url(&format!("/actions/runs/{id}")), call.html_url(&format!("/actions/runs/{id}")));
    let repository = repository(call, state)?;
    let reference = text(&fields, "ref").unwrap_or_default();
    if !repository.branches.contains_key(reference) {
        return Err(refused(422, format!("No ref found for: {reference}")));
    }
    let (declared, runs) = repository.workflows.get_mut(file).ok_or_else(|| refused(404, "Not Found"))?;
    let inputs = fields.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(unknown) = inputs.keys().find(|name| !declared.contains(name)) {
        return Err(refused(422, format!("Unexpected inputs provided: [\"{unknown}\"]")));
    }
    let title: Vec<String> = inputs.values().filter_map(Value::as_str).map(str::to_owned).collect();
    runs.push(json!({
        "id": id, "url": api, "html_url": html, "display_title": title.join(" "), "event": "workflow_dispatch",
        "head_branch": reference, "inputs": inputs,
    }));
    call.ledger.effect("workflow.started", file, json!({ "id": id }));
    Ok(match fields.get("return_run_details") {
        Some(Value::Bool(true)) => Reply::Ok(json!({ "workflow_run_id": id, "run_url": api, "html_url": html })),
        _ => Reply::Nothing,
    })
}

fn runs(call: &Call<'_>, state: &mut State, file: &str) -> Result<Reply, Refusal> {
    let (_, runs) = repository(call, state)?.workflows.get(file).ok_or_else(|| refused(404, "Not Found"))?;
    let newest: Vec<&Value> = runs.iter().rev().collect();
    Ok(Reply::Ok(json!({ "total_count": newest.len(), "workflow_runs": newest })))
}

fn dispatch(call: &Call<'_>, state: &mut State) -> Result<Reply, Refusal> {
    let fields = body(call.request, "RepositoryDispatch")?;
    let payload = fields.get("client_payload").and_then(Value::as_object);
    if payload.is_some_and(|payload| payload.len() > 10) {
        return Err(refused(422, "No more than 10 properties are allowed; 11 were supplied."));
    }
    call.ledger.effect("repository.dispatched", text(&fields, "event_type").unwrap_or_default(), json!({}));
    repository(call, state)?.dispatches.push(Value::Object(fields));
    Ok(Reply::Nothing)
}

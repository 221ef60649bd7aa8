//! Deployments and their statuses.

use serde_json::{Value, json};

use super::answers::{Refusal, body, invalid, refused, user};
use super::state::{Deployment, Repository, State};
use super::statuses::latest;
use super::{Call, Reply, number, repository, text};
use crate::clock::Timestamp;

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["deployments"]) => list(call, state),
        ("POST", ["deployments"]) => create(call, state),
        ("GET", ["deployments", id]) => get(call, state, id),
        ("GET", ["deployments", id, "statuses"]) => list_statuses(call, state, id),
        ("POST", ["deployments", id, "statuses"]) => create_status(call, state, id),
        _ => return None,
    })
}

fn list(call: &Call<'_>, state: &mut State) -> Result<Reply, Refusal> {
    let fits = |deployment: &&Deployment| {
        ["sha", "ref", "task", "environment"].iter().all(|name| {
            let wanted = call.request.parameter(name).filter(|wanted| *wanted != "none");
            wanted.is_none_or(|wanted| deployment.shown.get(*name).and_then(Value::as_str) == Some(wanted))
        })
    };
    let repository = repository(call, state)?;
    // Newest first, as the API lists them.
    let found = repository.deployments.values().rev().filter(fits);
    Ok(Reply::List(found.map(|deployment| deployment.shown.clone()).collect()))
}

fn create(call: &Call<'_>, state: &mut State) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateDeployment")?;
    let id = state.next_id();
    let repository = repository(call, state)?;
    let reference = text(&fields, "ref").unwrap_or_default();
    let sha = repository.resolve(reference).ok_or_else(|| refused(422, format!("No ref found for: {reference}")))?;
    let environment = text(&fields, "environment").unwrap_or("production");
    required_contexts(repository, &sha, reference, fields.get("required_contexts"))?;
    let transient = fields.get("transient_environment").and_then(Value::as_bool).unwrap_or_default();
    let production = fields.get("production_environment").and_then(Value::as_bool).unwrap_or(environment == "production");
    let now = Timestamp::now().rfc3339();
    let url = call.api_url(&format!("/deployments/{id}"));
    let shown = json!({
        "id": id, "node_id": format!("DE_{id}"), "url": url, "sha": sha, "ref": reference,
        "task": text(&fields, "task").unwrap_or("deploy"), "payload": fields.get("payload").cloned().unwrap_or_else(|| json!({})),
        "original_environment": environment, "environment": environment, "description": fields.get("description"),
        "creator": user(call.base), "created_at": now, "updated_at": now, "statuses_url": format!("{url}/statuses"),
        "repository_url": call.api_url(""), "transient_environment": transient, "production_environment": production,
    });
    let details = json!({ "repository": call.full_name(), "commit": sha, "environment": environment });
    call.ledger.effect("deployment.created", &id.to_string(), details);
    repository.deployments.insert(id, Deployment { shown: shown.clone(), statuses: Vec::new() });
    Ok(Reply::Created(shown))
}

/// Left out, every status there is must be a success; an empty list asks for none.
fn required_contexts(repository: &Repository, sha: &str, reference: &str, required: Option<&Value>) -> Result<(), Refusal> {
    let latest = latest(repository, sha);
    let green = |context: &str| {
        latest.get(context).and_then(|status| status.get("state")).and_then(Value::as_str).is_some_and(|state| state == "success")
    };
    let passed = match required.and_then(Value::as_array) {
        Some(contexts) => contexts.iter().filter_map(Value::as_str).all(green),
        None => latest.keys().all(|context| green(context)),
    };
    if passed { Ok(()) } else { Err(refused(409, format!("Conflict: Commit status checks failed for {reference}."))) }
}

fn get(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let found = repository(call, state)?.deployments.get(&number(id)?);
    found.map(|deployment| Reply::Ok(deployment.shown.clone())).ok_or_else(|| refused(404, "Not Found"))
}

fn list_statuses(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let found = repository(call, state)?.deployments.get(&number(id)?).ok_or_else(|| refused(404, "Not Found"))?;
    Ok(Reply::List(found.statuses.iter().rev().cloned().collect()))
}

fn create_status(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateDeploymentStatus")?;
    let status_id = state.next_id();
    let number = number(id)?;
    let repository = repository(call, state)?;
    let deployment = repository.deployments.get(&number).ok_or_else(|| refused(404, "Not Found"))?;
    if text(&fields, "description").is_some_and(|text| text.chars().count() > 140) {
        let message = "description is too long (maximum is 140 characters)";
        return Err(invalid("DeploymentStatus", "description", "custom", message));
    }
    for name in ["target_url", "log_url", "environment_url"] {
        let address = text(&fields, name).filter(|address| !address.is_empty());
        if address.is_some_and(|address| !address.starts_with("https://") && !address.starts_with("http://")) {
            return Err(invalid("DeploymentStatus", name, "custom", "must use http(s) scheme"));
        }
    }
    let of_deployment = deployment.shown.get("environment").and_then(Value::as_str).unwrap_or_default();
    let environment = text(&fields, "environment").unwrap_or(of_deployment).to_owned();
    let auto_inactive = fields.get("auto_inactive").and_then(Value::as_bool).unwrap_or(true);
    let state = text(&fields, "state").unwrap_or_default().to_owned();
    let mut status = shown_status(call, number, status_id, &state, &environment);
    if let Some(object) = status.as_object_mut() {
        for name in ["description", "environment_url", "log_url"] {
            object.insert(name.into(), text(&fields, name).unwrap_or_default().into());
        }
        let log = text(&fields, "log_url").or(text(&fields, "target_url")).unwrap_or_default();
        object.insert("target_url".into(), log.into());
    }
    let details = json!({ "repository": call.full_name(), "deployment": number, "environment": environment });
    call.ledger.effect("deployment-status.created", &state, details);
    if let Some(deployment) = repository.deployments.get_mut(&number) {
        deployment.statuses.push(status.clone());
    }
    if state == "success" && auto_inactive {
        make_others_inactive(call, repository, number, &environment, status_id);
    }
    Ok(Reply::Created(status))
}

fn shown_status(call: &Call<'_>, deployment: u64, id: u64, state: &str, environment: &str) -> Value {
    let now = Timestamp::now().rfc3339();
    let url = call.api_url(&format!("/deployments/{deployment}"));
    json!({
        "id": id, "node_id": format!("DS_{id}"), "url": format!("{url}/statuses/{id}"), "state": state,
        "creator": user(call.base), "description": "", "environment": environment, "target_url": "", "log_url": "",
        "environment_url": "", "created_at": now, "updated_at": now, "deployment_url": url, "repository_url": call.api_url(""),
    })
}

/// A success ends the earlier successes of its environment, unless that is transient or production.
fn make_others_inactive(call: &Call<'_>, repository: &mut Repository, number: u64, environment: &str, id: u64) {
    for (other, deployment) in &mut repository.deployments {
        let flag = |name: &str| deployment.shown.get(name).and_then(Value::as_bool).unwrap_or_default();
        let same = deployment.shown.get("environment").and_then(Value::as_str) == Some(environment);
        let last = deployment.statuses.last().and_then(|status| status.get("state")).and_then(Value::as_str);
        let ends = *other < number && same && last == Some("success");
        if ends && !flag("transient_environment") && !flag("production_environment") {
            deployment.statuses.push(shown_status(call, *other, id, "inactive", environment));
        }
    }
}

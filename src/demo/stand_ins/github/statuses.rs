//! Commit statuses, and what they amount to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answers::{Refusal, body, invalid, refused, user};
use super::commits::commit_of;
use super::state::{Repository, State};
use super::{Call, Reply, repository, text};
use crate::clock::Timestamp;

/// Most statuses of one commit and context.
const MOST: usize = 1000;

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("POST", ["statuses", sha]) => create(call, state, sha),
        ("GET", ["commits", reference @ .., "statuses"]) => list(call, state, &reference.join("/")),
        ("GET", ["commits", reference @ .., "status"]) => combined(call, state, &reference.join("/")),
        _ => return None,
    })
}

fn create(call: &Call<'_>, state: &mut State, sha: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateStatus")?;
    let id = state.next_id();
    let repository = repository(call, state)?;
    // Statuses hang on commits: a branch's name or a short id is not enough.
    if !repository.commits.contains_key(sha) {
        return Err(refused(422, format!("No commit found for SHA: {sha}")));
    }
    let description = text(&fields, "description");
    if description.is_some_and(|text| text.chars().count() > 140) {
        return Err(invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)"));
    }
    let target = text(&fields, "target_url").filter(|target| !target.is_empty());
    if target.is_some_and(|target| !target.starts_with("https://") && !target.starts_with("http://")) {
        return Err(invalid("Status", "target_url", "custom", "target_url must use http(s) scheme"));
    }
    let context = text(&fields, "context").unwrap_or("default");
    if context.len() > 255 {
        return Err(invalid("Status", "context", "custom", "context is too long (maximum is 255 characters)"));
    }
    let statuses = repository.statuses.entry(sha.to_owned()).or_default();
    if statuses.iter().filter(|status| status.get("context").and_then(Value::as_str) == Some(context)).count() >= MOST {
        return Err(invalid("Status", "context", "custom", "This SHA and context has reached the maximum number of statuses."));
    }
    let now = Timestamp::now().rfc3339();
    let status = json!({
        "id": id, "node_id": format!("SC_{id}"), "url": call.api_url(&format!("/statuses/{sha}")), "avatar_url": null,
        "state": fields.get("state"), "description": description, "target_url": target, "context": context,
        "created_at": now, "updated_at": now, "creator": user(call.base),
    });
    let details = json!({ "repository": call.full_name(), "commit": sha, "state": fields.get("state") });
    call.ledger.effect("status.created", context, details);
    statuses.push(status.clone());
    Ok(Reply::Created(status))
}

fn list(call: &Call<'_>, state: &mut State, reference: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = commit_of(repository, reference)?;
    // Newest first, as the API lists them.
    Ok(Reply::List(repository.statuses.get(&sha).into_iter().flatten().rev().cloned().collect()))
}

/// The latest status of each context.
pub(super) fn latest<'r>(repository: &'r Repository, sha: &str) -> BTreeMap<&'r str, &'r Value> {
    let context = |status: &'r Value| (status.get("context").and_then(Value::as_str).unwrap_or_default(), status);
    repository.statuses.get(sha).into_iter().flatten().map(context).collect()
}

fn combined(call: &Call<'_>, state: &mut State, reference: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = commit_of(repository, reference)?;
    let statuses: Vec<&Value> = latest(repository, &sha).into_values().collect();
    let any = |wanted: &[&str]| {
        statuses.iter().any(|status| status.get("state").and_then(Value::as_str).is_some_and(|state| wanted.contains(&state)))
    };
    let whole = if any(&["failure", "error"]) {
        "failure"
    } else if statuses.is_empty() || any(&["pending"]) {
        "pending"
    } else {
        "success"
    };
    Ok(Reply::Ok(json!({
        "state": whole, "sha": sha, "total_count": statuses.len(), "statuses": statuses,
        "commit_url": call.api_url(&format!("/commits/{sha}")), "url": call.api_url(&format!("/commits/{sha}/status")),
        "repository": { "id": repository.id, "name": call.name, "full_name": call.full_name(), "url": call.api_url("") },
    })))
}

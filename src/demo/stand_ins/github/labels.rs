//! Labels of issues and pull requests.

use serde_json::{Value, json};

use super::answers::{Refusal, body, refused};
use super::issues::known;
use super::state::State;
use super::{Call, GitHub, Reply, repository};
use crate::demo::stand_ins::ledger::lock;

impl GitHub {
    /// Labels of an issue or pull request, in the order they were added.
    pub fn labels(&self, repository: &str, number: u64) -> Vec<String> {
        lock(&self.state).repositories.get(repository).and_then(|found| found.labels.get(&number).cloned()).unwrap_or_default()
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["issues", issue, "labels"]) => known(call, state, issue).and_then(|issue| shown(call, state, issue)),
        ("POST", ["issues", issue, "labels"]) => write(call, state, issue, "AddLabels"),
        ("PUT", ["issues", issue, "labels"]) => write(call, state, issue, "SetLabels"),
        // A label's name can hold a slash, which is decoded by now.
        ("DELETE", ["issues", issue, "labels", name @ ..]) => remove(call, state, issue, &name.join("/")),
        _ => return None,
    })
}

fn write(call: &Call<'_>, state: &mut State, issue: &str, shape: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, shape)?;
    let number = known(call, state, issue)?;
    let given = fields.get("labels").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = given.filter_map(Value::as_str).map(str::to_owned).collect();
    let labels = repository(call, state)?.labels.entry(number).or_default();
    if shape == "SetLabels" {
        labels.clear();
    }
    for name in names {
        if !labels.contains(&name) {
            labels.push(name);
        }
    }
    call.ledger.effect("labels.changed", &number.to_string(), json!({ "labels": labels }));
    shown(call, state, number)
}

fn remove(call: &Call<'_>, state: &mut State, issue: &str, name: &str) -> Result<Reply, Refusal> {
    let number = known(call, state, issue)?;
    let labels = repository(call, state)?.labels.entry(number).or_default();
    let place = labels.iter().position(|label| label == name).ok_or_else(|| refused(404, "Label does not exist"))?;
    labels.remove(place);
    call.ledger.effect("labels.changed", &number.to_string(), json!({ "labels": labels }));
    shown(call, state, number)
}

fn shown(call: &Call<'_>, state: &mut State, number: u64) -> Result<Reply, Refusal> {
    let url = call.api_url("/labels");
    let labels = repository(call, state)?.labels.get(&number).cloned().unwrap_or_default();
    let label = |(index, name): (usize, String)| {
        json!({
            "id": index + 1, "node_id": format!("LA_{index}"), "url": format!("{url}/{name}"), "name": name, "color": "ededed",
            "default": false, "description": null,
        })
    };
    Ok(Reply::Ok(Value::Array(labels.into_iter().enumerate().map(label).collect())))
}

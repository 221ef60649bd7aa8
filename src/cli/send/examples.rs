//! GitHub's own examples of its events: the npm package `@octokit/webhooks-examples`, if it is installed here or above.

use std::path::PathBuf;

use serde_json::Value;

/// Where the package keeps them.
const INDEX: &str = "node_modules/@octokit/webhooks-examples/api.github.com/index.json";

/// The example of an event: `push`, or with its action `pull_request.opened`; `number` from 1 where there are several. Answers the event
/// without the action, and the body.
pub fn named(event: &str, number: usize) -> Result<(&str, Vec<u8>), String> {
    let file = index()?;
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let index: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let entries = index.as_array().ok_or_else(|| format!("{} is no list of events", file.display()))?;
    let (name, action) = event.split_once('.').map_or((event, None), |(name, action)| (name, Some(action)));
    let entry = entries.iter().find(|entry| entry.get("name").and_then(Value::as_str) == Some(name));
    let Some(entry) = entry else {
        let names: Vec<&str> = entries.iter().filter_map(|entry| entry.get("name")?.as_str()).collect();
        return Err(format!("there is no example of the event `{name}`; there are {}", names.join(", ")));
    };
    let all = || entry.get("examples").and_then(Value::as_array).into_iter().flatten();
    let acts = |example: &Value| example.get("action").and_then(Value::as_str).map(str::to_owned);
    let mut fitting = all().filter(|example| action.is_none() || acts(example).as_deref() == action);
    let count = fitting.clone().count();
    match fitting.nth(number.saturating_sub(1)) {
        Some(example) if number > 0 => Ok((name, example.to_string().into_bytes())),
        _ if count > 0 => Err(format!("there are {count} examples of `{event}`: choose with --example 1 to {count}")),
        _ => {
            let mut actions: Vec<String> = all().filter_map(acts).collect();
            actions.sort();
            actions.dedup();
            Err(format!("no example of `{name}` has this action; there are {}", actions.join(", ")))
        }
    }
}

/// In this folder or the nearest above.
fn index() -> Result<PathBuf, String> {
    let here = std::env::current_dir().map_err(|error| format!("the current folder cannot be read: {error}"))?;
    let found = here.ancestors().map(|folder| folder.join(INDEX)).find(|file| file.is_file());
    found.ok_or_else(|| {
        "name the file of the body with --payload, or get GitHub's examples with `npm install @octokit/webhooks-examples`"
            .to_owned()
    })
}

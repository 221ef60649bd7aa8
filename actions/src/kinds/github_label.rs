//! `github/label`: labels of the event's issue or pull request.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::kinds::github;

/// GitHub takes no more on one issue.
const MOST_LABELS: usize = 100;
const LONGEST_NAME: usize = 50;

/// The action.
pub struct GithubLabel;

static SPEC: Spec = Spec {
    name: "github/label",
    summary: "Adds, removes or sets labels of the issue or pull request of the event",
    class: Class::Plain,
    parameters: &[
        Field { name: "add", shape: "[string]?", summary: "Labels to add; one that the repository lacks is made" },
        Field { name: "remove", shape: "[string]?", summary: "Labels to take away; one that is not there is no failure" },
        Field { name: "set", shape: "[string]?", summary: "All labels it is to have; not with the others" },
        Field { name: "number", shape: "int?", summary: "Another issue or pull request of the same repository" },
    ],
    outputs: &[Field { name: "labels", shape: "[string]", summary: "The labels it has now" }],
    example: "add: [deployed]\nremove: [deploying]\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Idempotent,
    repeat_how: "A label that is there stays, and one that is gone stays gone",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME/issues/NUMBER/labels`
    path: String,
    add: Vec<String>,
    remove: Vec<String>,
    set: Option<Vec<String>>,
}

#[async_trait]
impl Action for GithubLabel {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let ((path, at), add, remove, set) =
            all((github::issue(&call), labels(&given, "add"), labels(&given, "remove"), labels(&given, "set")))?;
        let (add, remove) = (add.unwrap_or_default(), remove.unwrap_or_default());
        if set.is_some() != (add.is_empty() && remove.is_empty()) {
            return Err(invalid("give labels to `add` and `remove`, or all of them to `set`").into());
        }
        let changes: Vec<String> =
            add.iter().map(|name| format!("+{name}")).chain(remove.iter().map(|name| format!("-{name}"))).collect();
        let what = set.as_ref().map_or_else(|| changes.join(" "), |set| format!("= {}", set.join(" ")));
        let summary = format!("labels of {at}: {what}");
        given::intent(call, &Plan { path: format!("{path}/labels"), add, remove, set }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let client = &context.clients.github;
        let mut now = None;
        if let Some(set) = &plan.set {
            now = Some(client.put(&plan.path, &json!({ "labels": set }), context.deadline).await?);
        }
        if !plan.add.is_empty() {
            now = Some(client.post(&plan.path, &json!({ "labels": plan.add }), context.deadline).await?);
        }
        for label in &plan.remove {
            match client.delete(&format!("{}/{}", plan.path, github::segment(label)), context.deadline).await {
                Ok(answer) => now = Some(answer),
                // The label is gone, or the whole issue: the reading below tells which.
                Err(failure) if failure.why().code == "not-found" => now = None,
                Err(failure) => return Err(failure),
            }
        }
        let now = match now {
            Some(answer) => answer,
            None => client.get(&format!("{}?per_page=100", plan.path), context.deadline).await?,
        };
        let now = github::json(now)?;
        let names: Vec<&str> =
            now.as_array().into_iter().flatten().filter_map(|label| label.get("name").and_then(Value::as_str)).collect();
        Ok(Outcome { outputs: json!({ "labels": names }), summary: format!("it has {} labels", names.len()), url: None })
    }
}

fn labels(given: &given::Given<'_>, name: &str) -> Result<Option<Vec<String>>, Why> {
    let Some(labels) = given.optional_texts(name)? else { return Ok(None) };
    let fits = |label: &&str| !label.is_empty() && label.chars().count() <= LONGEST_NAME && !label.contains([',', '\n']);
    if labels.len() > MOST_LABELS || !labels.iter().all(fits) {
        return Err(invalid(format!(
            "`with.{name}` holds at most {MOST_LABELS} labels of 1 to {LONGEST_NAME} characters without commas"
        )));
    }
    Ok(Some(labels.into_iter().map(str::to_owned).collect()))
}

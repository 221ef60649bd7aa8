//! `github/pull-request`: what a pull request brings, and whether its checks and reviewers are content.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, invalid};
use crate::kinds::github;

/// A hundred a page; a pull request with more checks or reviews is not judged.
const MOST_PAGES: u32 = 10;

/// The action.
pub struct GithubPullRequest;

static SPEC: Spec = Spec {
    name: "github/pull-request",
    summary: "Reads a pull request with the state of its checks and reviews",
    class: Class::Plain,
    parameters: &[Field { name: "number", shape: "int", summary: "Its number" }],
    outputs: &[
        Field { name: "head", shape: "{ branch: text, sha: string }", summary: "What it brings" },
        Field { name: "base", shape: "{ branch: string, sha: string }", summary: "Where it goes" },
        Field { name: "draft", shape: "bool", summary: "Is it a draft?" },
        Field { name: "fork", shape: "bool", summary: "Does it come from another repository?" },
        Field { name: "mergeable", shape: "bool?", summary: "Can it be merged? Null while GitHub is finding out" },
        Field {
            name: "checks",
            shape: "success|failure|pending|none",
            summary: "All check runs and statuses of its head together",
        },
        Field {
            name: "approved",
            shape: "bool",
            summary: "Has somebody who may write approved the head commit, and nobody such asked for changes?",
        },
        Field { name: "labels", shape: "[string]", summary: "Names of its labels" },
        Field { name: "author", shape: "string", summary: "Who opened it" },
    ],
    example: "number: 17\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Idempotent,
    repeat_how: "It only reads",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME`
    repository: String,
    number: i64,
}

#[async_trait]
impl Action for GithubPullRequest {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let number = given::params(&call).int_within("number", 1, i64::MAX)?;
        let number = number.ok_or_else(|| invalid("`with.number` is missing"))?;
        let repository = github::repository(&call)?;
        let summary = format!("read #{number} of {}", repository.trim_start_matches("/repos/"));
        given::intent(call, &Plan { repository, number }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let Plan { repository, number } = given::plan(intent)?;
        let get = async |path: String| github::json(context.clients.github.get(&path, context.deadline).await?);
        let pull = get(format!("{repository}/pulls/{number}")).await?;
        let text = |pointer: &str| pull.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let sha = text("/head/sha");
        if sha.is_empty() {
            return Err(Failure::last("bad-answer", "GitHub's answer does not name the head commit"));
        }
        let commit = format!("{repository}/commits/{sha}");
        let runs = pages(context, &format!("{commit}/check-runs"), "/check_runs").await?;
        let statuses = get(format!("{commit}/status")).await?;
        let reviews = pages(context, &format!("{repository}/pulls/{number}/reviews"), "").await?;
        let labels = pull.get("labels").and_then(Value::as_array).into_iter().flatten();
        let labels: Vec<&str> = labels.filter_map(|label| label.get("name").and_then(Value::as_str)).collect();
        let (checks, approved) = (checks(&runs, &statuses), approved(&reviews, sha));
        let outputs = json!({
            "head": { "branch": text("/head/ref"), "sha": sha },
            "base": { "branch": text("/base/ref"), "sha": text("/base/sha") },
            "draft": pull.get("draft").and_then(Value::as_bool).unwrap_or(false),
            // A fork that was deleted is a fork still.
            "fork": pull.pointer("/head/repo/id").is_none_or(|id| Some(id) != pull.pointer("/base/repo/id")),
            "mergeable": pull.get("mergeable").and_then(Value::as_bool),
            "checks": checks,
            "approved": approved,
            "labels": labels,
            "author": text("/user/login"),
        });
        let summary = format!("#{number}: checks {checks}, {}", if approved { "approved" } else { "not approved" });
        let url = Some(text("/html_url").to_owned()).filter(|url| !url.is_empty());
        Ok(Outcome { outputs, summary, url })
    }
}

/// Every item of a list; a list that does not end is no list to judge by.
async fn pages(context: &Context<'_>, path: &str, pointer: &str) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    for page in 1..=MOST_PAGES {
        let path = format!("{path}?per_page=100&page={page}");
        let answer = github::json(context.clients.github.get(&path, context.deadline).await?)?;
        let items = answer.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        all.extend_from_slice(items);
        if items.len() < 100 {
            return Ok(all);
        }
    }
    Err(Failure::last("too-large", format!("The pull request has more than {} checks or reviews", MOST_PAGES * 100)))
}

/// One failure fails all; one that is not done leaves all open.
fn checks(runs: &[Value], statuses: &Value) -> &'static str {
    let word = |thing: &Value, field: &str| thing.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let done = |run: &Value| word(run, "status") == "completed";
    let good = |run: &Value| matches!(word(run, "conclusion").as_str(), "success" | "neutral" | "skipped");
    let some = statuses.get("total_count").and_then(Value::as_u64).unwrap_or(0) > 0;
    let state = if some { word(statuses, "state") } else { String::new() };
    if runs.iter().any(|run| done(run) && !good(run)) || matches!(state.as_str(), "failure" | "error") {
        "failure"
    } else if !runs.iter().all(done) || state == "pending" {
        "pending"
    } else if runs.is_empty() && !some {
        "none"
    } else {
        "success"
    }
}

/// By the latest word of each reviewer who may write. Anybody can approve on a public repository, so that counts for nothing;
/// an approval of an older commit does not cover what was pushed since.
fn approved(reviews: &[Value], head: &str) -> bool {
    let text = |review: &Value, pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut latest = BTreeMap::new();
    for review in reviews {
        let (state, association) = (text(review, "/state"), text(review, "/author_association"));
        let may_write = matches!(association.as_str(), "OWNER" | "MEMBER" | "COLLABORATOR");
        if may_write && matches!(state.as_str(), "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED") {
            latest.insert(text(review, "/user/login"), (state, text(review, "/commit_id")));
        }
    }
    latest.values().any(|(state, commit)| state == "APPROVED" && commit == head)
        && !latest.values().any(|(state, _)| state == "CHANGES_REQUESTED")
}

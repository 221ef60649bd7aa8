//! `github/status`: a commit status.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all, invalid};
use crate::kinds::github;

/// GitHub takes no more.
const LONGEST_DESCRIPTION: usize = 140;

/// The action.
pub struct GithubStatus;

static SPEC: Spec = Spec {
    name: "github/status",
    summary: "Sets a status on a commit",
    class: Class::Plain,
    parameters: &[
        Field { name: "state", shape: "error|failure|pending|success", summary: "The state" },
        Field { name: "context", shape: "string?", summary: "Name that tells it from other statuses: `declic` if left out" },
        Field { name: "description", shape: "plain?", summary: "One short line" },
        Field { name: "target-url", shape: "string?", summary: "Address behind the status; the run in the console if left out" },
        Field { name: "sha", shape: "string?", summary: "Another commit than that of the event" },
    ],
    outputs: &[
        Field { name: "id", shape: "int", summary: "GitHub's id of the status" },
        Field { name: "url", shape: "string", summary: "Its address at the API" },
    ],
    example: r#"state: success
context: declic/staging
description: deployed
"#,
    deadline: Duration::from_secs(15),
    repeat: Repeat::Found,
    repeat_how: "Only the latest status of a context counts; if that is the same already, none is added",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME`
    repository: String,
    sha: String,
    state: String,
    context: String,
    description: Option<String>,
    target_url: Option<String>,
}

#[async_trait]
impl Action for GithubStatus {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let run_url = call.origin.run_url.as_deref();
        let state = given.one_of("state", &["error", "failure", "pending", "success"]);
        let (repository, sha, state, context, description, target_url) = all((
            github::repository(&call),
            github::sha(&call),
            state.and_then(|state| state.ok_or_else(|| invalid("`with.state` is missing"))),
            given.optional_text("context"),
            given.optional_text("description"),
            given.optional_text("target-url").and_then(|url| github::address("target-url", url.or(run_url))),
        ))?;
        let plan = Plan {
            repository,
            sha,
            state: state.to_owned(),
            context: github::cut(context.unwrap_or("declic"), 255),
            description: description.map(|text| github::cut(text, LONGEST_DESCRIPTION)),
            target_url,
        };
        let summary = format!("status {} = {} on {}", plan.context, plan.state, plan.sha);
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let mut body = json!({ "state": plan.state, "context": plan.context });
        if let Some(body) = body.as_object_mut() {
            let optional = [("description", &plan.description), ("target_url", &plan.target_url)];
            body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into()))));
        }
        let path = format!("{}/statuses/{}", plan.repository, plan.sha);
        let status = github::json(context.clients.github.reporting().post(&path, &body, context.deadline).await?)?;
        outcome(&status, &plan)
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let path = format!("{}/commits/{}/statuses?per_page=100", plan.repository, plan.sha);
        let answer = github::json(context.clients.github.reporting().get(&path, context.deadline).await?)?;
        // Newest first: only the latest of the context counts, so only that one can be ours and still matter.
        let of = |name: &str, status: &Value| status.get(name).and_then(Value::as_str).map(str::to_owned);
        let latest = answer.as_array().into_iter().flatten().find(|status| of("context", status).as_ref() == Some(&plan.context));
        let same = |status: &&Value| {
            of("state", status).as_ref() == Some(&plan.state)
                && of("description", status) == plan.description
                && of("target_url", status) == plan.target_url
        };
        latest.filter(same).map(|status| outcome(status, &plan)).transpose()
    }
}

fn outcome(status: &Value, plan: &Plan) -> Result<Outcome, Failure> {
    let (id, url) = github::identity(status, "url")?;
    let summary = format!("{} is {}", plan.context, plan.state);
    Ok(Outcome { outputs: json!({ "id": id, "url": url }), summary, url: plan.target_url.clone() })
}

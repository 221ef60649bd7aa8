//! `github/deployment`: a GitHub deployment, made once a run, and its statuses.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all, invalid};
use crate::hops;
use crate::kinds::github;

const STATES: &[&str] = &["queued", "in_progress", "success", "failure", "error", "inactive"];
/// GitHub takes no more.
const LONGEST_DESCRIPTION: usize = 140;

/// The action.
pub struct GithubDeployment;

static SPEC: Spec = Spec {
    name: "github/deployment",
    summary: "Keeps a GitHub deployment of the run's commit: creates it once and sets its status",
    class: Class::Plain,
    parameters: &[
        Field { name: "state", shape: "queued|in_progress|success|failure|error|inactive", summary: "The status to set" },
        Field { name: "environment", shape: "string", summary: "Name of the environment" },
        Field { name: "environment-url", shape: "string?", summary: "Where the environment can be looked at" },
        Field {
            name: "log-url",
            shape: "string?",
            summary: "Where the run can be looked at; the run in the console if left out",
        },
        Field { name: "description", shape: "plain?", summary: "One short line" },
        Field { name: "sha", shape: "string?", summary: "Another commit than that of the event" },
        Field { name: "transient", shape: "bool?", summary: "The environment goes away some day, such as a preview" },
        Field {
            name: "auto-inactive",
            shape: "bool?",
            summary: "Marks older deployments of the environment inactive on success: true if left out",
        },
    ],
    outputs: &[
        Field { name: "id", shape: "int", summary: "GitHub's id of the deployment" },
        Field { name: "url", shape: "string", summary: "Its address at the API" },
        Field { name: "status_id", shape: "int", summary: "GitHub's id of the status" },
    ],
    example: r#"state: success
environment: staging
environment-url: https://staging.example.com
"#,
    deadline: Duration::from_secs(15),
    repeat: Repeat::Found,
    repeat_how: "The deployment carries the run's id in its payload, so that it is found again; a status is only added if the last one differs",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME`
    repository: String,
    sha: String,
    /// Kept in the deployment's payload: all statuses of one run belong to one deployment.
    run: String,
    hops: u32,
    state: String,
    environment: String,
    environment_url: Option<String>,
    log_url: Option<String>,
    description: Option<String>,
    transient: bool,
    auto_inactive: bool,
}

impl Plan {
    fn list(&self) -> String {
        format!("{}/deployments", self.repository)
    }

    /// The deployment of this run, if it was made.
    async fn search(&self, context: &Context<'_>) -> Result<Option<Value>, Failure> {
        let environment: String = url::form_urlencoded::byte_serialize(self.environment.as_bytes()).collect();
        let path = format!("{}?sha={}&environment={environment}&per_page=100", self.list(), self.sha);
        let answer = github::json(context.clients.github.reporting().get(&path, context.deadline).await?)?;
        Ok(answer.as_array().into_iter().flatten().find(|deployment| self.is_of_run(deployment)).cloned())
    }

    /// GitHub gives the payload back as it was sent, or as text that holds it.
    fn is_of_run(&self, deployment: &Value) -> bool {
        let run = |payload: &Value| payload.get(hops::RUN).and_then(Value::as_str) == Some(self.run.as_str());
        match deployment.get("payload") {
            Some(Value::String(text)) => serde_json::from_str(text).is_ok_and(|payload| run(&payload)),
            Some(payload) => run(payload),
            None => false,
        }
    }

    async fn create(&self, context: &Context<'_>) -> Result<Value, Failure> {
        let mut body = json!({
            "ref": self.sha,
            "task": "deploy",
            "auto_merge": false,
            // Without an empty list GitHub waits for every check of the commit, this one's own status included.
            "required_contexts": [],
            "environment": self.environment,
            "transient_environment": self.transient,
            "payload": { hops::RUN: self.run, hops::HOPS: self.hops },
        });
        if let (Some(body), Some(description)) = (body.as_object_mut(), &self.description) {
            body.insert("description".into(), description.clone().into());
        }
        let answer = context.clients.github.reporting().post(&self.list(), &body, context.deadline).await?;
        if answer.status == 202 {
            return Err(Failure::retry("conflict", "GitHub merged the default branch instead of making the deployment"));
        }
        github::json(answer)
    }

    /// The last status, if it says already what is to be said.
    async fn said(&self, context: &Context<'_>, id: u64) -> Result<Option<u64>, Failure> {
        let path = format!("{}/{id}/statuses?per_page=1", self.list());
        let answer = github::json(context.clients.github.reporting().get(&path, context.deadline).await?)?;
        let last = answer.as_array().and_then(|statuses| statuses.first());
        let of = |name: &str| last.and_then(|status| status.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty());
        let same = of("state") == Some(self.state.as_str()) && of("environment_url") == self.environment_url.as_deref();
        Ok(last.filter(|_| same).and_then(|status| status.get("id")).and_then(Value::as_u64))
    }

    async fn say(&self, context: &Context<'_>, id: u64) -> Result<u64, Failure> {
        let mut body = json!({ "state": self.state, "auto_inactive": self.auto_inactive });
        if let Some(body) = body.as_object_mut() {
            let optional =
                [("environment_url", &self.environment_url), ("log_url", &self.log_url), ("description", &self.description)];
            body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into()))));
        }
        let path = format!("{}/{id}/statuses", self.list());
        let status = github::json(context.clients.github.reporting().post(&path, &body, context.deadline).await?)?;
        github::identity(&status, "url").map(|(id, _)| id)
    }

    fn outcome(&self, deployment: &Value, status: u64) -> Result<Outcome, Failure> {
        let (id, url) = github::identity(deployment, "url")?;
        let outputs = json!({ "id": id, "url": url, "status_id": status });
        let summary = format!("{} is {}", self.environment, self.state);
        Ok(Outcome { outputs, summary, url: self.environment_url.clone() })
    }
}

#[async_trait]
impl Action for GithubDeployment {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let run_url = call.origin.run_url.as_deref();
        let state = given.one_of("state", STATES).and_then(|state| state.ok_or_else(|| invalid("`with.state` is missing")));
        let (repository, sha, state, environment, environment_url, log_url, description, transient, auto_inactive) = all((
            github::repository(&call),
            github::sha(&call),
            state,
            given.text("environment"),
            given.optional_text("environment-url").and_then(|url| github::address("environment-url", url)),
            given.optional_text("log-url").and_then(|url| github::address("log-url", url.or(run_url))),
            given.optional_text("description"),
            given.flag("transient"),
            given.optional_flag("auto-inactive"),
        ))?;
        let plan = Plan {
            repository,
            sha,
            run: call.origin.run.clone(),
            hops: hops::carried(&call),
            state: state.to_owned(),
            environment: github::cut(environment, 255),
            environment_url,
            log_url,
            description: description.map(|text| github::cut(text, LONGEST_DESCRIPTION)),
            transient,
            auto_inactive: auto_inactive.unwrap_or(true),
        };
        let summary = format!("deployment of {} to {}: {}", plan.sha, plan.environment, plan.state);
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let deployment = match plan.search(context).await? {
            Some(deployment) => deployment,
            None => plan.create(context).await?,
        };
        let (id, _) = github::identity(&deployment, "url")?;
        let status = match plan.said(context, id).await? {
            Some(status) => status,
            None => plan.say(context, id).await?,
        };
        plan.outcome(&deployment, status)
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let Some(deployment) = plan.search(context).await? else { return Ok(None) };
        let (id, _) = github::identity(&deployment, "url")?;
        let status = plan.said(context, id).await?;
        status.map(|status| plan.outcome(&deployment, status)).transpose()
    }
}

//! `github/deployment`: a GitHub deployment, made once a run, and its statuses.

use std::time::Duration;

use async_trait::async_trait;

use crate::action::{Action, Call, Class, Context, Failure, Field, Intent, Outcome, Repeat, Spec, Why};

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

#[async_trait]
impl Action for GithubDeployment {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, _call: Call) -> Result<Intent, Why> {
        todo!()
    }

    async fn run(&self, _context: &Context<'_>, _intent: &Intent) -> Result<Outcome, Failure> {
        todo!()
    }
}

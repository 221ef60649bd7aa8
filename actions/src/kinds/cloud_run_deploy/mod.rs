//! `cloud-run/deploy`: a new revision of a service that gets traffic only once it serves.

mod build;
mod create;
mod health;
mod image;
mod job;
mod plan;
mod shift;
mod steps;

use std::time::Duration;

use async_trait::async_trait;

use serde_json::Value;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::cloud_run::Runs;
use crate::given;

/// The action.
pub struct CloudRunDeploy;

static SPEC: Spec = Spec {
    name: "cloud-run/deploy",
    summary: "Deploys an image to a Cloud Run service or job: done when the new revision serves, rolled back if it does not",
    class: Class::Deploy,
    parameters: &[
        Field { name: "target", shape: "target", summary: "The service or job, by its name under `targets:`" },
        Field {
            name: "image",
            shape: "string",
            summary: "The image, with a tag or a digest; it is resolved to a digest before anything changes. With `build` its name is enough",
        },
        Field {
            name: "wait-for-image",
            shape: "duration?",
            summary: "How long to wait for the image to appear, within the timeout of the step",
        },
        Field { name: "tag", shape: "string?", summary: "A tag of the revision, which gives it an address of its own" },
        Field {
            name: "traffic",
            shape: "[int]|int?",
            summary: "Percent of the traffic it gets once it is healthy: 100 if left out, 0 for a preview with a tag; a list such as `[10, 50, 100]` is a canary, with a health check after each share and `rollback` unless that is false",
        },
        Field {
            name: "hold",
            shape: "duration?",
            summary: "How long each share of a canary is kept before the next health check",
        },
        Field {
            name: "health",
            shape: "{ path: string, status: int?, attempts: int?, every: duration? }?",
            summary: "Checked on the revision's own address before it gets traffic",
        },
        Field {
            name: "rollback",
            shape: "bool?",
            summary: "If it does not become ready or healthy, put back the traffic as it was and remove the tag",
        },
        Field {
            name: "container",
            shape: "string?",
            summary: "The container that gets the image and the variables, where there are several",
        },
        Field {
            name: "env",
            shape: "{ \"*\": { secret: string, version: string? }|string }?",
            summary: "Variables that are set, of those that the target allows; all others stay as they are",
        },
        Field {
            name: "build",
            shape: "{ trigger: string?, dir: string?, dockerfile: string?, substitutions: { \"*\": string }? }?",
            summary: "Builds the image first, from the event's commit: by running a Cloud Build `trigger`, or from the target's source",
        },
        Field { name: "labels", shape: "{ \"*\": string }?", summary: "Labels of the revision and the service" },
    ],
    outputs: &[
        Field {
            name: "url",
            shape: "string",
            summary: "Address of what was deployed: of the service, or of the tag for a preview",
        },
        Field { name: "revision", shape: "string", summary: "Name of the new revision; of a job its name and generation" },
        Field { name: "previous_revision", shape: "string?", summary: "The revision that had most of the traffic before" },
        Field { name: "digest", shape: "string", summary: "Digest of the image" },
        Field { name: "removed_tag", shape: "string?", summary: "The preview's tag that had to make room" },
        Field { name: "rolled_back", shape: "bool", summary: "Always false; a rollback is a failure with `failure.rolled_back`" },
    ],
    example: r#"target: web_staging
image: europe-docker.pkg.dev/acme-build/web/web:main
wait-for-image: 15m
health: { path: /readyz, status: 200, attempts: 10, every: 3s }
rollback: true
"#,
    deadline: Duration::from_secs(900),
    repeat: Repeat::Idempotent,
    repeat_how: "The name of the revision follows from the call; each step looks at the service before it changes it",
};

/// Keeps what a later attempt must know.
async fn save<S: serde::Serialize + Sync>(context: &Context<'_>, state: &S) -> Result<(), Failure> {
    let saved = serde_json::to_value(state).map_err(|error| Failure::last("invalid", error.to_string()))?;
    context.progress.save(saved).await
}

#[async_trait]
impl Action for CloudRunDeploy {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        plan::prepare(call)
    }

    fn exclusive(&self, call: &Call) -> Option<String> {
        let target = call.params.get("target").and_then(Value::as_str)?;
        // A preview moves no traffic: only another one under the same tag is in its way.
        let preview = call.params.get("traffic").and_then(Value::as_i64) == Some(0);
        match call.params.get("tag").and_then(Value::as_str) {
            Some(tag) if preview => Some(format!("{target}#{tag}")),
            _ => Some(target.to_owned()),
        }
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: plan::Plan = given::plan(intent)?;
        if plan.target.runs == Runs::Job {
            return job::Deploy::resume(context, &plan)?.run().await;
        }
        steps::Deploy::resume(context, &plan)?.run().await
    }
}

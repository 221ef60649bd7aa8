//! `github/status`: a commit status.

use std::time::Duration;

use async_trait::async_trait;

use crate::action::{Action, Call, Class, Context, Failure, Field, Intent, Outcome, Repeat, Spec, Why};

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
    repeat: Repeat::Idempotent,
    repeat_how: "The latest status of a context counts; setting the same one again changes nothing that is seen",
};

#[async_trait]
impl Action for GithubStatus {
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

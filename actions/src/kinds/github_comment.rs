//! `github/comment`: a comment on the issue, the pull request or the commit of the event.

use std::time::Duration;

use async_trait::async_trait;

use crate::action::{Action, Call, Class, Context, Failure, Field, Intent, Outcome, Repeat, Spec, Why};

/// The action.
pub struct GithubComment;

static SPEC: Spec = Spec {
    name: "github/comment",
    summary: "Comments on the issue or pull request of the event, or on its commit where there is neither",
    class: Class::Plain,
    parameters: &[
        Field { name: "body", shape: "markdown", summary: "Text of the comment in Markdown" },
        Field { name: "number", shape: "int?", summary: "Another issue or pull request of the same repository" },
        Field { name: "sticky", shape: "string?", summary: "One comment of this name, edited in place by every later run" },
    ],
    outputs: &[
        Field { name: "id", shape: "int", summary: "GitHub's id of the comment" },
        Field { name: "url", shape: "string", summary: "Its address" },
    ],
    example: "body: \"Staging now runs this commit.\"\nsticky: deploy\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Found,
    repeat_how: "A hidden marker in the comment names the call (or, if sticky, the comment), so that it is found again",
};

#[async_trait]
impl Action for GithubComment {
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

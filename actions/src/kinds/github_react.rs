//! `github/react`: a reaction to the comment of the event, or to its issue where there is no comment.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all, invalid};
use crate::kinds::github;

const REACTIONS: &[&str] = &["+1", "-1", "eyes", "rocket", "confused", "heart", "hooray", "laugh"];

/// The action.
pub struct GithubReact;

static SPEC: Spec = Spec {
    name: "github/react",
    summary: "Reacts to the comment of the event, or to its issue or pull request where there is no comment",
    class: Class::Plain,
    parameters: &[Field { name: "reaction", shape: "+1|-1|eyes|rocket|confused|heart|hooray|laugh", summary: "Which one" }],
    outputs: &[Field { name: "id", shape: "int", summary: "GitHub's id of the reaction" }],
    example: "reaction: eyes\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Idempotent,
    repeat_how: "GitHub keeps one reaction of a kind for each account",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    path: String,
    reaction: String,
}

#[async_trait]
impl Action for GithubReact {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let reaction = given::params(&call).one_of("reaction", REACTIONS);
        let place = match (call.origin.comment, call.origin.number) {
            (Some(comment), _) => Ok(format!("comments/{comment}")),
            (None, Some(number)) => Ok(number.to_string()),
            (None, None) => Err(invalid("the event is about no comment, issue or pull request")),
        };
        let (reaction, repository, place) = all((
            reaction.and_then(|reaction| reaction.ok_or_else(|| invalid("`with.reaction` is missing"))),
            github::repository(&call),
            place,
        ))?;
        let reaction = reaction.to_owned();
        let summary = format!("react with {reaction} to {place} of {}", repository.trim_start_matches("/repos/"));
        given::intent(call, &Plan { path: format!("{repository}/issues/{place}/reactions"), reaction }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let body = json!({ "content": plan.reaction });
        let answer = github::json(context.clients.github.post(&plan.path, &body, context.deadline).await?)?;
        let id = answer.get("id").and_then(Value::as_u64);
        let id = id.ok_or_else(|| Failure::last("bad-answer", "GitHub's answer holds no `id`"))?;
        Ok(Outcome { outputs: json!({ "id": id }), summary: format!("reacted with {}", plan.reaction), url: None })
    }
}

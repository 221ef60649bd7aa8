//! `github/comment`: a comment on the issue, the pull request or the commit of the event.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all};
use crate::hops;
use crate::kinds::github;

/// GitHub takes 65,536 characters, markers included.
const LONGEST_BODY: usize = 65_000;
/// A hundred comments a page; beyond that a thread is not searched.
const MOST_PAGES: u32 = 40;

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

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME`
    repository: String,
    /// Where the comment goes.
    place: Place,
    text: String,
    /// Names the call.
    marker: String,
    /// Names the one comment of a sticky one.
    sticky: Option<String>,
}

/// What the next comment of a streak needs of this one.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    list: String,
    text: String,
    id: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Place {
    Issue(u64),
    Commit(String),
}

impl Plan {
    /// The list of comments at the place, which is also where a new one is posted.
    fn list(&self) -> String {
        match &self.place {
            Place::Issue(number) => format!("{}/issues/{number}/comments", self.repository),
            Place::Commit(sha) => format!("{}/commits/{sha}/comments", self.repository),
        }
    }

    /// What is sent: a text with the hidden markers behind it.
    fn body(&self, text: &str) -> Value {
        json!({ "body": format!("{text}\n\n{}{}", self.sticky.as_deref().unwrap_or_default(), self.marker) })
    }

    fn one(&self, id: u64) -> String {
        match &self.place {
            Place::Issue(_) => format!("{}/issues/comments/{id}", self.repository),
            Place::Commit(_) => format!("{}/comments/{id}", self.repository),
        }
    }

    /// The newest comment that holds all of `markers` and may be ours.
    async fn search(&self, context: &Context<'_>, markers: &[&str]) -> Result<Option<Value>, Failure> {
        let is_it = |comment: &Value| {
            let body = comment.get("body").and_then(Value::as_str).unwrap_or_default();
            may_be_ours(comment) && markers.iter().all(|marker| body.contains(marker))
        };
        let mut found = None;
        for page in 1..=MOST_PAGES {
            let path = format!("{}?per_page=100&page={page}", self.list());
            let answer = github::json(context.clients.github.get(&path, context.deadline).await?)?;
            let comments = answer.as_array().map(Vec::as_slice).unwrap_or_default();
            found = comments.iter().rev().find(|comment| is_it(comment)).cloned().or(found);
            if comments.len() < 100 {
                break;
            }
        }
        Ok(found)
    }
}

/// Markers of sticky comments can be guessed. A comment of somebody who may not write to the repository is never taken for ours.
fn may_be_ours(comment: &Value) -> bool {
    let person = comment.pointer("/user/type").and_then(Value::as_str) == Some("User");
    let association = comment.get("author_association").and_then(Value::as_str).unwrap_or_default();
    !(person && matches!(association, "NONE" | "CONTRIBUTOR" | "FIRST_TIMER" | "FIRST_TIME_CONTRIBUTOR" | "MANNEQUIN"))
}

#[async_trait]
impl Action for GithubComment {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let (repository, number, text, sticky) = all((
            github::repository(&call),
            given.int_within("number", 1, i64::MAX),
            given.text("body"),
            given.optional_text("sticky"),
        ))?;
        let number = match number {
            Some(number) => u64::try_from(number).ok(),
            None => call.origin.number,
        };
        let place = match number {
            Some(number) => Place::Issue(number),
            None => Place::Commit(github::sha(&call)?),
        };
        let marker = hops::comment(&call.key, hops::next(&call)?);
        let sticky = sticky.map(|name| {
            // Hashed, because a name can hold what would end the comment.
            let hash = hex::encode(Sha256::digest(name.as_bytes()));
            format!("<!-- declic:sticky:{} -->", hash.get(..16).unwrap_or(&hash))
        });
        let text = github::cut(text, LONGEST_BODY);
        let at = match &place {
            Place::Issue(number) => format!("#{number}"),
            Place::Commit(sha) => sha.clone(),
        };
        let summary = format!("comment on {at} of {}", repository.trim_start_matches("/repos/"));
        given::intent(call, &Plan { repository, place, text, marker, sticky }, summary)
    }

    fn edits(&self) -> bool {
        true
    }

    fn keeps(&self, intent: &Intent, outcome: &Outcome) -> Option<Value> {
        let plan: Plan = given::plan(intent).ok()?;
        let id = outcome.outputs.get("id").and_then(Value::as_u64)?;
        serde_json::to_value(Kept { list: plan.list(), text: plan.text, id }).ok()
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let kept = context.streak.and_then(|streak| streak.kept::<Kept>()).filter(|kept| kept.list == plan.list());
        let text = match (context.streak, &kept) {
            (Some(streak), Some(kept)) if !streak.is_newest => streak.text(&kept.text, LONGEST_BODY),
            (Some(streak), _) => streak.text(&plan.text, LONGEST_BODY),
            (None, _) => plan.text.clone(),
        };
        let body = plan.body(&text);
        if let Some(kept) = kept {
            match context.clients.github.patch(&plan.one(kept.id), &body, context.deadline).await {
                Ok(answer) => return outcome(&github::json(answer)?, "comment edited"),
                // It was deleted: another one is posted.
                Err(failure) if failure.why().code == "not-found" => {}
                Err(failure) => return Err(failure),
            }
        }
        let there = match &plan.sticky {
            Some(sticky) => plan.search(context, &[sticky]).await?,
            None if context.attempt > 1 => match plan.search(context, &[&plan.marker]).await? {
                Some(comment) => return outcome(&comment, "the comment is there already"),
                None => None,
            },
            None => None,
        };
        let github = &context.clients.github;
        match there.as_ref().and_then(|comment| comment.get("id")).and_then(Value::as_u64) {
            Some(id) => {
                let comment = github::json(github.patch(&plan.one(id), &body, context.deadline).await?)?;
                outcome(&comment, "comment edited")
            }
            None => outcome(&github::json(github.post(&plan.list(), &body, context.deadline).await?)?, "comment posted"),
        }
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let comment = plan.search(context, &[&plan.marker]).await?;
        comment.map(|comment| outcome(&comment, "the comment is there already")).transpose()
    }
}

fn outcome(comment: &Value, what: &str) -> Result<Outcome, Failure> {
    let (id, url) = github::identity(comment, "html_url")?;
    Ok(Outcome { outputs: json!({ "id": id, "url": url }), summary: what.to_owned(), url: Some(url) })
}

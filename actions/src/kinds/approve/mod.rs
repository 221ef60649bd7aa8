//! `approve`: a person says yes before the run goes on: on GitHub, in Slack, or through the API and the command line.

mod github;
mod slack;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Answer, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::kinds::github::cut;

/// Name of the action, by which a step that asks is known.
pub const NAME: &str = "approve";

const EVERY: Duration = Duration::from_secs(30);
const AT_MOST: Duration = Duration::from_secs(86_400);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Characters of a question.
const LONGEST_QUESTION: usize = 2_000;

/// The action.
pub struct Approve;

static SPEC: Spec = Spec {
    name: NAME,
    summary: "Asks a person, and goes on only once somebody who may has said yes",
    class: Class::Plain,
    parameters: &[
        Field { name: "question", shape: "plain", summary: "What is asked; shown as plain text wherever it is shown" },
        Field {
            name: "github",
            shape: "bool?",
            summary: "Ask on the issue, the pull request or the commit of the event: `/approve RUN` or `/reject RUN` in a comment, or an \
                      approving review of its commit. Left out: if the event comes from GitHub",
        },
        Field {
            name: "permission",
            shape: "read|triage|write|maintain|admin?",
            summary: "Least permission on the repository, `write` if left out; GitHub is asked for it",
        },
        Field { name: "users", shape: "[string]?", summary: "Only these GitHub logins, who need the permission, too" },
        Field { name: "connection", shape: "connection?", summary: "Ask in Slack as well: the workspace under `connections:`" },
        Field { name: "channel", shape: "string?", summary: "Channel by `#name` or id, one of the connection's `channels`" },
        Field { name: "slack-users", shape: "[string]?", summary: "Ids of the Slack users whose buttons count" },
        Field { name: "self", shape: "bool?", summary: "May whoever caused the event approve it, too? false if left out" },
        Field { name: "every", shape: "duration?", summary: "How often GitHub is looked at, 30s if left out" },
        Field { name: "at-most", shape: "duration?", summary: "How long an answer is waited for, 24h if left out, at most 30d" },
        Field { name: "on-reject", shape: "fail|continue?", summary: "`fail` (the default) fails the step with `rejected`" },
        Field { name: "on-timeout", shape: "fail|continue?", summary: "`fail` (the default) fails the step with `timeout`" },
    ],
    outputs: &[
        Field { name: "approved", shape: "bool", summary: "Did somebody say yes? Only false with `continue`" },
        Field { name: "by", shape: "text", summary: "Who answered; empty if nobody did" },
        Field { name: "via", shape: "github|slack|api|nobody", summary: "Where" },
        Field { name: "comment", shape: "text", summary: "What they added" },
    ],
    example: "question: \"Deploy to production?\"\npermission: maintain\nat-most: 4h\n",
    deadline: Duration::from_secs(20),
    repeat: Repeat::Found,
    repeat_how: "The question holds a marker by which it is found again; who answered is kept with the step before it goes on",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    question: String,
    /// Who caused the event.
    requester: Option<String>,
    own: bool,
    github: Option<github::Asked>,
    slack: Option<slack::Asked>,
    every: Duration,
    at_most: Duration,
    reject_fails: bool,
    timeout_fails: bool,
}

/// What is kept between two looks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Saved {
    comment: Option<github::Posted>,
    message: Option<slack::Posted>,
}

impl Plan {
    fn is_requester(&self, by: &str) -> bool {
        !self.own && self.requester.as_deref().is_some_and(|requester| requester.eq_ignore_ascii_case(by))
    }
}

/// What a button in Slack means, by its `action_id`; none for buttons of others.
pub fn button(action: &str) -> Option<bool> {
    match action {
        slack::YES => Some(true),
        slack::NO => Some(false),
        _ => None,
    }
}

/// May this answer be taken for the question of that intent? Otherwise why not, for whoever gave it.
pub fn may_answer(intent: &Intent, answer: &Answer) -> Result<(), String> {
    let plan: Plan = given::plan(intent).map_err(|failure| failure.why().message.clone())?;
    if answer.by.trim().is_empty() {
        return Err("an answer needs somebody who gives it".to_owned());
    }
    if plan.is_requester(&answer.by) {
        return Err(format!("{} caused this run and may not decide about it", answer.by));
    }
    if answer.via == "slack" && !plan.slack.as_ref().is_some_and(|slack| slack.users.contains(&answer.by)) {
        return Err(format!("{} is not one of the step's `slack-users`", answer.by));
    }
    Ok(())
}

#[async_trait]
impl Action for Approve {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let fails = |name: &str| given.one_of(name, &["fail", "continue"]).map(|word| word != Some("continue"));
        let on_github = given.optional_flag("github").and_then(|flag| {
            let wanted = flag.unwrap_or(call.origin.repository.is_some());
            if wanted { github::Asked::read(&call).map(Some) } else { Ok(None) }
        });
        let (question, own, github, slack, (every, at_most), reject_fails, timeout_fails) = all((
            given.text("question"),
            given.flag("self"),
            on_github,
            slack::Asked::read(&call),
            times(&given),
            fails("on-reject"),
            fails("on-timeout"),
        ))?;
        let plan = Plan {
            question: cut(question, LONGEST_QUESTION),
            requester: call.origin.actor.clone(),
            own,
            github,
            slack,
            every,
            at_most,
            reject_fails,
            timeout_fails,
        };
        let summary = format!("ask: {}", plan.question);
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let mut saved: Saved = context.saved.clone().and_then(|saved| serde_json::from_value(saved).ok()).unwrap_or_default();
        if let Some(asked) = &plan.github
            && saved.comment.is_none()
        {
            saved.comment = Some(asked.ask(context, intent, &plan.question).await?);
            keep(context, &saved).await?;
        }
        if let Some(asked) = &plan.slack
            && saved.message.is_none()
        {
            saved.message = Some(asked.ask(context, intent, &plan.question).await?);
            keep(context, &saved).await?;
        }
        let answer = match (context.answer, &plan.github, &saved.comment) {
            (Some(answer), ..) => Some(answer.clone()),
            (None, Some(asked), Some(posted)) => match asked.answer(context, intent, posted, &plan).await {
                Ok(answer) => answer,
                // Slack and the API go on working while GitHub does not.
                Err(Failure::Retry { why, .. }) => {
                    context.progress.stage("github", &why.message);
                    None
                }
                Err(failure) => return Err(failure),
            },
            _ => None,
        };
        let Some(answer) = answer else { return plan.without(context, intent, &saved).await };
        let said = if answer.approved { "approved" } else { "rejected" };
        let line = format!("{said} by {} ({})", answer.by, answer.via);
        plan.show(context, intent, &saved, &line).await;
        if !answer.approved && plan.reject_fails {
            let reason = answer.comment.as_deref().map(|comment| format!(": {comment}")).unwrap_or_default();
            return Err(Failure::last("rejected", format!("{line}{reason}")));
        }
        let comment = answer.comment.unwrap_or_default();
        let outputs = json!({ "approved": answer.approved, "by": answer.by, "via": answer.via, "comment": comment });
        Ok(Outcome { outputs, summary: line, url: saved.comment.and_then(|posted| posted.url) })
    }
}

impl Plan {
    /// Nobody has answered.
    async fn without(&self, context: &Context<'_>, intent: &Intent, saved: &Saved) -> Result<Outcome, Failure> {
        let left = self.at_most.saturating_sub(context.waited);
        if !left.is_zero() {
            let pause = if self.github.is_some() { self.every } else { left };
            let why = Why::new("waiting", format!("waits for an answer to: {}", self.question));
            return Err(Failure::NotYet { after: pause.min(left), why });
        }
        self.show(context, intent, saved, "nobody answered in time").await;
        if self.timeout_fails {
            return Err(Failure::last("timeout", "Nobody answered in time"));
        }
        let outputs = json!({ "approved": false, "by": "", "via": "nobody", "comment": "" });
        Ok(Outcome { outputs, summary: "nobody answered in time".to_owned(), url: None })
    }

    /// Says at the places of the question what came of it. What is decided does not hang on that.
    async fn show(&self, context: &Context<'_>, intent: &Intent, saved: &Saved, line: &str) {
        let mut shown = Vec::new();
        if let (Some(asked), Some(posted)) = (&self.github, &saved.comment) {
            shown.push(asked.close(context, intent, posted, &self.question, line).await);
        }
        if let (Some(asked), Some(posted)) = (&self.slack, &saved.message) {
            shown.push(asked.close(context, posted, &self.question, line).await);
        }
        for failure in shown.into_iter().filter_map(Result::err) {
            context.progress.stage("not shown", &failure.why().message);
        }
    }
}

async fn keep(context: &Context<'_>, saved: &Saved) -> Result<(), Failure> {
    let saved: Value = serde_json::to_value(saved).map_err(|error| Failure::last("internal", error.to_string()))?;
    context.progress.save(saved).await
}

/// How often it is looked for an answer, and for how long.
fn times(given: &given::Given<'_>) -> Result<(Duration, Duration), Faults> {
    let (every, at_most) = all((given.duration("every"), given.duration("at-most")))?;
    let (every, at_most) = (every.unwrap_or(EVERY), at_most.unwrap_or(AT_MOST));
    if every < Duration::from_secs(5) || at_most > LONGEST || at_most.is_zero() {
        return Err(invalid("`with.every` is at least 5s, `with.at-most` is at most 30d").into());
    }
    Ok((every, at_most))
}

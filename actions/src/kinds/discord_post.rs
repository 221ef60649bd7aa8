//! `discord/post`: a message in a Discord channel or thread, or in place of an earlier one.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::http::{HttpError, Method, Request};
use crate::kinds::address;
use crate::kinds::auth::secret;
use crate::kinds::github::cut;
use crate::secret::Secret;

/// Characters that Discord takes.
const LONGEST_TEXT: usize = 2_000;
const LONGEST_NAME: usize = 100;

/// The action.
pub struct DiscordPost;

static SPEC: Spec = Spec {
    name: "discord/post",
    summary: "Posts a message on Discord, in a thread if one is named, or edits an earlier message",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The channel, by its name under `connections:`" },
        Field { name: "text", shape: "markdown", summary: "The text; nobody is notified by mentions in it" },
        Field { name: "thread", shape: "string?", summary: "Id of a thread of the channel" },
        Field { name: "thread-name", shape: "plain?", summary: "In a forum channel: the name of a new thread" },
        Field { name: "update", shape: "string?", summary: "Id of the message to edit in place" },
    ],
    outputs: &[
        Field { name: "id", shape: "string", summary: "Discord's id of the message" },
        Field { name: "channel", shape: "string", summary: "Discord's id of its channel or thread" },
    ],
    example: "connection: discord_ops\ntext: Staging is up to date.\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "A webhook cannot read what it has posted; an edit is the same edit again",
};

/// What `prepare` derives.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    /// Name of the secret with the address.
    webhook: String,
    text: String,
    thread: Option<String>,
    thread_name: Option<String>,
    update: Option<String>,
}

#[async_trait]
impl Action for DiscordPost {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "discord")?;
        let id = |name: &str| -> Result<Option<String>, Why> {
            let Some(id) = given.optional_text(name)?.filter(|id| !id.is_empty()) else { return Ok(None) };
            let fits = id.len() <= 20 && id.bytes().all(|byte| byte.is_ascii_digit());
            if fits { Ok(Some(id.to_owned())) } else { Err(invalid(format!("`with.{name}` is a number that Discord gave"))) }
        };
        let (webhook, text, thread, thread_name, update) = all((
            connection.text("webhook"),
            given.text("text"),
            id("thread"),
            given.optional_text("thread-name"),
            id("update"),
        ))?;
        if thread_name.is_some() && (thread.is_some() || update.is_some()) {
            return Err(invalid("`with.thread-name` makes a thread, so it does not go with `thread` or `update`").into());
        }
        let plan = Plan {
            webhook: webhook.to_owned(),
            text: cut(text, LONGEST_TEXT),
            thread,
            thread_name: thread_name.map(|name| cut(name, LONGEST_NAME)),
            update,
        };
        let summary = if plan.update.is_some() { "edit a message on Discord" } else { "post on Discord" };
        given::intent(call, &plan, summary.to_owned())
    }

    fn edits(&self) -> bool {
        true
    }

    fn keeps(&self, intent: &Intent, outcome: &Outcome) -> Option<Value> {
        let Plan { webhook, text, thread, thread_name, .. } = given::plan(intent).ok()?;
        let output = |name: &str| outcome.outputs.get(name).and_then(Value::as_str).map(str::to_owned);
        // A thread that was made for the message is where the message is.
        let place = if thread_name.is_some() { output("channel") } else { thread.clone() };
        let kept = Kept { webhook, thread, thread_name, text, id: output("id")?, place };
        serde_json::to_value(kept).ok()
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let mut plan: Plan = given::plan(intent)?;
        if let Some(streak) = context.streak.filter(|_| plan.update.is_none()) {
            let kept = streak.kept::<Kept>().filter(|kept| kept.is_of(&plan));
            let text = kept.as_ref().filter(|_| !streak.is_newest).map_or(&plan.text, |kept| &kept.text);
            plan.text = streak.text(text, LONGEST_TEXT);
            if let Some(Kept { id, place, .. }) = kept {
                let edit = Plan { thread: place, thread_name: None, update: Some(id), ..plan.clone() };
                match edit.send(context).await {
                    // It was deleted: another one is posted.
                    Err(failure) if failure.why().code == "not-found" => {}
                    came => return came,
                }
            }
        }
        plan.send(context).await
    }
}

/// What the next message of a streak needs of this one.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    webhook: String,
    /// As the rule says it.
    thread: Option<String>,
    thread_name: Option<String>,
    text: String,
    /// The message, and the thread that it is in.
    id: String,
    place: Option<String>,
}

impl Kept {
    fn is_of(&self, plan: &Plan) -> bool {
        self.webhook == plan.webhook && self.thread == plan.thread && self.thread_name == plan.thread_name
    }
}

impl Plan {
    async fn send(&self, context: &Context<'_>) -> Result<Outcome, Failure> {
        let plan = self;
        let secret = secret(context, &plan.webhook)?;
        let mut url = webhook(secret)?;
        let mut body = json!({ "content": plan.text, "allowed_mentions": { "parse": [] } });
        let method = match &plan.update {
            Some(id) => {
                url.set_path(&format!("{}/messages/{id}", url.path().trim_end_matches('/')));
                Method::PATCH
            }
            None => {
                // Without it Discord answers before it knows whether it works.
                url.query_pairs_mut().append_pair("wait", "true");
                Method::POST
            }
        };
        if let Some(thread) = &plan.thread {
            url.query_pairs_mut().append_pair("thread_id", thread);
        }
        if let Some(name) = &plan.thread_name {
            body["thread_name"] = name.clone().into();
        }
        let token = url.path_segments().and_then(|mut parts| parts.nth(3)).map(Secret::new);
        let mut request = Request::new(method, url.clone(), context.deadline).json(&body).conceal(secret);
        if let Some(token) = &token {
            request = request.conceal(token);
        }
        let answer = context.clients.http.send(request).await.and_then(|answer| answer.json());
        let answer = answer.map_err(failure)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(id), Some(channel)) = (text("id"), text("channel_id")) else {
            return Err(HttpError::BadAnswer("holds no message".into()).into_failure("Discord"));
        };
        Ok(Outcome { outputs: json!({ "id": id, "channel": channel }), summary: format!("message {id}"), url: None })
    }
}

/// The address of a webhook.
fn webhook(secret: &Secret) -> Result<Url, Failure> {
    let fits = |_: &Url, parts: &[&str]| matches!(parts, ["api", "webhooks", _, _]);
    let url = address::of_webhook(secret, fits).filter(|url| url.query().is_none());
    url.ok_or_else(|| Failure::last("invalid", "The secret of the Discord connection is no address of a webhook"))
}

/// Discord says in the body how long to wait, as a fraction of seconds.
fn failure(error: HttpError) -> Failure {
    let precise = match &error {
        HttpError::Status { status: 429, response, .. } => {
            response.json().ok().and_then(|body| body.get("retry_after").and_then(Value::as_f64))
        }
        _ => None,
    };
    match (error.into_failure("Discord"), precise.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())) {
        (Failure::Retry { why, .. }, Some(after)) => Failure::Retry { after: Some(after.min(Duration::from_secs(3600))), why },
        (failure, _) => failure,
    }
}

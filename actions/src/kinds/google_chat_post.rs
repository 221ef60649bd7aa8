//! `google-chat/post`: a message in a Google Chat space, in a thread if it has a key.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all, invalid, refuse_if};
use crate::http::{Method, Request};
use crate::kinds::address;
use crate::kinds::auth::secret;
use crate::kinds::github::cut;
use crate::kinds::google;
use crate::secret::Secret;

/// Google Chat takes 32,000 bytes with everything around it.
const LONGEST_TEXT: usize = 7_000;
const LONGEST_KEY: usize = 4_000;

/// The action.
pub struct GoogleChatPost;

static SPEC: Spec = Spec {
    name: "google-chat/post",
    summary: "Posts a message in a Google Chat space",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The space, by its name under `connections:`" },
        Field { name: "text", shape: "mrkdwn", summary: "The text; mentions and links in values from outside do nothing" },
        Field { name: "thread", shape: "any?", summary: "Key of a thread: messages of one key are in one thread" },
    ],
    outputs: &[
        Field { name: "name", shape: "string", summary: "Google's name of the message" },
        Field { name: "thread", shape: "string?", summary: "Google's name of its thread" },
    ],
    example: "connection: chat_ops\ntext: Staging is up to date.\nthread: staging\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Idempotent,
    repeat_how: "`requestId` is made from the call's key, so that Google Chat gives back the message that is there",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// Name of the secret with the address.
    webhook: String,
    text: String,
    thread: Option<String>,
    key: String,
}

#[async_trait]
impl Action for GoogleChatPost {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "google-chat")?;
        let thread = given.value("thread").map(google::text_of).filter(|key| !key.is_empty());
        let long = thread.as_ref().is_some_and(|key| key.chars().count() > LONGEST_KEY);
        let (webhook, text, _) = all((
            connection.text("webhook"),
            given.text("text"),
            refuse_if(long, || invalid(format!("`with.thread` is longer than {LONGEST_KEY} characters"))),
        ))?;
        let plan = Plan { webhook: webhook.to_owned(), text: cut(text, LONGEST_TEXT), thread, key: call.key.clone() };
        given::intent(call, &plan, "post in Google Chat".to_owned())
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let secret = secret(context, &plan.webhook)?;
        let mut url = webhook(secret)?;
        let credentials: Vec<Secret> = url.query_pairs().map(|(_, value)| Secret::new(value.as_bytes())).collect();
        url.query_pairs_mut().append_pair("requestId", &plan.key);
        let mut body = json!({ "text": plan.text });
        if let Some(key) = &plan.thread {
            url.query_pairs_mut().append_pair("messageReplyOption", "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD");
            body["thread"] = json!({ "threadKey": key });
        }
        let request = Request::new(Method::POST, url, context.deadline).json(&body).conceal(secret);
        let request = credentials.iter().fold(request, Request::conceal);
        let answer = context.clients.http.send(request).await.and_then(|answer| answer.json());
        let answer = answer.map_err(|error| error.into_failure("Google Chat"))?;
        let name = google::answered(&answer, "/name", "Google Chat")?;
        let thread = answer.pointer("/thread/name").and_then(Value::as_str);
        Ok(Outcome { outputs: json!({ "name": name, "thread": thread }), summary: format!("posted {name}"), url: None })
    }
}

/// The address of a webhook.
fn webhook(secret: &Secret) -> Result<Url, Failure> {
    let fits = |url: &Url, parts: &[&str]| {
        let has = |wanted: &str| url.query_pairs().any(|(name, value)| name == wanted && !value.is_empty());
        matches!(parts, ["v1", "spaces", _, "messages"]) && has("key") && has("token")
    };
    let fault = "The secret of the Google Chat connection is no address of a webhook, with `key` and `token`";
    address::of_webhook(secret, fits).ok_or_else(|| Failure::last("invalid", fault))
}

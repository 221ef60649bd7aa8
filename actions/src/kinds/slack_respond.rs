//! `slack/respond`: answers a slash command, a button or a modal at the address that came with it, after Slack's three seconds.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, RESPONSE_URL, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::http::{HttpError, Method, Request};
use crate::kinds::github::cut;
use crate::kinds::slack::LONGEST_TEXT;
use crate::secret::Secret;

/// The action.
pub struct SlackRespond;

static SPEC: Spec = Spec {
    name: "slack/respond",
    summary: "Answers a slash command, a button or a modal after its deadline, up to five times within half an hour",
    class: Class::Plain,
    parameters: &[
        Field { name: "text", shape: "mrkdwn", summary: "The text; mentions and links in values from outside do nothing" },
        Field { name: "visible-to", shape: "user|channel?", summary: "Who sees it: only the user if left out" },
    ],
    outputs: &[],
    example: "text: Done.\nvisible-to: channel\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "Slack offers no way to tell",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    text: String,
    kind: String,
}

#[async_trait]
impl Action for SlackRespond {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let (visible, text) = all((given.one_of("visible-to", &["user", "channel"]), given.text("text")))?;
        let channel = visible == Some("channel");
        let kind = if channel { "in_channel" } else { "ephemeral" };
        let plan = Plan { text: cut(text, LONGEST_TEXT), kind: kind.to_owned() };
        let summary = format!("answer the command, visible to the {}", if channel { "channel" } else { "user" });
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let secret = context.secrets.get(RESPONSE_URL);
        let url = address(secret).map_err(|why| Failure::Final { why })?;
        let body = json!({ "response_type": plan.kind, "replace_original": false, "text": plan.text });
        // Whoever knows the address can answer in Declic's place.
        let request = Request::new(Method::POST, url.clone(), context.deadline).json(&body).conceal(&Secret::new(url.as_str()));
        match context.clients.http.send(request).await {
            Ok(_) => Ok(Outcome { outputs: json!({}), summary: "answered the command".into(), url: None }),
            Err(HttpError::Status { status: 404 | 410, .. }) => {
                let message = "The command can no longer be answered: Slack allows five answers within 30 minutes";
                Err(Failure::last("expired", message))
            }
            Err(error) => Err(error.into_failure("Slack")),
        }
    }
}

fn address(secret: Option<&Secret>) -> Result<Url, Why> {
    let secret = secret
        .ok_or_else(|| invalid("the event came with no address for answers; of Slack, commands, buttons and some modals do"))?;
    secret
        .expose_text()
        .and_then(|address| Url::parse(address).ok())
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| invalid("Slack's `response_url` is not an address"))
}

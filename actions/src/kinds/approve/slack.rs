//! The question in Slack: a message with two buttons, whose answers come back as signed requests to the app's source.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Call, Context, Failure, Faults, Intent, Why};
use crate::given::{self, all, invalid};
use crate::kinds::slack::{self, Slack};

/// `action_id` of the buttons; the source of Slack knows them by it.
pub(super) const YES: &str = "declic-approve";
pub(super) const NO: &str = "declic-reject";

/// Where it is asked, and who may answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    base: String,
    /// Name of the secret with the token.
    token: String,
    channel: String,
    pub(super) users: Vec<String>,
}

/// The question as it was posted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Posted {
    channel: String,
    ts: String,
}

impl Asked {
    pub(super) fn read(call: &Call) -> Result<Option<Self>, Faults> {
        let given = given::params(call);
        if given.value("connection").is_none() {
            return match given.value("channel").or_else(|| given.value("slack-users")) {
                Some(_) => Err(invalid("`with.channel` and `with.slack-users` need a `connection` to Slack").into()),
                None => Ok(None),
            };
        }
        let connection = given::connection(call, "slack")?;
        let (base, token, channel, users) =
            all((slack::base(&connection), connection.text("token"), slack::channel(&given, &connection), users(&given)))?;
        Ok(Some(Self { base, token: token.to_owned(), channel: channel.to_owned(), users }))
    }

    pub(super) async fn ask(&self, context: &Context<'_>, intent: &Intent, question: &str) -> Result<Posted, Failure> {
        let slack = Slack::new(context, &self.base, &self.token)?;
        let run = &intent.call.origin.run;
        let button = |id: &str, text: &str, style: &str| json!({ "type": "button", "action_id": id, "value": run, "style": style, "text": { "type": "plain_text", "text": text } });
        let mut blocks = blocks(question, &format!("Rule {}, run {run}", intent.call.origin.rule));
        blocks
            .push(json!({ "type": "actions", "elements": [button(YES, "Approve", "primary"), button(NO, "Reject", "danger")] }));
        let metadata = json!({ "event_type": "declic_call", "event_payload": { "key": intent.call.key } });
        let body = json!({ "channel": self.channel, "text": fallback(question), "blocks": blocks, "metadata": metadata });
        let answer = slack.post("chat.postMessage", &body).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        match (text("channel"), text("ts")) {
            (Some(channel), Some(ts)) => Ok(Posted { channel, ts }),
            _ => Err(Failure::last("bad-answer", "Slack's answer holds no `channel` or no `ts`")),
        }
    }

    /// Says what came of it, in place of the buttons.
    pub(super) async fn close(&self, context: &Context<'_>, posted: &Posted, question: &str, line: &str) -> Result<(), Failure> {
        let slack = Slack::new(context, &self.base, &self.token)?;
        let text = format!("{}: {}", fallback(question), fallback(line));
        let body = json!({ "channel": posted.channel, "ts": posted.ts, "text": text, "blocks": blocks(question, line) });
        slack.post("chat.update", &body).await.map(drop)
    }
}

/// `plain_text` is shown as it is: no mentions, no links.
fn blocks(question: &str, line: &str) -> Vec<Value> {
    let plain = |text: &str| json!({ "type": "plain_text", "text": text, "emoji": false });
    vec![json!({ "type": "section", "text": plain(question) }), json!({ "type": "context", "elements": [plain(line)] })]
}

/// The text of notifications is Slack's markup.
fn fallback(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn users(given: &given::Given<'_>) -> Result<Vec<String>, Why> {
    let users: Vec<String> = given.optional_texts("slack-users")?.unwrap_or_default().into_iter().map(str::to_owned).collect();
    if users.is_empty() {
        return Err(invalid("`with.slack-users` names those whose buttons count; a channel is open to many"));
    }
    Ok(users)
}

//! `slack/post`: a message in a channel, in a thread, or in place of an earlier one.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::kinds::github::cut;
use crate::kinds::slack::{self, LONGEST_TEXT, Slack};

/// Name of the metadata that holds the call's key.
const EVENT: &str = "declic_call";

/// The action.
pub struct SlackPost;

static SPEC: Spec = Spec {
    name: "slack/post",
    summary: "Posts a message in Slack, answers in a thread, or edits an earlier message",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The workspace, by its name under `connections:`" },
        Field { name: "channel", shape: "string", summary: "Channel by `#name` or id, one of the connection's `channels`" },
        Field { name: "text", shape: "mrkdwn", summary: "The text; mentions and links in values from outside do nothing" },
        Field { name: "thread", shape: "string?", summary: "`ts` of the message to answer" },
        Field { name: "update", shape: "string?", summary: "`ts` of the message to edit in place" },
    ],
    outputs: &[
        Field { name: "ts", shape: "string", summary: "Slack's id of the message within its channel" },
        Field { name: "channel", shape: "string", summary: "Slack's id of the channel" },
    ],
    example: "connection: slack_eng\nchannel: \"#deploys\"\ntext: Done.\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Found,
    repeat_how: "The message's metadata holds the call's key; looking for it needs `channels:read` and `channels:history`",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    base: String,
    /// Name of the secret with the token.
    token: String,
    channel: String,
    text: String,
    thread: Option<String>,
    update: Option<String>,
    key: String,
}

/// What the next message of a streak needs of this one.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// As the rule names it.
    channel: String,
    thread: Option<String>,
    text: String,
    /// The channel's id, and the message's in it.
    id: String,
    ts: String,
}

#[async_trait]
impl Action for SlackPost {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "slack")?;
        let (channel, base, token, text, thread, update) = all((
            slack::channel(&given, &connection),
            slack::base(&connection),
            connection.text("token"),
            given.text("text"),
            time(&given, "thread"),
            time(&given, "update"),
        ))?;
        if thread.is_some() && update.is_some() {
            return Err(invalid("a message is posted to a `thread` or is an `update`, not both").into());
        }
        let plan = Plan {
            base,
            token: token.to_owned(),
            channel: channel.to_owned(),
            text: cut(text, LONGEST_TEXT),
            thread,
            update,
            key: call.key.clone(),
        };
        let what = if plan.update.is_some() { "edit a message in" } else { "post to" };
        let summary = format!("{what} {channel}");
        given::intent(call, &plan, summary)
    }

    fn edits(&self) -> bool {
        true
    }

    fn keeps(&self, intent: &Intent, outcome: &Outcome) -> Option<Value> {
        let Plan { channel, thread, text, .. } = given::plan(intent).ok()?;
        let output = |name: &str| outcome.outputs.get(name).and_then(Value::as_str).map(str::to_owned);
        let kept = Kept { channel, thread, text, id: output("channel")?, ts: output("ts")? };
        serde_json::to_value(kept).ok()
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let mut plan: Plan = given::plan(intent)?;
        let slack = Slack::new(context, &plan.base, &plan.token)?;
        let metadata = json!({ "event_type": EVENT, "event_payload": { "key": plan.key } });
        if let Some(streak) = context.streak.filter(|_| plan.update.is_none()) {
            let kept = streak.kept::<Kept>().filter(|kept| kept.channel == plan.channel && kept.thread == plan.thread);
            let text = kept.as_ref().filter(|_| !streak.is_newest).map_or(&plan.text, |kept| &kept.text);
            plan.text = streak.text(text, LONGEST_TEXT);
            if let Some(Kept { id, ts, .. }) = kept {
                let body = json!({ "channel": id, "ts": ts, "text": plan.text, "metadata": metadata });
                match slack.post("chat.update", &body).await {
                    Ok(answer) => return outcome(&answer, &id, &plan.channel),
                    // It was deleted, or is too old to be edited: another one is posted.
                    Err(failure) if matches!(failure.why().code.as_str(), "not-found" | "forbidden") => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        let mut body = json!({ "channel": plan.channel, "text": plan.text, "metadata": metadata });
        let method = match (&plan.update, &plan.thread) {
            (Some(update), _) => {
                // Only a new message may name its channel by name.
                body["channel"] = slack.channel_id(&plan.channel).await?.ok_or_else(|| unknown(&plan.channel))?.into();
                body["ts"] = update.clone().into();
                "chat.update"
            }
            (None, Some(thread)) => {
                body["thread_ts"] = thread.clone().into();
                "chat.postMessage"
            }
            (None, None) => "chat.postMessage",
        };
        let answer = slack.post(method, &body).await?;
        let channel = answer.get("channel").and_then(Value::as_str).unwrap_or(&plan.channel);
        outcome(&answer, channel, &plan.channel)
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        if plan.update.is_some() {
            return Ok(None);
        }
        let slack = Slack::new(context, &plan.base, &plan.token)?;
        // A bot that may post but not read cannot tell; that is no reason to fail.
        let unable = |failure: Failure| if failure.why().code == "forbidden" { Ok(None) } else { Err(failure) };
        let channel = match slack.channel_id(&plan.channel).await {
            Ok(Some(channel)) => channel,
            Ok(None) => return Ok(None),
            Err(failure) => return unable(failure),
        };
        let mut query = vec![("channel", channel.as_str()), ("include_all_metadata", "true"), ("limit", "200")];
        let method = match &plan.thread {
            Some(thread) => {
                query.push(("ts", thread));
                "conversations.replies"
            }
            None => "conversations.history",
        };
        let page = match slack.get(method, &query).await {
            Ok(page) => page,
            Err(failure) => return unable(failure),
        };
        let is_it = |message: &&Value| {
            message.pointer("/metadata/event_type").and_then(Value::as_str) == Some(EVENT)
                && message.pointer("/metadata/event_payload/key").and_then(Value::as_str) == Some(&plan.key)
        };
        let found = page.get("messages").and_then(Value::as_array).into_iter().flatten().find(is_it);
        found.map(|message| outcome(message, &channel, &plan.channel)).transpose()
    }
}

/// Slack's id of a message: seconds, a dot, six digits.
fn time(given: &given::Given<'_>, name: &str) -> Result<Option<String>, Why> {
    let Some(text) = given.optional_text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let fits = text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if fits { Ok(Some(text.to_owned())) } else { Err(invalid(format!("`with.{name}` is the `ts` of a message"))) }
}

fn unknown(channel: &str) -> Failure {
    Failure::last("not-found", format!("The bot sees no channel `{channel}`; invite it, or write the channel's id"))
}

fn outcome(message: &Value, channel: &str, name: &str) -> Result<Outcome, Failure> {
    let ts = message.get("ts").and_then(Value::as_str);
    let ts = ts.ok_or_else(|| Failure::last("bad-answer", "Slack's answer holds no `ts`"))?;
    Ok(Outcome { outputs: json!({ "ts": ts, "channel": channel }), summary: format!("message {ts} in {name}"), url: None })
}

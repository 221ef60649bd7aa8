//! Answers that somebody waits for, in the words of the provider. Pure: what a rule says in, bytes out.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::json;
use crate::rules::registry;
use crate::rules::yaml;
use crate::settings::SourceSettings;

#[cfg(test)]
mod tests;

/// The deadline as told is the sender's: so much of it goes by on the way here and back.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// What is said to somebody who waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// No rule replies, or none is known to in time.
    Nothing,
    /// A rule replies: the fields of its `reply:`, or of its `on-error:`.
    Fields(Value),
    /// A rule replies, and neither of the two can be rendered.
    Failed,
}

/// How a provider wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `WebhookResponse` of Dialogflow ES.
    DialogflowEs,
    /// `WebhookResponse` of Dialogflow CX.
    DialogflowCx,
    /// A message of Slack.
    Slack,
    /// A message of Google Chat.
    Chat,
    /// TwiML.
    Twilio,
    /// A status and JSON.
    Http,
}

/// A source whose sender waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// What the answer looks like.
    pub form: Form,
    /// How long the sender waits.
    pub deadline: Duration,
}

/// An answer in the provider's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Body.
    pub body: Vec<u8>,
}

impl Conversation {
    /// For a source of these settings; `None` if nobody waits there for what a rule says.
    pub fn of(settings: &SourceSettings) -> Option<Self> {
        let (form, event) = match settings.kind.as_str() {
            "dialogflow-es" => (Form::DialogflowEs, "dialogflow.intent"),
            "dialogflow-cx" => (Form::DialogflowCx, "dialogflow.intent"),
            "slack" => (Form::Slack, "slack.command"),
            "google-chat" => (Form::Chat, "http.webhook"),
            "twilio" => (Form::Twilio, "http.webhook"),
            "webhook" => (Form::Http, "http.webhook"),
            _ => return None,
        };
        let told = settings.fields.get("deadline").and_then(Value::as_str).and_then(yaml::duration);
        let usual = registry::event(event)?.reply.as_ref()?.deadline;
        Some(Self { form, deadline: told.unwrap_or(usual) })
    }

    /// How long we may take.
    pub fn budget(&self) -> Duration {
        self.deadline.saturating_sub(ON_THE_WAY.min(self.deadline / 10))
    }
}

impl Form {
    /// The answer to a request with this body. `None`: an acknowledgement is all that is wanted.
    pub fn words(self, said: &Said, request: &[u8]) -> Option<Words> {
        let empty = Map::new();
        let fields = match said {
            Said::Fields(Value::Object(fields)) => fields,
            Said::Failed if self == Self::Http => return Some(failed()),
            _ => return self.neutral(),
        };
        Some(match self {
            Self::DialogflowEs => json_words(200, &es(fields, request)),
            Self::DialogflowCx => json_words(200, &cx(fields, request)),
            Self::Slack if present(fields, "errors").is_some() || present(fields, "close").is_some() => modal(fields),
            Self::Slack => {
                let kind = if text(fields, "visible-to") == Some("channel") { "in_channel" } else { "ephemeral" };
                json_words(200, &json!({ "response_type": kind, "text": text(fields, "text").unwrap_or_default() }))
            }
            Self::Chat => match fields.get("body") {
                Some(Value::String(text)) => json_words(200, &json!({ "text": text })),
                Some(body @ Value::Object(_)) => json_words(200, body),
                _ => json_words(200, &Value::Object(empty)),
            },
            Self::Twilio => twiml(fields.get("body")),
            Self::Http => return http(fields),
        })
    }

    /// What changes nothing for whoever asked.
    fn neutral(self) -> Option<Words> {
        match self {
            Self::DialogflowEs | Self::DialogflowCx | Self::Chat => Some(json_words(200, &json!({}))),
            Self::Slack => Some(acknowledged()),
            Self::Twilio => Some(twiml(None)),
            Self::Http => None,
        }
    }
}

fn json_words(status: u16, body: &Value) -> Words {
    Words { status, content_type: "application/json", body: body.to_string().into_bytes() }
}

fn failed() -> Words {
    let problem = json!({ "type": "about:blank", "title": "Internal Server Error", "status": 500, "detail": "The answer could not be made." });
    Words { content_type: "application/problem+json", ..json_words(500, &problem) }
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name).and_then(Value::as_str)
}

/// `text:` and `texts:`, in this order.
fn texts(fields: &Map<String, Value>) -> Vec<&str> {
    let several = fields.get("texts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    text(fields, "text").into_iter().chain(several).collect()
}

fn present<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f Value> {
    fields.get(name).filter(|value| !value.is_null())
}

/// ES is strict about types, so what is not said is left out. It has no parameters of the session, only contexts: ours lives as long as one may.
fn es(fields: &Map<String, Value>, request: &[u8]) -> Value {
    let mut answer = Map::new();
    let texts = texts(fields);
    if let Some(first) = texts.first() {
        answer.insert("fulfillmentText".to_owned(), json!(first));
        let messages: Vec<Value> = texts.iter().map(|text| json!({ "text": { "text": [text] } })).collect();
        answer.insert("fulfillmentMessages".to_owned(), Value::Array(messages));
    }
    let mut payload = present(fields, "payload").cloned();
    if fields.get("end-session") == Some(&Value::Bool(true)) {
        let mut closing = payload.and_then(|payload| payload.as_object().cloned()).unwrap_or_default();
        closing.insert("google".to_owned(), json!({ "expectUserResponse": false }));
        payload = Some(Value::Object(closing));
    }
    if let Some(payload) = payload {
        answer.insert("payload".to_owned(), payload);
    }
    let session = json::parse(request).ok().and_then(|request| request.get("session")?.as_str().map(str::to_owned));
    if let (Some(params), Some(session)) = (present(fields, "set-params"), session) {
        let context = json!({ "name": format!("{session}/contexts/declic"), "lifespanCount": 50, "parameters": params });
        answer.insert("outputContexts".to_owned(), json!([context]));
    }
    Value::Object(answer)
}

fn cx(fields: &Map<String, Value>, request: &[u8]) -> Value {
    let mut answer = Map::new();
    let mut messages: Vec<Value> = texts(fields).iter().map(|text| json!({ "text": { "text": [text] } })).collect();
    if let Some(payload) = present(fields, "payload") {
        messages.push(json!({ "payload": payload }));
    }
    if !messages.is_empty() {
        answer.insert("fulfillmentResponse".to_owned(), json!({ "messages": messages }));
    }
    if let Some(params) = present(fields, "set-params") {
        answer.insert("sessionInfo".to_owned(), json!({ "parameters": params }));
    }
    if fields.get("end-session") == Some(&Value::Bool(true))
        && let Some(page) = last_page(request)
    {
        answer.insert("targetPage".to_owned(), Value::String(page));
    }
    Value::Object(answer)
}

/// `…/pages/END_SESSION` of the flow that asks.
fn last_page(request: &[u8]) -> Option<String> {
    let request = json::parse(request).ok()?;
    let page = request.pointer("/pageInfo/currentPage")?.as_str()?;
    let (flow, _) = page.rsplit_once("/pages/")?;
    Some(format!("{flow}/pages/END_SESSION"))
}

/// The answer to a modal that was sent. Slack takes no text here, not even for a button: that goes to the address for answers.
fn modal(fields: &Map<String, Value>) -> Words {
    match (present(fields, "errors"), fields.get("close")) {
        (Some(errors), _) => json_words(200, &json!({ "response_action": "errors", "errors": errors })),
        (None, Some(Value::Bool(true))) => json_words(200, &json!({ "response_action": "clear" })),
        (None, _) => acknowledged(),
    }
}

fn acknowledged() -> Words {
    Words { status: 200, content_type: "text/plain; charset=utf-8", body: Vec::new() }
}

/// Only statuses that end an exchange, and no redirects.
fn http(fields: &Map<String, Value>) -> Option<Words> {
    let status = match fields.get("status") {
        None | Some(Value::Null) => Some(200),
        Some(status) => status.as_u64().and_then(|status| u16::try_from(status).ok()),
    };
    let Some(status) = status.filter(|status| matches!(status, 200..300 | 400..600)) else { return Some(failed()) };
    Some(match present(fields, "body") {
        Some(body) if !matches!(status, 204 | 205) => json_words(status, body),
        _ => Words { status, content_type: "text/plain; charset=utf-8", body: Vec::new() },
    })
}

/// A text is a message, `{ say: … }` is spoken.
fn twiml(body: Option<&Value>) -> Words {
    let inner = match body {
        Some(Value::String(text)) => format!("<Message>{}</Message>", xml(text)),
        Some(Value::Object(fields)) => match (text(fields, "say"), text(fields, "message")) {
            (Some(say), _) => format!("<Say>{}</Say>", xml(say)),
            (None, Some(message)) => format!("<Message>{}</Message>", xml(message)),
            (None, None) => String::new(),
        },
        _ => String::new(),
    };
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{inner}</Response>");
    Words { status: 200, content_type: "text/xml; charset=utf-8", body: body.into_bytes() }
}

/// Text between tags: no markup, and only characters that XML has.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\r' => out.push(character),
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => {}
            other => out.push(other),
        }
    }
    out
}

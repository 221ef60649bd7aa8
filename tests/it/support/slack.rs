//! Slack's Web API and response addresses with state: channels, messages with metadata, threads, scopes.

use std::sync::Mutex;

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::{Map, Value, json};

pub const TOKEN: &str = "xoxb-stand-in";
/// The id of `#deploys`, where the bot is.
pub const DEPLOYS: &str = "C0DEPLOYS";
/// The id of `#incidents`, where it is, too.
pub const INCIDENTS: &str = "C0INCIDENTS";
/// How often one command can be answered.
const ANSWERS: usize = 5;

#[derive(Default)]
struct State {
    /// With `channel`, `ts`, `text`, and what else was sent.
    messages: Vec<Map<String, Value>>,
    answers: Vec<Value>,
    without: Vec<String>,
    /// Members of the group `deployers`, `S0DEPLOYERS`.
    deployers: Vec<String>,
    /// How often members were asked for.
    asked_for_members: usize,
}

pub struct Slack(Mutex<State>);

pub async fn start() -> Running<Slack> {
    server::start(|_, _| Slack(Mutex::default())).await.unwrap()
}

impl Slack {
    /// Takes a scope away from the bot.
    pub fn take_scope(&self, scope: &str) {
        self.0.lock().unwrap().without.push(scope.to_owned());
    }

    /// A message that is there already; its `ts`.
    pub fn post_as_bot(&self, text: &str) -> String {
        let message = json!({ "channel": DEPLOYS, "text": text });
        let posted = self.0.lock().unwrap().post(message.as_object().unwrap()).unwrap();
        posted["ts"].as_str().unwrap_or_default().to_owned()
    }

    /// Makes these the members of `deployers`.
    pub fn deployers(&self, users: &[&str]) {
        self.0.lock().unwrap().deployers = users.iter().map(|user| (*user).to_owned()).collect();
    }

    pub fn asked_for_members(&self) -> usize {
        self.0.lock().unwrap().asked_for_members
    }

    pub fn messages(&self) -> Vec<Value> {
        self.0.lock().unwrap().messages.iter().cloned().map(Value::Object).collect()
    }

    /// Somebody deletes all messages.
    pub fn clear(&self) {
        self.0.lock().unwrap().messages.clear();
    }

    /// What came to the response address.
    pub fn answers(&self) -> Vec<Value> {
        self.0.lock().unwrap().answers.clone()
    }

    fn method(&self, name: &str, request: &Request) -> Result<Value, &'static str> {
        if request.bearer() != Some(TOKEN) {
            return Err(if request.header("authorization").is_some() { "invalid_auth" } else { "not_authed" });
        }
        let mut state = self.0.lock().unwrap();
        let scope = match name {
            "conversations.list" => "channels:read",
            "conversations.history" | "conversations.replies" => "channels:history",
            "usergroups.list" | "usergroups.users.list" => "usergroups:read",
            _ => "chat:write",
        };
        if state.without.iter().any(|gone| gone == scope) {
            return Err("missing_scope");
        }
        match name {
            "chat.postMessage" => state.post(&body(request, &["channel", "text", "metadata", "thread_ts", "blocks"])?),
            "chat.update" => state.update(&body(request, &["channel", "text", "metadata", "ts", "blocks"])?),
            "conversations.list" => Ok(state.list(request)),
            "usergroups.list" => Ok(json!({ "ok": true, "usergroups": [
                { "id": "S0OLDGROUP", "handle": "deployers", "date_delete": 1_760_000_000 },
                { "id": "S0DEPLOYERS", "handle": "deployers", "date_delete": 0 }] })),
            "usergroups.users.list" => state.members(request),
            "conversations.history" => state.history(request, None),
            "conversations.replies" => state.history(request, Some(request.parameter("ts").ok_or("invalid_arguments")?)),
            _ => Err("unknown_method"),
        }
    }
}

fn body(request: &Request, known: &[&str]) -> Result<Map<String, Value>, &'static str> {
    if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err("invalid_post_type");
    }
    let Some(Value::Object(body)) = request.json() else { return Err("invalid_json") };
    if body.keys().any(|name| !known.contains(&name.as_str())) {
        return Err("invalid_arguments");
    }
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    match text.chars().count() {
        0 => Err("no_text"),
        length if length > 40_000 => Err("msg_too_long"),
        _ => Ok(body),
    }
}

impl State {
    fn post(&mut self, body: &Map<String, Value>) -> Result<Value, &'static str> {
        let channel = match body.get("channel").and_then(Value::as_str) {
            Some("#deploys" | DEPLOYS) => DEPLOYS,
            Some("#incidents" | INCIDENTS) => INCIDENTS,
            Some("#private") => return Err("not_in_channel"),
            Some("#old") => return Err("is_archived"),
            _ => return Err("channel_not_found"),
        };
        if let Some(thread) = body.get("thread_ts") {
            self.messages.iter().find(|message| message.get("ts") == Some(thread)).ok_or("thread_not_found")?;
        }
        let ts = format!("1764000000.{:06}", self.messages.len() + 1);
        let mut message = body.clone();
        message.insert("channel".into(), channel.into());
        message.insert("ts".into(), ts.clone().into());
        self.messages.push(message);
        Ok(json!({ "ok": true, "channel": channel, "ts": ts, "message": {} }))
    }

    fn update(&mut self, body: &Map<String, Value>) -> Result<Value, &'static str> {
        if body.get("channel").and_then(Value::as_str) != Some(DEPLOYS) {
            return Err("channel_not_found");
        }
        let found = self.messages.iter_mut().find(|message| message.get("ts") == body.get("ts")).ok_or("message_not_found")?;
        found.extend(body.clone());
        Ok(json!({ "ok": true, "channel": DEPLOYS, "ts": body["ts"], "text": body["text"] }))
    }

    /// Two pages, so that whoever reads only the first finds nothing.
    fn list(&self, request: &Request) -> Value {
        let channel = |id: &str, name: &str| json!({ "id": id, "name": name, "is_archived": false });
        match request.parameter("cursor") {
            None => {
                json!({ "ok": true, "channels": [channel("C0GENERAL", "general")], "response_metadata": { "next_cursor": "dGVhbQ==" } })
            }
            Some(_) => {
                json!({ "ok": true, "channels": [channel(DEPLOYS, "deploys")], "response_metadata": { "next_cursor": "" } })
            }
        }
    }

    fn members(&mut self, request: &Request) -> Result<Value, &'static str> {
        if request.parameter("usergroup") != Some("S0DEPLOYERS") {
            return Err("no_such_subteam");
        }
        self.asked_for_members += 1;
        Ok(json!({ "ok": true, "users": self.deployers }))
    }

    fn history(&self, request: &Request, thread: Option<&str>) -> Result<Value, &'static str> {
        if request.parameter("channel") != Some(DEPLOYS) {
            return Err("channel_not_found");
        }
        let metadata = request.parameter("include_all_metadata") == Some("true");
        let text = |message: &Map<String, Value>, name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        // Replies are only part of their thread.
        let belongs = |message: &&Map<String, Value>| match thread {
            Some(thread) => [text(message, "thread_ts"), text(message, "ts")].contains(&Some(thread.to_owned())),
            None => !message.contains_key("thread_ts"),
        };
        let shown = |message: &Map<String, Value>| {
            let mut message = message.clone();
            if !metadata {
                message.remove("metadata");
            }
            Value::Object(message)
        };
        Ok(json!({ "ok": true, "messages": self.messages.iter().rev().filter(belongs).map(shown).collect::<Vec<_>>() }))
    }
}

#[async_trait]
impl Api for Slack {
    async fn answer(&self, request: &Request) -> Answer {
        if request.path == "/commands/T1/2/abc" {
            let mut state = self.0.lock().unwrap();
            if state.answers.len() >= ANSWERS {
                return Answer::text(404, "used_url");
            }
            let body = request.json().unwrap_or_default();
            let known = |kind: &Value| kind == "ephemeral" || kind == "in_channel";
            if body["text"].as_str().is_none_or(str::is_empty) || !known(&body["response_type"]) {
                return Answer::text(400, "invalid_payload");
            }
            state.answers.push(body);
            return Answer::text(200, "ok");
        }
        match request.path.strip_prefix("/api/").map(|method| self.method(method, request)) {
            Some(Ok(answer)) => Answer::json(200, &answer),
            Some(Err(word)) => Answer::json(200, &json!({ "ok": false, "error": word })),
            None => Answer::text(404, "Not Found"),
        }
    }

    fn refuse(&self, status: u16, _message: &str) -> Answer {
        match status {
            429 => Answer::json(429, &json!({ "ok": false, "error": "ratelimited" })),
            _ => Answer::text(status, "refused"),
        }
    }
}

//! Webhooks of Discord and of Google Chat with state: messages, threads, edits.

use std::sync::Mutex;

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::{Value, json};

use super::discovery;

/// Path of the Discord webhook.
pub const DISCORD: &str = "/api/webhooks/801/discord-webhook-token";
/// Path and query of the Google Chat webhook.
pub const GOOGLE: &str = "/v1/spaces/AAA/messages?key=chat-key&token=chat-token";

#[derive(Default)]
struct State {
    discord: Vec<Value>,
    google: Vec<Value>,
}

pub struct Chat(Mutex<State>);

pub async fn start() -> Running<Chat> {
    let running = server::start(|_, _| Chat(Mutex::default())).await.unwrap();
    running.hold_to(discovery::chat());
    running
}

impl Chat {
    /// Messages on Discord, as it shows them.
    pub fn on_discord(&self) -> Vec<Value> {
        self.0.lock().unwrap().discord.clone()
    }

    /// Somebody deletes all messages on Discord.
    pub fn clear(&self) {
        self.0.lock().unwrap().discord.clear();
    }

    /// Messages in Google Chat, with `requestId`.
    pub fn in_google_chat(&self) -> Vec<Value> {
        self.0.lock().unwrap().google.clone()
    }

    fn discord(&self, request: &Request, update: Option<&str>) -> Answer {
        let refuse = |status: u16, message: &str| Answer::json(status, &json!({ "message": message, "code": 50_035 }));
        let Some(body) = request.json() else { return refuse(400, "The request body contains invalid JSON.") };
        let known = ["content", "allowed_mentions", "thread_name"];
        if body.as_object().is_none_or(|body| body.keys().any(|name| !known.contains(&name.as_str()))) {
            return refuse(400, "Invalid Form Body");
        }
        let content = body["content"].as_str().unwrap_or_default();
        if content.is_empty() || content.chars().count() > 2000 {
            return refuse(400, "Invalid Form Body");
        }
        if body["allowed_mentions"]["parse"] != json!([]) {
            return refuse(400, "the stand-in wants nobody to be notified");
        }
        let mut state = self.0.lock().unwrap();
        if let Some(id) = update {
            let Some(message) = state.discord.iter_mut().find(|message| message["id"] == *id) else {
                return refuse(404, "Unknown Message");
            };
            message["content"] = content.into();
            return Answer::json(200, message);
        }
        let id = (9_000_000 + state.discord.len()).to_string();
        let channel = match (request.parameter("thread_id"), body["thread_name"].as_str()) {
            (Some(thread), _) => thread.to_owned(),
            (None, Some(_)) => id.clone(),
            (None, None) => "777".to_owned(),
        };
        let message = json!({ "id": id, "channel_id": channel, "content": content, "thread_name": body["thread_name"] });
        state.discord.push(message.clone());
        if request.parameter("wait") == Some("true") { Answer::json(200, &message) } else { Answer::empty(204) }
    }

    fn google(&self, request: &Request) -> Answer {
        if request.parameter("key") != Some("chat-key") || request.parameter("token") != Some("chat-token") {
            return Answer::google_error(401, "Request had invalid authentication credentials.");
        }
        let mut body = request.json().unwrap_or_default();
        if body["text"].as_str().is_none_or(str::is_empty) {
            return Answer::google_error(400, "Message cannot be empty.");
        }
        let mut state = self.0.lock().unwrap();
        let id = request.parameter("requestId").unwrap_or_default().to_owned();
        if let Some(message) = state.google.iter().find(|message| !id.is_empty() && message["requestId"] == *id) {
            return Answer::json(200, message);
        }
        let follows = request.parameter("messageReplyOption").is_some();
        let key = body["thread"]["threadKey"].as_str().filter(|_| follows).map(str::to_owned);
        let thread = key.unwrap_or_else(|| format!("T{}", state.google.len()));
        body["name"] = format!("spaces/AAA/messages/M{}", state.google.len()).into();
        body["thread"] = json!({ "name": format!("spaces/AAA/threads/{thread}") });
        body["requestId"] = id.into();
        state.google.push(body.clone());
        Answer::json(200, &body)
    }
}

#[async_trait]
impl Api for Chat {
    async fn answer(&self, request: &Request) -> Answer {
        match (request.method.as_str(), request.segments().as_slice()) {
            ("POST", ["api", "webhooks", "801", "discord-webhook-token"]) => self.discord(request, None),
            ("PATCH", ["api", "webhooks", "801", "discord-webhook-token", "messages", id]) => self.discord(request, Some(id)),
            ("POST", ["v1", "spaces", "AAA", "messages"]) => self.google(request),
            (_, ["api", ..]) => Answer::json(404, &json!({ "message": "Unknown Webhook", "code": 10_015 })),
            _ => Answer::google_error(404, "Not found."),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "message": message }))
    }
}

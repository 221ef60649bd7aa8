//! Cloud Tasks and Pub/Sub as far as they matter here: names that are taken once, times, and bad habits.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::Api;
use rand::Rng;
use serde_json::{Value, json};

/// What the queue does that one hopes it does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// How often it brings again what was answered.
    pub doubles: f64,
    /// How often it forgets what it took.
    pub loses: f64,
    /// It brings the last first, or any.
    pub mixes: bool,
}

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Task {
    /// The body of the request.
    pub body: Vec<u8>,
    /// Not before.
    at: Instant,
}

/// Tasks, and names that were ever used.
pub struct Queue {
    habits: Habits,
    waiting: Mutex<Vec<Task>>,
    names: Mutex<HashSet<String>>,
    made: Mutex<usize>,
}

impl Queue {
    pub fn new(habits: Habits) -> Self {
        Self { habits, waiting: Mutex::default(), names: Mutex::default(), made: Mutex::new(0) }
    }

    /// The next call that may be made now.
    pub fn take(&self) -> Option<Task> {
        let mut waiting = self.waiting.lock().expect("nobody panicked");
        let due: Vec<usize> = (0..waiting.len()).filter(|index| waiting[*index].at <= Instant::now()).collect();
        let chosen = if self.habits.mixes && !due.is_empty() {
            due.get(rand::rng().random_range(0..due.len())).copied()
        } else {
            due.first().copied()
        };
        chosen.map(|index| waiting.remove(index))
    }

    /// What was answered is over, mostly; what was not comes again.
    pub fn answered(&self, task: Task, well: bool) {
        *self.made.lock().expect("nobody panicked") += 1;
        if !well || rand::rng().random_bool(self.habits.doubles) {
            let again = Task { at: Instant::now() + Duration::from_millis(150), ..task };
            self.waiting.lock().expect("nobody panicked").push(again);
        }
    }

    /// How many calls were made.
    pub fn made(&self) -> usize {
        *self.made.lock().expect("nobody panicked")
    }

    /// What waits, for people.
    pub fn shown(&self) -> String {
        let waiting = self.waiting.lock().expect("nobody panicked");
        let bodies = waiting.iter().map(|task| String::from_utf8_lossy(&task.body).into_owned());
        format!("{} calls made; waiting: {}", self.made(), bodies.collect::<Vec<_>>().join(" "))
    }

    fn keep(&self, body: Vec<u8>, at: Instant) {
        if !rand::rng().random_bool(self.habits.loses) {
            self.waiting.lock().expect("nobody panicked").push(Task { body, at });
        }
    }

    fn task(&self, task: &Value) -> Answer {
        let name = task["name"].as_str().unwrap_or_default();
        if !self.names.lock().expect("nobody panicked").insert(name.to_owned()) {
            return Answer::google_error_as(409, "ALREADY_EXISTS", "a task of this name exists, or did", None);
        }
        let body = task.pointer("/httpRequest/body").and_then(Value::as_str).and_then(|body| STANDARD.decode(body).ok());
        let Some(body) = body else { return Answer::google_error(400, "a task needs a body here") };
        let token = task.pointer("/httpRequest/oidcToken/serviceAccountEmail").and_then(Value::as_str);
        if token.is_none_or(|account| !account.contains('@')) {
            return Answer::google_error(400, "a task needs an account here");
        }
        let due = task["scheduleTime"].as_str().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
        let now = declic::clock::Timestamp::now().0;
        let wait = due.map_or(0, |due| u64::try_from(due.timestamp_millis() - now).unwrap_or(0));
        self.keep(body, Instant::now() + Duration::from_millis(wait));
        Answer::json(200, &json!({ "name": name }))
    }

    fn publish(&self, messages: &[Value]) -> Answer {
        for message in messages {
            // As a push subscription wraps it.
            let wrapped =
                json!({ "message": { "data": message["data"], "messageId": "1" }, "subscription": "projects/p/subscriptions/s" });
            self.keep(wrapped.to_string().into_bytes(), Instant::now());
        }
        Answer::json(200, &json!({ "messageIds": messages.iter().map(|_| "1").collect::<Vec<_>>() }))
    }
}

#[async_trait]
impl Api for Queue {
    async fn answer(&self, request: &Request) -> Answer {
        let body = request.json().unwrap_or_default();
        if request.bearer().is_none() {
            return Answer::google_error(401, "who asks?");
        }
        match request.path.as_str() {
            path if path.ends_with("/tasks") => self.task(&body["task"]),
            path if path.ends_with(":publish") => self.publish(body["messages"].as_array().map_or(&[], Vec::as_slice)),
            _ => Answer::google_error(404, "there is no such method here"),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

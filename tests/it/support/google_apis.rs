//! Pub/Sub, BigQuery, FCM, Cloud Tasks and a Dialogflow agent with state, held to their discovery documents: what they refuse in the world they refuse here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use declic::demo::stand_ins::tokens::Tokens;
use serde_json::{Value, json};

use super::discovery;

/// A message that a topic has.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub data: String,
    pub attributes: Value,
    pub ordering_key: Option<String>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, Vec<Message>>,
    /// Table -> columns and rows by insert id.
    tables: BTreeMap<String, (BTreeSet<String>, BTreeMap<String, Value>)>,
    pushed: Vec<Value>,
    next: u64,
    /// Queue -> tasks by name. A name stays taken when its task is done.
    queues: BTreeMap<String, BTreeMap<String, Value>>,
    /// What the agent was asked: session and request.
    asked: Vec<(String, Value)>,
    /// `reason` of the errors that the next inserts are answered with, in a 200.
    row_faults: Vec<String>,
}

pub struct GoogleApis {
    tokens: Tokens,
    state: Mutex<State>,
}

/// A registration token that no device has any more.
pub const GONE: &str = "gone-device";

pub async fn start(tokens: Tokens) -> Running<GoogleApis> {
    let running = server::start(|_, _| GoogleApis { tokens, state: Mutex::default() }).await.unwrap();
    running.hold_to(discovery::data_services());
    running
}

impl GoogleApis {
    pub fn add_topic(&self, name: &str) {
        self.state.lock().unwrap().topics.insert(name.to_owned(), Vec::new());
    }

    pub fn messages(&self, topic: &str) -> Vec<Message> {
        self.state.lock().unwrap().topics[topic].clone()
    }

    pub fn add_table(&self, name: &str, columns: &[&str]) {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        self.state.lock().unwrap().tables.insert(name.to_owned(), (columns, BTreeMap::new()));
    }

    pub fn rows(&self, table: &str) -> BTreeMap<String, Value> {
        self.state.lock().unwrap().tables[table].1.clone()
    }

    /// The next insert is answered 200 with this reason for its row.
    pub fn fail_row(&self, reason: &str) {
        self.state.lock().unwrap().row_faults.push(reason.to_owned());
    }

    pub fn add_queue(&self, name: &str) {
        self.state.lock().unwrap().queues.insert(name.to_owned(), BTreeMap::new());
    }

    pub fn tasks(&self, queue: &str) -> Vec<Value> {
        self.state.lock().unwrap().queues[queue].values().cloned().collect()
    }

    pub fn asked(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().asked.clone()
    }

    fn create_task(&self, queue: &str, body: &Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        let Some(tasks) = state.queues.get_mut(queue) else {
            return Answer::google_error(404, "Queue does not exist.");
        };
        let (task, name) = (&body["task"], body["task"]["name"].as_str().unwrap_or_default());
        if !name.starts_with(&format!("{queue}/tasks/")) {
            return Answer::google_error(400, "Task name must be formatted: projects/…/tasks/TASK_ID");
        }
        if task["httpRequest"]["url"].as_str().is_none() {
            return Answer::google_error(400, "HttpRequest.url is required");
        }
        if tasks.contains_key(name) {
            return Answer::google_error_as(409, "ALREADY_EXISTS", "Requested entity already exists", None);
        }
        tasks.insert(name.to_owned(), task.clone());
        Answer::json(200, task)
    }

    fn detect(&self, session: &str, body: &Value, cx: bool) -> Answer {
        self.state.lock().unwrap().asked.push((session.to_owned(), body.clone()));
        let input = &body["queryInput"];
        let said = &input["text"]["text"];
        let event = if cx { &input["event"]["event"] } else { &input["event"]["name"] };
        let intent = event.as_str().or_else(|| said.as_str()).unwrap_or_default();
        let texts = json!({ "text": { "text": [format!("You said {intent}."), "Anything else?"] } });
        let payload = json!({ "payload": { "intent": intent } });
        let result = if cx {
            json!({
                "match": { "intent": { "displayName": intent }, "confidence": 0.75 }, "responseMessages": [texts, payload],
                "parameters": body["queryParams"]["parameters"],
            })
        } else {
            json!({
                "intent": { "displayName": intent }, "intentDetectionConfidence": 0.75, "fulfillmentMessages": [texts, payload],
                "fulfillmentText": format!("You said {intent}."), "parameters": input["event"]["parameters"],
            })
        };
        Answer::json(200, &json!({ "responseId": "r", "queryResult": result }))
    }

    pub fn pushed(&self) -> Vec<Value> {
        self.state.lock().unwrap().pushed.clone()
    }

    fn publish(&self, topic: &str, body: &Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        let State { topics, next, .. } = &mut *state;
        let Some(messages) = topics.get_mut(topic) else {
            return Answer::google_error(404, &format!("Resource not found (resource={topic})."));
        };
        let mut ids = Vec::new();
        for message in body["messages"].as_array().into_iter().flatten() {
            let data = STANDARD.decode(message["data"].as_str().unwrap_or_default()).unwrap_or_default();
            let long = |value: &Value| value.as_str().is_some_and(|text| text.len() > 1024);
            if message["attributes"].as_object().is_some_and(|all| all.len() > 100 || all.values().any(long)) {
                return Answer::google_error(400, "One or more messages in the publish request is invalid.");
            }
            messages.push(Message {
                data: String::from_utf8(data).unwrap(),
                attributes: message["attributes"].clone(),
                ordering_key: message["orderingKey"].as_str().map(str::to_owned),
            });
            *next += 1;
            ids.push(next.to_string());
        }
        if ids.is_empty() {
            return Answer::google_error(400, "The value for message_count is too small.");
        }
        Answer::json(200, &json!({ "messageIds": ids }))
    }

    fn insert(&self, table: &str, body: &Value) -> Answer {
        let mut state = self.state.lock().unwrap();
        let fault = if state.row_faults.is_empty() { None } else { Some(state.row_faults.remove(0)) };
        let Some((columns, rows)) = state.tables.get_mut(table) else {
            return Answer::google_error(404, &format!("Not found: Table {table}"));
        };
        let mut errors = Vec::new();
        let mut accepted = Vec::new();
        for (index, row) in body["rows"].as_array().into_iter().flatten().enumerate() {
            let unknown = row["json"].as_object().and_then(|row| row.keys().find(|column| !columns.contains(*column)));
            let error = match (&fault, unknown) {
                (Some(reason), _) => json!({ "reason": reason, "location": "", "debugInfo": "", "message": "told to fail" }),
                (None, Some(column)) => {
                    json!({ "reason": "invalid", "location": column, "debugInfo": "", "message": format!("no such field: {column}.") })
                }
                (None, None) => {
                    accepted.push((row["insertId"].as_str().unwrap().to_owned(), row["json"].clone()));
                    continue;
                }
            };
            errors.push(json!({ "index": index, "errors": [error] }));
        }
        if !errors.is_empty() {
            return Answer::json(200, &json!({ "kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors }));
        }
        rows.extend(accepted);
        Answer::json(200, &json!({ "kind": "bigquery#tableDataInsertAllResponse" }))
    }

    fn send(&self, project: &str, body: &Value) -> Answer {
        let message = &body["message"];
        let to = ["topic", "token", "condition"].iter().filter(|name| message[**name].is_string()).count();
        if to != 1 {
            return Answer::google_error(400, "Recipient of the message is not set.");
        }
        if message["token"] == GONE {
            let details =
                json!([{ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED" }]);
            return Answer::google_error_as(404, "NOT_FOUND", "Requested entity was not found.", Some(details));
        }
        let mut state = self.state.lock().unwrap();
        state.pushed.push(message.clone());
        Answer::json(200, &json!({ "name": format!("projects/{project}/messages/{}", state.pushed.len()) }))
    }
}

#[async_trait]
impl Api for GoogleApis {
    async fn answer(&self, request: &Request) -> Answer {
        if request.bearer().and_then(|token| self.tokens.check(token)).is_none() {
            return Answer::google_error(401, "Request had invalid authentication credentials.");
        }
        let body = request.json().unwrap_or_default();
        match request.segments()[..] {
            ["v1", "projects", _, "topics", topic] => {
                let path = request.path.trim_start_matches("/v1/");
                assert!(topic.ends_with(":publish"));
                self.publish(path.trim_end_matches(":publish"), &body)
            }
            ["v2", "projects", _, "locations", _, "queues", _, "tasks"] => {
                self.create_task(request.path.trim_start_matches("/v2/").trim_end_matches("/tasks"), &body)
            }
            ["v2", "projects", _, "locations", _, "queues", _, "tasks", _] => {
                let name = request.path.trim_start_matches("/v2/");
                let state = self.state.lock().unwrap();
                let found = state.queues.values().find_map(|tasks| tasks.get(name));
                found.map_or_else(|| Answer::google_error(404, "The task does not exist."), |task| Answer::json(200, task))
            }
            [version @ ("v2" | "v3"), "projects", .., "sessions", _] => {
                let session =
                    request.path.trim_start_matches("/v2/").trim_start_matches("/v3/").trim_end_matches(":detectIntent");
                self.detect(session, &body, version == "v3")
            }
            ["v1", "projects", project, "messages:send"] => self.send(project, &body),
            ["bigquery", "v2", "projects", _, "datasets", _, "tables", table] => {
                let state = self.state.lock().unwrap();
                let Some((columns, _)) = state.tables.get(table) else {
                    return Answer::google_error(404, &format!("Not found: Table {table}"));
                };
                let mode = |column: &str| if column.ends_with("_id") { "REQUIRED" } else { "NULLABLE" };
                let field = |column: &String| json!({ "name": column, "type": "STRING", "mode": mode(column) });
                Answer::json(200, &json!({ "schema": { "fields": columns.iter().map(field).collect::<Vec<_>>() } }))
            }
            ["bigquery", "v2", "projects", _, "datasets", _, "tables", table, "insertAll"] => self.insert(table, &body),
            _ => Answer::google_error(404, "Not found."),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

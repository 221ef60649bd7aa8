//! Delivery logs of hooks: of repositories, of organisations, of Apps. Pages go by cursor, the newest first.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{Refusal, refused};
use super::state::{Hook, State};
use super::{GitHub, number};
use crate::clock::Timestamp;
use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::ledger::lock;

/// GitHub takes a token of an App that lives at most so long.
const LONGEST_TOKEN: i64 = 600;

/// One attempt to deliver, as a test or a scenario says it went.
#[derive(Debug, Clone)]
pub struct LoggedAttempt {
    /// The same for every attempt at one delivery.
    pub guid: String,
    /// `push`
    pub event: String,
    /// What was sent.
    pub payload: Value,
    /// What the receiver answered; 0 if nobody did.
    pub status_code: u16,
    /// When.
    pub delivered_at: Timestamp,
    /// Was it asked for by hand?
    pub redelivery: bool,
    /// `X-Hub-Signature-256` as it was sent.
    pub signature: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    iat: i64,
    exp: i64,
}

impl GitHub {
    /// A hook whose log can be read: of `owner/name`, of an organisation, or of an App (`app`, with the App's number).
    pub fn add_hook(&self, of: &str, id: u64) {
        lock(&self.state).hooks.entry((of.to_owned(), id)).or_default();
    }

    /// An App with its public key, and its hook.
    pub fn add_app(&self, id: u64, public_key_pem: &str) {
        lock(&self.state).apps.insert(id.to_string(), public_key_pem.to_owned());
        self.add_hook("app", id);
    }

    /// Writes an attempt into the log of a hook. Answers its number.
    pub fn log_attempt(&self, of: &str, id: u64, attempt: LoggedAttempt) -> u64 {
        let mut state = lock(&self.state);
        let number = state.next_id();
        let hook = state.hooks.entry((of.to_owned(), id)).or_default();
        hook.attempts.push((number, attempt));
        // Ids grow with time, and so does the log.
        hook.attempts.sort_by_key(|(number, attempt)| (attempt.delivered_at, *number));
        number
    }
}

/// Is the bearer an App of ours? Its number.
pub(super) fn app(state: &State, request: &Request) -> Option<String> {
    let token = request.bearer()?;
    let now = state.now();
    let mut validation = Validation::new(Algorithm::RS256);
    // By the clock of this stand-in, below.
    validation.validate_exp = false;
    state.apps.iter().find_map(|(id, key)| {
        let key = DecodingKey::from_rsa_pem(key.as_bytes()).ok()?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()?.claims;
        (claims.iss == *id && claims.iat <= now && claims.exp > now && claims.exp - now <= LONGEST_TOKEN).then(|| id.clone())
    })
}

/// `None`: not about a delivery log.
pub(super) fn answer(base: &str, request: &Request, state: &State, segments: &[&str]) -> Option<Result<Answer, Refusal>> {
    if request.method != "GET" {
        return None;
    }
    let (of, id, rest) = match segments {
        ["repos", owner, name, "hooks", id, "deliveries", rest @ ..] => (format!("{owner}/{name}"), (*id).to_owned(), rest),
        ["orgs", name, "hooks", id, "deliveries", rest @ ..] => ((*name).to_owned(), (*id).to_owned(), rest),
        ["app", "hook", "deliveries", rest @ ..] => match app(state, request) {
            Some(id) => ("app".to_owned(), id, rest),
            None => return Some(Err(refused(401, "A JSON web token could not be decoded"))),
        },
        _ => return None,
    };
    Some(number(&id).and_then(|id| {
        let hook = state.hooks.get(&(of, id)).ok_or_else(|| refused(404, "Not Found"))?;
        match rest {
            [] => list(base, request, hook),
            [attempt] => one(hook, number(attempt)?),
            _ => Err(refused(404, "Not Found")),
        }
    }))
}

fn list(base: &str, request: &Request, hook: &Hook) -> Result<Answer, Refusal> {
    let size = match request.parameter("per_page") {
        Some(text) => text.parse::<usize>().map_err(|_| refused(422, "`per_page` is not a number"))?.clamp(1, 100),
        None => 30,
    };
    let mut rest = hook.attempts.iter().rev().peekable();
    if let Some(cursor) = request.parameter("cursor") {
        let from = cursor.strip_prefix("v1_").and_then(|number| number.parse::<u64>().ok());
        let from = from.filter(|from| hook.attempts.iter().any(|(number, _)| number == from));
        let from = from.ok_or_else(|| refused(400, "The cursor is not valid."))?;
        while rest.next_if(|(number, _)| *number != from).is_some() {}
    }
    let page: Vec<Value> = rest.by_ref().take(size).map(|(number, attempt)| Value::Object(shown(*number, attempt))).collect();
    let answer = Answer::json(200, &Value::Array(page));
    Ok(match rest.peek() {
        Some((next, _)) => {
            let link = format!("<{base}{}?per_page={size}&cursor=v1_{next}>; rel=\"next\"", request.path);
            answer.with_header("link", link)
        }
        None => answer,
    })
}

fn one(hook: &Hook, number: u64) -> Result<Answer, Refusal> {
    let found = hook.attempts.iter().find(|(id, _)| *id == number);
    let (_, attempt) = found.ok_or_else(|| refused(404, "Not Found"))?;
    let mut all = shown(number, attempt);
    let mut headers = json!({
        "Accept": "*/*", "content-type": "application/json", "User-Agent": "GitHub-Hookshot/0000000",
        "X-GitHub-Delivery": attempt.guid, "X-GitHub-Event": attempt.event, "X-GitHub-Hook-ID": "1",
    });
    if let (Some(headers), Some(signature)) = (headers.as_object_mut(), &attempt.signature) {
        headers.insert("X-Hub-Signature-256".into(), signature.as_str().into());
    }
    all.insert("request".into(), json!({ "headers": headers, "payload": attempt.payload }));
    all.insert("response".into(), json!({ "headers": {}, "payload": "" }));
    Ok(Answer::json(200, &Value::Object(all)))
}

fn shown(number: u64, attempt: &LoggedAttempt) -> serde_json::Map<String, Value> {
    let status = match attempt.status_code {
        200..=299 => "OK",
        0 => "failed to connect to host",
        _ => "Invalid HTTP Response",
    };
    let fields = [
        ("id", json!(number)),
        ("guid", json!(attempt.guid)),
        ("delivered_at", json!(attempt.delivered_at.rfc3339())),
        ("redelivery", json!(attempt.redelivery)),
        ("duration", json!(0.27)),
        ("status", json!(status)),
        ("status_code", json!(attempt.status_code)),
        ("event", json!(attempt.event)),
        ("action", attempt.payload.get("action").cloned().unwrap_or_default()),
        ("installation_id", attempt.payload.pointer("/installation/id").cloned().unwrap_or_default()),
        ("repository_id", attempt.payload.pointer("/repository/id").cloned().unwrap_or_default()),
        ("throttled_at", Value::Null),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

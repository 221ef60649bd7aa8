//! GitHub's delivery log: what it tried to deliver, page by page, and what it sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use declic_actions::action::Failure;
use declic_actions::github::GitHub;
use declic_actions::http::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::hook::{Access, Hook};
use crate::clock::Timestamp;
use crate::inbound::Inbound;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// GitHub gives no more at a time.
const PAGE: usize = 100;
/// A log that does not come to an end before this is not followed further.
const MOST_PAGES: usize = 500;
/// After a failure for which GitHub names no time.
const PAUSE: Duration = Duration::from_secs(30);
/// One part in so many of the hourly limit is left to the actions, whose reports matter more.
const RESERVE: u64 = 10;

/// Headers that are kept of what GitHub says it sent; event, id and type of the body are known better.
const HEADERS: &[&str] = &[
    "user-agent",
    "x-github-hook-id",
    "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type",
    "x-hub-signature-256",
];

/// A delivery in the log, with all attempts at it.
#[derive(Debug, Clone)]
pub struct Logged {
    /// GitHub's id of it, the same for every attempt: `X-GitHub-Delivery`.
    pub guid: String,
    /// GitHub's word for the event.
    pub event: String,
    /// Part of the event: `opened`.
    pub action: Option<String>,
    /// When it was last tried, by GitHub's clock.
    pub delivered_at: Timestamp,
    /// Number of the last attempt.
    pub attempt: u64,
    /// Did any attempt get a 2xx?
    pub succeeded: bool,
}

/// Why reading stopped.
#[derive(Debug, Clone, PartialEq)]
pub enum Halt {
    /// GitHub does not answer, or wants to be left alone: again after this long.
    Later {
        /// How long.
        after: Duration,
        /// Why, for the log.
        why: String,
    },
    /// It will not get better by itself; the text is for the operator.
    Refused(String),
}

/// The log of one hook.
pub struct Log {
    hook: Hook,
    access: Access,
    /// No request before this.
    not_before: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct Attempt {
    id: u64,
    guid: String,
    delivered_at: chrono::DateTime<chrono::Utc>,
    status_code: i64,
    event: String,
    action: Option<String>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(borrow)]
    request: Sent<'a>,
}

#[derive(Deserialize)]
struct Sent<'a> {
    headers: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl Log {
    /// Asks nobody yet.
    pub fn new(hook: Hook, access: Access) -> Self {
        Self { hook, access, not_before: Mutex::new(None) }
    }

    /// Whose log it is.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// What was tried since then, the oldest first.
    pub async fn since(&self, since: Timestamp) -> Result<Vec<Logged>, Halt> {
        let client = self.hook.client(&self.access).map_err(Halt::Refused)?;
        let mut found: BTreeMap<String, Logged> = BTreeMap::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let from = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let answer = self.get(&client, &format!("{}?per_page={PAGE}{from}", self.hook.path())).await?;
            let attempts: Vec<Attempt> = serde_json::from_slice(&answer.body).map_err(|error| unreadable(&error))?;
            let next = next_cursor(&answer);
            let (all, mut within) = (attempts.len(), 0);
            for attempt in attempts.into_iter().filter(|attempt| attempt.delivered_at.timestamp_millis() >= since.0) {
                within += 1;
                note(&mut found, attempt);
            }
            // The newest come first.
            if within < all || next.is_none() || next == cursor {
                break;
            }
            cursor = next;
        }
        let mut found: Vec<Logged> = found.into_values().collect();
        found.sort_by_key(|logged| (logged.delivered_at, logged.attempt));
        Ok(found)
    }

    /// The request that GitHub sent, to a source at this path. `None`: the log no longer has it.
    pub async fn request(&self, logged: &Logged, path: &str) -> Result<Option<Inbound>, Halt> {
        let client = self.hook.client(&self.access).map_err(Halt::Refused)?;
        let answer = self.get(&client, &format!("{}/{}", self.hook.path(), logged.attempt)).await?;
        let detail: Detail<'_> = serde_json::from_slice(&answer.body).map_err(|error| unreadable(&error))?;
        let Some(payload) = detail.request.payload else { return Ok(None) };
        let mut headers = vec![
            ("content-type".to_owned(), Bytes::from_static(b"application/json")),
            ("x-github-event".to_owned(), Bytes::from(logged.event.clone())),
            ("x-github-delivery".to_owned(), Bytes::from(logged.guid.clone())),
        ];
        for (name, value) in detail.request.headers.unwrap_or_default() {
            let name = name.to_ascii_lowercase();
            if let (true, Some(value)) = (HEADERS.contains(&name.as_str()), value.as_str()) {
                headers.push((name, Bytes::from(value.to_owned())));
            }
        }
        Ok(Some(Inbound {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers,
            body: Bytes::copy_from_slice(payload.get().as_bytes()),
            received_at: Timestamp::now(),
        }))
    }

    async fn get(&self, client: &GitHub, path: &str) -> Result<Response, Halt> {
        let wait = self.held().map(|until| until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero());
        if let Some(after) = wait {
            let why = "the rest of this hour's requests is left to the actions".to_owned();
            return Err(Halt::Later { after, why });
        }
        let answer = client.get(path, Instant::now() + PATIENCE).await.map_err(halt)?;
        if let Some(after) = scarce(&answer) {
            *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + after);
        }
        Ok(answer)
    }

    fn held(&self) -> Option<Instant> {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(found: &mut BTreeMap<String, Logged>, attempt: Attempt) {
    let at = Timestamp(attempt.delivered_at.timestamp_millis());
    let succeeded = (200..300).contains(&attempt.status_code);
    match found.get_mut(&attempt.guid) {
        Some(logged) => {
            logged.succeeded |= succeeded;
            if (at, attempt.id) > (logged.delivered_at, logged.attempt) {
                (logged.delivered_at, logged.attempt) = (at, attempt.id);
            }
        }
        None => {
            let Attempt { id, guid, event, action, .. } = attempt;
            let logged = Logged { guid: guid.clone(), event, action, delivered_at: at, attempt: id, succeeded };
            found.insert(guid, logged);
        }
    }
}

fn halt(failure: Failure) -> Halt {
    match failure {
        Failure::Retry { after, why } => Halt::Later { after: after.unwrap_or(PAUSE), why: why.message },
        other => Halt::Refused(other.why().message.clone()),
    }
}

fn unreadable(error: &serde_json::Error) -> Halt {
    Halt::Refused(format!("the delivery log is not in GitHub's form (line {} column {})", error.line(), error.column()))
}

/// From `Link`: only the cursor is taken, so that no answer leads elsewhere.
fn next_cursor(answer: &Response) -> Option<String> {
    let links = answer.header("link")?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let url = url::Url::parse(address).ok()?;
    let cursor = url.query_pairs().find(|(name, _)| name == "cursor")?.1.into_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~".contains(&byte);
    (!cursor.is_empty() && cursor.bytes().all(plain)).then_some(cursor)
}

/// How long to ask for nothing more, if few requests are left.
fn scarce(answer: &Response) -> Option<Duration> {
    let number = |name: &str| answer.header(name)?.parse::<u64>().ok();
    let (limit, remaining) = (number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?);
    if remaining > limit / RESERVE {
        return None;
    }
    let reset = i64::try_from(number("x-ratelimit-reset")?).ok()?;
    let left = u64::try_from(reset.saturating_sub(Timestamp::now().seconds())).unwrap_or(0);
    Some(Duration::from_secs(left.clamp(1, 3600)))
}

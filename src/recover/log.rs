//! GitHub's delivery log: what it tried to deliver, page by page, and what it sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use declic_actions::action::Failure;
use declic_actions::github::GitHub;
use declic_actions::http::{Method, Request, Response};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::hook::{Access, Hook};
use crate::clock::Timestamp;
use crate::inbound::Inbound;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// GitHub gives no more at a time.
const PAGE: usize = 100;
/// Pages that are read before what they hold is dealt with: a log of any length is gone through in bounded memory.
const PAGES_TOGETHER: usize = 50;
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

/// Part of a log.
#[derive(Debug)]
pub(super) struct Part {
    /// What was tried, the oldest first.
    pub tried: Vec<Logged>,
    /// Where it goes on, towards older attempts.
    pub next: Option<String>,
}

/// The log of one hook.
pub struct Log {
    hook: Hook,
    access: Access,
    /// No request before this.
    not_before: Mutex<Option<Instant>>,
    /// So many milliseconds is GitHub's clock ahead of this machine's, by its last answer.
    ahead: Mutex<Option<i64>>,
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
        Self { hook, access, not_before: Mutex::new(None), ahead: Mutex::new(None) }
    }

    /// Whose log it is.
    pub fn hook(&self) -> &Hook {
        &self.hook
    }

    /// What time it is for GitHub: its log is told by that clock, and ours may be wrong by an hour.
    pub async fn now(&self) -> Result<Timestamp, Halt> {
        if lock(&self.ahead).is_none() {
            let address = format!("{}/rate_limit", self.access.api_url);
            let request = Request::to(Method::GET, &address, Instant::now() + PATIENCE).expect_any();
            let answer = self.access.http.send(request).await.map_err(|error| halt(error.into_failure("GitHub")))?;
            // A proxy may have taken the time away. Then ours has to do.
            self.note(time_of(&answer).unwrap_or_else(Timestamp::now));
        }
        Ok(self.time())
    }

    /// The same as far as it is known.
    fn time(&self) -> Timestamp {
        Timestamp(Timestamp::now().0.saturating_add(lock(&self.ahead).unwrap_or(0)))
    }

    fn note(&self, theirs: Timestamp) {
        *lock(&self.ahead) = Some(theirs.0.saturating_sub(Timestamp::now().0));
    }

    async fn client(&self) -> Result<GitHub, Halt> {
        if matches!(self.hook, Hook::App { .. }) {
            // What an App signs is taken only around the time it is signed for.
            self.now().await?;
        }
        self.hook.client(&self.access, self.time()).map_err(Halt::Refused)
    }

    /// What was tried since then, from a cursor on or from the newest attempt.
    pub(super) async fn part(&self, since: Timestamp, mut cursor: Option<String>) -> Result<Part, Halt> {
        let client = self.client().await?;
        let mut found: BTreeMap<String, Logged> = BTreeMap::new();
        let mut goes_on = false;
        for _ in 0..PAGES_TOGETHER {
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
            goes_on = within == all && next.is_some() && next != cursor;
            cursor = next;
            if !goes_on {
                break;
            }
        }
        let mut tried: Vec<Logged> = found.into_values().collect();
        tried.sort_by_key(|logged| (logged.delivered_at, logged.attempt));
        Ok(Part { tried, next: cursor.filter(|_| goes_on) })
    }

    /// The request that GitHub sent, to a source at this path; or why there is none to be had, now or later.
    pub async fn request(&self, logged: &Logged, path: &str) -> Result<Result<Inbound, String>, Halt> {
        let gone = || "the log no longer has what was sent".to_owned();
        let client = self.client().await?;
        let answer = match self.ask(&client, &format!("{}/{}", self.hook.path(), logged.attempt)).await? {
            Ok(answer) => answer,
            Err(failure) if failure.why().code == "not-found" => return Ok(Err(gone())),
            Err(failure) => return Err(halt(failure)),
        };
        let detail: Detail<'_> = match serde_json::from_slice(&answer.body) {
            Ok(detail) => detail,
            Err(error) => return Ok(Err(not_its_form(&error))),
        };
        let Some(payload) = detail.request.payload else { return Ok(Err(gone())) };
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
        Ok(Ok(Inbound {
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers,
            body: Bytes::copy_from_slice(payload.get().as_bytes()),
            received_at: Timestamp::now(),
        }))
    }

    async fn get(&self, client: &GitHub, path: &str) -> Result<Response, Halt> {
        self.ask(client, path).await?.map_err(halt)
    }

    /// GitHub's answer, unless nothing may be asked at this time.
    async fn ask(&self, client: &GitHub, path: &str) -> Result<Result<Response, Failure>, Halt> {
        let wait = self.held().map(|until| until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero());
        if let Some(after) = wait {
            let why = "the rest of this hour's requests is left to the actions".to_owned();
            return Err(Halt::Later { after, why });
        }
        let answer = match client.get(path, Instant::now() + PATIENCE).await {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        let theirs = time_of(&answer);
        if let Some(theirs) = theirs {
            self.note(theirs);
        }
        if let Some(after) = scarce(&answer, theirs.unwrap_or_else(Timestamp::now)) {
            *lock(&self.not_before) = Some(Instant::now() + after);
        }
        Ok(Ok(answer))
    }

    fn held(&self) -> Option<Instant> {
        *lock(&self.not_before)
    }
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
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
    Halt::Refused(not_its_form(error))
}

fn not_its_form(error: &serde_json::Error) -> String {
    format!("the delivery log is not in GitHub's form (line {} column {})", error.line(), error.column())
}

/// When it was answered, by the clock of whoever answered: its `Date`.
fn time_of(answer: &Response) -> Option<Timestamp> {
    let sent = chrono::DateTime::parse_from_rfc2822(answer.header("date")?).ok()?;
    Some(Timestamp(sent.timestamp_millis()))
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

/// How long to ask for nothing more, if few requests are left. `now` is by GitHub's clock.
fn scarce(answer: &Response, now: Timestamp) -> Option<Duration> {
    let number = |name: &str| answer.header(name)?.parse::<u64>().ok();
    let (limit, remaining) = (number("x-ratelimit-limit")?, number("x-ratelimit-remaining")?);
    if remaining > limit / RESERVE {
        return None;
    }
    let reset = i64::try_from(number("x-ratelimit-reset")?).ok()?;
    let left = u64::try_from(reset.saturating_sub(now.seconds())).unwrap_or(0);
    Some(Duration::from_secs(left.clamp(1, 3600)))
}

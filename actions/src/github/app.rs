//! Requests as a GitHub App: for each repository a token of the App's installation there, which can reach that repository only and do only
//! what the request needs.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::permissions::{Permission, alternatives};
use super::{GitHub, lock};
use crate::action::{Failure, Why};
use crate::http::Response;
use crate::secret::Secret;

/// GitHub takes no token of an App that lives longer than ten minutes.
const LIFETIME: i64 = 540;
/// And none that seems to come from the future.
const EARLIER: i64 = 60;
/// A token of an installation lives for an hour; it is not used in the last minutes of it, because it could end on the way.
const MARGIN: i64 = 300;
/// Clocks that differ less than this need no correction.
const SMALL_SKEW: i64 = 20;
/// Tokens that are kept; beyond that those that ended are dropped first, then all.
const MOST_TOKENS: usize = 4096;

/// A GitHub App that we are.
#[derive(Clone)]
pub struct App {
    /// GitHub's number of it.
    pub id: u64,
    /// Its private key, PEM.
    pub key: Secret,
    /// Seconds since the epoch, by our clock.
    pub now: fn() -> i64,
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Signed by the App's key: that we are the App, from the moment `now` (seconds since the epoch) for nine minutes. The error is for the operator.
pub fn app_token(id: u64, key: &Secret, now: i64) -> Result<Secret, String> {
    let unfit = |_| "`key` of the GitHub App is not an RSA key in PEM form".to_owned();
    let key = EncodingKey::from_rsa_pem(key.expose()).map_err(unfit)?;
    let claims = json!({ "iss": id.to_string(), "iat": now - EARLIER, "exp": now + LIFETIME });
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &key).map(Secret::new).map_err(unfit)
}

/// Whose installation, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Wanted {
    place: Place,
    permission: Permission,
}

/// Where the App is installed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    /// `owner/name`, in lower case.
    Repository(String),
    /// An organisation, in lower case.
    Organization(String),
}

#[derive(Debug)]
struct Token {
    value: Secret,
    until: i64,
}

/// One token, under a lock that lets only one caller fetch it.
type Cell = Arc<tokio::sync::Mutex<Option<Token>>>;

/// The App with what is known of its installations.
pub(super) struct Installations {
    app: App,
    tokens: Mutex<HashMap<Wanted, Cell>>,
    /// How many seconds GitHub's clock is before ours, as far as it matters.
    skew: AtomicI64,
}

impl Installations {
    pub(super) fn new(app: App) -> Self {
        Self { app, tokens: Mutex::default(), skew: AtomicI64::new(0) }
    }

    fn now(&self) -> i64 {
        (self.app.now)() + self.skew.load(Ordering::Relaxed)
    }

    fn cell(&self, wanted: &Wanted) -> Cell {
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= MOST_TOKENS && !tokens.contains_key(wanted) {
            let now = self.now();
            tokens.retain(|_, cell| cell.try_lock().is_ok_and(|token| token.as_ref().is_some_and(|token| token.until > now)));
            if tokens.len() >= MOST_TOKENS {
                tokens.clear();
            }
        }
        tokens.entry(wanted.clone()).or_default().clone()
    }

    /// Takes over GitHub's clock if it differs from ours. True if that may mend what was refused.
    fn adjust(&self, refusal: &Response) -> bool {
        let theirs = refusal.header("date").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
        let Some(theirs) = theirs.map(|date| date.timestamp()) else { return false };
        let skew = theirs - (self.app.now)();
        let before = self.skew.swap(skew, Ordering::Relaxed);
        (skew - before).abs() > SMALL_SKEW
    }
}

/// The place that a request is about, from its path.
fn place_of(path: &str) -> Option<Place> {
    let path = path.split('?').next().unwrap_or(path);
    match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["repos", owner, name, ..] => Some(Place::Repository(format!("{owner}/{name}").to_ascii_lowercase())),
        ["orgs", name, ..] => Some(Place::Organization(name.to_ascii_lowercase())),
        _ => None,
    }
}

/// The account on which the App is installed that may answer, in lower case.
pub(super) fn account_of(path: &str) -> Option<String> {
    match place_of(path)? {
        Place::Repository(name) => name.split_once('/').map(|(owner, _)| owner.to_owned()),
        Place::Organization(name) => Some(name),
    }
}

impl GitHub {
    /// The token for a request: the one that was given, or one of the App's installation where the path points to. None sends it without.
    pub(super) async fn token_for(&self, method: &Method, path: &str, deadline: Instant) -> Result<Option<Secret>, Failure> {
        if let Some(token) = &self.inner.settings.token {
            return Ok(Some(token.clone()));
        }
        let (Some(installations), Some(place)) = (&self.inner.app, place_of(path)) else { return Ok(None) };
        let mut refused = None;
        for permission in alternatives(method, path) {
            let wanted = Wanted { place: place.clone(), permission };
            match self.installation_token(installations, &wanted, deadline).await {
                Err(failure) if failure.why().code == "not-permitted" => refused = refused.or(Some(failure)),
                other => return other.map(Some),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// Drops a token that was refused, unless somebody has fetched a newer one already. True if another attempt can help.
    pub(super) async fn forget_token(&self, method: &Method, path: &str, refused: &Secret) -> bool {
        let (None, Some(installations), Some(place)) = (&self.inner.settings.token, &self.inner.app, place_of(path)) else {
            return false;
        };
        for permission in alternatives(method, path) {
            let cell = installations.cell(&Wanted { place: place.clone(), permission });
            let mut kept = cell.lock().await;
            if kept.as_ref().is_some_and(|token| token.value == *refused) {
                *kept = None;
            }
        }
        true
    }

    async fn installation_token(
        &self,
        installations: &Installations,
        wanted: &Wanted,
        deadline: Instant,
    ) -> Result<Secret, Failure> {
        let cell = installations.cell(wanted);
        let late = |_| Failure::retry("timeout", "GitHub did not give a token of the App's installation in time");
        let mut kept = tokio::time::timeout_at(deadline.into(), cell.lock()).await.map_err(late)?;
        if let Some(token) = kept.as_ref().filter(|token| token.until > installations.now()) {
            return Ok(token.value.clone());
        }
        *kept = None;
        let token = self.fetch(installations, wanted, deadline).await?;
        let value = token.value.clone();
        *kept = Some(token);
        Ok(value)
    }

    async fn fetch(&self, installations: &Installations, wanted: &Wanted, deadline: Instant) -> Result<Token, Failure> {
        let (path, name) = match &wanted.place {
            Place::Repository(name) => (format!("/repos/{name}/installation"), name),
            Place::Organization(name) => (format!("/orgs/{name}/installation"), name),
        };
        let answer = self.as_app(installations, Method::GET, &path, None, deadline).await?;
        let id = match answer.status {
            200 => number(&answer, "/id")?,
            404 => {
                return Err(Failure::last(
                    "not-installed",
                    format!("the GitHub App is not installed on {name}: install it there"),
                ));
            }
            _ => return Err(self.refused(answer)),
        };
        let permissions = json!({ wanted.permission.name: wanted.permission.level });
        let body = match &wanted.place {
            Place::Repository(name) => {
                let name = name.split_once('/').map_or(name.as_str(), |(_, name)| name);
                json!({ "repositories": [name], "permissions": permissions })
            }
            Place::Organization(_) => json!({ "permissions": permissions }),
        };
        let path = format!("/app/installations/{id}/access_tokens");
        let answer = self.as_app(installations, Method::POST, &path, Some(&body), deadline).await?;
        match answer.status {
            201 => {}
            403 if String::from_utf8_lossy(&answer.body).contains("suspended") => {
                let message = format!("the installation of the GitHub App on {name} is suspended: lift that in its settings");
                return Err(Failure::last("suspended", message));
            }
            404 => return Err(Failure::last("not-installed", format!("the GitHub App was just removed from {name}"))),
            422 => {
                let Permission { name: permission, level } = wanted.permission;
                let message = format!("the GitHub App may not {level} `{permission}` of {name}: give it that permission");
                return Err(Failure::last("not-permitted", message));
            }
            _ => return Err(self.refused(answer)),
        }
        let value = json_of(&answer)?.get("token").and_then(Value::as_str).map(|token| Secret::new(token.to_owned()));
        let value = value.ok_or_else(|| Failure::last("bad-answer", "GitHub's answer holds no `token`"))?;
        let until = json_of(&answer)?.get("expires_at").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let until = until.map(|date: chrono::DateTime<chrono::Utc>| date.timestamp());
        // One whose end is not told is used for this request only.
        Ok(Token { value, until: until.unwrap_or(0) - MARGIN })
    }

    /// As the App itself, whatever comes back; once more by GitHub's clock if ours is refused.
    async fn as_app(
        &self,
        installations: &Installations,
        method: Method,
        path: &str,
        body: Option<&Value>,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let App { id, key, .. } = &installations.app;
        let token = || app_token(*id, key, installations.now()).map_err(|why| Failure::last("unauthorized", why));
        let answer = self.exchange(method.clone(), path, body, Some(&token()?), None, deadline).await?;
        if answer.status == 401 && installations.adjust(&answer) {
            return self.exchange(method, path, body, Some(&token()?), None, deadline).await;
        }
        if answer.status == 401 {
            let message =
                "GitHub does not take the App's key: `app-id` and `key` of the source of type github-app must be of the same App";
            return Err(Failure::Final { why: Why::new("unauthorized", message) });
        }
        Ok(answer)
    }
}

fn json_of(answer: &Response) -> Result<Value, Failure> {
    answer.json().map_err(|error| error.into_failure("GitHub"))
}

fn number(answer: &Response, pointer: &str) -> Result<u64, Failure> {
    let found = json_of(answer)?.pointer(pointer).and_then(Value::as_u64);
    found.ok_or_else(|| Failure::last("bad-answer", format!("GitHub's answer holds no number at `{pointer}`")))
}

//! What people see of repositories: what GitHub lets them see there. Whatever cannot be found out is not shown.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use declic_actions::action::Failure;
use declic_actions::github::GitHub;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::settings::{Permission, is_login};

/// How long a yes counts, a no, and that GitHub did not say.
const YES: Duration = Duration::from_secs(300);
const NO: Duration = Duration::from_secs(60);
const UNKNOWN: Duration = Duration::from_secs(10);
/// Answers that are remembered.
const MOST: usize = 20_000;
/// Questions at once.
const AT_ONCE: usize = 8;
/// How long GitHub may take.
const PATIENCE: Duration = Duration::from_secs(5);

struct Known {
    permits: bool,
    until: Instant,
}

/// Asks GitHub, and remembers for a while.
pub struct Visibility {
    github: GitHub,
    least: Permission,
    known: Mutex<HashMap<(String, String), Known>>,
    places: Semaphore,
}

impl Visibility {
    /// Asks nobody yet.
    pub fn new(github: GitHub, least: Permission) -> Self {
        Self { github, least, known: Mutex::default(), places: Semaphore::new(AT_ONCE) }
    }

    /// May this login see what is about this repository, `owner/name`?
    pub async fn permits(&self, login: &str, repository: &str) -> bool {
        // Neither has case at GitHub.
        let key = (login.to_ascii_lowercase(), repository.to_ascii_lowercase());
        if !is_login(login) || !is_repository(repository) {
            return false;
        }
        if let Some(permits) = self.remembered(&key) {
            return permits;
        }
        let Ok(_place) = self.places.acquire().await else { return false };
        // Somebody may have asked while this one waited.
        if let Some(permits) = self.remembered(&key) {
            return permits;
        }
        let (permits, length) = match self.ask(&key.0, &key.1).await {
            Ok(Some(permission)) if permission >= self.least => (true, YES),
            Ok(_) => (false, NO),
            Err(why) => {
                tracing::warn!(login, repository, "GitHub does not say who may see what, so it is not shown: {why}");
                (false, UNKNOWN)
            }
        };
        self.remember(key, permits, length);
        permits
    }

    fn remembered(&self, key: &(String, String)) -> Option<bool> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|known| known.until > Instant::now()).map(|known| known.permits)
    }

    fn remember(&self, key: (String, String), permits: bool, length: Duration) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, known| known.until > now);
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.insert(key, Known { permits, until: now + length });
    }

    /// The permission; none if there is none, or if the repository is not ours to see. The error is for the log.
    async fn ask(&self, login: &str, repository: &str) -> Result<Option<Permission>, String> {
        let path = format!("/repos/{repository}/collaborators/{login}/permission");
        let answer = match self.github.get(&path, Instant::now() + PATIENCE).await {
            Ok(answer) => answer,
            Err(Failure::Final { why }) if why.code == "not-found" => return Ok(None),
            Err(failure) => return Err(failure.why().message.clone()),
        };
        let answer = answer.json().map_err(|error| error.to_string())?;
        let word = |name: &str| answer.get(name).and_then(Value::as_str).and_then(Permission::of_word);
        // `role_name` is finer, unless an organisation made the role up.
        Ok(word("role_name").or_else(|| word("permission")))
    }
}

fn is_repository(text: &str) -> bool {
    let plain = |part: &str| {
        (1..=100).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && !part.bytes().all(|byte| byte == b'.')
    };
    text.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}

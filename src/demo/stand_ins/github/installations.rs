//! Installations of Apps, and the tokens that they hand out: for some repositories, with some permissions, for an hour.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::answers::{Refusal, body, refused};
use super::state::State;
use super::{GitHub, hooks, number};
use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::ledger::lock;

/// How long a token lives, in seconds.
const LIFETIME: i64 = 3600;

/// Where an App is installed.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Number of the App.
    pub app: u64,
    /// The account it is installed on.
    pub account: String,
    /// `owner/name` of what it reaches; `None`: everything of the account.
    pub repositories: Option<BTreeSet<String>>,
    /// Permission -> `read` or `write`.
    pub permissions: BTreeMap<String, String>,
    /// Nothing works while it is.
    pub suspended: bool,
}

/// A token that was handed out.
#[derive(Debug, Clone)]
pub(super) struct Scoped {
    installation: u64,
    repositories: Option<BTreeSet<String>>,
    permissions: BTreeMap<String, String>,
    until: i64,
}

impl GitHub {
    /// Installs an App. Answers the number of the installation.
    pub fn install(&self, app: u64, account: &str, permissions: &[(&str, &str)]) -> u64 {
        let mut state = lock(&self.state);
        let id = state.next_id();
        let permissions = permissions.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect();
        let installation = Installation { app, account: account.to_owned(), repositories: None, permissions, suspended: false };
        state.installations.insert(id, installation);
        id
    }

    /// Changes an installation, or removes it.
    pub fn change_installation(&self, id: u64, change: impl FnOnce(&mut Installation) -> bool) {
        let mut state = lock(&self.state);
        if let Some(installation) = state.installations.get_mut(&id)
            && !change(installation)
        {
            state.installations.remove(&id);
        }
    }

    /// Takes none of the tokens any more that installations have.
    pub fn revoke_installation_tokens(&self) {
        lock(&self.state).installation_tokens.clear();
    }

    /// GitHub's clock is so many seconds before that of this machine.
    pub fn set_clock_ahead(&self, seconds: i64) {
        lock(&self.state).clock_ahead = seconds;
    }
}

/// `None`: not about installations. Whoever asks must be the App.
pub(super) fn answer(base: &str, request: &Request, state: &mut State, segments: &[&str]) -> Option<Result<Answer, Refusal>> {
    let about = match (request.method.as_str(), segments) {
        ("GET", ["app"]) => About::App,
        ("GET", ["repos", owner, name, "installation"]) => About::Repository(format!("{owner}/{name}")),
        ("GET", ["orgs", account, "installation"]) => About::Account((*account).to_owned()),
        ("POST", ["app", "installations", id, "access_tokens"]) => About::Token((*id).to_owned()),
        _ => return None,
    };
    let Some(app) = hooks::app(state, request).and_then(|app| app.parse::<u64>().ok()) else {
        let message =
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires";
        return Some(Err(refused(401, message)));
    };
    Some(about.answered(base, request, state, app))
}

enum About {
    App,
    Repository(String),
    Account(String),
    Token(String),
}

impl About {
    fn answered(self, base: &str, request: &Request, state: &mut State, app: u64) -> Result<Answer, Refusal> {
        let not_found = || refused(404, "Not Found");
        match self {
            Self::App => Ok(Answer::json(200, &json!({ "id": app, "slug": "declic", "name": "Declic" }))),
            Self::Repository(name) => {
                let full = found_name(state, &name).ok_or_else(not_found)?;
                let account = full.split('/').next().unwrap_or_default().to_owned();
                let reaches = |one: &Installation| one.repositories.as_ref().is_none_or(|names| names.contains(&full));
                shown(base, state, app, &account, reaches).ok_or_else(not_found)
            }
            Self::Account(name) => shown(base, state, app, &name, |_| true).ok_or_else(not_found),
            Self::Token(id) => token(request, state, app, number(&id)?),
        }
    }
}

/// GitHub's names ignore case.
fn found_name(state: &State, name: &str) -> Option<String> {
    state.repositories.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned()
}

fn shown(base: &str, state: &State, app: u64, account: &str, fits: impl Fn(&Installation) -> bool) -> Option<Answer> {
    let mut found = state.installations.iter();
    let (id, one) = found.find(|(_, one)| one.app == app && one.account.eq_ignore_ascii_case(account) && fits(one))?;
    let url = format!("{base}/app/installations/{id}");
    let selection = if one.repositories.is_none() { "all" } else { "selected" };
    Some(Answer::json(
        200,
        &json!({
            "id": id, "account": super::answers::user(base), "repository_selection": selection, "access_tokens_url": format!("{url}/access_tokens"),
            "repositories_url": format!("{base}/installation/repositories"), "html_url": url, "app_id": app, "target_id": 1,
            "target_type": "Organization", "permissions": one.permissions, "events": ["push"], "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z", "single_file_name": null, "app_slug": "declic", "suspended_by": null, "suspended_at": null,
        }),
    ))
}

fn token(request: &Request, state: &mut State, app: u64, id: u64) -> Result<Answer, Refusal> {
    let asked = if request.body.is_empty() { Map::new() } else { body(request, "CreateInstallationToken")? };
    let one = state.installations.get(&id).filter(|one| one.app == app).ok_or_else(|| refused(404, "Not Found"))?.clone();
    if one.suspended {
        return Err(refused(403, "This installation has been suspended"));
    }
    let names = asked.get("repositories").and_then(Value::as_array);
    let repositories = match names {
        None => one.repositories.clone(),
        Some(names) => {
            let full = names.iter().filter_map(Value::as_str).map(|name| found_name(state, &format!("{}/{name}", one.account)));
            let full: Option<BTreeSet<String>> = full.collect();
            let reached = full.filter(|full| one.repositories.as_ref().is_none_or(|own| full.is_subset(own)));
            let message = "There is at least one repository that does not exist or is not accessible to the parent installation.";
            Some(reached.ok_or_else(|| refused(422, message))?)
        }
    };
    let mut permissions = one.permissions.clone();
    permissions.insert("metadata".to_owned(), "read".to_owned());
    if let Some(wanted) = asked.get("permissions").and_then(Value::as_object) {
        let wanted: BTreeMap<String, String> =
            wanted.iter().filter_map(|(name, level)| Some((name.clone(), level.as_str()?.to_owned()))).collect();
        if wanted.iter().any(|(name, level)| !suffices(&permissions, name, level)) {
            return Err(refused(422, "The permissions requested are not granted to this installation."));
        }
        permissions = wanted;
    }
    let now = state.now();
    let until = now + LIFETIME;
    let value = format!("ghs_{}", ulid::Ulid::new());
    let scoped = Scoped { installation: id, repositories, permissions: permissions.clone(), until };
    state.installation_tokens.insert(value.clone(), scoped);
    let until = DateTime::<Utc>::from_timestamp(until, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    Ok(Answer::json(
        201,
        &json!({ "token": value, "expires_at": until, "permissions": permissions, "repository_selection": "selected" }),
    ))
}

fn suffices(permissions: &BTreeMap<String, String>, name: &str, level: &str) -> bool {
    permissions.get(name).is_some_and(|has| has == level || has == "write")
}

/// Is it the token of an installation that may do this? `None`: it is no such token.
pub(super) fn admits(state: &State, request: &Request, segments: &[&str]) -> Option<Result<(), Refusal>> {
    let token = state.installation_tokens.get(request.bearer()?)?;
    let alive = state.installations.get(&token.installation).is_some_and(|one| !one.suspended) && token.until > state.now();
    if !alive {
        return Some(Err(refused(401, "Bad credentials")));
    }
    let reaches = match segments {
        ["repos", owner, name, ..] => {
            let found = found_name(state, &format!("{owner}/{name}"));
            token.repositories.as_ref().is_none_or(|own| found.is_some_and(|name| own.contains(&name)))
        }
        _ => true,
    };
    if !reaches {
        return Some(Err(refused(404, "Not Found")));
    }
    let level = if request.method == "GET" { "read" } else { "write" };
    let needed = needed(segments);
    let has = needed.is_empty() || needed.iter().any(|name| suffices(&token.permissions, name, level));
    Some(if has { Ok(()) } else { Err(refused(403, "Resource not accessible by integration")) })
}

/// GitHub's table of permissions for the addresses that are here; any of them will do.
fn needed(segments: &[&str]) -> &'static [&'static str] {
    match segments {
        ["orgs", ..] => &["members"],
        ["repos", _, _, "contents" | "git" | "compare" | "dispatches" | "comments", ..] => &["contents"],
        ["repos", _, _, "commits", .., "check-runs"] | ["repos", _, _, "check-runs", ..] => &["checks"],
        ["repos", _, _, "commits", _, "status" | "statuses"] | ["repos", _, _, "statuses", ..] => &["statuses"],
        ["repos", _, _, "commits", ..] => &["contents"],
        ["repos", _, _, "branches", .., "protection"] => &["administration"],
        ["repos", _, _, "deployments", ..] => &["deployments"],
        ["repos", _, _, "issues", ..] => &["issues", "pull_requests"],
        ["repos", _, _, "pulls", ..] => &["pull_requests"],
        ["repos", _, _, "actions", ..] => &["actions"],
        _ => &[],
    }
}

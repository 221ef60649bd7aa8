//! A stand-in for GitHub's REST API: commits, comments, reactions, statuses, checks, deployments, pull requests, reviews.
//!
//! Each resource is a file with its routes and its rules; a new one is a file and a line in `GitHub::route`.

pub mod answers;
pub mod branches;
mod checks;
mod commits;
pub mod contents;
mod deployments;
pub mod hooks;
pub mod installations;
mod issues;
mod labels;
pub mod manifests;
mod people;
mod reactions;
mod reviews;
mod state;
mod statuses;
mod workflows;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use serde_json::{Map, Value};
use sha2::Digest as _;

use self::answers::{Refusal, page, refused};
use self::state::{Repository, State};
use super::exchange::{Answer, Request};
use super::ledger::{Ledger, lock};
use super::server::Api;
use crate::clock::Timestamp;

/// A token that the stand-in takes from the start.
pub const TOKEN: &str = "declic-stand-in-token";
/// Requests that a token has per hour, as the headers say.
const QUOTA: u32 = 5000;

/// State and scenarios of the stand-in.
pub struct GitHub {
    base: String,
    ledger: Ledger,
    state: Mutex<State>,
    tokens: Mutex<BTreeSet<String>>,
    limits: Mutex<Vec<Limit>>,
    used: AtomicU32,
    quota: AtomicU32,
}

/// A refusal for having asked too much.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Secondary { retry_after: u32 },
    Primary { reset_in: i64 },
}

/// One request to one repository, with what answering it needs.
struct Call<'a> {
    base: &'a str,
    ledger: &'a Ledger,
    request: &'a Request,
    owner: &'a str,
    name: &'a str,
}

impl Call<'_> {
    fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// Address of something of this repository at the API.
    fn api_url(&self, rest: &str) -> String {
        format!("{}/repos/{}/{}{rest}", self.base, self.owner, self.name)
    }

    /// Address of something of this repository for people.
    fn html_url(&self, rest: &str) -> String {
        format!("https://github.com/{}/{}{rest}", self.owner, self.name)
    }
}

/// What a resource answers: a document, a list that is cut into pages, or nothing.
enum Reply {
    Ok(Value),
    Created(Value),
    List(Vec<Value>),
    Nothing,
}

impl GitHub {
    pub(super) fn new(base: &str, ledger: &Ledger) -> Self {
        Self {
            base: base.to_owned(),
            ledger: ledger.clone(),
            state: Mutex::default(),
            tokens: Mutex::new(BTreeSet::from([TOKEN.to_owned()])),
            limits: Mutex::default(),
            used: AtomicU32::new(0),
            quota: AtomicU32::new(QUOTA),
        }
    }

    /// Adds an empty repository.
    pub fn add_repository(&self, full_name: &str) {
        let mut state = lock(&self.state);
        let id = state.next_id();
        state.repositories.insert(full_name.to_owned(), Repository::new(id));
    }

    /// Adds a commit whose parents may be known or not, and moves a branch to it.
    pub fn add_commit(&self, repository: &str, branch: &str, sha: &str, parents: &[&str]) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            let parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
            repository.commits.insert(sha.to_owned(), state::Commit { parents, message: format!("Commit {sha}") });
            repository.branches.insert(branch.to_owned(), sha.to_owned());
        }
    }

    /// Opens an issue, or a pull request of a branch's head.
    pub fn add_issue(&self, repository: &str, number: u64, pull_request_sha: Option<&str>) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            repository.issues.insert(number, pull_request_sha.map(str::to_owned));
        }
    }

    /// Takes another token from now on.
    pub fn accept_token(&self, token: &str) {
        lock(&self.tokens).insert(token.to_owned());
    }

    /// So many requests are left of this hour.
    pub fn requests_left(&self, left: u32) {
        self.quota.store(self.used.load(Ordering::Relaxed) + left, Ordering::Relaxed);
    }

    /// Takes no token any more.
    pub fn revoke_tokens(&self) {
        lock(&self.tokens).clear();
    }

    /// The next `times` requests meet the secondary rate limit: 403 with `Retry-After` in seconds.
    pub fn secondary_limit_next(&self, times: usize, retry_after: u32) {
        lock(&self.limits).extend(std::iter::repeat_n(Limit::Secondary { retry_after }, times));
    }

    /// The next `times` requests meet the primary rate limit, which ends in so many seconds.
    pub fn primary_limit_next(&self, times: usize, reset_in: i64) {
        lock(&self.limits).extend(std::iter::repeat_n(Limit::Primary { reset_in }, times));
    }

    /// So many requests of this hour are used up already.
    pub fn use_up(&self, requests: u32) {
        self.used.fetch_add(requests, Ordering::Relaxed);
    }

    /// Comments on a commit, oldest first, as the API shows them.
    pub fn commit_comments(&self, repository: &str, sha: &str) -> Vec<Value> {
        self.read(repository, |repository| {
            let of_commit = |comment: &&Value| comment.get("commit_id").and_then(Value::as_str) == Some(sha);
            repository.commit_comments.values().filter(of_commit).cloned().collect()
        })
    }

    /// Comments on an issue or pull request, oldest first.
    pub fn issue_comments(&self, repository: &str, number: u64) -> Vec<Value> {
        self.read(repository, |repository| {
            let of_issue = |(on, _): &&(u64, Value)| *on == number;
            repository.issue_comments.values().filter(of_issue).map(|(_, comment)| comment.clone()).collect()
        })
    }

    /// Statuses of a commit, oldest first.
    pub fn statuses(&self, repository: &str, sha: &str) -> Vec<Value> {
        self.read(repository, |repository| repository.statuses.get(sha).cloned().unwrap_or_default())
    }

    /// Deployments, oldest first.
    pub fn deployments(&self, repository: &str) -> Vec<Value> {
        self.read(repository, |repository| repository.deployments.values().map(|one| one.shown.clone()).collect())
    }

    /// Statuses of a deployment, oldest first.
    pub fn deployment_statuses(&self, repository: &str, deployment: u64) -> Vec<Value> {
        self.read(repository, |repository| {
            repository.deployments.get(&deployment).map(|one| one.statuses.clone()).unwrap_or_default()
        })
    }

    fn read(&self, repository: &str, read: impl FnOnce(&Repository) -> Vec<Value>) -> Vec<Value> {
        lock(&self.state).repositories.get(repository).map(read).unwrap_or_default()
    }

    fn respond(&self, request: &Request) -> Result<Answer, Refusal> {
        if request.header("user-agent").is_none_or(str::is_empty) {
            let message = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.";
            return Err(refused(403, message));
        }
        // Enterprise Server has the same API below a prefix.
        let path = request.path.strip_prefix("/api/v3").unwrap_or(&request.path);
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        if let Some(answer) = manifests::answer(&self.base, request, &mut lock(&self.state), &segments) {
            return answer;
        }
        let known = match &segments[..] {
            ["app", ..] | ["repos", _, _, "installation"] | ["orgs", _, "installation"] => true,
            _ => match installations::admits(&lock(&self.state), request, &segments) {
                Some(admitted) => admitted.map(|()| true)?,
                None => request.bearer().is_some_and(|token| lock(&self.tokens).contains(token)),
            },
        };
        if !known {
            return Err(refused(
                401,
                if request.header("authorization").is_some() { "Bad credentials" } else { "Requires authentication" },
            ));
        }
        if let Some(answer) = installations::answer(&self.base, request, &mut lock(&self.state), &segments) {
            return answer;
        }
        if let Some(answer) = hooks::answer(&self.base, request, &lock(&self.state), &segments) {
            return answer;
        }
        if let Some(Reply::Ok(document)) = people::membership(&lock(&self.state), &self.base, &segments).transpose()? {
            return Ok(Answer::json(200, &document));
        }
        let ["repos", owner, name, rest @ ..] = &segments[..] else {
            return Err(refused(404, "Not Found"));
        };
        let mut state = lock(&self.state);
        if let Some(id) = state.moved.get(&format!("{owner}/{name}")) {
            let to = format!("{}/repositories/{id}", self.base);
            return Ok(
                Answer::json(301, &serde_json::json!({ "message": "Moved Permanently", "url": to })).with_header("location", to)
            );
        }
        let call = Call { base: &self.base, ledger: &self.ledger, request, owner, name };
        match Self::route(&call, &mut state, rest)? {
            Reply::Ok(document) => Ok(Answer::json(200, &document)),
            Reply::Created(document) => {
                let location = document.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok(Answer::json(201, &document).with_header("location", location))
            }
            Reply::List(list) => page(&self.base, request, &list),
            Reply::Nothing => Ok(Answer::empty(204)),
        }
    }

    fn route(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Result<Reply, Refusal> {
        if !state.repositories.contains_key(&call.full_name()) {
            return Err(refused(404, "Not Found"));
        }
        let resources = [
            branches::answer,
            contents::answer,
            commits::answer,
            labels::answer,
            issues::answer,
            statuses::answer,
            checks::answer,
            deployments::answer,
            people::answer,
            reactions::answer,
            reviews::answer,
            workflows::answer,
        ];
        for resource in resources {
            if let Some(reply) = resource(call, state, rest) {
                return reply;
            }
        }
        Err(refused(404, "Not Found"))
    }

    fn limit(&self) -> Option<Answer> {
        let mut limits = lock(&self.limits);
        let limit = if limits.is_empty() { None } else { Some(limits.remove(0)) };
        Some(match limit? {
            Limit::Secondary { retry_after } => {
                let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
                refused(403, message).answer().with_header("retry-after", retry_after.to_string())
            }
            Limit::Primary { reset_in } => refused(403, "API rate limit exceeded for user ID 1.")
                .answer()
                .with_header("x-ratelimit-remaining", "0")
                .with_header("x-ratelimit-reset", (Timestamp::now().seconds() + reset_in).to_string()),
        })
    }
}

#[async_trait]
impl Api for GitHub {
    async fn answer(&self, request: &Request) -> Answer {
        if let Some(limited) = self.limit() {
            return limited;
        }
        let mut answer = self.respond(request).unwrap_or_else(|refusal| refusal.answer());
        let etag = format!("W/\"{}\"", hex::encode(sha2::Sha256::digest(&answer.body)));
        let mut used = self.used.load(Ordering::Relaxed);
        if request.method == "GET" && answer.status == 200 && request.header("if-none-match") == Some(&etag) {
            // What is as it was costs nothing of the limit.
            answer = Answer::empty(304);
        } else {
            used = self.used.fetch_add(1, Ordering::Relaxed) + 1;
        }
        if request.method == "GET" && matches!(answer.status, 200 | 304) {
            answer = answer.with_header("etag", etag);
        }
        let now = lock(&self.state).now();
        let date = chrono::DateTime::from_timestamp(now, 0).unwrap_or_default().to_rfc2822().replace("+0000", "GMT");
        let reset = now + 3600;
        answer
            .with_header("date", date)
            .with_header("x-ratelimit-limit", QUOTA.to_string())
            .with_header("x-ratelimit-remaining", self.quota.load(Ordering::Relaxed).saturating_sub(used).to_string())
            .with_header("x-ratelimit-reset", reset.to_string())
            .with_header("x-github-request-id", ulid::Ulid::new().to_string())
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        refused(status, message).answer()
    }
}

/// The repository of a call; `route` has made sure that it is there.
fn repository<'s>(call: &Call<'_>, state: &'s mut State) -> Result<&'s mut Repository, Refusal> {
    state.repositories.get_mut(&call.full_name()).ok_or_else(|| refused(404, "Not Found"))
}

/// Part of a path that must be a number.
fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| refused(404, "Not Found"))
}

/// Text of a body's field, if there is one.
fn text<'b>(body: &'b Map<String, Value>, name: &str) -> Option<&'b str> {
    body.get(name).and_then(Value::as_str)
}

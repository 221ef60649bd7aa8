//! What the stand-in remembers of each repository.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::branches::Protection;
use super::contents::Entry;
use super::hooks::LoggedAttempt;
use super::installations::{Installation, Scoped};
use super::manifests::NextApp;
use crate::clock::Timestamp;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<String, Repository>,
    /// By `owner/name`, organisation or `app`, and number.
    pub(super) hooks: BTreeMap<(String, u64), Hook>,
    /// Number of an App -> its public key, PEM.
    pub(super) apps: BTreeMap<String, String>,
    /// (`org/team`, login) -> only invited?
    pub(super) teams: BTreeMap<(String, String), bool>,
    pub(super) installations: BTreeMap<u64, Installation>,
    pub(super) installation_tokens: BTreeMap<String, Scoped>,
    /// Old name of a repository that was renamed or transferred -> its number.
    pub(super) moved: BTreeMap<String, u64>,
    /// Seconds that the clock here is before that of the machine.
    pub(super) clock_ahead: i64,
    /// Manifests by the code that stands for each.
    pub(super) manifests: BTreeMap<String, Value>,
    pub(super) next_app: Option<NextApp>,
    last_id: u64,
}

impl State {
    /// Seconds since the epoch, by the clock here.
    pub(super) fn now(&self) -> i64 {
        Timestamp::now().seconds() + self.clock_ahead
    }

    /// Ids are unique over all repositories and grow.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        700_000_000 + self.last_id
    }
}

/// A webhook with its delivery log, the oldest attempt first.
#[derive(Debug, Default)]
pub(super) struct Hook {
    pub(super) attempts: Vec<(u64, LoggedAttempt)>,
}

#[derive(Debug)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) default_branch: String,
    /// Commit -> its files.
    pub(super) trees: BTreeMap<String, BTreeMap<String, Entry>>,
    pub(super) protections: BTreeMap<String, Protection>,
    pub(super) commits: BTreeMap<String, Commit>,
    pub(super) branches: BTreeMap<String, String>,
    /// Number -> head commit if it is a pull request.
    pub(super) issues: BTreeMap<u64, Option<String>>,
    pub(super) commit_comments: BTreeMap<u64, Value>,
    /// Id -> number of the issue, and the comment.
    pub(super) issue_comments: BTreeMap<u64, (u64, Value)>,
    /// Commit -> statuses, oldest first.
    pub(super) statuses: BTreeMap<String, Vec<Value>>,
    pub(super) deployments: BTreeMap<u64, Deployment>,
    /// (Comment or issue, reaction) -> id; a comment's id never is a number of an issue.
    pub(super) reactions: BTreeMap<(u64, String), u64>,
    /// Commit -> check runs, oldest first.
    pub(super) check_runs: BTreeMap<String, Vec<Value>>,
    /// Issue or pull request -> labels.
    pub(super) labels: BTreeMap<u64, Vec<String>>,
    /// File -> inputs that it declares, and its runs, oldest first.
    pub(super) workflows: BTreeMap<String, (Vec<String>, Vec<Value>)>,
    /// Bodies of `repository_dispatch`, oldest first.
    pub(super) dispatches: Vec<Value>,
    /// Pull request -> reviews, oldest first.
    pub(super) reviews: BTreeMap<u64, Vec<Value>>,
    /// Login -> role.
    pub(super) collaborators: BTreeMap<String, String>,
    /// Pull request -> fields that differ from those of a plain one.
    pub(super) pulls: BTreeMap<u64, Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) parents: Vec<String>,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) shown: Value,
    pub(super) statuses: Vec<Value>,
}

impl Repository {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            default_branch: "main".to_owned(),
            trees: BTreeMap::new(),
            protections: BTreeMap::new(),
            commits: BTreeMap::new(),
            branches: BTreeMap::new(),
            issues: BTreeMap::new(),
            commit_comments: BTreeMap::new(),
            issue_comments: BTreeMap::new(),
            statuses: BTreeMap::new(),
            deployments: BTreeMap::new(),
            reactions: BTreeMap::new(),
            check_runs: BTreeMap::new(),
            labels: BTreeMap::new(),
            workflows: BTreeMap::new(),
            dispatches: Vec::new(),
            reviews: BTreeMap::new(),
            collaborators: BTreeMap::new(),
            pulls: BTreeMap::new(),
        }
    }

    /// The full commit id behind a branch, a full id, or an unambiguous beginning of one.
    pub(super) fn resolve(&self, reference: &str) -> Option<String> {
        let reference = reference.trim_start_matches("refs/heads/").trim_start_matches("heads/");
        if let Some(sha) = self.branches.get(reference) {
            return Some(sha.clone());
        }
        if self.commits.contains_key(reference) {
            return Some(reference.to_owned());
        }
        let mut found = self.commits.keys().filter(|sha| reference.len() >= 7 && sha.starts_with(reference));
        found.next().filter(|_| found.next().is_none()).cloned()
    }

    /// The commit and everything before it that is known.
    pub(super) fn ancestors(&self, sha: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut next = VecDeque::from([sha.to_owned()]);
        while let Some(sha) = next.pop_front() {
            if let Some(commit) = self.commits.get(&sha).filter(|_| !seen.contains(&sha)) {
                next.extend(commit.parents.iter().cloned());
                seen.insert(sha);
            }
        }
        seen
    }
}

//! What happens again and again and is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;

/// What a run tells. Runs of the same key and state, with nothing else of that key between them, are a streak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collapse {
    /// What it is about.
    pub key: String,
    /// What is to be told of it: another state begins another streak. What an older delivery says differently is no news.
    pub state: String,
    /// What becomes of the second and every later one of a streak.
    pub repeats: Repeats,
    /// After so long without one, the next begins another streak. Never, if not given.
    pub quiet: Option<Duration>,
}

/// What becomes of a run that tells what was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// It is done, and puts its message in place of the one before.
    Edit,
    /// It is counted and skipped.
    Drop,
}

/// A streak as a run that is claimed finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Streak {
    /// How many deliveries belong to it, also those whose runs are still to come.
    pub count: u64,
    /// When its first one was decided.
    pub since: Timestamp,
    /// Does no later delivery belong to it?
    pub is_newest: bool,
    /// What steps left, by the words of [`super::Change::Kept`].
    pub kept: BTreeMap<String, Value>,
}

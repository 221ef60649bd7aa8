//! Keys and words of rule files: what the checker takes, and what the schema for editors is made from.

use crate::rules::model::{Mode, Repeats};

/// A rule file.
pub const FILE: &[&str] = &["version", "vars", "rules", "tests"];

/// A rule.
pub const RULE: &[&str] = &[
    "description",
    "enabled",
    "dry-run",
    "on",
    "if",
    "allow",
    "environment",
    "concurrency",
    "collapse",
    "timeout",
    "vars",
    "steps",
    "reply",
    "on-failure",
    "finally",
];

/// A step.
pub const STEP: &[&str] = &["id", "name", "uses", "if", "with", "timeout", "retry", "on-error"];

/// `allow:`
pub const ALLOW: &[&str] = &["permission", "teams", "users", "slack-users", "slack-groups"];

/// What `permission:` can be, from the least.
pub const PERMISSIONS: &[&str] = &["anyone", "read", "triage", "write", "maintain", "admin"];

/// `environment:`
pub const ENVIRONMENT: &[&str] = &["name", "url", "sha", "transient"];

/// `concurrency:`
pub const CONCURRENCY: &[&str] = &["group", "mode"];

/// `collapse:`
pub const COLLAPSE: &[&str] = &["key", "state", "repeats", "quiet"];

/// What `repeats:` can be.
pub const REPEATS: &[(&str, Repeats)] = &[("edit", Repeats::Edit), ("drop", Repeats::Drop)];

/// What `mode:` can be.
pub const MODES: &[(&str, Mode)] = &[
    ("queue-latest", Mode::QueueLatest),
    ("queue-all", Mode::QueueAll),
    ("supersede", Mode::Supersede),
    ("skip", Mode::Skip),
    ("parallel", Mode::Parallel),
];

/// The words of `repeats:`.
pub fn repeats() -> Vec<&'static str> {
    REPEATS.iter().map(|(word, _)| *word).collect()
}

/// The words of `mode:`.
pub fn modes() -> Vec<&'static str> {
    MODES.iter().map(|(word, _)| *word).collect()
}

/// `retry:` as a mapping.
pub const RETRY: &[&str] = &["attempts", "wait", "max-wait"];

/// A test.
pub const TEST: &[&str] = &["name", "event", "with", "actor", "repo", "steps", "expect"];

/// `expect:`
pub const EXPECT: &[&str] = &["matched", "denied", "calls", "not-called", "reply"];

//! Which rules an event starts, and why the others do not. Pure.

mod allow;
mod arguments;
mod filter;
mod index;
mod look;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rules::expr::Reason;
use crate::rules::model::Rule;

pub(crate) use allow::EVERY_GROUP;
pub use index::Index;
pub use look::environment;

/// What became of one rule for one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Name of the rule.
    pub rule: String,
    /// `file:line`.
    pub place: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Every check in order until the first that failed.
    pub checks: Vec<Check>,
}

/// The verdict over one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It starts.
    Matched,
    /// Some check failed: the last one in the list.
    NotMatched,
    /// All checks held but `allow:`.
    Denied,
    /// A check could not be evaluated. Never counts as "false".
    Error,
}

/// One check of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Did it hold?
    pub holds: bool,
    /// As written: `branches: [main]`, `event github.push`, `if`, `allow: permission write`.
    pub text: String,
    /// What was found: `event.branch = "main", decided by "main"`.
    pub found: String,
    /// The parts of an `if`.
    pub reason: Option<Reason>,
    /// A near miss.
    pub hint: Option<String>,
}

/// The decision over all rules that were looked at.
#[derive(Debug, Default)]
pub struct Decisions {
    /// Rules that start, in order.
    pub matched: Vec<Arc<Rule>>,
    /// One for each rule looked at, in order.
    pub traces: Vec<Trace>,
}

impl Decisions {
    /// Files what became of a rule.
    fn add(&mut self, rule: &Arc<Rule>, trace: Trace) {
        if trace.verdict == Verdict::Matched {
            self.matched.push(Arc::clone(rule));
        }
        self.traces.push(trace);
    }
}

impl Check {
    /// A check without parts.
    fn new(holds: bool, text: impl Into<String>, found: impl Into<String>) -> Self {
        Self { holds, text: text.into(), found: found.into(), reason: None, hint: None }
    }
}

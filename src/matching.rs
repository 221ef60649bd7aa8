//! Which rules an event starts, and why the others do not. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::rules::expr::{self, Reason};
use crate::rules::model::{Rule, RuleSet};

/// Rules by (source, event, repository), so that a delivery looks only at those that could start.
pub struct Index {
    set: Arc<RuleSet>,
}

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
#[derive(Debug)]
pub struct Decisions {
    /// Rules that start, in order.
    pub matched: Vec<Arc<Rule>>,
    /// One for each rule looked at, in order.
    pub traces: Vec<Trace>,
}

impl Index {
    /// Builds it once for a rule set.
    pub fn new(set: Arc<RuleSet>) -> Self {
        Self { set }
    }

    /// The rules behind it.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// Must an event of this kind be decoded with its payload?
    pub fn reads_payload(&self, event_kind: &str) -> bool {
        self.set.rules.iter().any(|rule| rule.reads_payload && rule.triggers.iter().any(|trigger| trigger.event == event_kind))
    }

    /// Holds an event against every rule that could start.
    pub fn decide(&self, event: &Event) -> Decisions {
        let _ = event;
        todo!()
    }
}

/// The root names that the rule's expressions read for this event: `event`, `repo`, `actor`, `delivery`, `vars`.
pub fn environment(rule: &Rule, event: &Event) -> Result<expr::Environment, expr::EvaluationError> {
    let _ = (rule, event);
    todo!()
}

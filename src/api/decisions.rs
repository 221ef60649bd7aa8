//! Why a rule matched or did not, as the interface shows it.

use poem_openapi::Object;

use super::words::Word;
use crate::matching::{self, Verdict};
use crate::rules::expr;

/// What became of one rule for one event.
#[derive(Debug, Clone, Object)]
pub struct Decision {
    /// Name of the rule.
    pub rule: String,
    /// `file:line` of it.
    pub place: String,
    /// The verdict.
    pub verdict: Word<Verdict>,
    /// Every check in order, until the first that failed.
    pub checks: Vec<Check>,
}

/// One check of a rule.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Check {
    /// Did it hold?
    pub holds: bool,
    /// As written: `branches: [main]`, `if`.
    pub text: String,
    /// What was found: `event.branch = "main", decided by "main"`.
    pub found: String,
    /// The parts of an `if`.
    pub reason: Option<Reason>,
    /// A near miss.
    pub hint: Option<String>,
}

/// Why a part of a condition holds or not.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Reason {
    /// Did this part hold?
    pub holds: bool,
    /// The part as written, or `all of` / `any of` for a group.
    pub text: String,
    /// Fields read and what was found.
    pub found: Vec<String>,
    /// Parts of a group.
    pub parts: Vec<Reason>,
    /// A near miss.
    pub hint: Option<String>,
}

impl From<matching::Trace> for Decision {
    fn from(trace: matching::Trace) -> Self {
        Self {
            rule: trace.rule,
            place: trace.place,
            verdict: Word::new(trace.verdict.word()),
            checks: trace.checks.into_iter().map(Check::from).collect(),
        }
    }
}

impl From<matching::Check> for Check {
    fn from(check: matching::Check) -> Self {
        Self {
            holds: check.holds,
            text: check.text,
            found: check.found,
            reason: check.reason.map(Reason::from),
            hint: check.hint,
        }
    }
}

impl From<expr::Reason> for Reason {
    fn from(reason: expr::Reason) -> Self {
        Self {
            holds: reason.holds,
            text: reason.text,
            found: reason.found,
            parts: reason.parts.into_iter().map(Self::from).collect(),
            hint: reason.hint,
        }
    }
}

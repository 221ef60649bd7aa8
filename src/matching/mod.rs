//! Which rules an event starts, and why the others do not. Pure.

mod allow;
mod arguments;
mod asks;
mod filter;
mod help;
mod index;
mod look;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rules::expr::Reason;
use crate::rules::model::Rule;

pub(crate) use allow::EVERY_GROUP;
pub use asks::Asks;
pub use help::Misused;
pub use index::Index;
pub(crate) use index::unheard;
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

impl Verdict {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Matched, Self::NotMatched, Self::Denied, Self::Error];

    /// The word for it, in the store and at the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::NotMatched => "not-matched",
            Self::Denied => "denied",
            Self::Error => "error",
        }
    }
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
    /// One for each rule looked at, in order, as far as reasons were kept.
    pub traces: Vec<Trace>,
    /// Rules that were looked at and did not match, beyond those that have a trace.
    pub more: usize,
    /// Rules that were not looked at: of other events, sources or repositories, or switched off.
    pub unheard: usize,
}

/// So many reasons are stored with a delivery of rules that did not match; beyond that only their number is.
pub const MOST_REASONS: usize = 200;

impl Decisions {
    /// The traces as they are stored: however many rules there are, they stay small, and every rule is at least counted.
    pub fn to_store(&self) -> Vec<Cow<'_, Trace>> {
        let mut traces: Vec<Cow<'_, Trace>> = self.traces.iter().map(Cow::Borrowed).collect();
        let counted = |count: usize, one: &str, many: &str| {
            let text = if count == 1 { format!("1 {one}") } else { format!("{count} {many}") };
            (count > 0).then(|| Check::new(false, text, "`declic explain --delivery` names them"))
        };
        let checks = [
            counted(self.more, "more rule did not match", "more rules did not match"),
            counted(
                self.unheard,
                "rule is for other events, sources or repositories, or switched off",
                "rules are for other events, sources or repositories, or switched off",
            ),
        ];
        let checks: Vec<Check> = checks.into_iter().flatten().collect();
        if !checks.is_empty() {
            let (rule, place) = ("…".to_owned(), String::new());
            traces.push(Cow::Owned(Trace { rule, place, verdict: Verdict::NotMatched, checks }));
        }
        traces
    }

    /// Turns away rules that would start, for a reason that the event does not have in it: what was asked for, and what was found.
    pub fn refuse(&mut self, refused: impl Fn(&Rule) -> Option<(String, String)>) {
        let traces = &mut self.traces;
        self.matched.retain(|rule| {
            let Some((text, found)) = refused(rule) else { return true };
            let starts = |trace: &&mut Trace| trace.rule == rule.name && trace.verdict == Verdict::Matched;
            if let Some(trace) = traces.iter_mut().find(starts) {
                trace.verdict = Verdict::Denied;
                trace.checks.push(Check::new(false, text, found));
            }
            false
        });
    }

    /// Files what became of a rule.
    fn add(&mut self, rule: &Arc<Rule>, verdict: Verdict, checks: Vec<Check>) {
        if verdict == Verdict::Matched {
            self.matched.push(Arc::clone(rule));
        }
        self.traces.push(Trace { rule: rule.name.clone(), place: rule.place.clone(), verdict, checks });
    }
}

impl Check {
    /// A check without parts.
    fn new(holds: bool, text: impl Into<String>, found: impl Into<String>) -> Self {
        Self { holds, text: text.into(), found: found.into(), reason: None, hint: None }
    }
}

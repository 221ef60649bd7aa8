//! `tests:` of rule files: an event made up from the registry, the same matching and rendering as in earnest, and no effects.

use std::collections::BTreeMap;

use serde_json::Value;

mod compare;
mod play;
pub mod sample;

pub use play::outputs;

pub(crate) use compare::{is_pattern, pattern};
pub use play::{Played, PlayedCall, play, play_event, play_rule};

use crate::rules::model::{Offer, RuleSet};
use std::sync::Arc;

/// One test of a rule file.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name, for people.
    pub name: String,
    /// `file:line` of it.
    pub place: String,
    /// The event.
    pub happening: Happening,
    /// What must come of it.
    pub expect: Expect,
}

/// An event and what the steps give, as tests and delivery files write them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Happening {
    /// Event by name.
    pub event: String,
    /// Fields of the event that matter; the others get a value of their type.
    pub with: Value,
    /// Fields of the actor that matter.
    pub actor: Value,
    /// Fields of the repository that matter.
    pub repo: Value,
    /// What steps give, by id.
    pub steps: BTreeMap<String, Given>,
    /// Is `with.payload` a body as the provider sent it? Then nothing is added to it; otherwise what it leaves out is made up.
    pub whole: bool,
}

/// What a step gives in a test.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// It succeeds with these outputs; those left out get a value of their type.
    Outputs(Value),
    /// It fails.
    Failure {
        /// `failure.message`
        message: String,
        /// `failure.code`
        code: String,
        /// `failure.rolled_back`
        rolled_back: bool,
    },
}

/// What a test expects; what is not mentioned does not matter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expect {
    /// Exactly these rules start.
    pub matched: Option<Vec<String>>,
    /// Exactly these rules are refused by `allow:`.
    pub denied: Option<Vec<String>>,
    /// These calls are made, in this order, perhaps with others between.
    pub calls: Vec<ExpectedCall>,
    /// These actions are not called.
    pub not_called: Vec<String>,
    /// The reply has these fields.
    pub reply: Option<Value>,
}

/// One call that must be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedCall {
    /// The action.
    pub uses: String,
    /// Parameters that must be there; a text `/…/` is a regular expression.
    pub with: Value,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What differs, a few lines each; nothing if it passed.
    pub differences: Vec<String>,
}

impl Verdict {
    /// Did it pass?
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Runs one test against the rules of its file.
pub fn run(case: &Case, rules: &Arc<RuleSet>, offer: Option<&Offer>) -> Verdict {
    let played = play(&case.happening, rules, offer);
    Verdict { differences: compare::differences(&case.expect, &played) }
}

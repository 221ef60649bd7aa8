//! What senders get back, described as data: for each outcome its status, headers and body.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::auth::Many;
use super::extract::{Conditions, View};
use crate::sources::{Answer, Outcome};

/// An answer as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Form {
    /// What became of the request; taken in, now or before, if nothing is said.
    #[serde(default)]
    outcome: Many<Outcome>,
    /// Places in the delivery and what must stand there.
    #[serde(default, rename = "if")]
    conditions: BTreeMap<String, Many<String>>,
    status: u16,
    content_type: Option<String>,
    text: Option<String>,
    json: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// An answer that can be given.
pub struct Reply {
    outcomes: Vec<Outcome>,
    conditions: Conditions,
    answer: Answer,
}

impl Reply {
    /// From what is written. An error is for the operator.
    pub fn new(form: Form) -> Result<Self, String> {
        let outcomes = form.outcome.list();
        let outcomes = if outcomes.is_empty() { vec![Outcome::Accepted, Outcome::Duplicate] } else { outcomes };
        let unfit = outcomes.iter().find(|outcome| !outcome.fits(form.status));
        if let Some(outcome) = unfit {
            let (word, wanted) = (outcome.word(), outcome.statuses());
            return Err(format!("answers {} with {word} requests: that is never {wanted}", form.status));
        }
        if !form.conditions.is_empty() && outcomes.iter().any(|outcome| !outcome.is_delivery()) {
            return Err("has conditions on an answer to what was not taken in: nothing of that is looked at".to_owned());
        }
        if form.text.is_some() && form.json.is_some() {
            return Err("has an answer with `text` and `json`".to_owned());
        }
        let usual = if form.json.is_some() { "application/json" } else { "text/plain" };
        let body = form.text.or_else(|| form.json.map(|value| value.to_string())).unwrap_or_default();
        let answer = Answer {
            status: form.status,
            content_type: form.content_type.unwrap_or_else(|| if body.is_empty() { String::new() } else { usual.to_owned() }),
            headers: form.headers.into_iter().collect(),
            body: body.into_bytes(),
            ..Answer::default()
        };
        Ok(Self { outcomes, conditions: Conditions::read(form.conditions)?, answer })
    }

    /// Is this the answer to a request that ended so? `view` is what was delivered, if it was taken in.
    pub fn fits(&self, outcome: Outcome, view: Option<&View<'_>>) -> bool {
        self.outcomes.contains(&outcome) && view.is_none_or(|view| self.conditions.hold(view))
    }

    /// The answer.
    pub fn answer(&self) -> Answer {
        self.answer.clone()
    }
}

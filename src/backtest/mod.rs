//! Edited rules against recorded deliveries: what they would do otherwise. Pure, and without effects: steps give what they gave then.

pub mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::Event;
use crate::journal::record::{Phase, RunRecord, StepRecord, StepState};
use crate::matching::{Index, Trace, Verdict};
use crate::rules::model::{Offer, Rule, RuleSet};
use crate::rules::testing::{Given, Played, PlayedCall, play_rule};

/// What happened then.
pub struct Recorded {
    /// The reasons of every rule that was looked at.
    pub traces: Vec<Trace>,
    /// The runs with their steps, and the rules that they began with, where those can still be read.
    pub runs: Vec<(RunRecord, Vec<StepRecord>, Option<Arc<RuleSet>>)>,
}

/// What one rule would do otherwise for one delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The rule.
    pub rule: String,
    /// What kind of difference.
    #[serde(flatten)]
    pub change: Change,
}

/// How an outcome differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// It did not start then, and would now.
    WouldFire {
        /// The calls that it would make.
        calls: Vec<Call>,
    },
    /// It started then, and would not now.
    WouldNotFire {
        /// The reasons now; none if the rule is gone.
        trace: Option<Trace>,
    },
    /// It would start as it did, with other calls or other values in them.
    OtherInputs {
        /// What differs.
        inputs: Vec<Input>,
    },
    /// It could not be evaluated.
    WouldFail {
        /// Why.
        why: Vec<String>,
    },
}

/// A call that would be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The action.
    pub uses: String,
    /// Its parameters.
    pub with: Value,
}

/// One value of a call that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Id of the step, or its number.
    pub step: String,
    /// `uses`, `with.image`; `with` for a call that is only on one side.
    pub path: String,
    /// What it was; nothing if it was not there.
    pub then: Value,
    /// What it would be; nothing if it would not be there.
    pub now: Value,
}

/// Holds the rules of an index against a delivery and what became of it then. Rules that do the same are not named.
pub fn compare(event: &Event, recorded: &Recorded, now: &Index, offer: Option<&Offer>) -> Vec<Difference> {
    let decisions = now.decide(event);
    let find = |name: &str| now.rules().rules.iter().find(|rule| rule.name == name);
    let mut names: Vec<&str> = recorded.traces.iter().map(|trace| trace.rule.as_str()).collect();
    names.extend(
        decisions.traces.iter().map(|trace| trace.rule.as_str()).filter(|name| !names.contains(name)).collect::<Vec<_>>(),
    );
    let differences = names.into_iter().filter_map(|name| {
        let then = recorded.traces.iter().find(|trace| trace.rule == name).map(|trace| trace.verdict);
        let trace = decisions.traces.iter().find(|trace| trace.rule == name);
        let run = recorded.runs.iter().find(|(run, _, _)| run.rule == name);
        let old = run.and_then(|(_, _, rules)| rules.as_ref()?.rules.iter().find(|rule| rule.name == name));
        let fired = then == Some(Verdict::Matched);
        let fires = match trace.map(|trace| trace.verdict) {
            Some(Verdict::Error) if then == Some(Verdict::Error) => return None,
            Some(Verdict::Error) => return Some(would_fail(name, trace)),
            Some(Verdict::Matched) => true,
            // Who may start it was asked of GitHub then and cannot be asked here: the same question has the same answer.
            Some(Verdict::Denied) => fired && old.is_some_and(|old| find(name).is_some_and(|rule| rule.allow == old.allow)),
            Some(Verdict::NotMatched) | None => false,
        };
        let change = match (fired, fires) {
            (false, false) => return None,
            (true, false) => Change::WouldNotFire { trace: trace.cloned() },
            (false, true) => Change::WouldFire { calls: calls(&play_rule(find(name)?, event, &BTreeMap::new(), offer)) },
            (true, true) => return inputs(find(name)?, old?, event, run.map_or(&[], |(_, steps, _)| steps), offer),
        };
        Some(Difference { rule: name.to_owned(), change })
    });
    differences.collect()
}

fn would_fail(name: &str, trace: Option<&Trace>) -> Difference {
    let why = trace.and_then(|trace| trace.checks.last()).map(|check| format!("{}: {}", check.text, check.found));
    Difference { rule: name.to_owned(), change: Change::WouldFail { why: why.into_iter().collect() } }
}

fn calls(played: &Played) -> Vec<Call> {
    played.calls.iter().map(|call| Call { uses: call.uses.clone(), with: call.with.clone() }).collect()
}

/// Both rules are played with what the steps gave then, so that only the rules can make a difference.
fn inputs(new: &Rule, old: &Rule, event: &Event, steps: &[StepRecord], offer: Option<&Offer>) -> Option<Difference> {
    let given = given(steps);
    let (then, now) = (play_rule(old, event, &given, offer), play_rule(new, event, &given, offer));
    let faults: Vec<String> = now.faults.iter().filter(|fault| !then.faults.contains(fault)).cloned().collect();
    if !faults.is_empty() {
        return Some(Difference { rule: new.name.clone(), change: Change::WouldFail { why: faults } });
    }
    let mut inputs = Vec::new();
    let find = |calls: &[PlayedCall], step: &str| calls.iter().find(|call| call.step == step).cloned();
    for call in &then.calls {
        match find(&now.calls, &call.step) {
            None => inputs.push(Input { step: call.step.clone(), path: "with".to_owned(), then: whole(call), now: Value::Null }),
            Some(other) if other.uses != call.uses => {
                inputs.push(Input { step: call.step.clone(), path: "uses".to_owned(), then: whole(call), now: whole(&other) });
            }
            Some(other) => differ(&call.step, "with", &call.with, &other.with, &mut inputs),
        }
    }
    for call in now.calls.iter().filter(|call| find(&then.calls, &call.step).is_none()) {
        inputs.push(Input { step: call.step.clone(), path: "with".to_owned(), then: Value::Null, now: whole(call) });
    }
    if then.reply != now.reply {
        let of = |reply: &Option<Value>| reply.clone().unwrap_or(Value::Null);
        differ("reply", "reply", &of(&then.reply), &of(&now.reply), &mut inputs);
    }
    (!inputs.is_empty()).then(|| Difference { rule: new.name.clone(), change: Change::OtherInputs { inputs } })
}

fn whole(call: &PlayedCall) -> Value {
    json!({ "uses": call.uses, "with": call.with })
}

/// The smallest parts that differ.
fn differ(step: &str, path: &str, then: &Value, now: &Value, inputs: &mut Vec<Input>) {
    if then == now {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (then, now) {
        let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
        for name in names {
            let value = |fields: &serde_json::Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
            differ(step, &format!("{path}.{name}"), &value(old), &value(new), inputs);
        }
        return;
    }
    inputs.push(Input { step: step.to_owned(), path: path.to_owned(), then: then.clone(), now: now.clone() });
}

/// What the steps of a run gave, by id.
fn given(steps: &[StepRecord]) -> BTreeMap<String, Given> {
    let own = steps.iter().filter(|step| !matches!(step.place.phase, Phase::Begin | Phase::End));
    own.filter_map(|step| {
        let given = match (&step.outcome, &step.why) {
            (Some(outcome), _) => Given::Outputs(outcome.outputs.clone()),
            (None, Some(why)) if step.state == StepState::Failed => {
                Given::Failure { message: why.message.clone(), code: why.code.clone(), rolled_back: why.rolled_back }
            }
            _ => return None,
        };
        Some((step.label.id.clone()?, given))
    })
    .collect()
}

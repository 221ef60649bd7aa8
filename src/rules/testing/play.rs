//! Plays an event through the rules: matching, templates and `prepare` as in earnest; steps give what the test says.

use std::collections::BTreeMap;
use std::sync::Arc;

use declic_actions::action::{Call, Intent, Origin, Spec, Why};
use declic_actions::kinds;
use serde_json::{Map, Value, json};

use super::{Given, Happening, sample};
use crate::event::Event;
use crate::matching::{self, Index, Trace, Verdict};
use crate::rules::expr::Environment;
use crate::rules::model::{Offer, Rule, RuleSet, Step};
use crate::rules::registry;
use crate::rules::shapes;
use crate::rules::types::Type;

/// What came of an event.
#[derive(Debug, Default)]
pub struct Played {
    /// One trace for each rule, in order.
    pub traces: Vec<Trace>,
    /// Calls in the order they would be made.
    pub calls: Vec<PlayedCall>,
    /// The answer of the first rule that gives one.
    pub reply: Option<Value>,
    /// Values that could not be computed, calls that an action refused.
    pub faults: Vec<String>,
}

/// A call that would be made.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayedCall {
    /// The rule.
    pub rule: String,
    /// Id of the step, or its number from 1.
    pub step: String,
    /// The action.
    pub uses: String,
    /// `with:`, filled in.
    pub with: Value,
    /// What the action makes of it, if it takes it and there are settings to look at.
    pub intent: Option<Intent>,
}

impl Played {
    /// Names of the rules with that verdict, in order.
    pub fn with_verdict(&self, verdict: Verdict) -> Vec<&str> {
        self.traces.iter().filter(|trace| trace.verdict == verdict).map(|trace| trace.rule.as_str()).collect()
    }
}

/// Plays it. Rules of several sources each get the event from theirs.
pub fn play(happening: &Happening, rules: &Arc<RuleSet>, offer: Option<&Offer>) -> Played {
    let index = Index::new(rules.clone());
    let mut played = Played::default();
    let mut known: Vec<(Event, Vec<Trace>)> = Vec::new();
    // Its type is large: it is made up only where somebody reads it.
    let payload = rules.rules.iter().any(|rule| rule.reads_payload).then(|| sample::payload(happening)).flatten();
    let nowhere = sample::event(happening, "sample", None, payload.as_ref());
    for (number, rule) in rules.rules.iter().enumerate() {
        let mut best: Option<(Trace, Event)> = None;
        for trigger in rule.triggers.iter().filter(|trigger| registry::is_heard_as(&happening.event, trigger.event)) {
            let source = trigger.source.as_deref().unwrap_or("sample");
            let declared = trigger.shapes.first().map(|(_, shape)| shape);
            let Some(event) = sample::event(happening, source, declared, payload.as_ref()) else { continue };
            if !known.iter().any(|(other, _)| *other == event) {
                known.push((event.clone(), index.decide_all(&event).traces));
            }
            // One trace for each rule, in their order.
            let traces = known.iter().find(|(other, _)| *other == event).map(|(_, traces)| traces);
            if let Some(trace) = traces.and_then(|traces| traces.get(number))
                && best.as_ref().is_none_or(|(best, _)| rank(trace.verdict) > rank(best.verdict))
            {
                best = Some((trace.clone(), event));
            }
        }
        if best.is_none()
            && let Some(event) = &nowhere
        {
            let checks = vec![matching::unheard(rule, event)];
            let (name, place) = (rule.name.clone(), rule.place.clone());
            played.traces.push(Trace { rule: name, place, verdict: Verdict::NotMatched, checks });
        }
        if let Some((trace, event)) = best {
            let matched = trace.verdict == Verdict::Matched;
            played.traces.push(trace);
            if matched {
                let given = &happening.steps;
                Player { rule, event: &event, given, offer, played: &mut played, steps: Map::new() }.rule();
            }
        }
    }
    played
}

/// Plays an event as it was recorded: a trace for every rule, also of other events, and what those that match would call.
pub fn play_event(event: &Event, rules: &Arc<RuleSet>, offer: Option<&Offer>) -> Played {
    let decisions = Index::new(rules.clone()).decide_all(event);
    let mut played = Played { traces: decisions.traces, ..Played::default() };
    for rule in &decisions.matched {
        let one = play_rule(rule, event, &BTreeMap::new(), offer);
        played.calls.extend(one.calls);
        played.reply = played.reply.or(one.reply);
        played.faults.extend(one.faults);
    }
    played
}

/// Plays a rule for an event that started it: what its steps would be called with, if they gave what is `given`.
pub fn play_rule(rule: &Rule, event: &Event, given: &BTreeMap<String, Given>, offer: Option<&Offer>) -> Played {
    let mut played = Played::default();
    Player { rule, event, given, offer, played: &mut played, steps: Map::new() }.rule();
    played
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::NotMatched => 0,
        Verdict::Error => 1,
        Verdict::Denied => 2,
        Verdict::Matched => 3,
    }
}

struct Player<'a> {
    rule: &'a Rule,
    event: &'a Event,
    given: &'a BTreeMap<String, Given>,
    offer: Option<&'a Offer>,
    played: &'a mut Played,
    steps: Map<String, Value>,
}

/// The first step that failed, and why.
struct Failed {
    step: String,
    action: String,
    attempts: u32,
    why: Why,
}

impl Player<'_> {
    fn rule(mut self) {
        let mut environment = match matching::environment(self.rule, self.event) {
            Ok(environment) => environment,
            Err(error) => return self.fault("vars", &error.to_string()),
        };
        if let (None, Some(offer)) = (&self.rule.owner, self.offer) {
            let secrets: Map<String, Value> = offer.secrets.iter().map(|name| (name.clone(), name.as_str().into())).collect();
            environment.names.insert("secrets".to_owned(), Arc::new(Value::Object(secrets)));
        }
        for step in self.rule.steps.iter().chain(&self.rule.on_failure).chain(&self.rule.finally) {
            if let Some(id) = &step.id {
                self.steps.insert(id.clone(), json!({ "result": "skipped", "outputs": null }));
            }
        }
        let first = self.rule.reply.as_ref().is_some_and(|reply| reply.first);
        if first {
            self.reply(&environment, false);
        }
        let failed = self.block(&self.rule.steps, &environment, 1);
        let mut after = environment.clone();
        if let Some(failed) = &failed {
            after.names.insert("failure".to_owned(), Arc::new(failure(failed)));
            self.block(&self.rule.on_failure, &after, self.rule.steps.len() + 1);
        }
        if !first {
            let shown = self.with_steps(&after);
            self.reply(&shown, failed.is_some());
        }
        let result = if failed.is_some() { "failure" } else { "success" };
        let mut last = environment;
        last.names.insert("result".to_owned(), Arc::new(result.into()));
        self.block(&self.rule.finally, &last, self.rule.steps.len() + self.rule.on_failure.len() + 1);
    }

    fn fault(&mut self, place: &str, message: &str) {
        self.played.faults.push(format!("{}, {place}: {message}", self.rule.name));
    }

    fn with_steps(&self, environment: &Environment) -> Environment {
        let mut environment = environment.clone();
        environment.names.insert("steps".to_owned(), Arc::new(Value::Object(self.steps.clone())));
        environment
    }

    fn reply(&mut self, environment: &Environment, failed: bool) {
        let Some(reply) = &self.rule.reply else { return };
        let template = if failed { reply.on_error.as_ref() } else { Some(&reply.with) };
        if self.played.reply.is_some() {
            return;
        }
        match template.map(|template| template.render(environment)) {
            Some(Ok(value)) => self.played.reply = Some(value),
            Some(Err(error)) => self.fault("reply", &error.to_string()),
            None => {}
        }
    }

    /// Steps in order until one fails; `number` is that of the first.
    fn block(&mut self, steps: &[Step], environment: &Environment, number: usize) -> Option<Failed> {
        for (index, step) in steps.iter().enumerate() {
            let name = step.id.clone().unwrap_or_else(|| (number + index).to_string());
            match self.step(step, &name, environment) {
                Ok(Some(outputs)) => self.record(step, "success", outputs),
                Ok(None) => {}
                Err(why) => {
                    self.record(step, "failure", Value::Null);
                    if !step.continue_on_error {
                        return Some(Failed { step: name, action: step.uses.clone(), attempts: step.retry.attempts, why });
                    }
                }
            }
        }
        None
    }

    fn record(&mut self, step: &Step, result: &str, outputs: Value) {
        if let Some(id) = &step.id {
            self.steps.insert(id.clone(), json!({ "result": result, "outputs": outputs }));
        }
    }

    /// `Ok(None)` if it is skipped.
    fn step(&mut self, step: &Step, name: &str, environment: &Environment) -> Result<Option<Value>, Why> {
        let environment = self.with_steps(environment);
        let invalid = |player: &mut Self, message: String| {
            player.fault(&format!("step {name}"), &message);
            Why::new("expression", message)
        };
        if let Some(condition) = &step.condition {
            match condition.holds(&environment) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Err(invalid(self, error.to_string())),
            }
        }
        let with = match step.with.render(&environment) {
            Ok(with) => with,
            Err(error) => return Err(invalid(self, error.to_string())),
        };
        self.played.calls.push(PlayedCall {
            rule: self.rule.name.clone(),
            step: name.to_owned(),
            uses: step.uses.clone(),
            with: with.clone(),
            intent: None,
        });
        let given = step.id.as_ref().and_then(|id| self.given.get(id));
        // What the test says of a step counts more than what the action thinks of a made-up digest.
        if given.is_none() {
            match self.prepare(step, name, &with) {
                Ok(intent) => {
                    if let Some(call) = self.played.calls.last_mut() {
                        call.intent = intent;
                    }
                }
                Err(why) => {
                    self.fault(&format!("step {name}"), &why.message);
                    return Err(why);
                }
            }
        }
        let shape = kinds::find(&step.uses).map_or(Type::Any, |action| outputs(action.spec(), |name| with.get(name)));
        match given {
            Some(Given::Failure { message, code, rolled_back }) => {
                Err(Why { code: code.clone(), message: message.clone(), rolled_back: *rolled_back })
            }
            Some(Given::Outputs(given)) => Ok(Some(sample::outputs(&shape, given))),
            None => Ok(Some(sample::outputs(&shape, &Value::Null))),
        }
    }

    /// The action's own look at the call; only with the operator's settings is there enough to look at.
    fn prepare(&self, step: &Step, name: &str, with: &Value) -> Result<Option<Intent>, Why> {
        let (Some(action), Some(offer)) = (kinds::find(&step.uses), self.offer) else { return Ok(None) };
        let partner = |key: &str, entries: &BTreeMap<String, Value>| {
            with.get(key).and_then(Value::as_str).and_then(|name| entries.get(name).cloned())
        };
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let sha = text(&self.event.event, "sha").or_else(|| self.event.event.get("head").and_then(|head| text(head, "sha")));
        let call = Call {
            key: "d0123456789abcdef".to_owned(),
            params: given(with),
            target: partner("target", &offer.targets),
            connection: partner("connection", &offer.connections),
            origin: Origin {
                delivery: "sample".to_owned(),
                run: "sample".to_owned(),
                rule: self.rule.name.clone(),
                step: name.to_owned(),
                repository: self.event.repository().map(str::to_owned),
                sha,
                number: self.event.event.get("number").and_then(Value::as_u64),
                comment: self.event.event.get("comment_id").and_then(Value::as_u64),
                actor: text(&self.event.actor, "login"),
                trace: None,
                hops: 0,
                run_url: None,
            },
        };
        Ok(Some(action.prepare(call)?))
    }
}

/// A parameter whose value is missing is a parameter that is not given.
fn given(with: &Value) -> Map<String, Value> {
    let mut params = with.as_object().cloned().unwrap_or_default();
    params.retain(|_, value| !value.is_null());
    params
}

/// What a step gives out, with the answer as it is declared.
pub fn outputs<'v>(spec: &Spec, given: impl Fn(&str) -> Option<&'v Value>) -> Type {
    let mut outputs = shapes::object(spec.outputs);
    if let Some((parameter, output)) = registry::declared_output(spec.name)
        && let Some(Ok(shape)) = given(parameter).map(shapes::declared)
    {
        outputs.insert(output.to_owned(), shape);
    }
    Type::Object(outputs)
}

fn failure(failed: &Failed) -> Value {
    json!({
        "step": failed.step,
        "action": failed.action,
        "code": failed.why.code,
        "message": failed.why.message,
        "attempts": failed.attempts,
        "rolled_back": failed.why.rolled_back,
    })
}

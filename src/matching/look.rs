//! One rule against one event: every check in order, until one fails.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::allow::allowed;
use super::{Check, Verdict, arguments, filter};
use crate::event::Event;
use crate::rules::expr::{Environment, EvaluationError, Expression, Roots, show};
use crate::rules::model::{Rule, Trigger};
use crate::rules::registry;

type Names = BTreeMap<String, Arc<Value>>;

/// The event itself as expressions read it: nothing is copied.
struct View<'a> {
    event: &'a Event,
    /// `event` with the arguments of the command as the rule declares them.
    with_arguments: Option<Value>,
}

impl Roots for View<'_> {
    fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "event" => Some(self.with_arguments.as_ref().unwrap_or(&self.event.event)),
            "repo" => Some(&self.event.repo),
            "actor" => Some(&self.event.actor),
            "delivery" => Some(&self.event.delivery),
            _ => None,
        }
    }
}

/// `event` with these arguments of a command in it.
fn with_arguments(event: &Event, arguments: Value) -> Option<Value> {
    let Value::Object(mut fields) = event.event.clone() else { return None };
    fields.insert("args".to_owned(), arguments);
    Some(Value::Object(fields))
}

/// An event with its contexts as variables read them, copied only once and only if a condition reads variables.
pub(super) struct Occasion<'a> {
    pub event: &'a Event,
    names: OnceCell<Names>,
}

impl<'a> Occasion<'a> {
    pub fn new(event: &'a Event) -> Self {
        Self { event, names: OnceCell::new() }
    }

    fn names(&self) -> Names {
        let event = self.event;
        let names = self.names.get_or_init(|| {
            let contexts =
                [("event", &event.event), ("repo", &event.repo), ("actor", &event.actor), ("delivery", &event.delivery)];
            contexts.into_iter().map(|(name, value)| (name.to_owned(), Arc::new(value.clone()))).collect()
        });
        names.clone()
    }

    /// The root names, without `vars`, for a trigger whose command has these arguments.
    fn environment(&self, arguments: Option<Value>) -> Environment {
        let mut names = self.names();
        if let Some(event) = arguments.and_then(|arguments| with_arguments(self.event, arguments)) {
            names.insert("event".to_owned(), Arc::new(event));
        }
        Environment { names }
    }
}

/// The root names that the rule's expressions read for this event: `event`, `repo`, `actor`, `delivery`, `vars`.
pub fn environment(rule: &Rule, event: &Event) -> Result<Environment, EvaluationError> {
    let trigger = rule.triggers.iter().find(|trigger| overlooked(rule, trigger, event).is_none());
    // Words that do not fit were refused when the rule matched.
    let arguments = trigger.and_then(|trigger| arguments::read(trigger, event).ok()).flatten();
    with_vars(rule, Occasion::new(event).environment(arguments))
}

/// Variables see those before them.
fn with_vars(rule: &Rule, mut environment: Environment) -> Result<Environment, EvaluationError> {
    let mut vars = Map::new();
    for (name, template) in &rule.vars {
        environment.names.insert("vars".to_owned(), Arc::new(Value::Object(vars.clone())));
        vars.insert(name.clone(), template.render(&environment)?);
    }
    environment.names.insert("vars".to_owned(), Arc::new(Value::Object(vars)));
    Ok(environment)
}

/// Why a trigger does not hear the event at all, if so.
pub(super) fn overlooked(rule: &Rule, trigger: &Trigger, event: &Event) -> Option<Check> {
    if !registry::is_heard_as(&event.kind, trigger.event) {
        return Some(Check::new(false, format!("event {}", trigger.event), format!("this is {}", event.kind)));
    }
    if let Some(source) = trigger.source.as_ref().filter(|source| **source != event.source) {
        return Some(Check::new(false, format!("source: {source}"), format!("delivery.source = \"{}\"", event.source)));
    }
    let owner = rule.owner.as_deref()?;
    if event.repository().is_none() && trigger.source.is_some() {
        // The source that it names was granted to it, and what comes from there belongs to nobody else's repository.
        return None;
    }
    let same = event.repository().is_some_and(|repository| repository.eq_ignore_ascii_case(owner));
    (!same).then(|| {
        let found = event
            .repository()
            .map_or_else(|| "it belongs to no repository".to_owned(), |name| format!("repo.full_name = \"{name}\""));
        Check::new(false, format!("repository {owner}"), found)
    })
}

/// The checks of a rule, in order. Where nobody keeps the reasons, none is made.
pub(super) struct Checks(Option<Vec<Check>>);

impl Checks {
    /// Reasons, if somebody keeps them.
    pub fn new(kept: bool) -> Self {
        Self(kept.then(Vec::new))
    }

    fn kept(&self) -> bool {
        self.0.is_some()
    }

    fn add(&mut self, check: impl FnOnce() -> Check) {
        if let Some(checks) = &mut self.0 {
            checks.push(check());
        }
    }
}

/// What becomes of a rule that hears the event; all its checks are in the trace, if reasons are kept.
pub(super) fn look(rule: &Rule, trigger: &Trigger, occasion: &Occasion<'_>, mut checks: Checks) -> (Verdict, Vec<Check>) {
    let verdict = verdict(rule, trigger, occasion, &mut checks);
    (verdict, checks.0.unwrap_or_default())
}

fn verdict(rule: &Rule, trigger: &Trigger, occasion: &Occasion<'_>, checks: &mut Checks) -> Verdict {
    let event = occasion.event;
    checks.add(|| Check::new(true, format!("event {}", trigger.event), ""));
    if let Some(source) = &trigger.source {
        checks.add(|| Check::new(true, format!("source: {source}"), ""));
    }
    if event.is_own() {
        checks.add(|| own(trigger));
        if !trigger.own_events {
            return Verdict::NotMatched;
        }
    }
    if is_unwanted_deletion(rule, event) {
        checks.add(|| deletion(event));
        return Verdict::NotMatched;
    }
    for answer in trigger.filters.iter().filter_map(|filter| filter::decide(filter, trigger, event)) {
        checks.add(|| answer.check());
        if !answer.holds {
            return Verdict::NotMatched;
        }
    }
    let arguments = match arguments::read(trigger, event) {
        Ok(arguments) => arguments,
        Err(found) => {
            checks.add(|| Check::new(false, "args", found));
            return Verdict::NotMatched;
        }
    };
    if !shapes_fit(trigger, event, arguments.as_ref(), checks) {
        return Verdict::NotMatched;
    }
    if let Some(failed) = condition(rule, occasion, arguments, checks) {
        return failed;
    }
    match allowed(rule.allow.as_deref(), event) {
        None => Verdict::Matched,
        Some(check) => {
            let holds = check.holds;
            checks.add(|| check);
            if holds { Verdict::Matched } else { Verdict::Denied }
        }
    }
}

/// Is the content as the rule declares it?
fn shapes_fit(trigger: &Trigger, event: &Event, arguments: Option<&Value>, checks: &mut Checks) -> bool {
    for (name, shape) in &trigger.shapes {
        let given = arguments.filter(|_| name == "args");
        let value = given.unwrap_or_else(|| event.event.get(name).unwrap_or(&Value::Null));
        let mismatch = shape.fits(value).err();
        let holds = mismatch.is_none();
        checks.add(|| {
            let found = mismatch.map(|mismatch| {
                let path = match mismatch.path.as_str() {
                    "" => format!("event.{name}"),
                    list if list.starts_with('[') => format!("event.{name}{list}"),
                    path => format!("event.{name}.{path}"),
                };
                format!("{path} {}", mismatch.message)
            });
            Check::new(holds, format!("{name}: {shape}"), found.unwrap_or_default())
        });
        if !holds {
            return false;
        }
    }
    true
}

/// What we did ourselves starts a rule only where it says so.
fn own(trigger: &Trigger) -> Check {
    let found = "it carries the mark of an effect of Declic";
    if trigger.own_events {
        return Check::new(true, "own-events: true", found);
    }
    let hint = Some(format!("`own-events: true` under `{}` lets it in", trigger.event));
    Check { hint, ..Check::new(false, "own event", found) }
}

/// A ref that was deleted has nothing to act on, unless the rule asks for deletions in so many words.
fn is_unwanted_deletion(rule: &Rule, event: &Event) -> bool {
    let deleted = event.kind == "github.push" && event.event.get("deleted") == Some(&Value::Bool(true));
    deleted && !rule.condition.as_ref().is_some_and(|condition| condition.reads(&["event", "deleted"]))
}

fn deletion(event: &Event) -> Check {
    let found = format!("event.ref = {} was deleted", show(event.event.get("ref").unwrap_or(&Value::Null)));
    let hint = Some("a rule that wants deletions reads event.deleted in its `if`".to_owned());
    Check { hint, ..Check::new(false, "the ref exists", found) }
}

/// `if:`. An error is never "false".
fn condition(rule: &Rule, occasion: &Occasion<'_>, arguments: Option<Value>, checks: &mut Checks) -> Option<Verdict> {
    let condition = rule.condition.as_ref()?;
    let evaluated = if checks.kept() {
        evaluated(condition, rule, occasion, arguments, |roots| condition.explain(roots)).map(|reason| {
            let holds = reason.holds;
            checks.add(|| Check { reason: Some(reason), ..Check::new(holds, "if", "") });
            holds
        })
    } else {
        evaluated(condition, rule, occasion, arguments, |roots| condition.holds(roots))
    };
    match evaluated {
        Ok(holds) => (!holds).then_some(Verdict::NotMatched),
        Err(error) => {
            checks.add(|| Check::new(false, format!("if {}", condition.source()), error.message));
            Some(Verdict::Error)
        }
    }
}

fn evaluated<T>(
    condition: &Expression,
    rule: &Rule,
    occasion: &Occasion<'_>,
    arguments: Option<Value>,
    evaluate: impl FnOnce(&dyn Roots) -> Result<T, EvaluationError>,
) -> Result<T, EvaluationError> {
    if condition.reads(&["vars"]) {
        return evaluate(&with_vars(rule, occasion.environment(arguments))?);
    }
    let event = occasion.event;
    evaluate(&View { event, with_arguments: arguments.and_then(|arguments| with_arguments(event, arguments)) })
}

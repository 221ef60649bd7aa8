//! One rule against one event: every check in order, until one fails.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::allow::allowed;
use super::{Check, Trace, Verdict, arguments, filter};
use crate::event::Event;
use crate::rules::expr::{Environment, EvaluationError, Expression, Reason, Roots, show};
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

/// All checks of a rule that hears the event.
pub(super) fn look(rule: &Rule, trigger: &Trigger, occasion: &Occasion<'_>) -> Trace {
    let mut checks = Vec::new();
    let verdict = verdict(rule, trigger, occasion, &mut checks);
    Trace { rule: rule.name.clone(), place: rule.place.clone(), verdict, checks }
}

fn verdict(rule: &Rule, trigger: &Trigger, occasion: &Occasion<'_>, checks: &mut Vec<Check>) -> Verdict {
    let event = occasion.event;
    checks.push(Check::new(true, format!("event {}", trigger.event), ""));
    if let Some(source) = &trigger.source {
        checks.push(Check::new(true, format!("source: {source}"), ""));
    }
    if event.is_own() {
        checks.push(own(trigger));
        if !trigger.own_events {
            return Verdict::NotMatched;
        }
    }
    if let Some(check) = deletion(rule, event) {
        checks.push(check);
        return Verdict::NotMatched;
    }
    for filter in &trigger.filters {
        let Some(check) = filter::check(filter, trigger, event) else { continue };
        let holds = check.holds;
        checks.push(check);
        if !holds {
            return Verdict::NotMatched;
        }
    }
    let arguments = match arguments::read(trigger, event) {
        Ok(arguments) => arguments,
        Err(found) => {
            checks.push(Check::new(false, "args", found));
            return Verdict::NotMatched;
        }
    };
    for (name, shape) in &trigger.shapes {
        let value = match arguments.as_ref().filter(|_| name == "args") {
            Some(arguments) => Cow::Borrowed(arguments),
            None => Cow::Borrowed(event.event.get(name).unwrap_or(&Value::Null)),
        };
        let found = shape.fits(&value).map_err(|mismatch| {
            let path = match mismatch.path.as_str() {
                "" => format!("event.{name}"),
                list if list.starts_with('[') => format!("event.{name}{list}"),
                path => format!("event.{name}.{path}"),
            };
            format!("{path} {}", mismatch.message)
        });
        let holds = found.is_ok();
        checks.push(Check::new(holds, format!("{name}: {shape}"), found.err().unwrap_or_default()));
        if !holds {
            return Verdict::NotMatched;
        }
    }
    if let Some(failed) = condition(rule, occasion, arguments, checks) {
        return failed;
    }
    match allowed(rule.allow.as_deref(), event) {
        None => Verdict::Matched,
        Some(check) => {
            let holds = check.holds;
            checks.push(check);
            if holds { Verdict::Matched } else { Verdict::Denied }
        }
    }
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
fn deletion(rule: &Rule, event: &Event) -> Option<Check> {
    let deleted = event.kind == "github.push" && event.event.get("deleted") == Some(&Value::Bool(true));
    let asked_for = rule.condition.as_ref().is_some_and(|condition| condition.reads(&["event", "deleted"]));
    (deleted && !asked_for).then(|| {
        let found = format!("event.ref = {} was deleted", show(event.event.get("ref").unwrap_or(&Value::Null)));
        let hint = Some("a rule that wants deletions reads event.deleted in its `if`".to_owned());
        Check { hint, ..Check::new(false, "the ref exists", found) }
    })
}

/// `if:`. An error is never "false".
fn condition(rule: &Rule, occasion: &Occasion<'_>, arguments: Option<Value>, checks: &mut Vec<Check>) -> Option<Verdict> {
    let condition = rule.condition.as_ref()?;
    match explained(condition, rule, occasion, arguments) {
        Ok(reason) => {
            let holds = reason.holds;
            checks.push(Check { reason: Some(reason), ..Check::new(holds, "if", "") });
            (!holds).then_some(Verdict::NotMatched)
        }
        Err(error) => {
            checks.push(Check::new(false, format!("if {}", condition.source()), error.message));
            Some(Verdict::Error)
        }
    }
}

fn explained(
    condition: &Expression,
    rule: &Rule,
    occasion: &Occasion<'_>,
    arguments: Option<Value>,
) -> Result<Reason, EvaluationError> {
    if condition.reads(&["vars"]) {
        return condition.explain(&with_vars(rule, occasion.environment(arguments))?);
    }
    let event = occasion.event;
    condition.explain(&View { event, with_arguments: arguments.and_then(|arguments| with_arguments(event, arguments)) })
}

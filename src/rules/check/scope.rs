//! What can be read where: the contexts with their types.

use std::collections::BTreeMap;

use super::Checker;
use super::trigger::Heard;
use crate::rules::expr::Scope;
use crate::rules::github_payloads::{Presence, Words};
use crate::rules::model::Step;
use crate::rules::registry::{self, ACTOR, DELIVERY, EventSpec, FAILURE, REPOSITORY};
use crate::rules::shapes;
use crate::rules::types::Type;

/// What became of a step, as `steps.id.result` says it.
pub const STEP_RESULTS: [&str; 3] = ["success", "failure", "skipped"];

/// What became of a run, as `result` says it in `finally`.
pub const RUN_RESULTS: [&str; 3] = ["success", "failure", "cancelled"];

/// `vars:` of a file serve rules of different events, so they read no event.
pub fn of_file() -> Scope {
    let mut scope = Scope::default();
    scope.names.insert("delivery".to_owned(), Type::Object(shapes::object(DELIVERY)));
    scope
}

impl Checker<'_> {
    /// The contexts of a rule with these triggers, before any step.
    /// `rule` is its text: only what it can name of GitHub's payload gets a type.
    pub fn scope(&self, heard: &[Heard], vars: &BTreeMap<String, Type>, rule: &str) -> Scope {
        let mut scope = of_file();
        let events = events(heard, &Words::of(rule)).unwrap_or_default();
        scope.names.insert("event".to_owned(), common(&events));
        if events.len() > 1 {
            scope.events = events.into();
        }
        let mut names = |name: &str, kind: Type| scope.names.insert(name.to_owned(), kind);
        // While an event is unknown, nothing is known of its contexts: no faults follow from that one.
        let unknown = heard.iter().any(|heard| heard.spec.is_none());
        let specs = || heard.iter().filter_map(|heard| heard.spec);
        if unknown || specs().all(|spec| spec.github) {
            let repository = Type::Object(shapes::object(REPOSITORY));
            if unknown {
                names("repo", Type::Any);
            } else if specs().all(|spec| registry::repository_of(spec) == Presence::Always) {
                names("repo", repository);
            } else if specs().all(|spec| registry::repository_of(spec) != Presence::Never) {
                names("repo", repository.optional());
            }
            let actor = Type::Object(shapes::object(ACTOR));
            let named = specs().all(registry::names_actor);
            names(
                "actor",
                if unknown {
                    Type::Any
                } else if named {
                    actor
                } else {
                    actor.optional()
                },
            );
        }
        names("vars", Type::Object(vars.clone()));
        if self.ground.repository.is_none() {
            names("secrets", self.secrets());
        }
        scope
    }

    fn secrets(&self) -> Type {
        match self.ground.offer {
            Some(offer) => Type::Object(offer.secrets.iter().map(|name| (name.clone(), Type::Secret)).collect()),
            None => Type::Map(Box::new(Type::Secret)),
        }
    }
}

/// The `event` context of each trigger; nothing is known while one of them is unknown.
fn events(heard: &[Heard], words: &Words<'_>) -> Option<Vec<(&'static str, Type)>> {
    let one = |one: &Heard| {
        let spec = one.spec?;
        let mut fields = fields(spec, one);
        if words.has("payload")
            && let Some(kind) = registry::payload(spec.name, Some(words))
        {
            fields.insert("payload".to_owned(), kind);
        }
        Some((spec.name, Type::Object(fields)))
    };
    heard.iter().map(one).collect()
}

/// What can be read whichever of the triggers it was.
fn common(events: &[(&'static str, Type)]) -> Type {
    let types = events.iter().map(|(_, event)| event.clone());
    types.reduce(|left, right| left.common(&right).unwrap_or(Type::Any)).unwrap_or(Type::Any)
}

fn fields(spec: &EventSpec, heard: &Heard) -> BTreeMap<String, Type> {
    let mut fields = shapes::object(spec.fields);
    for certain in spec.certain {
        if heard.only_words.get(certain.filter).is_some_and(|word| word == certain.word)
            && let Some(Type::Optional(inner)) = fields.get(certain.field).cloned()
        {
            fields.insert(certain.field.to_owned(), *inner);
        }
    }
    if let Some(key) = spec.declares.key() {
        let declared = heard.declared.clone().unwrap_or(match spec.declares {
            registry::Declares::Body => Type::Any,
            // The words as they are.
            registry::Declares::Command => Type::List(Box::new(Type::Text)),
            _ => Type::Map(Box::new(Type::Any)),
        });
        fields.insert(key.to_owned(), declared);
    }
    fields
}

/// How sure it is that a step's outputs are there.
#[derive(Clone, Copy, PartialEq)]
pub enum Sure {
    /// It ran and succeeded, or we would not be here.
    Yes,
    /// It may have been skipped, or failed, or not been reached.
    No,
}

/// Adds a step that later ones can look at.
pub fn add_step(scope: &mut Scope, step: &Step, outputs: Type, sure: Sure) {
    let Some(id) = &step.id else { return };
    let certain = sure == Sure::Yes && step.condition.is_none() && !step.continue_on_error;
    let outputs = if certain { outputs } else { Type::Optional(Box::new(outputs)) };
    add(scope, id, outputs);
}

/// Adds a step whose own faults keep it from being known well.
pub fn add_unknown_step(scope: &mut Scope, id: &str) {
    add(scope, id, Type::Any);
}

fn add(scope: &mut Scope, id: &str, outputs: Type) {
    let result = Type::Enum(STEP_RESULTS.map(str::to_owned).to_vec());
    let step = Type::Object(BTreeMap::from([("outputs".to_owned(), outputs), ("result".to_owned(), result)]));
    match scope.names.get_mut("steps") {
        Some(Type::Object(steps)) => {
            steps.insert(id.to_owned(), step);
        }
        _ => {
            scope.names.insert("steps".to_owned(), Type::Object(BTreeMap::from([(id.to_owned(), step)])));
        }
    }
}

/// The contexts where it is not known how far the steps came: no output is certain.
pub fn doubtful(scope: &Scope) -> Scope {
    let mut scope = scope.clone();
    if let Some(Type::Object(steps)) = scope.names.get_mut("steps") {
        for step in steps.values_mut() {
            if let Type::Object(parts) = step
                && let Some(outputs) = parts.get_mut("outputs")
                && !matches!(outputs, Type::Optional(_) | Type::Any)
            {
                *outputs = Type::Optional(Box::new(outputs.clone()));
            }
        }
    }
    scope
}

/// The contexts of `on-failure`.
pub fn on_failure(scope: &Scope) -> Scope {
    let mut scope = doubtful(scope);
    scope.names.insert("failure".to_owned(), Type::Object(shapes::object(FAILURE)));
    scope
}

/// The contexts of `finally`.
pub fn finally(scope: &Scope) -> Scope {
    let mut scope = doubtful(scope);
    scope.names.insert("result".to_owned(), Type::Enum(RUN_RESULTS.map(str::to_owned).to_vec()));
    scope
}

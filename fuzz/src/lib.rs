//! What fuzzing calls: bytes in, and what must hold for whatever they are. `make fuzz` runs it for minutes under libFuzzer,
//! `tests/it/fuzz.rs` includes this very file and runs it over the corpus and a few seconds of mutations.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use declic::rules::check::{Ground, check};
use declic::rules::diagnostic::{Source, render};
use declic::rules::expr::{Environment, EvaluationError, Expression, Scope};
use declic::rules::glob::{GlobSet, Subject};
use declic::rules::template::Template;
use declic::rules::testing::{Happening, sample};
use declic::rules::types::Type;
use declic::rules::yaml::{Content, Limits, Node, read};
use declic::rules::{registry, shapes};
use serde_json::Value;

mod requests;

pub use requests::{accepts, form, signature, token};

/// The YAML reader, and the checker behind it: never a panic, spans that lie in the text, faults that can be shown.
pub fn yaml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for limits in [Limits::OPERATOR, Limits::REPOSITORY] {
        let (tree, faults) = read("rules.yaml", text, limits);
        assert!(tree.is_some() || !faults.is_empty(), "nothing was read, and nothing was said");
        if let Some(tree) = tree {
            in_place(&tree, text);
            assert!(serde_json::to_string(&tree.to_json()).is_ok());
        }
    }
    let checked = check("rules.yaml", text, &Ground::default());
    assert!(checked.rules.len() <= checked.names.len());
    let shown = render(&checked.diagnostics, &[Source { path: "rules.yaml", text }], false);
    assert_eq!(shown.is_empty(), checked.diagnostics.is_empty());
    for fault in &checked.diagnostics {
        assert!(text.get(fault.span.clone()).is_some(), "{fault:?} lies outside of the text");
    }
}

fn in_place(node: &Node, text: &str) {
    assert!(text.get(node.span.clone()).is_some(), "{:?} of {node:?}", node.span);
    match &node.content {
        Content::Scalar(_) => {}
        Content::List(items) => items.iter().for_each(|item| in_place(item, text)),
        Content::Mapping(entries) => {
            for entry in entries {
                assert!(text.get(entry.span.clone()).is_some());
                in_place(&entry.value, text);
            }
        }
    }
}

/// The expression parser, checker and evaluator: what compiles has a canonical form that means the same, gives a value of its
/// type or an error, and explains itself as it decides.
pub fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (scope, environment) = world();
    match Expression::compile(text, scope) {
        Err(faults) => {
            assert!(!faults.is_empty() && faults.iter().all(|fault| text.get(fault.span.clone()).is_some()), "{faults:?}")
        }
        Ok(compiled) => {
            let again = Expression::compile(&compiled.canonical(), scope).unwrap_or_else(|faults| panic!("{faults:?}"));
            assert_eq!(again.canonical(), compiled.canonical());
            let value = compiled.evaluate(environment);
            // The canonical form has other spaces and parentheses, so faults lie elsewhere in it.
            let message = |error: &EvaluationError| error.message.clone();
            assert_eq!(value.as_ref().map_err(message), again.evaluate(environment).as_ref().map_err(message));
            if let Ok(value) = value {
                assert!(value.is_null() || compiled.result().fits(&value).is_ok(), "{value} is no {:?}", compiled.result());
            }
        }
    }
    if let Ok(condition) = Expression::compile_condition(text, scope) {
        match (condition.holds(environment), condition.explain(environment)) {
            (Ok(holds), Ok(reason)) => assert_eq!(holds, reason.holds),
            (Err(one), Err(other)) => assert_eq!(one.message, other.message),
            (one, other) => panic!("{one:?}, explained as {other:?}"),
        }
    }
}

/// The glob matcher: patterns a line until an empty one, then inputs. What is excluded last does not match, and a pattern without
/// special characters matches itself and nothing else.
pub fn glob(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (patterns, inputs) = text.split_once("\n\n").unwrap_or((text, ""));
    let patterns: Vec<String> = patterns.lines().map(str::to_owned).collect();
    for subject in [Subject::Branch, Subject::Tag, Subject::Path, Subject::Name] {
        let set = match GlobSet::compile(&patterns, subject) {
            Ok(set) => set,
            Err(faults) => {
                assert!(!faults.is_empty());
                continue;
            }
        };
        for input in inputs.lines() {
            let (holds, by) = set.decide(input);
            assert!(!holds || by.is_some_and(|pattern| !pattern.starts_with('!')), "{input:?} by {by:?}");
        }
        for pattern in &patterns {
            let plain = pattern.chars().all(|found| found.is_alphanumeric() || "-_/. ".contains(found));
            if plain && let Ok(alone) = GlobSet::compile(std::slice::from_ref(pattern), subject) {
                assert!(alone.decide(pattern).0, "{pattern:?} is not itself");
                assert!(
                    inputs.lines().all(|input| !alone.decide(input).0 || input == pattern),
                    "{pattern:?} matches more than itself"
                );
            }
        }
    }
}

/// Templates: what compiles for a position gives a value that fits it, or an error.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (scope, environment) = world();
    for expected in [Type::String, Type::Int, Type::Any, Type::Text.optional()] {
        match Template::scalar(text, &expected, scope) {
            Err(faults) => assert!(!faults.is_empty()),
            Ok(template) => {
                if let Ok(value) = template.render(environment) {
                    assert!(expected.fits(&value).is_ok(), "{value} for {expected:?}");
                }
            }
        }
    }
}

/// The contexts of a push, as types and as values.
fn world() -> &'static (Scope, Environment) {
    static WORLD: LazyLock<(Scope, Environment)> = LazyLock::new(made_world);
    &WORLD
}

fn made_world() -> (Scope, Environment) {
    let happening = Happening { event: "github.push".to_owned(), ..Happening::default() };
    let payload = sample::payload(&happening);
    let event = sample::event(&happening, "github", None, payload.as_ref()).expect("the registry has this event");
    let spec = registry::event("github.push").expect("the registry has this event");
    let mut scope = Scope::default();
    let mut environment = Environment { names: BTreeMap::new() };
    let mut add = |name: &str, kind: Type, value: Value| {
        scope.names.insert(name.to_owned(), kind);
        environment.names.insert(name.to_owned(), Arc::new(value));
    };
    let mut fields = shapes::object(spec.fields);
    fields.extend(registry::payload("github.push", None).map(|kind| ("payload".to_owned(), kind)));
    add("event", Type::Object(fields), event.event);
    add("repo", Type::Object(shapes::object(registry::REPOSITORY)), event.repo);
    add("actor", Type::Object(shapes::object(registry::ACTOR)), event.actor);
    add("vars", Type::Map(Box::new(Type::Any)), serde_json::json!({ "list": [1, "a", null, { "x": 1.5 }], "text": "Ä\u{0}" }));
    (scope, environment)
}

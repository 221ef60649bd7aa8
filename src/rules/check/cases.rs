//! `tests:` of a file, and delivery files for `explain`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Checked, Checker, keys as known};
use crate::rules::diagnostic::{Diagnostic, Faults};
use crate::rules::registry::{self, ACTOR, EventSpec, REPOSITORY};
use crate::rules::shapes;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::testing::{Case, Expect, ExpectedCall, Given, Happening, is_pattern, pattern};
use crate::rules::types::Type;
use crate::rules::values::{Positions, keys, literal, not_a, value};
use crate::rules::yaml::{self, Entry, Limits, Node, Scalar};

/// Rules and steps of the file, right or wrong: what tests may name.
struct Named<'a> {
    rules: Vec<&'a str>,
    steps: BTreeMap<&'a str, &'a str>,
}

impl<'a> Named<'a> {
    fn of(rules: Option<&'a Node>) -> Self {
        let mut named = Self { rules: Vec::new(), steps: BTreeMap::new() };
        for rule in rules.and_then(Node::entries).unwrap_or(&[]) {
            named.rules.push(&rule.key);
            for block in ["steps", "on-failure", "finally"] {
                let steps = rule.value.get(block).and_then(|entry| entry.value.items()).unwrap_or(&[]);
                for step in steps {
                    let text =
                        |key: &str| step.get(key).and_then(|entry| entry.value.scalar()).map(|scalar| scalar.text.as_str());
                    if let Some(id) = text("id") {
                        named.steps.entry(id).or_insert(text("uses").unwrap_or(""));
                    }
                }
            }
        }
        named
    }
}

impl Checker<'_> {
    /// Every test of the file.
    pub fn cases(&mut self, entry: &Entry, rules: Option<&Node>, checked: &mut Checked) {
        let Some(items) = entry.value.items() else {
            not_a(&mut self.faults, &entry.value.span, "`tests`", "a list", entry.value.kind());
            return;
        };
        checked.case_count = items.len();
        let named = Named::of(rules);
        for item in items {
            let before = self.faults.errors();
            let place = self.place(item.span.start);
            let case = case(&mut self.faults, item, &named, place);
            if self.faults.errors() == before {
                checked.cases.extend(case);
            }
        }
    }
}

/// A delivery file for `explain`: what a test has, without name and expectation. `event` is the kind where the file names none.
pub fn happening(path: &str, text: &str, event: &str) -> (Option<Happening>, Vec<Diagnostic>) {
    let (tree, unreadable) = yaml::read(path, text, Limits::OPERATOR);
    let mut faults = Faults::new(path);
    faults.extend(unreadable);
    let happening = tree.and_then(|tree| {
        keys(&mut faults, &tree, "a delivery file", &["event", "with", "actor", "repo", "steps"], |_| None);
        let named = Named { rules: Vec::new(), steps: BTreeMap::new() };
        self::read(&mut faults, &tree, &named, Some(event), true)
    });
    let whole = faults.errors() == 0;
    (happening.filter(|_| whole), faults.finish())
}

fn case(faults: &mut Faults, node: &Node, named: &Named<'_>, place: String) -> Option<Case> {
    let entries = keys(faults, node, "a test", known::TEST, |_| None);
    let find = |key: &str| entries.iter().find(|entry| entry.key == key);
    let name = find("name").and_then(|entry| entry.value.scalar()).map(|scalar| scalar.text.clone()).unwrap_or_default();
    if name.is_empty() {
        faults.error("missing", node.span.clone(), "a test needs `name`", Some("say what must happen".to_owned()));
    }
    let happening = read(faults, node, named, None, false);
    let Some(expectation) = find("expect") else {
        faults.error("missing", node.span.clone(), "a test needs `expect`", Some("expect: { matched: [rule] }".to_owned()));
        return None;
    };
    let expect = expect(faults, &expectation.value, named);
    Some(Case { name, place, happening: happening?, expect })
}

fn read(faults: &mut Faults, node: &Node, named: &Named<'_>, event: Option<&str>, any_step: bool) -> Option<Happening> {
    let written =
        node.get("event").and_then(|entry| entry.value.scalar().map(|scalar| (scalar.text.as_str(), entry.value.span.clone())));
    let (name, span) = match (written, event) {
        (Some(written), _) => written,
        (None, Some(event)) => (event, node.span.clone()),
        (None, None) => {
            faults.error("missing", node.span.clone(), "a test needs `event`", Some("event: github.push".to_owned()));
            return None;
        }
    };
    let Some(spec) = registry::event(name) else {
        let help = did_you_mean(name, registry::events().map(|event| event.name));
        faults.error("unknown-event", span, format!("there is no event `{name}`"), help);
        return None;
    };
    let context = |faults: &mut Faults, key: &str, kind: &Type| match node.get(key) {
        Some(entry) => given(faults, &entry.value, kind, key),
        None => Value::Null,
    };
    let with = context(faults, "with", &event_type(spec, node));
    let actor = context(faults, "actor", &partly(Type::Object(shapes::object(ACTOR))));
    let repo = context(faults, "repo", &partly(Type::Object(shapes::object(REPOSITORY))));
    let steps = node.get("steps").map(|entry| steps(faults, &entry.value, named, any_step)).unwrap_or_default();
    Some(Happening { event: spec.name.to_owned(), with, actor, repo, steps, whole: false })
}

/// The fields of an event, any of which a test may leave out. Only a test that gives a payload pays for its large type.
fn event_type(spec: &EventSpec, test: &Node) -> Type {
    let mut fields = shapes::object(spec.fields);
    let given = test.get("with").is_some_and(|with| with.value.get("payload").is_some());
    if given && let Some(kind) = registry::payload(spec.name, None) {
        fields.insert("payload".to_owned(), kind);
    }
    if let Some(key) = spec.declares.key() {
        fields.insert(key.to_owned(), Type::Any);
    }
    partly(Type::Object(fields))
}

/// The same type with every part optional.
fn partly(kind: Type) -> Type {
    match kind {
        Type::Object(fields) => Type::Object(fields.into_iter().map(|(name, kind)| (name, partly(kind).optional())).collect()),
        Type::Optional(inner) => partly(*inner).optional(),
        Type::List(inner) => Type::List(Box::new(partly(*inner))),
        Type::Map(inner) => Type::Map(Box::new(partly(*inner))),
        other => other,
    }
}

/// A value of a test, of that type as far as it is known.
fn given(faults: &mut Faults, node: &Node, kind: &Type, name: &str) -> Value {
    match value(&mut Plainly { faults, expectation: false }, node, kind, name) {
        Some(Template::Literal(value)) => value,
        _ => Value::Null,
    }
}

fn steps(faults: &mut Faults, node: &Node, named: &Named<'_>, any: bool) -> BTreeMap<String, Given> {
    let Some(entries) = node.entries() else {
        not_a(faults, &node.span, "`steps`", "a mapping of step ids", node.kind());
        return BTreeMap::new();
    };
    let mut steps = BTreeMap::new();
    for entry in entries {
        let uses = named.steps.get(entry.key.as_str()).copied();
        if uses.is_none() && !any {
            let help = did_you_mean(&entry.key, named.steps.keys().copied());
            faults.error("name", entry.span.clone(), format!("no step of this file has the id `{}`", entry.key), help);
        }
        if let Some(given) = step(faults, entry, uses) {
            steps.insert(entry.key.clone(), given);
        }
    }
    steps
}

fn step(faults: &mut Faults, entry: &Entry, uses: Option<&str>) -> Option<Given> {
    let entries = keys(faults, &entry.value, "a step of a test", &["outputs", "fail", "code", "rolled_back"], |key| {
        matches!(key, "failure" | "error").then_some("write `fail: \"…\"`")
    });
    let find = |key: &str| entries.iter().find(|entry| entry.key == key);
    let text = |key: &str| find(key).and_then(|entry| entry.value.scalar()).map(|scalar| scalar.text.clone());
    match (find("fail"), find("outputs")) {
        (Some(_), None) => Some(Given::Failure {
            message: text("fail").unwrap_or_default(),
            code: text("code").unwrap_or_else(|| "failed".to_owned()),
            rolled_back: text("rolled_back").is_some_and(|word| word == "true"),
        }),
        (None, Some(outputs)) => {
            let kind = uses.and_then(registry::action).map_or(Type::Any, |spec| {
                let mut fields = shapes::object(spec.outputs);
                if let Some((_, output)) = registry::declared_output(spec.name) {
                    fields.insert(output.to_owned(), Type::Any);
                }
                partly(Type::Object(fields))
            });
            Some(Given::Outputs(given(faults, &outputs.value, &kind, "outputs")))
        }
        _ => {
            let message = format!("say what `{}` gives", entry.key);
            faults.error("missing", entry.span.clone(), message, Some("{ outputs: { … } } or { fail: \"…\" }".to_owned()));
            None
        }
    }
}

fn expect(faults: &mut Faults, node: &Node, named: &Named<'_>) -> Expect {
    let entries = keys(faults, node, "`expect`", known::EXPECT, |_| None);
    let find = |key: &str| entries.iter().find(|entry| entry.key == key);
    let mut rules = |key: &str| {
        find(key).map(|entry| {
            let names = texts(faults, &entry.value, key);
            for (node, name) in &names {
                if !named.rules.contains(&name.as_str()) {
                    let help = did_you_mean(name, named.rules.iter().copied());
                    faults.error("name", node.span.clone(), format!("this file has no rule `{name}`"), help);
                }
            }
            names.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        })
    };
    let (matched, denied) = (rules("matched"), rules("denied"));
    let not_called = find("not-called").map(|entry| texts(faults, &entry.value, "not-called")).unwrap_or_default();
    for (node, name) in &not_called {
        action(faults, node, name);
    }
    let calls = find("calls").map(|entry| calls(faults, &entry.value)).unwrap_or_default();
    let reply = find("reply").map(|entry| expected(faults, &entry.value, &Type::Any, "reply"));
    Expect { matched, denied, calls, not_called: not_called.into_iter().map(|(_, name)| name).collect(), reply }
}

fn texts<'n>(faults: &mut Faults, node: &'n Node, name: &str) -> Vec<(&'n Node, String)> {
    let Some(items) = node.items() else {
        not_a(faults, &node.span, &format!("`{name}`"), "a list", node.kind());
        return Vec::new();
    };
    items.iter().filter_map(|item| item.scalar().map(|scalar| (item, scalar.text.clone()))).collect()
}

fn action<'s>(faults: &mut Faults, node: &Node, name: &'s str) -> Option<&'s str> {
    if registry::action(name).is_none() {
        let help = did_you_mean(name, registry::actions().map(|spec| spec.name));
        faults.error("unknown-action", node.span.clone(), format!("there is no action `{name}`"), help);
        return None;
    }
    Some(name)
}

fn calls(faults: &mut Faults, node: &Node) -> Vec<ExpectedCall> {
    let Some(items) = node.items() else {
        not_a(faults, &node.span, "`calls`", "a list", node.kind());
        return Vec::new();
    };
    let mut calls = Vec::new();
    for item in items {
        keys(faults, item, "a call", &["uses", "with"], |_| None);
        let Some(uses) = item.get("uses") else {
            faults.error("missing", item.span.clone(), "a call needs `uses`", None);
            continue;
        };
        let name = uses.value.scalar().map_or("", |scalar| scalar.text.as_str());
        let Some(name) = action(faults, &uses.value, name) else { continue };
        let kind = registry::action(name).map_or(Type::Any, |spec| partly(Type::Object(shapes::object(spec.parameters))));
        let with = item.get("with").map_or(Value::Null, |entry| expected(faults, &entry.value, &kind, "with"));
        calls.push(ExpectedCall { uses: name.to_owned(), with });
    }
    calls
}

/// A value to compare with; texts `/…/` may stand for anything.
fn expected(faults: &mut Faults, node: &Node, kind: &Type, name: &str) -> Value {
    match value(&mut Plainly { faults, expectation: true }, node, kind, name) {
        Some(Template::Literal(value)) => value,
        _ => Value::Null,
    }
}

/// Values of tests: no `${{ }}`, names and secrets are texts.
struct Plainly<'a> {
    faults: &'a mut Faults,
    expectation: bool,
}

impl Positions for Plainly<'_> {
    fn faults(&mut self) -> &mut Faults {
        self.faults
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, expected: &Type, name: &str) -> Option<Template> {
        if self.expectation && is_pattern(&scalar.text) {
            if let Err(message) = pattern(&scalar.text) {
                self.faults.error("pattern", node.span.clone(), message, None);
            }
            return Some(Template::literal(scalar.text.as_str().into()));
        }
        literal(self.faults, node, scalar, expected, name).map(Template::literal)
    }

    fn stands_for_all(&self, scalar: &Scalar) -> bool {
        self.expectation && is_pattern(&scalar.text)
    }
}

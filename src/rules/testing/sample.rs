//! Events and outputs made from the registry: every field has a value of its type.

use serde_json::{Map, Value, json};

use super::Happening;
use crate::event::Event;
use crate::matching;
use crate::rules::github_payloads::Presence;
use crate::rules::registry::{self, ACTOR, Declares, EventSpec, REPOSITORY};
use crate::rules::shapes;
use crate::rules::types::{Type, kind};

/// When everything in a sample happens.
const MOMENT: &str = "2026-01-02T03:04:05.000Z";

/// An address that nobody can have.
const ADDRESS: &str = "https://example.com/sample";

/// Values that are likelier than the first one of their type.
const LIKELY: &[(&str, &str)] = &[
    ("sha", "0123456789abcdef0123456789abcdef01234567"),
    ("before", "89abcdef0123456789abcdef0123456789abcdef"),
    ("digest", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("default_branch", "main"),
    ("branch", "main"),
    ("full_name", "acme/web"),
    ("owner", "acme"),
    ("repo", "acme/web"),
    ("login", "mona"),
    ("author", "mona"),
    ("language", "en"),
    ("permission", "write"),
    ("state", "open"),
    ("revision", "service-00002"),
    ("previous_revision", "service-00001"),
];

/// Some value of a type; `name` helps to make it a likely one. Optional values are missing.
pub fn of_type(kind: &Type, name: &str) -> Value {
    match kind {
        Type::Any => json!({}),
        Type::Null | Type::Optional(_) => Value::Null,
        Type::Bool => (name == "files_complete").into(),
        Type::Int => 1.into(),
        Type::Double => json!(1.0),
        Type::Enum(words) => likely(name)
            .filter(|word| words.iter().any(|known| known == word))
            .map_or_else(|| words.first().cloned().into(), Value::from),
        Type::Duration => "1s".into(),
        Type::Timestamp => MOMENT.into(),
        Type::String | Type::Text | Type::Secret | Type::Target | Type::Connection | Type::Escaped(_) => text(name),
        Type::Either(_, plain) => of_type(plain, name),
        Type::List(_) => json!([]),
        Type::Map(_) => json!({}),
        Type::Object(fields) => Value::Object(fields.iter().map(|(name, kind)| (name.clone(), of_type(kind, name))).collect()),
    }
}

fn text(name: &str) -> Value {
    if name.ends_with("url") {
        return ADDRESS.into();
    }
    likely(name).unwrap_or(name).into()
}

fn likely(name: &str) -> Option<&'static str> {
    LIKELY.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// A payload of the event with a value for everything that GitHub promises; `None` where nobody described it, or a whole one is given.
pub fn payload(happening: &Happening) -> Option<Value> {
    registry::payload(&happening.event, None).filter(|_| !happening.whole).map(|kind| of_type(&kind, ""))
}

/// The event of a test, as if it came from `source`. `declared` is what a rule says of its content, `payload` what is made up for it.
pub fn event(happening: &Happening, source: &str, declared: Option<&Type>, payload: Option<&Value>) -> Option<Event> {
    let spec = registry::event(&happening.event)?;
    let mut fields = of_type(&Type::Object(shapes::object(spec.fields)), "");
    if let Some(key) = spec.declares.key().filter(|key| happening.with.get(key).is_none()) {
        // Arguments that are left out get their defaults, so a command has none unless the test gives some.
        let sample = match (spec.declares, declared) {
            (Declares::Command, None) => json!([]),
            (Declares::Command, Some(_)) | (_, None) => json!({}),
            (_, Some(declared)) => of_type(declared, key),
        };
        fields[key] = sample;
    }
    if happening.with.is_object() {
        merge(&mut fields, happening.with.clone());
    }
    complete(spec, &mut fields, &happening.with);
    if let Some(made_up) = payload {
        let mut whole = made_up.clone();
        agree(&mut whole, &fields);
        for (name, context) in [("repository", &happening.repo), ("sender", &happening.actor)] {
            agree(whole.get_mut(name).unwrap_or(&mut Value::Null), context);
        }
        if let Some(given) = happening.with.get("payload") {
            merge(&mut whole, given.clone());
        }
        fields["payload"] = whole;
    }
    let named = registry::repository_of(spec) != Presence::Never;
    let context = |list, there: bool, given: &Value| {
        let mut context = if there { of_type(&Type::Object(shapes::object(list)), "") } else { Value::Null };
        if there && given.is_object() {
            merge(&mut context, given.clone());
        }
        context
    };
    let mut actor = context(ACTOR, spec.github, &happening.actor);
    // Whoever acts in a sample is in every team and group, unless the test says in which.
    for (person, groups) in [(Some(&mut actor), "teams"), (fields.get_mut("user"), "groups")] {
        if let Some(person) = person.and_then(Value::as_object_mut) {
            person.entry(groups).or_insert_with(|| json!([matching::EVERY_GROUP]));
        }
    }
    Some(Event {
        kind: spec.name.to_owned(),
        source: source.to_owned(),
        event: fields,
        repo: repository(context(REPOSITORY, named, &happening.repo), &happening.repo),
        actor,
        delivery: json!({ "id": "sample", "source": source, "received_at": MOMENT, "replay": false }),
    })
}

/// Fields that follow from others, where the test does not say otherwise.
fn complete(spec: &EventSpec, fields: &mut Value, with: &Value) {
    let given = |key: &str| with.get(key).is_some();
    if spec.name == "github.push" && !given("ref") {
        let name = |key: &str| with.get(key).and_then(Value::as_str);
        let full = match (name("branch"), name("tag")) {
            (Some(branch), _) => format!("refs/heads/{branch}"),
            (None, Some(tag)) => format!("refs/tags/{tag}"),
            (None, None) => "refs/heads/main".to_owned(),
        };
        fields["ref"] = full.into();
    }
    for certain in spec.certain {
        if !given(certain.field)
            && fields.get(certain.filter).and_then(Value::as_str) == Some(certain.word)
            && let Some(Type::Optional(kind)) = shapes::object(spec.fields).remove(certain.field)
        {
            fields[certain.field] = of_type(&kind, certain.field);
        }
    }
    if registry::also(spec.name).is_some() && !given("action") {
        fields["action"] = "created".into();
    }
    if spec.declares == Declares::Command
        && let Some(command) = fields.get("command").and_then(Value::as_str)
    {
        fields["command"] = command.strip_prefix('/').unwrap_or(command).into();
    }
}

/// `full_name` decides `owner` and `name`.
fn repository(mut repo: Value, given: &Value) -> Value {
    let full = repo.get("full_name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some((owner, name)) = full.split_once('/') {
        for (key, value) in [("owner", owner), ("name", name)] {
            if given.get(key).is_none() {
                repo[key] = value.into();
            }
        }
    }
    repo
}

/// What a payload says under the same name as the event, it says as the event does.
fn agree(payload: &mut Value, context: &Value) {
    let (Some(payload), Some(context)) = (payload.as_object_mut(), context.as_object()) else { return };
    for (name, value) in context {
        let plain = value.is_string() || value.is_number() || value.is_boolean();
        if let Some(made_up) = payload.get_mut(name).filter(|made_up| plain && kind(made_up) == kind(value)) {
            *made_up = value.clone();
        }
    }
}

/// Puts `over` on top of `base`: objects field by field, everything else whole.
pub fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// The outputs of a step: a value of its type for each, and what the test gives on top.
pub fn outputs(kind: &Type, given: &Value) -> Value {
    let mut outputs = of_type(kind, "");
    if outputs.is_null() {
        outputs = Value::Object(Map::new());
    }
    if given.is_object() {
        merge(&mut outputs, given.clone());
    }
    outputs
}

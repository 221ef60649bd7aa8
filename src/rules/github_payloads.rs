//! The types of GitHub's webhook payloads, from GitHub's own description of them.
//!
//! `github_payloads.json` is written by `scripts/generate-github-payloads`, which also says what its notation means.
//! It is read once, and a payload's type is built when a rule first asks for it.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::types::Type;

/// The generated file.
static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
    serde_json::from_str(include_str!("github_payloads.json"))
        .expect("the generated file has the form of this module; a test reads it")
});

/// Deeper than any payload of GitHub is; a type that contains itself ends here as `any`.
const DEEPEST: usize = 40;

#[derive(Deserialize)]
struct Description {
    types: BTreeMap<String, Value>,
    events: BTreeMap<String, EventDescription>,
}

#[derive(Deserialize)]
struct EventDescription {
    actions: Vec<String>,
    payload: Value,
}

/// Every event type of GitHub's webhooks, sorted: `branch_protection_rule`, …
pub fn event_types() -> impl Iterator<Item = &'static str> {
    DESCRIPTION.events.keys().map(String::as_str)
}

/// The values of `action` that an event type can have; none for types without actions.
pub fn actions(event_type: &str) -> &'static [String] {
    DESCRIPTION.events.get(event_type).map_or(&[], |event| &event.actions)
}

/// The names that can be meant by a text: a payload's type is built only as far as these lead.
pub struct Words<'a>(HashSet<&'a str>);

impl<'a> Words<'a> {
    /// Every word of the text.
    pub fn of(text: &'a str) -> Self {
        let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        Self(words.filter(|word| !word.is_empty()).collect())
    }

    /// Is it one of them?
    pub fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }
}

/// The type of the payload of an event type (`push`, not `github.push`). With `words`, everything that none of them names is `any`: some
/// payloads have thousands of fields, and a rule reads a few.
pub fn payload_type(event_type: &str, words: Option<&Words<'_>>) -> Option<Type> {
    DESCRIPTION.events.get(event_type).map(|event| Converter { words }.convert(&event.payload, DEEPEST))
}

/// Is a field at the top of a payload there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// In every payload of that type.
    Always,
    /// In some.
    Sometimes,
    /// In none.
    Never,
}

/// Does the payload of an event type have that field at its top?
pub fn presence(event_type: &str, field: &str) -> Presence {
    match DESCRIPTION.events.get(event_type).and_then(|event| event.payload.get(field)) {
        None => Presence::Never,
        Some(Value::Object(fields)) if fields.len() == 1 && fields.contains_key("?") => Presence::Sometimes,
        Some(_) => Presence::Always,
    }
}

struct Converter<'a> {
    words: Option<&'a Words<'a>>,
}

impl Converter<'_> {
    fn convert(&self, value: &Value, depth: usize) -> Type {
        let Some(depth) = depth.checked_sub(1) else { return Type::Any };
        match value {
            Value::String(name) => self.named(name, depth),
            Value::Array(items) => Type::List(Box::new(items.first().map_or(Type::Any, |item| self.convert(item, depth)))),
            Value::Object(fields) => self.object(fields, depth),
            _ => Type::Any,
        }
    }

    fn named(&self, name: &str, depth: usize) -> Type {
        match name {
            "text" => Type::Text,
            "string" => Type::String,
            "int" => Type::Int,
            "double" => Type::Double,
            "bool" => Type::Bool,
            "null" => Type::Null,
            _ => match name.strip_prefix('@').and_then(|name| DESCRIPTION.types.get(name)) {
                Some(value) => self.convert(value, depth),
                None => Type::Any,
            },
        }
    }

    fn object(&self, fields: &Map<String, Value>, depth: usize) -> Type {
        if fields.len() == 1 {
            if let Some(inner) = fields.get("?") {
                return Type::Optional(Box::new(self.convert(inner, depth)));
            }
            if let Some(inner) = fields.get("*") {
                return Type::Map(Box::new(self.convert(inner, depth)));
            }
            if let Some(Value::Array(words)) = fields.get("|") {
                return Type::Enum(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
            }
        }
        let named = |name: &str| self.words.is_none_or(|words| words.has(name));
        let field = |name: &str, value: &Value| if named(name) { self.convert(value, depth) } else { Type::Any };
        Type::Object(fields.iter().map(|(name, value)| (name.clone(), field(name, value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<'a>(value: &'a Type, path: &str) -> Option<&'a Type> {
        path.split('.').try_fold(value, |value, name| {
            let value = if let Type::Optional(inner) = value { inner } else { value };
            match value {
                Type::Object(fields) => fields.get(name),
                _ => None,
            }
        })
    }

    #[test]
    fn all_event_types_are_known() {
        assert_eq!(event_types().count(), 75);
        for event_type in event_types() {
            assert!(matches!(payload_type(event_type, None), Some(Type::Object(_))), "{event_type}");
        }
    }

    #[test]
    fn fields_have_the_types_that_github_describes() {
        let pull_request = payload_type("pull_request", None).expect("a known event");
        assert_eq!(field(&pull_request, "pull_request.head.sha"), Some(&Type::String));
        assert_eq!(field(&pull_request, "pull_request.title"), Some(&Type::Text));
        assert_eq!(field(&pull_request, "number"), Some(&Type::Int));
        assert_eq!(field(&pull_request, "pull_request.hed"), None);
        assert!(actions("pull_request").iter().any(|action| action == "opened"));
        assert!(actions("push").is_empty());
        let words = Words::of("event.payload.pull_request.head[\"sha\"] == 'x'");
        let few = payload_type("pull_request", Some(&words)).expect("a known event");
        assert_eq!(field(&few, "pull_request.head.sha"), Some(&Type::String));
        assert_eq!(field(&few, "pull_request.base"), Some(&Type::Any));
        assert_eq!(field(&few, "pull_request.hed"), None);
    }
}

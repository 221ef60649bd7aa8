//! Types of the rule language as schemas.

use declic_actions::action::Field;
use serde_json::{Map, Value, json};

use super::{closed, described};
use crate::rules::shapes;
use crate::rules::types::Type;

/// Where a value stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Position {
    /// In a rule: `${{ }}` can stand for it.
    Rule,
    /// In the settings: only plain values, and secrets are names.
    Settings,
}

/// Any scalar: a position of text takes the YAML as it is written.
pub(super) fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// One text or a list of them.
pub(super) fn texts() -> Value {
    json!({ "anyOf": [text(), { "type": "array", "minItems": 1, "items": text() }] })
}

/// One of these words or a list of them.
pub(super) fn words(words: &[String]) -> Value {
    json!({ "anyOf": [{ "enum": words }, { "type": "array", "minItems": 1, "items": { "enum": words } }] })
}

/// `30s`, `5m`.
pub(super) fn duration() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$", "examples": ["30s", "5m"] })
}

/// A mapping of these fields; those whose shape ends in `?` may be left out.
pub(super) fn fields(fields: &[Field], position: Position) -> Value {
    let required: Vec<&str> = fields.iter().filter(|field| !shapes::is_optional(field)).map(|field| field.name).collect();
    closed(properties(fields, position), &required)
}

/// The properties of these fields.
pub(super) fn properties(fields: &[Field], position: Position) -> Map<String, Value> {
    fields.iter().map(|one| (one.name.to_owned(), described(of(&shapes::of(one.shape), position), one.summary))).collect()
}

/// The values of a type.
pub(super) fn of(kind: &Type, position: Position) -> Value {
    match kind {
        Type::Any => json!({}),
        Type::Null => json!({ "type": "null" }),
        Type::Bool => computed(json!({ "type": "boolean" }), position),
        Type::Int => computed(json!({ "type": "integer" }), position),
        Type::Double => computed(json!({ "type": "number" }), position),
        Type::Enum(words) => computed(json!({ "enum": words }), position),
        Type::Duration => computed(duration(), position),
        Type::Secret if position == Position::Rule => json!({ "type": "string", "pattern": "^\\$\\{\\{" }),
        Type::Target | Type::Connection | Type::Secret => json!({ "type": "string" }),
        Type::String | Type::Text | Type::Timestamp | Type::Escaped(_) => text(),
        Type::List(inner) => computed(json!({ "type": "array", "items": of(inner, position) }), position),
        Type::Map(inner) => computed(json!({ "type": "object", "additionalProperties": of(inner, position) }), position),
        Type::Object(fields) => {
            let required: Vec<&str> = fields.iter().filter(|(_, kind)| !may_miss(kind)).map(|(name, _)| name.as_str()).collect();
            let properties = fields.iter().map(|(name, kind)| (name.clone(), of(kind, position))).collect();
            computed(closed(properties, &required), position)
        }
        Type::Either(structure, plain) => json!({ "anyOf": [of(plain, position), of(structure, position)] }),
        Type::Optional(inner) => or_nothing(of(inner, position)),
    }
}

fn may_miss(kind: &Type) -> bool {
    matches!(kind, Type::Optional(_) | Type::Any)
}

/// `${{ }}` can stand for any value of a rule.
fn computed(plain: Value, position: Position) -> Value {
    match position {
        Position::Settings => plain,
        Position::Rule => json!({ "anyOf": [plain, { "type": "string", "pattern": "\\$\\{\\{" }] }),
    }
}

/// A key may be written without a value where the value may be missing.
fn or_nothing(mut schema: Value) -> Value {
    if let Some(Value::Array(ways)) = schema.get_mut("anyOf") {
        ways.push(json!({ "type": "null" }));
        return schema;
    }
    if schema.get("enum").is_some() {
        return json!({ "anyOf": [schema, { "type": "null" }] });
    }
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(found) => *found = json!([found.take(), "null"]),
        None => {}
    }
    schema
}

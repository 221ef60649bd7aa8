//! A value of a file against the type of its position. The tree is walked here; what a scalar may hold is for the position to say:
//! templates in rule files, plain values and names of secrets in settings.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use crate::rules::diagnostic::Faults;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::types::{Escape, Type};
use crate::rules::yaml::{Content, Entry, Node, Plain, Scalar, duration};

/// Who decides what a scalar may hold.
pub trait Positions {
    /// Where faults go.
    fn faults(&mut self) -> &mut Faults;

    /// A scalar at a position of that type; `None` after a fault.
    fn scalar(&mut self, node: &Node, scalar: &Scalar, expected: &Type, name: &str) -> Option<Template>;

    /// Does this scalar stand for a whole list or object?
    fn stands_for_all(&self, scalar: &Scalar) -> bool;
}

/// Checks a value; `name` is the key it stands behind. `None` after a fault.
pub fn value(positions: &mut impl Positions, node: &Node, expected: &Type, name: &str) -> Option<Template> {
    let inner = match expected {
        Type::Optional(inner) => inner.as_ref(),
        other => other,
    };
    if let Some(scalar) = node.scalar() {
        if scalar.is_null() && !matches!(inner, Type::Any | Type::Null) {
            return nothing(positions, node, expected, name);
        }
        if let Type::Either(_, plain) = inner
            && !positions.stands_for_all(scalar)
        {
            return value(positions, node, plain, name);
        }
        if !is_structure(inner) || positions.stands_for_all(scalar) {
            return positions.scalar(node, scalar, expected, name);
        }
    }
    match (inner, &node.content) {
        (Type::Either(structure, _), Content::List(_) | Content::Mapping(_)) => value(positions, node, structure, name),
        (Type::List(item), Content::List(items)) => list(positions, items, |_| item.as_ref(), name),
        (Type::Any, Content::List(items)) => list(positions, items, |_| &Type::Any, name),
        (Type::Any, Content::Mapping(entries)) => map(positions, entries, &Type::Any),
        (Type::Map(value), Content::Mapping(entries)) => map(positions, entries, value),
        (Type::Object(fields), Content::Mapping(entries)) => object(positions, node, entries, fields, name),
        _ => {
            let message = format!("`{name}` must be {}, this is {}", described(inner), node.kind());
            let help = matches!(inner, Type::List(_)).then(|| "write a list: [a, b]".to_owned());
            positions.faults().error("type", node.span.clone(), message, help);
            if holds_secret(inner) {
                positions.faults().conceal(node.span.clone());
            }
            None
        }
    }
}

/// Is there a place for a secret in it? Then what stands there by mistake may be one.
pub fn holds_secret(expected: &Type) -> bool {
    match expected {
        Type::Secret => true,
        Type::Optional(inner) | Type::List(inner) | Type::Map(inner) => holds_secret(inner),
        Type::Object(fields) => fields.values().any(holds_secret),
        Type::Either(structure, plain) => holds_secret(structure) || holds_secret(plain),
        _ => false,
    }
}

fn is_structure(expected: &Type) -> bool {
    matches!(expected, Type::List(_) | Type::Object(_) | Type::Map(_))
}

fn nothing(positions: &mut impl Positions, node: &Node, expected: &Type, name: &str) -> Option<Template> {
    if expected.is_optional() {
        return Some(Template::literal(Value::Null));
    }
    let message = format!("`{name}` must be {}, this is nothing", described(expected));
    positions.faults().error("type", node.span.clone(), message, None);
    None
}

fn list<'t>(
    positions: &mut impl Positions,
    items: &[Node],
    expected: impl Fn(usize) -> &'t Type,
    name: &str,
) -> Option<Template> {
    let checked: Vec<_> = items.iter().enumerate().map(|(index, item)| value(positions, item, expected(index), name)).collect();
    Some(folded_list(checked.into_iter().collect::<Option<Vec<_>>>()?))
}

fn map(positions: &mut impl Positions, entries: &[Entry], expected: &Type) -> Option<Template> {
    let checked: Vec<_> = entries
        .iter()
        .map(|entry| value(positions, &entry.value, expected, &entry.key).map(|value| (entry.key.clone(), value)))
        .collect();
    Some(folded_object(checked.into_iter().collect::<Option<Vec<_>>>()?))
}

fn object(
    positions: &mut impl Positions,
    node: &Node,
    entries: &[Entry],
    fields: &BTreeMap<String, Type>,
    name: &str,
) -> Option<Template> {
    let mut checked = Vec::with_capacity(entries.len());
    let mut whole = true;
    for entry in entries {
        let Some(expected) = fields.get(&entry.key) else {
            let help = did_you_mean(&entry.key, fields.keys().map(String::as_str));
            unknown_key(positions.faults(), &format!("`{name}`"), entry, help);
            if fields.values().any(holds_secret) {
                positions.faults().conceal(entry.value.span.clone());
            }
            whole = false;
            continue;
        };
        match value(positions, &entry.value, expected, &entry.key) {
            Some(value) => checked.push((entry.key.clone(), value)),
            None => whole = false,
        }
    }
    for (key, expected) in fields {
        // A missing value is one of `any`.
        if !matches!(expected, Type::Optional(_) | Type::Any) && !entries.iter().any(|entry| entry.key == *key) {
            let message = format!("`{name}` needs `{key}`");
            positions.faults().error("missing", node.span.clone(), message, None);
            whole = false;
        }
    }
    whole.then(|| folded_object(checked))
}

/// A list of nothing but literals is one literal, so that rendering does not walk it.
pub fn folded_list(items: Vec<Template>) -> Template {
    match items.iter().map(literal_of).collect::<Option<Vec<_>>>() {
        Some(values) => Template::literal(Value::Array(values)),
        None => Template::List(items),
    }
}

/// The same for a mapping.
pub fn folded_object(fields: Vec<(String, Template)>) -> Template {
    let values: Option<serde_json::Map<String, Value>> =
        fields.iter().map(|(name, value)| literal_of(value).map(|value| (name.clone(), value))).collect();
    match values {
        Some(values) => Template::literal(Value::Object(values)),
        None => Template::Object(fields),
    }
}

fn literal_of(template: &Template) -> Option<Value> {
    match template {
        Template::Literal(value) => Some(value.clone()),
        _ => None,
    }
}

/// The value of a scalar without `${{ }}` at a position of that type.
pub fn literal(faults: &mut Faults, node: &Node, scalar: &Scalar, expected: &Type, name: &str) -> Option<Value> {
    let inner = match expected {
        Type::Optional(inner) => inner.as_ref(),
        other => other,
    };
    let found = match (inner, scalar.plain()) {
        (Type::Any, _) => {
            warn_of_number(faults, node, scalar);
            Some(scalar.to_json())
        }
        (Type::Null, Plain::Null) => Some(Value::Null),
        (Type::Bool, Plain::Bool(value)) => Some(value.into()),
        (Type::Int, Plain::Int(value)) => Some(value.into()),
        (Type::Double, Plain::Int(_) | Plain::Double(_)) => Some(scalar.to_json()),
        (Type::Duration, _) => duration(&scalar.text).map(|_| scalar.text.as_str().into()),
        (Type::Timestamp, _) => chrono::DateTime::parse_from_rfc3339(&scalar.text).ok().map(|_| scalar.text.as_str().into()),
        (Type::Enum(words), _) => words.contains(&scalar.text).then(|| scalar.text.as_str().into()),
        (Type::String | Type::Text | Type::Escaped(_) | Type::Secret | Type::Target | Type::Connection, _) => {
            Some(scalar.text.as_str().into())
        }
        _ => None,
    };
    if found.is_none() {
        let (message, help) = mistake(scalar, inner, name);
        faults.error("type", node.span.clone(), message, help);
    }
    found
}

fn mistake(scalar: &Scalar, expected: &Type, name: &str) -> (String, Option<String>) {
    if let Type::Enum(words) = expected {
        let help = did_you_mean(&scalar.text, words.iter().map(String::as_str));
        return (format!("`{name}` is {}, never `{}`", described(expected), scalar.text), help);
    }
    let message = format!("`{name}` must be {}, this is {}", described(expected), scalar.kind());
    let unquoted = Scalar { text: scalar.text.clone(), style: crate::rules::yaml::Style::Plain }.plain();
    let help = match (expected, scalar.text.to_ascii_lowercase().as_str(), unquoted) {
        (Type::Bool, "yes" | "on" | "y" | "true", _) => Some("write true".to_owned()),
        (Type::Bool, "no" | "off" | "n" | "false", _) => Some("write false".to_owned()),
        (Type::Duration, _, _) => Some("such as 30s, 5m, 2h".to_owned()),
        (Type::Timestamp, _, _) => Some("such as 2026-11-24T06:06:19Z".to_owned()),
        (Type::Int, _, Plain::Int(_)) | (Type::Double, _, Plain::Int(_) | Plain::Double(_)) => {
            Some("write the number without quotes".to_owned())
        }
        _ => None,
    };
    (message, help)
}

/// In untyped data `1.20` becomes 1.2 and `0123456e7` a large number: seldom meant.
fn warn_of_number(faults: &mut Faults, node: &Node, scalar: &Scalar) {
    if let Some(number) = scalar.changed_number() {
        let message = format!("`{}` becomes the number {number}", scalar.text);
        let help = format!("quote it to keep the text: \"{}\"", scalar.text);
        faults.warning("number-form", node.span.clone(), message, Some(help));
    }
}

/// A key that nobody knows.
pub fn unknown_key(faults: &mut Faults, owner: &str, entry: &Entry, help: Option<String>) {
    faults.error("unknown-key", entry.span.clone(), format!("{owner} has no `{}`", entry.key), help);
}

/// A type in words, with its article: `an int`.
pub fn described(expected: &Type) -> String {
    let words = match expected {
        Type::Any => "anything",
        Type::Null => "nothing",
        Type::Bool => "true or false",
        Type::Int => "an int",
        Type::Double => "a double",
        Type::String | Type::Text => "a string",
        Type::Enum(words) => return words.join(" or "),
        Type::Duration => "a duration",
        Type::Timestamp => "a timestamp",
        Type::Secret => "the name of a secret",
        Type::Target => "the name of a target",
        Type::Connection => "the name of a connection",
        Type::Escaped(Escape::UrlPath) => "a path",
        Type::Escaped(_) => "a text",
        Type::List(_) => "a list",
        Type::Object(_) | Type::Map(_) => "a mapping",
        Type::Either(structure, plain) => return format!("{} or {}", described(plain), described(structure)),
        Type::Optional(inner) => return described(inner),
    };
    words.to_owned()
}

/// The keys of a mapping against those that are known; `advice` may know better than a similar word. A node that is no mapping is a fault.
pub fn keys<'a>(
    faults: &mut Faults,
    node: &'a Node,
    owner: &str,
    known: &[&str],
    advice: impl Fn(&str) -> Option<&'static str>,
) -> &'a [Entry] {
    let Some(entries) = node.entries() else {
        not_a(faults, &node.span, owner, "a mapping", node.kind());
        return &[];
    };
    for entry in entries {
        if !known.contains(&entry.key.as_str()) {
            let help = advice(&entry.key).map(str::to_owned).or_else(|| did_you_mean(&entry.key, known.iter().copied()));
            unknown_key(faults, owner, entry, help);
        }
    }
    entries
}

/// Something is not what it must be.
pub fn not_a(faults: &mut Faults, span: &Range<usize>, owner: &str, expected: &str, found: &str) {
    faults.error("type", span.clone(), format!("{owner} must be {expected}, this is {found}"), None);
}

//! Shapes of the registry as types, parsed once.

use std::collections::BTreeMap;

use declic_actions::action::Field;

use crate::rules::types::{Escape, Type};

/// The object type of a list of fields; every field whose shape ends in `?` may be left out.
pub fn object(fields: &[Field]) -> BTreeMap<String, Type> {
    fields.iter().map(|field| (field.name.to_owned(), of(field.shape))).collect()
}

/// The type of a shape that is part of this program; a test parses every one of them.
pub fn of(shape: &str) -> Type {
    parse(shape.trim()).unwrap_or(Type::Any)
}

fn parse(shape: &str) -> Option<Type> {
    let shape = shape.trim();
    if let Some(inner) = shape.strip_suffix('?') {
        return Some(Type::Optional(Box::new(parse(inner)?)));
    }
    if let Some(inner) = shape.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some(Type::List(Box::new(parse(inner)?)));
    }
    if let Some(inner) = shape.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let mut fields = BTreeMap::new();
        for part in split(inner) {
            let (key, value) = part.split_once(':')?;
            let key = key.trim();
            if key == "\"*\"" {
                return Some(Type::Map(Box::new(parse(value)?)));
            }
            let (key, value) = match key.strip_suffix('?') {
                Some(key) => (key, Type::Optional(Box::new(parse(value)?))),
                None => (key, parse(value)?),
            };
            fields.insert(key.to_owned(), value);
        }
        return Some(Type::Object(fields));
    }
    Some(match shape {
        "any" => Type::Any,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "double" => Type::Double,
        "string" => Type::String,
        "text" => Type::Text,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "secret" => Type::Secret,
        "target" => Type::Target,
        "connection" => Type::Connection,
        "markdown" => Type::Escaped(Escape::Markdown),
        "mrkdwn" => Type::Escaped(Escape::Mrkdwn),
        "plain" => Type::Escaped(Escape::Plain),
        "url-path" => Type::Escaped(Escape::UrlPath),
        words if words.contains('|') => Type::Enum(words.split('|').map(|word| word.trim().to_owned()).collect()),
        _ => return None,
    })
}

fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0usize);
    for (at, found) in text.char_indices() {
        match found {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

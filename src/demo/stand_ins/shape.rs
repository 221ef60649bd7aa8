//! Message shapes written as text, and a checker for JSON bodies: unknown fields, wrong types, unknown enum values.
//!
//! A shape file has one message a line: `Name: field type, field type`. Types: `string`, `bool`, `int32`, `int64`, `float`,
//! `timestamp`, `duration`, `any`, `[T]`, `{T}` (a map), `A|B` (an enum), or the name of a message. After a field's name,
//! `!` marks what only the server writes, `*` what must be there, `?` what may be null.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// How JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As Protobuf's JSON: null is absence, integers may be strings.
    Protobuf,
    /// As it stands.
    Plain,
}

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// `template.containers[0].imgae`
    pub path: String,
    /// The field itself.
    pub field: String,
    /// What kind of problem.
    pub problem: Problem,
}

/// Kinds of violation.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// The message has no such field.
    Unknown,
    /// A required field is not there.
    Missing,
    /// Another type or value was expected: described.
    Wrong(String),
}

/// Messages by name.
#[derive(Debug)]
pub struct Shapes {
    messages: BTreeMap<String, Vec<FieldShape>>,
    reading: Reading,
}

/// One field of a message.
#[derive(Debug, Clone)]
pub struct FieldShape {
    /// Its name.
    pub name: String,
    /// Only the server writes it.
    pub output_only: bool,
    /// It must be there.
    pub required: bool,
    /// It may be null.
    pub nullable: bool,
    /// Its type as written.
    pub kind: String,
}

impl Shapes {
    /// Reads a shape file. It is part of the program: a line it cannot read is skipped, and a relation test notices.
    pub fn parse(text: &str, reading: Reading) -> Self {
        let messages = text.lines().filter_map(|line| {
            let (name, fields) = line.split_once(':')?;
            Some((name.trim().to_owned(), fields.split(',').filter_map(field).collect()))
        });
        Self { messages: messages.collect(), reading }
    }

    /// Names of all messages.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.messages.keys().map(String::as_str)
    }

    /// Fields of a message.
    pub fn fields(&self, message: &str) -> Option<&[FieldShape]> {
        self.messages.get(message).map(Vec::as_slice)
    }

    /// A field of a message.
    pub fn field(&self, message: &str, name: &str) -> Option<&FieldShape> {
        self.messages.get(message)?.iter().find(|field| field.name == name)
    }

    /// Checks a JSON object against a message.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self, message: &str, object: &Map<String, Value>) -> Result<(), Violation> {
        self.check_message(message, object, "")
    }

    fn check_message(&self, message: &str, object: &Map<String, Value>, path: &str) -> Result<(), Violation> {
        let fields = self.fields(message).unwrap_or_default();
        for (name, value) in object {
            let Some(field) = fields.iter().find(|field| field.name == *name) else {
                return Err(violation(path, name, Problem::Unknown));
            };
            let null_is_fine = field.nullable || self.reading == Reading::Protobuf;
            if !(value.is_null() && null_is_fine) {
                self.check_value(&field.kind, value, &join(path, name), name)?;
            }
        }
        match fields.iter().find(|field| field.required && !object.contains_key(&field.name)) {
            Some(missing) => Err(violation(path, &missing.name, Problem::Missing)),
            None => Ok(()),
        }
    }

    fn check_value(&self, kind: &str, value: &Value, path: &str, name: &str) -> Result<(), Violation> {
        let wrong = |expected: &str| Violation {
            path: path.to_owned(),
            field: name.to_owned(),
            problem: Problem::Wrong(format!("expected {expected}, found {}", brief(value))),
        };
        if let Some(element) = kind.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let items = value.as_array().ok_or_else(|| wrong("a list"))?;
            let check = |(index, item)| self.check_value(element, item, &format!("{path}[{index}]"), name);
            return items.iter().enumerate().try_for_each(check);
        }
        if let Some(element) = kind.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let map = value.as_object().ok_or_else(|| wrong("an object"))?;
            return map.iter().try_for_each(|(key, item)| self.check_value(element, item, &join(path, key), key));
        }
        if self.messages.contains_key(kind) {
            let object = value.as_object().ok_or_else(|| wrong("an object"))?;
            return self.check_message(kind, object, path);
        }
        if self.fits(kind, value) { Ok(()) } else { Err(wrong(kind)) }
    }

    fn fits(&self, kind: &str, value: &Value) -> bool {
        let text_too = self.reading == Reading::Protobuf;
        let integer = |fits: fn(i64) -> bool| match value {
            Value::Number(number) => number.as_i64().is_some_and(fits),
            Value::String(text) => text_too && text.parse().is_ok_and(fits),
            _ => false,
        };
        match kind {
            "any" => true,
            "string" => value.is_string(),
            "bool" => value.is_boolean(),
            "int32" => integer(|number| i32::try_from(number).is_ok()),
            "int64" => integer(|_| true),
            "float" => value.is_number(),
            "timestamp" => value.as_str().is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok()),
            "duration" => value.as_str().and_then(|text| text.strip_suffix('s')).is_some_and(|text| text.parse::<f64>().is_ok()),
            choices => value.as_str().is_some_and(|text| choices.split('|').any(|choice| choice == text)),
        }
    }
}

fn field(text: &str) -> Option<FieldShape> {
    let (name, kind) = text.trim().split_once(' ')?;
    let bare = name.trim_end_matches(['!', '*', '?']);
    Some(FieldShape {
        name: bare.to_owned(),
        output_only: name.contains('!'),
        required: name.contains('*'),
        nullable: name.contains('?'),
        kind: kind.trim().to_owned(),
    })
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn violation(path: &str, name: &str, problem: Problem) -> Violation {
    Violation { path: join(path, name), field: name.to_owned(), problem }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(60).collect::<String>()) }
}

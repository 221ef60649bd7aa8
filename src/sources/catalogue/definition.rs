//! A provider as data: one YAML file, with the entry's own settings put in where it says `$name`, or `$name|what-else`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::{Auth, Many};
use super::{challenge, reply};
use crate::rules::yaml::{self, Limits};

/// What is known of a provider.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Definition {
    /// How a request proves where it comes from: any of these. None at all takes nothing in.
    #[serde(default)]
    pub auth: Many<Auth>,
    /// Methods that deliveries come by; POST if nothing is said.
    #[serde(default)]
    pub methods: Many<Method>,
    /// Headers that must be there, and what must be in them.
    #[serde(default)]
    pub require: BTreeMap<String, String>,
    /// What the body is.
    #[serde(default)]
    pub body: Body,
    /// The field that holds the JSON if the body is a form.
    pub payload: Option<String>,
    /// Where the event's type is; the first that is there counts.
    #[serde(default)]
    pub event: Many<String>,
    /// Types that are numbers, and their names.
    #[serde(default)]
    pub event_names: BTreeMap<String, String>,
    /// Where the delivery's id is; the first that is there counts.
    #[serde(default)]
    pub delivery_id: Many<String>,
    /// By what a repeated delivery is known.
    pub dedup: Option<Dedup>,
    /// Ownership challenges.
    #[serde(default)]
    pub challenge: Many<challenge::Form>,
    /// What senders get back; the first that fits.
    #[serde(default)]
    pub answer: Many<reply::Form>,
}

/// A method that deliveries come by. What comes by GET is all in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// With a body.
    Post,
    /// With a body.
    Put,
    /// Without one.
    Get,
}

impl Method {
    /// As in a request.
    pub fn word(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Get => "GET",
        }
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// JSON.
    #[default]
    Json,
    /// A form.
    Form,
    /// One of these, by the content type.
    Either,
    /// Anything; it is read if it is JSON or a form.
    Any,
}

/// By what a repeated delivery is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dedup {
    /// The provider's id; the body where there is none.
    Id,
    /// The body.
    Body,
    /// Either of them.
    Both,
    /// Nothing: the provider repeats the same bytes and means it.
    None,
}

impl Definition {
    /// Reads a provider's file, with the settings of one entry.
    pub fn read(name: &str, text: &str, fields: &Map<String, Value>) -> Result<Self, String> {
        let (node, faults) = yaml::read(name, text, Limits::OPERATOR);
        let node = node.ok_or_else(|| faults.first().map_or_else(String::new, |fault| fault.message.clone()))?;
        let Value::Object(mut data) = node.to_json() else { return Err(format!("the file of {name} is no mapping")) };
        if let Some(Value::Array(variants)) = data.remove("variants") {
            let variant = variants.into_iter().find(|variant| applies(variant, fields));
            if let Some(Value::Object(mut variant)) = variant {
                variant.remove("when");
                data.extend(variant);
            }
        }
        // An ownership challenge without the settings it needs would be answered to everybody.
        if let Some(challenge) = data.remove("challenge") {
            let forms = if let Value::Array(forms) = challenge { forms } else { vec![challenge] };
            let whole = forms.into_iter().filter(|form| !lacks(form, fields)).collect();
            data.insert("challenge".to_owned(), Value::Array(whole));
        }
        let data = filled(Value::Object(data), fields).unwrap_or_default();
        serde_json::from_value(data).map_err(|error| format!("is not described as it must be: {error}"))
    }
}

/// Does a variant apply? `when: name` if the setting is there, `when: name=value` if it is that.
fn applies(variant: &Value, fields: &Map<String, Value>) -> bool {
    let Some(when) = variant.get("when").and_then(Value::as_str) else { return true };
    match when.split_once('=') {
        None => fields.contains_key(when),
        Some((name, value)) => fields.get(name).and_then(Value::as_str) == Some(value),
    }
}

/// Is there a setting in it that the entry does not have?
fn lacks(value: &Value, fields: &Map<String, Value>) -> bool {
    match value {
        Value::String(text) => text.strip_prefix('$').is_some_and(|name| !fields.contains_key(name)),
        Value::Array(items) => items.iter().any(|item| lacks(item, fields)),
        Value::Object(entries) => entries.values().any(|value| lacks(value, fields)),
        _ => false,
    }
}

/// Puts settings in; what has none is left out.
fn filled(value: Value, fields: &Map<String, Value>) -> Option<Value> {
    match value {
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) => match name.split_once('|') {
                Some((name, usual)) => Some(fields.get(name).cloned().unwrap_or_else(|| usual.into())),
                None => fields.get(name).cloned(),
            },
            None => Some(Value::String(text)),
        },
        Value::Array(items) => Some(Value::Array(items.into_iter().flat_map(|item| spliced(item, fields)).collect())),
        Value::Object(entries) => {
            let entries = entries.into_iter().filter_map(|(name, value)| Some((name, filled(value, fields)?)));
            Some(Value::Object(entries.collect()))
        }
        other => Some(other),
    }
}

/// What an item of a list becomes: a setting that is a list is a part of the list it stands in.
fn spliced(item: Value, fields: &Map<String, Value>) -> Vec<Value> {
    let is_setting = item.as_str().is_some_and(|text| text.starts_with('$'));
    match filled(item, fields) {
        Some(Value::Array(items)) if is_setting => items,
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

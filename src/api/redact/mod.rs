//! What is hidden of bodies, headers, parameters and outputs before they are shown, by rules that an operator can see and add to.

mod credentials;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use crate::journal::record::{DeliveryRecord, RunRecord};
use crate::matching::Trace;
use crate::rules::expr::{Reason, show};
pub use credentials::KINDS;

/// A body as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// JSON, or a form as JSON.
    Json(Value),
    /// Any other text.
    Text(String),
    /// Bytes that are no text.
    Binary,
}

/// What stands in place of what is hidden.
pub const HIDDEN: &str = "‹hidden›";

/// Parts of names of headers that are always hidden.
pub const HEADERS: &[&str] =
    &["authorization", "cookie", "token", "secret", "signature", "api-key", "apikey", "password", "credential", "assertion"];

/// Parts of names of fields that are always hidden, without `-` and `_`.
pub const FIELDS: &[&str] =
    &["password", "passwd", "secret", "token", "apikey", "privatekey", "credential", "authorization", "cookie", "signature"];

/// An invisible character as [`show`] writes it: none of a name, as [`bare`] takes it.
static ESCAPED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\\u\{[0-9a-f]+\}").expect("a constant that is a pattern"));

/// The rules in force.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Further parts of names of headers, in lower case.
    pub headers: Vec<String>,
    /// Further parts of names of fields, in lower case without `-` and `_`.
    pub fields: Vec<String>,
}

impl Redaction {
    /// With an operator's own words.
    pub fn new(headers: &[String], fields: &[String]) -> Self {
        let headers = headers.iter().map(|word| word.to_ascii_lowercase()).filter(|word| !word.is_empty()).collect();
        let fields = fields.iter().map(|word| bare(word)).filter(|word| !word.is_empty()).collect();
        Self { headers, fields }
    }

    /// Is the value of this header hidden?
    pub fn hides_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        HEADERS.iter().any(|word| name.contains(word)) || self.headers.iter().any(|word| name.contains(word))
    }

    /// Is the value of this field hidden?
    pub fn hides_field(&self, name: &str) -> bool {
        let name = bare(name);
        FIELDS.iter().any(|word| name.contains(word)) || self.fields.iter().any(|word| name.contains(word))
    }

    /// A value with the values of hidden fields replaced, however deep they are.
    pub fn value(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| self.field(name, value)).collect()),
            Value::Array(items) => match items.as_slice() {
                // A header is a pair of name and value.
                [Value::String(name), Value::String(value)] if self.hides_header(name) && !value.is_empty() => {
                    Value::Array(vec![Value::String(name.clone()), Value::String(HIDDEN.to_owned())])
                }
                _ => Value::Array(items.into_iter().map(|item| self.value(item)).collect()),
            },
            Value::String(text) => Value::String(self.text(text)),
            other => other,
        }
    }

    /// A text as it may be shown. JSON in it stays a text, without what is to be hidden.
    pub fn text(&self, text: String) -> String {
        match within(&text) {
            Some(inner) => {
                let shown = self.value(inner.clone());
                if shown == inner { text } else { shown.to_string() }
            }
            None => credentials::without(&text, |name| self.hides_field(name)),
        }
    }

    /// The value of a header as it may be shown.
    pub fn header(&self, name: &str, value: &str) -> String {
        if self.hides_header(name) { HIDDEN.to_owned() } else { self.text(value.to_owned()) }
    }

    fn field(&self, name: String, value: Value) -> (String, Value) {
        // Whether something is there, and how much, is no secret.
        let shows = matches!(value, Value::Null | Value::Bool(_) | Value::Number(_));
        if self.hides_field(&name) && !shows {
            return (name, Value::String(HIDDEN.to_owned()));
        }
        (name, self.value(value))
    }

    /// A delivery whose words for people may be shown: an outsider chose some of them.
    pub fn delivery(&self, mut record: DeliveryRecord) -> DeliveryRecord {
        record.about.title = record.about.title.map(|title| self.text(title));
        record.reason = record.reason.map(|reason| self.text(reason));
        record
    }

    /// The same of a run.
    pub fn run(&self, mut record: RunRecord) -> RunRecord {
        record.note = record.note.map(|note| self.text(note));
        if let Some(failure) = &mut record.failure {
            failure.message = self.text(std::mem::take(&mut failure.message));
        }
        record
    }

    /// Why a rule matched or did not, without what was found in hidden fields.
    pub fn trace(&self, mut trace: Trace) -> Trace {
        for check in &mut trace.checks {
            self.found(&mut check.found, &mut check.hint);
            if let Some(reason) = &mut check.reason {
                self.reason(reason);
            }
        }
        trace
    }

    fn reason(&self, reason: &mut Reason) {
        for found in &mut reason.found {
            self.found(found, &mut reason.hint);
        }
        for part in &mut reason.parts {
            self.reason(part);
        }
    }

    /// `event.payload.token = "…"`: what follows a name that hides it is hidden, and a hint may repeat it.
    fn found(&self, found: &mut String, hint: &mut Option<String>) {
        let Some((path, value)) = found.split_once(" = ") else { return };
        let shown = if self.hides_field(path) { Some(HIDDEN.to_owned()) } else { self.found_value(value) };
        let shown = shown.map_or_else(|| self.text(found.clone()), |value| format!("{path} = {value}"));
        if shown != *found {
            *found = shown;
            *hint = None;
        }
    }

    /// A found value that holds names of its own: an object, a list, or a text that is one. None: it holds none.
    fn found_value(&self, value: &str) -> Option<String> {
        let structure = value.trim_start_matches('"').trim_start();
        if !structure.starts_with(['{', '[']) && !value.starts_with('"') {
            return None;
        }
        let mut read = serde_json::Deserializer::from_str(value).into_iter::<Value>();
        // The quote that ends a text that was cut is that of a pattern behind it.
        let whole = |inner: &Value| !inner.as_str().is_some_and(|text| text.contains('…') && within(text).is_none());
        if let Some(Ok(inner)) = read.next()
            && whole(&inner)
        {
            let rest = value.get(read.byte_offset()..).unwrap_or_default();
            let shown = self.value(inner.clone());
            return Some(if shown == inner { value.to_owned() } else { show(&shown) + &self.text(rest.to_owned()) });
        }
        if !structure.starts_with(['{', '[']) {
            return None;
        }
        // It was cut, so that nobody can tell any more what belongs to which name.
        let names = ESCAPED.replace_all(value, "");
        Some(if self.hides_field(&names) || self.hides_header(&names) { HIDDEN.to_owned() } else { self.text(value.to_owned()) })
    }

    /// A body as it may be shown.
    pub fn body(&self, bytes: &[u8]) -> Body {
        if let Ok(value) = crate::json::parse(bytes) {
            return Body::Json(self.value(value));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if looks_like_form(text) => {
                let pairs: Map<String, Value> = url::form_urlencoded::parse(text.as_bytes())
                    // JSON in a field, as Slack sends it, is shown as what it is.
                    .map(|(name, value)| (name.into_owned(), within(&value).unwrap_or_else(|| Value::String(value.into_owned()))))
                    .map(|(name, value)| self.field(name, value))
                    .collect();
                Body::Json(Value::Object(pairs))
            }
            Ok(text) => Body::Text(credentials::without_assigned(text, |name| self.hides_field(name))),
            Err(_) => Body::Binary,
        }
    }
}

/// The JSON that a text is.
fn within(text: &str) -> Option<Value> {
    let text = text.trim();
    text.starts_with(['{', '[']).then(|| crate::json::parse(text.as_bytes()).ok()).flatten()
}

/// In lower case, without what separates words: `apiKey`, `api_key` and `api-key` are one name.
fn bare(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn looks_like_form(text: &str) -> bool {
    let first = text.split('&').next().unwrap_or_default();
    let name = first.split('=').next().unwrap_or_default();
    first.contains('=')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.+%[]".contains(&byte))
        && !text.contains(['\n', '<', '{'])
}

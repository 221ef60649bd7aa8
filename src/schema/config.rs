//! The schema of `declic.yaml`.

use declic_actions::action::Field;
use declic_actions::targets::{CONNECTIONS, SettingKind, TARGETS};
use serde_json::{Map, Value, json};

use super::shape::{self, Position, text};
use super::{closed, described, mapping, when};
use crate::rules::registry;
use crate::settings::keys;
use crate::sources::KINDS;

/// Names of entries, as rules write them.
const NAME: &str = "^[A-Za-z][A-Za-z0-9_-]{0,62}$";

/// The schema of the operator's file.
pub fn config() -> Value {
    let properties: Map<String, Value> =
        keys::FILE.iter().map(|key| ((*key).to_owned(), section(key).unwrap_or_else(|| json!({})))).collect();
    let mut whole = Map::new();
    whole.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
    whole.insert("title".to_owned(), "Declic settings".into());
    if let Value::Object(rest) = closed(properties, &["version"]) {
        whole.extend(rest);
    }
    Value::Object(whole)
}

fn section(key: &str) -> Option<Value> {
    let fields = |list: &[Field], text: &str| described(shape::fields(list, Position::Settings), text);
    Some(match key {
        "version" => described(json!({ "const": 1 }), "Version of the settings: 1"),
        "listen" => {
            json!({ "description": "Address to listen on; PORT in the environment wins.", "type": "string", "examples": ["127.0.0.1:8080"] })
        }
        "public-url" => {
            json!({ "description": "Address that providers reach it at.", "type": "string", "pattern": "^https?://" })
        }
        "store" => {
            json!({ "description": "Where deliveries and runs are kept.", "anyOf": [{ "enum": ["sqlite"] }, shape::fields(keys::STORE, Position::Settings)] })
        }
        "dispatch" => {
            json!({ "description": "Who wakes the worker.", "anyOf": [{ "enum": ["local"] }, shape::fields(keys::DISPATCH, Position::Settings)] })
        }
        "secrets" => secrets(),
        "sources" => {
            let path = Field { name: "path", shape: "string?", summary: "Whole path; /hooks/NAME if not given" };
            entries(KINDS, &[path], "Entry points. Each says how a delivery proves where it comes from.")
        }
        "targets" => entries(TARGETS, &[keys::LIMIT], "What a deploy may touch."),
        "connections" => entries(CONNECTIONS, &[keys::LIMIT], "What an action may talk to."),
        "repositories" => repositories(),
        "rules" => described(shape::texts(), "Rule files of the operator, as patterns; rules/*.yaml if not given."),
        "google" => fields(keys::GOOGLE, "Google's addresses and credentials; nothing is needed on Google Cloud."),
        "aws" => fields(keys::AWS, "Amazon's address."),
        "github" => fields(keys::GITHUB, "GitHub's address and credentials."),
        "egress" => fields(keys::EGRESS, "What may be reached although its address is private."),
        "admin" => fields(keys::ADMIN, "Who may look and act; without it, only this machine."),
        "workers" => {
            json!({ "description": "Runs at the same time in this process, of which a repository never has all; 6 if not given.", "type": "integer", "minimum": 1, "maximum": 256 })
        }
        "log" => described(json!({ "enum": ["auto", "text", "json"] }), "Form of log lines."),
        _ => return None,
    })
}

fn secrets() -> Value {
    let from = |from: &str, name: &str, what: &str| {
        let properties = [
            ("from".to_owned(), json!({ "const": from })),
            (name.to_owned(), described(text(), what)),
            (
                "previous".to_owned(),
                described(shape::texts(), "The same for the values that are still accepted during rotation, newest first."),
            ),
        ];
        closed(properties.into_iter().collect(), &["from", name])
    };
    let one = json!({
        "type": "object",
        "required": ["from"],
        "properties": { "from": { "enum": ["env", "file", "gcp-secret"] } },
        "allOf": [
            when("from", "env", from("env", "name", "Variable of the environment.")),
            when("from", "file", from("file", "path", "Path of the file.")),
            when("from", "gcp-secret", from("gcp-secret", "name", "projects/P/secrets/S")),
        ],
    });
    json!({
        "description": "Where secrets are; a value never stands in this file.",
        "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": one,
    })
}

/// Entries whose keys their `type:` declares.
fn entries(kinds: &[SettingKind], common: &[Field], text: &str) -> Value {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let summaries: Vec<&str> = kinds.iter().map(|kind| kind.summary).collect();
    let of_kind = |kind: &SettingKind| {
        let mut fields = shape::fields(kind.fields, Position::Settings);
        if let Some(Value::Object(properties)) = fields.get_mut("properties") {
            properties.extend(shape::properties(common, Position::Settings));
            properties.insert("type".to_owned(), json!({ "const": kind.name }));
        }
        when("type", kind.name, fields)
    };
    let one = json!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": { "enum": names, "markdownEnumDescriptions": summaries } },
        "allOf": kinds.iter().map(of_kind).collect::<Vec<_>>(),
    });
    json!({ "description": text, "type": "object", "propertyNames": { "pattern": NAME }, "additionalProperties": one })
}

fn repositories() -> Value {
    let mut one = shape::fields(keys::REPOSITORY, Position::Settings);
    let mut actions: Vec<String> = registry::actions().map(|spec| spec.name.to_owned()).collect();
    let mut services: Vec<String> =
        registry::actions().filter_map(|spec| spec.name.split_once('/')).map(|(service, _)| format!("{service}/*")).collect();
    services.sort();
    services.dedup();
    actions.extend(services);
    let events: Vec<&str> = registry::events().map(|event| event.name).collect();
    let names = || json!({ "type": "array", "items": { "type": "string" } });
    let list = |words: Value| json!({ "type": "array", "items": { "enum": words } });
    if let Some(grant) = one.pointer_mut("/properties/grant") {
        *grant = described(
            mapping(
                [
                    ("events", list(json!(events))),
                    ("actions", list(json!(actions))),
                    ("targets", names()),
                    ("connections", names()),
                    ("sources", names()),
                ],
                &[],
            ),
            "What its rules may use; nothing else.",
        );
    }
    json!({ "description": "Repositories that may bring rules of their own.", "type": "array", "items": one })
}

//! Environment variables of a container: what a rule asks for, within what the operator allows. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Faults, Why};
use crate::cloud_run::Target;
use crate::given::{Given, every, invalid};
use crate::http::shown;

/// What the API itself sets.
const RESERVED: &[&str] = &["PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"];

/// What a variable is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Setting {
    Plain(String),
    Secret { secret: String, version: String },
}

/// Variables by name, in the order of their names.
pub(crate) type Settings = BTreeMap<String, Setting>;

/// `with.env`: every name must be among the target's `env`, every secret among its `secrets`.
pub(crate) fn read(given: &Given<'_>, target: &Target) -> Result<Settings, Faults> {
    let variable = |(name, value): (&String, &Value)| {
        if !target.env.contains(name) {
            let message = format!("the target does not allow the variable `{}`; list it under `env` of the target", shown(name));
            return Err(Why::new("not-allowed", message));
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with("X_GOOGLE_") || !is_name(name) {
            return Err(invalid(format!("`{}` cannot be set: it is no name of a variable, or Cloud Run's own", shown(name))));
        }
        Ok((name.clone(), setting(name, value, target)?))
    };
    every(given.optional_object("env")?.into_iter().flatten().map(variable))
}

fn is_name(name: &str) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(first) && name.bytes().all(|byte| first(byte) || byte.is_ascii_digit())
}

fn setting(name: &str, value: &Value, target: &Target) -> Result<Setting, Why> {
    match value {
        Value::String(text) => Ok(Setting::Plain(text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok(Setting::Plain(value.to_string())),
        Value::Object(reference) => {
            let text = |field: &str| reference.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
            let secret = text("secret").ok_or_else(|| invalid(format!("`env.{name}` needs the name of a `secret`")))?;
            if !target.secrets.iter().any(|allowed| allowed == secret) {
                let message =
                    format!("the target does not allow the secret `{}`; list it under `secrets` of the target", shown(secret));
                return Err(Why::new("not-allowed", message));
            }
            let version = text("version").unwrap_or("latest");
            let fits = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
            if !fits {
                return Err(invalid(format!("`env.{name}.version` is a number, an alias or `latest`")));
            }
            Ok(Setting::Secret { secret: secret.to_owned(), version: version.to_owned() })
        }
        _ => Err(invalid(format!("`env.{name}` must be text, a number, a flag or `{{ secret: NAME }}`"))),
    }
}

/// One entry of a container's `env`.
pub(crate) fn entry(name: &str, setting: &Setting) -> Value {
    match setting {
        Setting::Plain(value) => json!({ "name": name, "value": value }),
        Setting::Secret { secret, version } => {
            json!({ "name": name, "valueSource": { "secretKeyRef": { "secret": secret, "version": version } } })
        }
    }
}

/// Sets variables of a container in their place, or behind the others; all others stay as they are.
pub(crate) fn apply(container: &mut Map<String, Value>, settings: &Settings) {
    if settings.is_empty() {
        return;
    }
    let list = container.entry("env").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else { return };
    for (name, setting) in settings {
        let new = entry(name, setting);
        match list.iter_mut().find(|old| old.get("name").and_then(Value::as_str) == Some(name)) {
            Some(old) => *old = new,
            None => list.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_keeps_its_place_and_the_others_their_form() {
        let mut container = json!({ "image": "x", "env": [
            { "name": "A", "value": "1" }, { "name": "KEEP", "valueSource": { "secretKeyRef": { "secret": "k" } } },
        ] });
        let settings = Settings::from([
            ("A".into(), Setting::Secret { secret: "a".into(), version: "7".into() }),
            ("B".into(), Setting::Plain("2".into())),
        ]);
        apply(container.as_object_mut().unwrap(), &settings);
        assert_eq!(
            container["env"],
            json!([
                { "name": "A", "valueSource": { "secretKeyRef": { "secret": "a", "version": "7" } } },
                { "name": "KEEP", "valueSource": { "secretKeyRef": { "secret": "k" } } },
                { "name": "B", "value": "2" },
            ])
        );
    }
}

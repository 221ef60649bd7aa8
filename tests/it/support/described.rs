//! Sources as acceptance vectors describe them, through the settings that an operator would write.
//!
//! A provider that the catalogue does not have is described by its vector's `config` (an `auth:` block, or the keys of one of its
//! ways), or by a settings file beside the vectors: `PROVIDER.yaml`, or `_settings.yaml` with an entry of that name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use declic::rules::yaml::{self, Limits};
use declic::settings::{self, Environment, Mode};
use declic::sources::{self, Around, KINDS, Source};
use declic_actions::secret::Secret;
use serde_json::{Map, Value, json};

use super::vectors::{folder, inbound, strings, text};

/// Vectors name a product, the settings name what it does.
const OTHER_NAMES: &[(&str, &str)] = &[("google-pubsub", "pubsub-push")];

/// Ways under `auth:`.
const WAYS: &[&str] =
    &["hmac", "standard-webhooks", "ed25519", "ecdsa-p256", "oidc", "basic", "bearer", "path", "token", "query", "field"];

/// The source of a vector, with the keys fetched that it wants.
pub fn source(case: &Value) -> Result<Arc<dyn Source>, String> {
    let entry = entry(case)?;
    let around = Around::default();
    let source = build(&entry, case, &around)?;
    if let Some(want) = source.wants(&inbound(case)) {
        let given = case["config"]["certs"].get(&want.url).and_then(Value::as_str).map(str::to_owned);
        let document = given.or_else(|| case["config"].get("jwks").map(Value::to_string)).unwrap_or_default();
        let now = inbound(case).received_at;
        if let Err(why) = around.trust.put(&want, document.as_bytes(), None, now) {
            println!("{}: {why}", want.url);
        }
    }
    Ok(source)
}

/// The entry of `sources:`.
fn entry(case: &Value) -> Result<Value, String> {
    let provider = text(case, "provider");
    if let Some(entry) = written(provider) {
        return Ok(entry);
    }
    let name = OTHER_NAMES.iter().find(|(other, _)| *other == provider).map_or(provider, |(_, name)| *name);
    let mut entry = match KINDS.iter().find(|kind| kind.name == name) {
        Some(kind) => {
            let known =
                kind.fields.iter().filter_map(|field| Some((field.name.to_owned(), setting(field.name, field.shape, case)?)));
            known.collect::<Map<_, _>>()
        }
        None => described(&case["config"]).ok_or_else(|| format!("{provider} is neither known nor described"))?,
    };
    let kind = if KINDS.iter().any(|kind| kind.name == name) { name } else { "webhook" };
    entry.insert("type".to_owned(), kind.into());
    Ok(Value::Object(entry))
}

/// One key of a provider's settings, from what the vector says of the receiver.
fn setting(name: &str, shape: &str, case: &Value) -> Option<Value> {
    let config = &case["config"];
    let told = config.get(name.replace('-', "_")).filter(|value| !value.is_null());
    match (name, shape) {
        ("auth", _) => Some(auth(case)),
        ("verify-token", _) => told.map(|_| json!("verify")),
        // A handshake that nobody signs says nothing of the secret, which every source has.
        (_, "secret") => Some(json!("hook")),
        (_, "secret?") => (!case["secret"].is_null()).then(|| json!("hook")),
        ("algorithm", _) => told.map(|value| algorithm(value.as_str().unwrap_or_default())),
        (_, "[string]" | "[string]?") => told.map(|value| if value.is_array() { value.clone() } else { json!([value]) }),
        _ => told.cloned(),
    }
}

fn algorithm(word: &str) -> Value {
    let word = word.to_ascii_lowercase().replace(['-', '_'], "");
    word.strip_prefix("hmac").unwrap_or(&word).into()
}

/// `auth:` where a provider can have several.
fn auth(case: &Value) -> Value {
    let config = &case["config"];
    let mode = config["mode"].as_str().unwrap_or_default();
    let secret = strings(&case["secret"]).first().copied().unwrap_or_default().to_owned();
    if config.get("audience").is_some() {
        let mut oidc = json!({ "audience": config["audience"], "email": config["email"] });
        if config.get("issuers").is_some() {
            oidc["issuers"] = config["issuers"].clone();
        }
        return json!({ "oidc": oidc });
    }
    match mode {
        "query" => json!({ "query": { "name": config["param"], "secret": "hook" } }),
        "header" | "token" => json!({ "token": { "header": config["header"], "secret": "hook" } }),
        "bearer" => json!({ "bearer": "hook" }),
        "basic" => json!({ "basic": "hook" }),
        _ if config.get("header").is_some() => json!({ "token": { "header": config["header"], "secret": "hook" } }),
        _ if secret.contains(':') => json!({ "basic": "hook" }),
        _ => json!({ "bearer": "hook" }),
    }
}

/// A provider that only its vector describes: an entry of type `webhook`.
fn described(config: &Value) -> Option<Map<String, Value>> {
    let config = hyphenated(config);
    let mut entry = Map::new();
    for key in ["event", "delivery-id", "challenge", "dedup"] {
        if let Some(value) = config.get(key) {
            entry.insert(key.to_owned(), value.clone());
        }
    }
    for (key, header) in [("event", "event-header"), ("delivery-id", "delivery-id-header")] {
        if let Some(name) = config.get(header).and_then(Value::as_str) {
            entry.insert(key.to_owned(), format!("{{header:{name}}}").into());
        }
    }
    let block = config.get("auth").or_else(|| config.get("template")).unwrap_or(&config);
    let way = WAYS.iter().find_map(|way| Some((*way, block.get(*way)?.clone())));
    let (way, mut fields) = match way {
        Some(found) => found,
        None => ("hmac", block.clone()),
    };
    if let Value::Object(fields) = &mut fields {
        let names = fields.keys().cloned().collect::<Vec<_>>();
        for name in names {
            let value = fields.remove(&name)?;
            if let Some((name, value)) = known(&name, value) {
                fields.insert(name, value);
            }
        }
        if way != "oidc" {
            fields.insert("secret".to_owned(), json!("hook"));
        }
        fields.get("header").or_else(|| fields.get("name")).or_else(|| fields.get("audience")).or_else(|| fields.get("path"))?;
    } else {
        fields = json!("hook");
    }
    entry.insert("auth".to_owned(), json!({ way: fields }));
    Some(entry)
}

/// Our word for a key of a template.
fn known(name: &str, value: Value) -> Option<(String, Value)> {
    let seconds = |value: &Value| value.as_i64().map_or_else(|| value.clone(), |seconds| format!("{seconds}s").into());
    Some(match name {
        "signature-header" => ("header".to_owned(), value),
        "signing-template" | "signed-payload" | "payload" => ("signed".to_owned(), value),
        "algorithm" | "hash" | "digest" => ("algorithm".to_owned(), algorithm(value.as_str()?)),
        "max-age" | "tolerance" | "tolerance-seconds" => ("max-age".to_owned(), seconds(&value)),
        "event" | "delivery-id" | "challenge" | "dedup" | "event-header" | "delivery-id-header" | "scheme" | "type" => {
            return None;
        }
        other => (other.to_owned(), value),
    })
}

fn hyphenated(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.replace('_', "-"), hyphenated(value))).collect(),
        other => other.clone(),
    }
}

/// An entry from a settings file beside the vectors.
fn written(provider: &str) -> Option<Value> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(folder().join(name)).ok()?;
        Some(yaml::read(name, &text, Limits::OPERATOR).0?.to_json())
    };
    let own = read(&format!("{provider}.yaml")).or_else(|| read("_settings.yaml"))?;
    let entries = own.get("sources").cloned().unwrap_or_else(|| own.clone());
    let entry = if entries.get("type").is_some() || entries.get("auth").is_some() {
        entries
    } else {
        let named = entries.get(provider).cloned();
        named.or_else(|| entries.as_object().filter(|all| all.len() == 1)?.values().next().cloned())?
    };
    let mut entry = entry.as_object()?.clone();
    entry.entry("type").or_insert("webhook".into());
    Some(Value::Object(entry))
}

/// Reads the entry as `declic.yaml` is read, and builds it. Whatever secret it names has the values of the vector.
fn build(entry: &Value, case: &Value, around: &Around) -> Result<Arc<dyn Source>, String> {
    let path = text(case, "path").split('?').next().unwrap_or_default();
    let in_path = entry["type"] == "dockerhub" || entry["auth"].get("path").is_some();
    let path = if in_path { path.rsplit_once('/').map_or(path, |(above, _)| above) } else { path };
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("path".to_owned(), path.into());
    }
    let names = named(&entry);
    let secrets: Map<String, Value> = names.iter().map(|name| (name.clone(), json!({ "from": "env", "name": "NONE" }))).collect();
    let file = json!({ "version": 1, "secrets": secrets, "sources": { "tested": entry } }).to_string();
    let (settings, faults) = settings::read(Path::new("declic.yaml"), &file, Mode::Names, &Environment::given([]));
    let settings = settings.ok_or_else(|| format!("{file}: {faults:?}"))?;
    let given = strings(&case["secret"]);
    let given = if given.is_empty() { vec!["c2VjcmV0OnRoYXQ6bm9ib2R5OnNlbmRz"] } else { given };
    let values: Vec<Secret> = given.into_iter().map(Secret::new).collect();
    let mut secrets: BTreeMap<String, Vec<Secret>> = names.into_iter().map(|name| (name, values.clone())).collect();
    secrets.insert("verify".to_owned(), strings(&case["config"]["verify_token"]).into_iter().map(Secret::new).collect());
    let source = settings.sources.first().ok_or("the settings have no source")?;
    sources::build(source, &secrets, around)
}

/// Names that may be those of secrets: every word in the entry.
fn named(entry: &Value) -> Vec<String> {
    let mut names = Vec::new();
    collect(entry, &mut names);
    names.sort();
    names.dedup();
    names
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) if settings_name(text) => names.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, names)),
        _ => {}
    }
}

fn settings_name(text: &str) -> bool {
    text.len() < 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

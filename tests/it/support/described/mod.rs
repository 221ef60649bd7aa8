//! Sources as acceptance vectors describe them, through the settings that an operator would write.
//!
//! A provider that the catalogue does not have is described by its vector's `config` (an `auth:` block, or the keys of one of its
//! ways), or by a settings file beside the vectors: `PROVIDER.yaml`, or any other with an entry of that name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use declic::settings::{self, Environment, Mode};
use declic::sources::{self, Around, KINDS, Source};
use declic_actions::secret::Secret;
use serde_json::{Map, Value, json};

use self::signature::algorithm;
use self::template::hyphenated;
use super::vectors::{inbound, strings, text};

mod parts;
mod signature;
mod template;
mod written;

/// Vectors name a product, the settings name what it does.
const OTHER_NAMES: &[(&str, &str)] = &[("google-pubsub", "pubsub-push")];

/// Why a vector has no source.
#[derive(Debug)]
pub enum Unstarted {
    /// Nobody can tell how this provider signs: a fault of the vector, or of whoever reads it, and no verdict.
    Undescribed(String),
    /// Its secret cannot be one: a source that has it does not start, and so takes nothing in.
    Unfit(String),
}

/// Secrets of all the forms there are: with one of them, a source that is described as it should be starts.
const FIT: &[&str] = &[
    "c2VjcmV0OnRoYXQ6bm9ib2R5OnNlbmRz",
    "user:password",
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c",
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENFITaj7C3/oGLYDJAHKj0p4d1SBlCy07E8236gVUpQ9iCNNBbvp93BYsPYQS0x58UQLy1p932jrOOmYpTebLiQ==",
];

/// The source of a vector, with the keys fetched that it wants.
pub fn source(folder: &Path, case: &Value) -> Result<Arc<dyn Source>, Unstarted> {
    let entry = entry(folder, case).map_err(Unstarted::Undescribed)?;
    let around = Around::default();
    let source = build(&entry, case, &strings(&case["secret"]), &around).map_err(|why| {
        let starts = FIT.iter().any(|secret| build(&entry, case, &[secret], &around).is_ok());
        if starts { Unstarted::Unfit(why) } else { Unstarted::Undescribed(why) }
    })?;
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
fn entry(folder: &Path, case: &Value) -> Result<Value, String> {
    let provider = text(case, "provider");
    if let Some(entry) = written::entry(folder, case) {
        return Ok(Value::Object(entry_of_file(&entry)));
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

/// A provider that only its vector or a file beside it describes: an entry as the settings have it.
fn described(config: &Value) -> Option<Map<String, Value>> {
    let config = &hyphenated(config);
    let inner = ["source", "settings", "provider"].iter().find_map(|name| config.get(*name).filter(|value| value.is_object()));
    let config = inner.unwrap_or(config);
    let mut entry = Map::new();
    for (key, names) in [("event", ["event", "event-type", "event-name"]), ("delivery-id", ["delivery-id", "id", "delivery"])] {
        let told = names.iter().find_map(|name| config.get(*name)).map(places).filter(|places| !places.is_empty());
        let told = told.or_else(|| names.iter().find_map(|name| beside(config, name)).map(|place| vec![place]));
        if let Some(patterns) = told {
            entry.insert(key.to_owned(), json!(patterns));
        }
    }
    for (one, several, names) in
        [("challenge", "challenges", ["challenge", "handshake"]), ("answer", "answers", ["answer", "response"])]
    {
        match names.iter().chain([&several]).find_map(|name| config.get(*name)) {
            Some(told @ Value::Object(_)) => entry.insert(one.to_owned(), told.clone()),
            Some(told @ Value::Array(_)) => entry.insert(several.to_owned(), told.clone()),
            _ => None,
        };
    }
    if let Some(methods) = config.get("methods").or_else(|| config.get("http-methods")) {
        let upper = strings(methods).into_iter().map(str::to_ascii_uppercase).collect::<Vec<_>>();
        entry.insert("methods".to_owned(), json!(upper));
    }
    for key in ["dedup", "deadline", "require", "body", "payload", "event-names"] {
        if let Some(value) = config.get(key) {
            entry.insert(key.to_owned(), value.clone());
        }
    }
    let auth = template::auth(config)?;
    // The id is among the headers that are signed.
    if let (Some(prefix), None) = (auth.pointer("/standard-webhooks/headers").and_then(Value::as_str), entry.get("delivery-id")) {
        entry.insert("delivery-id".to_owned(), format!("{{header:{prefix}-id}}").into());
    }
    entry.insert("auth".to_owned(), auth);
    Some(entry)
}

/// `event-header: X-Event`, `event-path: type`, `event-query: e`.
fn beside(config: &Value, name: &str) -> Option<String> {
    let place = [("header", "header"), ("path", "body"), ("field", "body"), ("body", "body"), ("query", "query")];
    place.iter().find_map(|(word, kind)| Some(format!("{{{kind}:{}}}", config.get(format!("{name}-{word}"))?.as_str()?)))
}

/// One place, or a list of which the first that is there counts.
fn places(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(place).collect(),
        one => place(one).into_iter().collect(),
    }
}

/// `{header:x}`, `header:x`, `$.type`, `/type`, `X-Event`, `type`, `{ header: X-Event }`, `{ in: header, name: X-Event }`.
fn place(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.contains('{') => Some(text.clone()),
        Value::String(text) => {
            let text = text.strip_prefix("$.").unwrap_or(text);
            Some(match text.split_once([':', '.']) {
                Some(("header" | "headers", name)) => placed("header", name),
                Some(("query", name)) => placed("query", name),
                Some(("body" | "json", path)) => placed("body", path),
                _ if text.to_ascii_lowercase().starts_with("x-") => placed("header", text),
                _ => placed("body", text),
            })
        }
        Value::Object(fields) => {
            let text = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)?.as_str());
            if let (Some(kind), Some(name)) =
                (text(&["in", "from", "source", "type", "kind"]), text(&["name", "path", "pointer", "field", "key"]))
            {
                return Some(placed(kind, name));
            }
            let known = ["header", "query", "body", "json", "path", "field", "pointer", "json-pointer", "json-path"];
            let (name, value) = fields.iter().find(|(name, _)| known.contains(&name.as_str()))?;
            Some(placed(name, value.as_str()?))
        }
        _ => None,
    }
}

/// A place in our words; a pointer is a path.
fn placed(kind: &str, name: &str) -> String {
    let kind = match kind {
        "header" | "headers" => "header",
        "query" | "param" => "query",
        _ => "body",
    };
    let name = if kind == "body" { name.trim_start_matches(['$', '.', '/']).replace('/', ".") } else { name.to_owned() };
    format!("{{{kind}:{name}}}")
}

/// An entry of a settings file: as it is, or read like a vector's description if it is no entry that the settings could have.
fn entry_of_file(entry: &Map<String, Value>) -> Map<String, Value> {
    let file = json!({ "version": 1, "secrets": placeholders(&named(&Value::Object(entry.clone()))), "sources": { "tested": pathed(entry) } });
    let (_, faults) = settings::read(Path::new("declic.yaml"), &file.to_string(), Mode::Names, &Environment::given([]));
    if faults.is_empty() {
        return entry.clone();
    }
    let Some(mut read) = described(&Value::Object(entry.clone())) else { return entry.clone() };
    read.insert("type".to_owned(), "webhook".into());
    read
}

fn pathed(entry: &Map<String, Value>) -> Map<String, Value> {
    let mut entry = entry.clone();
    entry.entry("path").or_insert_with(|| "/hooks/tested".into());
    entry
}

fn placeholders(names: &[String]) -> Map<String, Value> {
    names.iter().map(|name| (name.clone(), json!({ "from": "env", "name": "NONE" }))).collect()
}

/// Reads the entry as `declic.yaml` is read, and builds it. Whatever secret it names has the values of the vector.
fn build(entry: &Value, case: &Value, given: &[&str], around: &Around) -> Result<Arc<dyn Source>, String> {
    let path = text(case, "path").split('?').next().unwrap_or_default();
    let in_path = entry["type"] == "dockerhub" || entry["auth"].get("path").is_some();
    let path = if in_path { path.rsplit_once('/').map_or(path, |(above, _)| above) } else { path };
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("path".to_owned(), path.into());
    }
    let names = named(&entry);
    let secrets = placeholders(&names);
    let file = json!({ "version": 1, "secrets": secrets, "sources": { "tested": entry } }).to_string();
    let (settings, faults) = settings::read(Path::new("declic.yaml"), &file, Mode::Names, &Environment::given([]));
    let settings = settings.ok_or_else(|| format!("{file}: {faults:?}"))?;
    let given = if given.is_empty() { &FIT[..1] } else { given };
    let values: Vec<Secret> = given.iter().copied().map(Secret::new).collect();
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

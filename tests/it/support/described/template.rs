//! A way of signing as somebody else may have written it down, in the words of `auth:`.
//!
//! Vectors and settings of others describe the same things under other names (`signature_header`, `hash: HMAC-SHA256`, `tolerance: 300`),
//! nested or flat, and write what is signed as a text, with other brackets, or as a list. All of it becomes one `auth:` block.

use serde_json::{Map, Value, json};

/// Ways under `auth:`, and what else they are called.
const WAYS: &[(&str, &[&str])] = &[
    ("hmac", &["hmac", "hmac-sha256", "hmac-sha1", "hmac-sha384", "hmac-sha512", "signature", "mac"]),
    ("standard-webhooks", &["standard-webhooks", "standardwebhooks", "svix", "standard"]),
    ("ed25519", &["ed25519", "eddsa"]),
    ("ecdsa-p256", &["ecdsa-p256", "ecdsa", "es256", "p256", "ecdsa-p256-sha256"]),
    ("oidc", &["oidc", "jwt", "id-token", "google-oidc", "google"]),
    ("basic", &["basic", "basic-auth"]),
    ("bearer", &["bearer", "bearer-token"]),
    ("path", &["path", "path-secret", "path-token"]),
    ("query", &["query", "query-token", "query-secret"]),
    ("field", &["field", "body-field", "body-secret"]),
    ("token", &["token", "static", "static-token", "header", "header-token", "shared-secret", "plain"]),
];

/// Keys that say which way it is.
const KINDS: &[&str] = &["kind", "type", "scheme", "verifier", "way", "method", "mode", "auth", "verify"];

/// Keys under which the whole block may stand.
const BLOCKS: &[&str] = &["auth", "verify", "verification", "template", "verifier", "authentication"];

/// The `auth:` block, if anything is described. Names of secrets all become `hook`.
pub fn auth(config: &Value) -> Option<Value> {
    let block = BLOCKS.iter().find_map(|name| config.get(*name).filter(|value| value.is_object())).unwrap_or(config);
    let block = &hyphenated(block);
    for (way, names) in WAYS {
        // `header: X-Signature` is a key of a way, `header: { name: … }` is one.
        let nested = names.iter().find_map(|name| block.get(*name).filter(|value| value.is_object() || *name == *way));
        match nested {
            Some(Value::Object(fields)) if *way == "hmac" && block.get("hmac").is_none() => {
                // `signature: { header, encoding }` beside `algorithm:` is a part of the description.
                let mut all = block.as_object()?.clone();
                all.remove("signature");
                all.extend(fields.clone());
                return Some(json!({ "hmac": signed(&all) }));
            }
            Some(Value::Object(fields)) => return way_of(way, fields),
            Some(Value::String(_)) if matches!(*way, "basic" | "bearer" | "path") => return Some(json!({ *way: "hook" })),
            _ => {}
        }
    }
    let fields = block.as_object()?;
    let kinds = KINDS
        .iter()
        .filter_map(|name| fields.get(*name).and_then(Value::as_str))
        .map(|word| word.to_ascii_lowercase().replace('_', "-"));
    let told =
        kinds.into_iter().find_map(|word| WAYS.iter().find(|(_, names)| names.contains(&word.as_str())).map(|(way, _)| *way));
    let guessed = || {
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        if has(&["audience"]) {
            Some("oidc")
        } else if has(&["header", "signature-header", "signature"]) && !has(&["secret-header"]) {
            Some("hmac")
        } else if has(&["secret-header", "token-header"]) {
            Some("token")
        } else {
            None
        }
    };
    way_of(told.or_else(guessed)?, fields)
}

fn way_of(way: &str, fields: &Map<String, Value>) -> Option<Value> {
    let first = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).cloned();
    let header = || first(&["header", "header-name", "secret-header", "token-header", "name"]);
    Some(match way {
        "basic" | "bearer" | "path" => json!({ way: "hook" }),
        "oidc" => {
            let mut block = json!({ "audience": first(&["audience", "aud"])?, "email": first(&["email", "service-account"])? });
            for (key, value) in
                [("issuers", first(&["issuers", "issuer", "iss"])), ("keys-url", first(&["keys-url", "jwks-url"]))]
            {
                match value {
                    Some(one @ Value::String(_)) if key == "issuers" => block[key] = json!([one]),
                    Some(value) => block[key] = value,
                    None => {}
                }
            }
            json!({ way: block })
        }
        "query" => json!({ way: { "name": first(&["name", "param", "parameter", "query"])?, "secret": "hook" } }),
        "field" => json!({ way: { "path": first(&["path", "field", "body-field"])?, "secret": "hook" } }),
        "token" => {
            let mut block = json!({ "header": header()?, "secret": "hook" });
            if let Some(prefix) = first(&["prefix"]) {
                block["prefix"] = prefix;
            }
            json!({ way: block })
        }
        "standard-webhooks" => {
            let mut block = json!({ "secret": "hook" });
            if let Some(headers) =
                first(&["headers", "header-prefix", "prefix"]).and_then(|value| value.as_str().map(str::to_owned))
            {
                block["headers"] = headers.trim_end_matches('-').to_ascii_lowercase().into();
            }
            if let Some(age) = first(&["max-age", "tolerance", "tolerance-seconds"]) {
                block["max-age"] = seconds(&age);
            }
            json!({ way: block })
        }
        _ => json!({ way: signed(fields) }),
    })
}

/// The keys of a signature, flat and under our names.
fn signed(fields: &Map<String, Value>) -> Value {
    let mut all = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("signature" | "header", Value::Object(inner)) => {
                all.extend(
                    inner
                        .iter()
                        .map(|(name, value)| (if name == "name" { "header".to_owned() } else { name.clone() }, value.clone())),
                );
            }
            ("timestamp" | "time", Value::Object(inner)) => {
                let renamed = inner.iter().map(|(name, value)| {
                    let name = match name.as_str() {
                        "name" | "header" => "timestamp-header",
                        "label" | "key" => "timestamp-label",
                        "field" | "body" | "path" => "timestamp-field",
                        "unit" | "format" => "timestamp-unit",
                        _ => "max-age",
                    };
                    (name.to_owned(), value.clone())
                });
                all.extend(renamed);
            }
            ("timestamp" | "time", Value::String(_)) => {
                all.insert("timestamp-header".to_owned(), value.clone());
            }
            _ => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
    let mut block = Map::new();
    block.insert("secret".to_owned(), "hook".into());
    for (name, value) in &all {
        if let Some((name, value)) = key(name, value) {
            block.insert(name.to_owned(), value);
        }
    }
    if let Some(template) = block.remove("signed") {
        let id = ["id-header", "delivery-id-header", "message-id-header"].iter().find_map(|name| all.get(*name)?.as_str());
        block.insert("signed".to_owned(), parts(&template, id).into());
    }
    Value::Object(block)
}

/// Our name and value of one key; `None` for what says nothing about the signature.
fn key(name: &str, value: &Value) -> Option<(&'static str, Value)> {
    let text = value.as_str().unwrap_or_default();
    let word = text.to_ascii_lowercase();
    Some(match name {
        "header" | "signature-header" | "header-name" | "sig-header" => ("header", value.clone()),
        "prefix" | "signature-prefix" => ("prefix", value.clone()).filter_empty()?,
        "label" | "signature-label" | "signature-key" | "list-key" | "version-label" => ("label", labelled(text)),
        "separator" | "delimiter" | "list-separator" => ("separator", value.clone()),
        "algorithm" | "algo" | "hash" | "digest" | "alg" => ("algorithm", algorithm(text)),
        "encoding" | "signature-encoding" | "signature-format" => {
            let word = word.replace('_', "-");
            let word = match word.as_str() {
                "base64-standard" | "b64" | "std-base64" => "base64",
                "base64-url" | "urlsafe-base64" | "b64url" => "base64url",
                "hex-lower" | "lower-hex" | "lowercase-hex" | "hexadecimal" => "hex",
                other => other,
            };
            ("encoding", word.into())
        }
        "signed" | "signing-template" | "signed-payload" | "payload" | "parts" | "signed-parts" | "message" | "template"
        | "content" | "signed-string" | "base-string" | "signing-string" => ("signed", value.clone()),
        "timestamp-header" | "ts-header" | "time-header" => ("timestamp-header", value.clone()),
        "timestamp-label" | "timestamp-key" | "ts-label" => ("timestamp-label", labelled(text)),
        "timestamp-field" | "timestamp-path" | "timestamp-body-field" => ("timestamp-field", value.clone()),
        "timestamp-unit" | "unit" | "time-unit" => {
            let milliseconds = matches!(word.as_str(), "ms" | "millis" | "milliseconds" | "millisecond");
            ("timestamp-unit", if milliseconds { "milliseconds" } else { "seconds" }.into())
        }
        "max-age" | "tolerance" | "tolerance-seconds" | "timestamp-tolerance" | "max-age-seconds" | "max-skew" | "window" => {
            ("max-age", seconds(value))
        }
        "key" | "key-decoding" | "key-encoding" | "key-format" | "key-form" | "secret-encoding" | "secret-format" => {
            let word = match word.as_str() {
                "utf8" | "utf-8" | "raw" | "plain" | "none" | "ascii" => "text",
                "whsec_" => "whsec",
                other => other,
            };
            ("key", word.into())
        }
        "public-url" | "url" | "endpoint-url" => ("public-url", value.clone()),
        _ => return None,
    })
}

/// A key whose empty text means that there is none.
trait FilterEmpty: Sized {
    fn filter_empty(self) -> Option<Self>;
}

impl FilterEmpty for (&'static str, Value) {
    fn filter_empty(self) -> Option<Self> {
        (self.1.as_str() != Some("")).then_some(self)
    }
}

/// `v1` and `v1=` are the same label.
fn labelled(text: &str) -> Value {
    if text.ends_with(|last: char| last.is_ascii_alphanumeric()) { format!("{text}=").into() } else { text.into() }
}

/// `HMAC-SHA256`, `hmac_sha256`, `SHA-256`, `HS256`: all the same hash.
pub fn algorithm(word: &str) -> Value {
    let word = word.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let word = word.strip_prefix("hmac").unwrap_or(&word);
    word.strip_prefix("hs")
        .filter(|digits| digits.parse::<u16>().is_ok())
        .map_or_else(|| word.to_owned(), |bits| format!("sha{bits}"))
        .into()
}

fn seconds(value: &Value) -> Value {
    match value {
        Value::Number(number) => format!("{number}s").into(),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => format!("{text}s").into(),
        other => other.clone(),
    }
}

/// What is signed, in our brackets.
fn parts(template: &Value, id: Option<&str>) -> String {
    match template {
        Value::Array(items) => items.iter().map(|item| part(item, id)).collect(),
        Value::String(text) if text.contains('{') => bracketed(text, id),
        Value::String(text) => bare(text, id),
        other => part(other, id),
    }
}

/// `{timestamp}.{body}`, with one or two brackets, with or without a `$`.
fn bracketed(text: &str, id: Option<&str>) -> String {
    let text = text.replace("${", "{").replace("{{", "{").replace("}}", "}");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        out.push_str(&known(name.trim(), id).unwrap_or_else(|| format!("{{{name}}}")));
        rest = after;
    }
    out + rest
}

/// `v0:timestamp:body`, `timestamp + body`, `id.ts.body`.
fn bare(text: &str, id: Option<&str>) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '-') {
            word.push(character);
            continue;
        }
        out.push_str(&known(&word, id).unwrap_or_else(|| word.clone()));
        word.clear();
        if !matches!(character, '\0' | '+' | ' ') {
            out.push(character);
        }
    }
    out
}

/// An item of a list: a name, a text that is itself, or `{ header: X }`.
fn part(item: &Value, id: Option<&str>) -> String {
    match item {
        Value::Object(fields) => match fields.iter().next() {
            Some((name, Value::String(value))) if matches!(name.as_str(), "header" | "payload") => format!("{{{name}:{value}}}"),
            Some((_, Value::String(value))) if fields.contains_key("type") || fields.contains_key("part") => {
                known(value, id).unwrap_or_default()
            }
            Some((_, Value::String(value))) => value.clone(),
            _ => String::new(),
        },
        Value::String(text) if text.contains('{') => bracketed(text, id),
        Value::String(text) => known(text, id).unwrap_or_else(|| text.clone()),
        _ => String::new(),
    }
}

/// A part by any of its names.
fn known(name: &str, id: Option<&str>) -> Option<String> {
    let word = name.to_ascii_lowercase().replace('_', "-");
    Some(match word.as_str() {
        "body" | "raw-body" | "rawbody" | "payload" | "raw" | "request-body" => "{body}".to_owned(),
        "timestamp" | "ts" | "t" | "time" => "{timestamp}".to_owned(),
        "method" | "http-method" => "{method}".to_owned(),
        "url" | "public-url" | "request-url" | "uri" => "{url}".to_owned(),
        "form" | "form-params" | "sorted-params" => "{form}".to_owned(),
        "id" | "msg-id" | "message-id" | "webhook-id" => format!("{{header:{}}}", id?),
        _ => match word.split_once([':', '.']) {
            Some(("header" | "headers", header)) => format!("{{header:{header}}}"),
            Some(("payload" | "form", field)) => format!("{{payload:{field}}}"),
            _ => return None,
        },
    })
}

/// Keys with hyphens, as the settings have them. Names that a sender made (of headers, of fields) stand in values and stay.
pub fn hyphenated(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                let theirs = matches!(name.as_str(), "if" | "json" | "headers");
                (name.replace('_', "-"), if theirs { value.clone() } else { hyphenated(value) })
            })
            .collect(),
        other => other.clone(),
    }
}

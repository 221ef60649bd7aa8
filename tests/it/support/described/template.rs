//! A way of signing as somebody else may have written it down, in the words of `auth:`.
//!
//! Vectors and settings of others describe the same things under other names (`signature_header`, `hash: HMAC-SHA256`, `tolerance: 300`),
//! nested or flat, and write what is signed as a text, with other brackets, or as a list. All of it becomes one `auth:` block.

use serde_json::{Map, Value, json};

use super::signature::{algorithm, seconds, signed};

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
    ("items", &["items", "json", "json-signature", "signature-in-json", "signature-in-body", "body-signature", "hmac-fields"]),
    ("sns", &["sns", "aws-sns", "amazon-sns", "x509", "sns-x509"]),
    ("token", &["token", "static", "static-token", "header", "header-token", "shared-secret", "plain", "secret-header"]),
];

/// Keys that say which way it is.
const KINDS: &[&str] =
    &["kind", "type", "scheme", "verifier", "way", "method", "mode", "auth", "verify", "algorithm", "algo", "alg"];

/// Keys of a signature: where one of them is, `header: { … }` says how the signature's header looks.
const SIGNATURE: &[&str] = &["signed", "signed-parts", "signed-payload", "parts", "algorithm", "hash", "digest", "encoding"];

/// Keys under which the whole block may stand.
const BLOCKS: &[&str] =
    &["auth", "verify", "verification", "template", "hmac-template", "signature-template", "verifier", "authentication"];

/// The `auth:` block, if anything is described. Names of secrets all become `hook`.
pub fn auth(config: &Value) -> Option<Value> {
    let told = BLOCKS.iter().find_map(|name| config.get(*name).filter(|value| value.is_object() || value.is_array()));
    // Any of several ways.
    if let Some(ways) = told.and_then(Value::as_array).or_else(|| told?.get("any")?.as_array()) {
        return Some(json!({ "any": ways.iter().map(auth).collect::<Option<Vec<_>>>()? }));
    }
    let block = told.unwrap_or(config);
    let block = &hyphenated(block);
    let fields = block.as_object()?;
    let kinds = KINDS
        .iter()
        .filter_map(|name| fields.get(*name).and_then(Value::as_str))
        .map(|word| word.to_ascii_lowercase().replace('_', "-"));
    let told =
        kinds.into_iter().find_map(|word| WAYS.iter().find(|(_, names)| names.contains(&word.as_str())).map(|(way, _)| *way));
    for (way, names) in WAYS {
        // `header: X-Signature` is a key of a way, `header: { name: … }` is one.
        if told.is_some_and(|told| told != *way) {
            continue;
        }
        let mut names = names.iter().filter(|name| **name != "header" || SIGNATURE.iter().all(|key| !fields.contains_key(*key)));
        let nested = names.find_map(|name| block.get(*name).filter(|value| value.is_object() || *name == *way));
        match nested {
            Some(Value::Object(fields)) if *way == "hmac" && block.get("hmac").is_none() => {
                // `signature: { header, encoding }` beside `algorithm:` is a part of the description.
                let mut all = block.as_object()?.clone();
                if !all.contains_key("signature") {
                    all.extend(fields.clone());
                }
                return Some(json!({ "hmac": signed(&all) }));
            }
            Some(Value::Object(fields)) => return way_of(way, fields),
            Some(Value::String(_)) if matches!(*way, "basic" | "bearer" | "path") => return Some(json!({ *way: "hook" })),
            _ => {}
        }
    }
    if fields.get("basic").or_else(|| fields.get("bearer")).is_some_and(|told| *told == Value::Bool(true)) {
        let way = if fields.contains_key("basic") { "basic" } else { "bearer" };
        return way_of(way, fields);
    }
    let guessed = || {
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(*name));
        if has(&["audience"]) {
            Some("oidc")
        } else if has(&["topic-arn", "topic-arns", "topics"]) {
            Some("sns")
        } else if has(&["signed-fields", "signature-field", "signature-path"]) {
            Some("items")
        } else if has(&["header", "signature-header", "signature", "signature-query", "query-param"]) && !has(&["secret-header"])
        {
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
        "sns" => {
            let topics = first(&["topic-arn", "topic-arns", "topics", "topic"])?;
            json!({ way: { "topic-arn": if topics.is_array() { topics } else { json!([topics]) } } })
        }
        "items" => items(fields)?,
        "oidc" => {
            let mut block = json!({ "audience": first(&["audience", "aud"])? });
            for (key, value) in [
                ("email", first(&["email", "service-account"])),
                ("issuers", first(&["issuers", "issuer", "iss"])),
                ("keys-url", first(&["keys-url", "jwks-url"])),
            ] {
                match value {
                    Some(one @ Value::String(_)) if key == "issuers" => block[key] = json!([one]),
                    Some(value) => block[key] = value,
                    None => {}
                }
            }
            json!({ way: block })
        }
        // A token may stand elsewhere than in a header.
        "token" if fields.get("in").is_some_and(|place| place == "query") || fields.contains_key("query") => {
            way_of("query", fields)?
        }
        "query" => json!({ way: { "name": first(&["name", "param", "parameter", "query", "key"])?, "secret": "hook" } }),
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
            // The prefix itself, or the names of the three headers.
            let svix = KINDS.iter().any(|name| fields.get(*name).is_some_and(|word| word == "svix")).then(|| json!("svix"));
            let prefix = first(&["headers", "header-prefix", "prefix"]).or(svix).and_then(|value| match value {
                Value::String(text) => Some(text),
                Value::Object(names) => names.values().find_map(|name| Some(name.as_str()?.rsplit_once('-')?.0.to_owned())),
                _ => None,
            });
            if let Some(prefix) = prefix {
                block["headers"] = prefix.trim_end_matches('-').to_ascii_lowercase().into();
            }
            if let Some(age) = first(&["max-age", "tolerance", "tolerance-seconds"]) {
                block["max-age"] = seconds(&age);
            }
            json!({ way: block })
        }
        "hmac" => json!({ way: signed(fields) }),
        // The way is the algorithm, and the key has one form.
        _ => {
            let mut block = signed(fields);
            if let Some(block) = block.as_object_mut() {
                block.retain(|name, _| name != "algorithm" && name != "key");
            }
            json!({ way: block })
        }
    })
}

/// A signature in the body, over some of its fields.
fn items(fields: &Map<String, Value>) -> Option<Value> {
    let first = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).cloned();
    let mut block = json!({
        "secret": "hook",
        "signature": first(&["signature", "signature-field", "signature-path"])?,
        "signed": first(&["signed", "signed-fields", "fields", "parts"])?,
    });
    let text = |value: Value| value.as_str().map(|text| text.to_ascii_lowercase().into());
    for (key, value) in [
        ("list", first(&["list", "items", "items-path"])),
        ("item", first(&["item", "item-path"])),
        ("join", first(&["join", "separator", "joiner", "glue"])),
        ("algorithm", first(&["algorithm", "hash"]).and_then(|value| Some(algorithm(value.as_str()?)))),
        ("encoding", first(&["encoding"]).and_then(text)),
        ("key", first(&["key", "key-encoding", "key-decoding", "secret-encoding"]).and_then(text)),
        ("timestamp-field", first(&["timestamp-field", "timestamp-path"])),
        ("timestamp-unit", first(&["timestamp-unit", "unit"]).and_then(text)),
        ("max-age", first(&["max-age", "tolerance", "tolerance-seconds"]).map(|value| seconds(&value))),
    ] {
        if let Some(value) = value {
            block[key] = value;
        }
    }
    Some(json!({ "items": block }))
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

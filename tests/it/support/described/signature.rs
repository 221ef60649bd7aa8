//! A signature in a header, as somebody else may have written it down: its keys flat or nested, under other names, a list of pairs described in
//! one of several ways.

use serde_json::{Map, Value};

use super::parts::{Names, parts};

/// The keys of a signature, flat and under our names.
pub fn signed(fields: &Map<String, Value>) -> Value {
    let all = flat(fields);
    let mut block = Map::new();
    block.insert("secret".to_owned(), "hook".into());
    for (name, value) in &all {
        if let Some((ours, value)) = key(name, value) {
            // What stands before a key says more of its form than how the rest is written.
            if name == "secret-prefix" || !block.contains_key(ours) {
                block.insert(ours.to_owned(), value);
            }
        }
    }
    layout(&all, &mut block);
    if let Some(template) = block.remove("signed") {
        let text = |names: &[&str]| names.iter().find_map(|name| all.get(*name)?.as_str());
        let is_list = block.contains_key("label");
        let names = Names {
            id: text(&["id-header", "delivery-id-header", "message-id-header"]),
            time: text(&["timestamp-header", "ts-header", "time-header"]),
            join: text(&["join", "joiner", "glue", "parts-separator", "join-with"])
                .or_else(|| text(&["separator", "delimiter"]).filter(|_| !is_list)),
        };
        block.insert("signed".to_owned(), parts(&template, &names).into());
    }
    if !block.contains_key("label") {
        block.remove("separator");
    }
    Value::Object(block)
}

/// Nested descriptions of the header, the time, the key and the pairs, as keys of one level.
fn flat(fields: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("signature" | "header" | "signature-header", Value::Object(inner)) => all.extend(renamed(
                inner,
                &[
                    ("name", if inner.get("in").is_some_and(|place| place == "query") { "query" } else { "header" }),
                    ("key", "label"),
                    ("signature", "signature-key"),
                    ("timestamp", "timestamp-key"),
                ],
            )),
            ("timestamp" | "time", Value::Object(inner)) => all.extend(time(inner)),
            ("timestamp" | "time" | "timestamp-source", Value::String(text)) => {
                let (place, name) = text.split_once([':', '.']).unwrap_or(("header", text));
                all.insert(format!("timestamp-{}", place.trim_end_matches('s')), name.into());
            }
            ("list" | "pairs" | "key-value" | "kv" | "key-value-list" | "kv-list", Value::Object(inner)) => {
                all.extend(renamed(
                    inner,
                    &[
                        ("signature", "signature-key"),
                        ("sig", "signature-key"),
                        ("timestamp", "timestamp-key"),
                        ("time", "timestamp-key"),
                        ("ts", "timestamp-key"),
                        ("time-key", "timestamp-key"),
                    ],
                ));
            }
            ("key" | "key-decoding" | "secret-format", Value::Object(inner)) => all.extend(renamed(
                inner,
                &[("encoding", "key"), ("decode", "key"), ("decoding", "key"), ("format", "key"), ("prefix", "secret-prefix")],
            )),
            _ => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
    all
}

fn renamed(fields: &Map<String, Value>, names: &[(&str, &str)]) -> Map<String, Value> {
    let ours = |name: &str| names.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| *ours).to_owned();
    fields.iter().map(|(name, value)| (ours(name), value.clone())).collect()
}

/// `{ header: X, unit: ms, tolerance: 300 }`, `{ from: { header: X } }`, `{ in: header, name: X }`.
fn time(fields: &Map<String, Value>) -> Map<String, Value> {
    let mut all = Map::new();
    let place = ["in", "source", "from"].iter().find_map(|name| fields.get(*name)?.as_str());
    for (name, value) in fields {
        let ours = match (name.as_str(), value) {
            ("from" | "source", Value::Object(inner)) => {
                all.extend(time(inner));
                continue;
            }
            ("in" | "from" | "source", _) => continue,
            ("name" | "key" | "path" | "field" | "label", _) if place.is_some() => match place.unwrap_or_default() {
                "body" | "payload" | "json" => "timestamp-field",
                "signature" | "list" | "label" => "timestamp-label",
                "query" | "param" => "timestamp-query",
                _ => "timestamp-header",
            },
            ("name" | "header", _) => "timestamp-header",
            ("label" | "key", _) => "timestamp-label",
            ("field" | "body" | "path", _) => "timestamp-field",
            ("query" | "param", _) => "timestamp-query",
            ("unit" | "format", _) => "timestamp-unit",
            _ => "max-age",
        };
        all.insert(ours.to_owned(), value.clone());
    }
    all
}

/// `sha256={signature}`, `t={timestamp},v1={signature}`: how the header looks.
fn layout(all: &Map<String, Value>, block: &mut Map<String, Value>) {
    let looks =
        ["format", "header-format", "value-format", "header-template", "layout"].iter().find_map(|name| all.get(*name)?.as_str());
    let Some(looks) = looks.map(|text| text.replace("{sig}", "{signature}").replace("{hex}", "{signature}")) else { return };
    let Some((before, _)) = looks.split_once("{signature}") else { return };
    let time = ["{timestamp}", "{ts}", "{t}"].iter().find_map(|name| looks.split_once(*name));
    let Some((time, after)) = time else {
        if !before.is_empty() {
            block.insert("prefix".to_owned(), before.into());
        }
        return;
    };
    let separator = after.chars().next().unwrap_or(',');
    let label = before.rsplit(separator).next().unwrap_or(before);
    block.insert("label".to_owned(), label.into());
    block.insert("separator".to_owned(), separator.to_string().into());
    block.insert("timestamp-label".to_owned(), time.rsplit(separator).next().unwrap_or(time).into());
}

/// Our name and value of one key; `None` for what says nothing about the signature.
fn key(name: &str, value: &Value) -> Option<(&'static str, Value)> {
    let text = value.as_str().unwrap_or_default();
    let word = text.to_ascii_lowercase().replace('_', "-");
    Some(match name {
        "header" | "signature-header" | "header-name" | "sig-header" => ("header", value.clone()),
        "query" | "signature-query" | "query-param" | "signature-param" => ("query", value.clone()),
        "timestamp-query" | "timestamp-param" => ("timestamp-query", value.clone()),
        "prefix" | "signature-prefix" | "header-prefix" | "value-prefix" if !text.is_empty() => ("prefix", value.clone()),
        "label" | "signature-label" | "signature-key" | "list-key" | "version-label" | "kv-signature" | "sig-key" => {
            ("label", labelled(text))
        }
        "separator" | "delimiter" | "list-separator" | "pair-separator" => ("separator", value.clone()),
        "algorithm" | "algo" | "hash" | "digest" | "alg" | "hmac" if value.is_string() => ("algorithm", algorithm(text)),
        "encoding" | "signature-encoding" | "signature-format" | "enc" | "digest-encoding" => {
            ("encoding", encoding(&word).into())
        }
        "signed" | "signing-template" | "signed-payload" | "payload" | "parts" | "signed-parts" | "message" | "template"
        | "content" | "signed-string" | "base-string" | "signing-string" | "signed-content" | "to-sign" | "string-to-sign" => {
            ("signed", value.clone())
        }
        "timestamp-header" | "ts-header" | "time-header" => ("timestamp-header", value.clone()),
        "timestamp-label" | "timestamp-key" | "ts-label" | "kv-timestamp" | "ts-key" | "time-key" => {
            ("timestamp-label", labelled(text))
        }
        "timestamp-field" | "timestamp-path" | "timestamp-body-field" | "timestamp-body" => ("timestamp-field", value.clone()),
        "timestamp-unit" | "unit" | "time-unit" | "timestamp-format" => ("timestamp-unit", unit(&word).into()),
        "max-age"
        | "tolerance"
        | "tolerance-seconds"
        | "timestamp-tolerance"
        | "max-age-seconds"
        | "max-skew"
        | "window"
        | "tolerance-s"
        | "max-age-s"
        | "timestamp-tolerance-seconds" => ("max-age", seconds(value)),
        "key" | "key-decoding" | "key-encoding" | "key-format" | "key-form" | "secret-encoding" | "secret-format"
        | "secret-decoding" | "decode-key" => ("key", key_form(&word).into()),
        // What stands before the base64 of a key is its form.
        "secret-prefix" if word == "whsec-" => ("key", "whsec".into()),
        "public-url" | "url" | "endpoint-url" => ("public-url", value.clone()),
        _ => return None,
    })
}

fn encoding(word: &str) -> &str {
    match word {
        "base64-standard" | "b64" | "std-base64" => "base64",
        "base64-url" | "urlsafe-base64" | "b64url" | "url-safe-base64" => "base64url",
        "hex-lower" | "lower-hex" | "lowercase-hex" | "hexadecimal" | "hex-lowercase" => "hex",
        other => other,
    }
}

fn unit(word: &str) -> &'static str {
    match word {
        "iso8601" | "iso-8601" | "rfc3339" | "rfc-3339" | "iso" | "date" | "datetime" => "rfc3339",
        _ if word.contains("milli") || word == "ms" || word.ends_with("-ms") => "milliseconds",
        _ => "seconds",
    }
}

fn key_form(word: &str) -> &str {
    match word {
        "utf8" | "utf-8" | "raw" | "plain" | "none" | "ascii" | "false" => "text",
        "whsec-" | "standard-webhooks" => "whsec",
        other => encoding(other),
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

/// `300`, `"300"` and `5m` are lengths of time.
pub fn seconds(value: &Value) -> Value {
    match value {
        Value::Number(number) => format!("{number}s").into(),
        Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => format!("{text}s").into(),
        other => other.clone(),
    }
}

//! Acceptance vectors: data that more cases than ours are run through.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use serde_json::Value;

/// The folder in `DECLIC_VECTORS`, which must be there.
#[expect(clippy::disallowed_methods, reason = "the folder of vectors is a setting of the test run, not of the service")]
fn given() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("DECLIC_VECTORS")?);
    assert!(folder.is_dir(), "DECLIC_VECTORS is {}, and there is no such folder", folder.display());
    Some(folder)
}

/// `DECLIC_VECTORS`, or our own.
pub fn folder() -> PathBuf {
    given().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors").into())
}

/// A file of the folder. `None`, said on stdout, if it is not in a folder that was given; ours are all there.
pub fn vectors(name: &str) -> Option<Value> {
    let file = folder().join(name);
    let Ok(text) = std::fs::read_to_string(&file) else {
        assert!(given().is_some(), "{} is missing", file.display());
        println!("{} is missing: nothing was checked", file.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// Names of the files with cases of providers: all without a leading underscore, in order.
pub fn provider_files() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder()) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json") && !name.starts_with('_')).collect();
    names.sort();
    names
}

/// A text of a case; empty if there is none.
pub fn text<'c>(case: &'c Value, key: &str) -> &'c str {
    case[key].as_str().unwrap_or_default()
}

/// A text or a list of texts.
pub fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// The body of a case: text, or bytes that are none as `body_base64` or `body_hex`.
fn body(case: &Value) -> Vec<u8> {
    let decoded = if let Some(text) = case["body_base64"].as_str() {
        STANDARD.decode(text).ok()
    } else if let Some(text) = case["body_hex"].as_str() {
        hex::decode(text).ok()
    } else {
        Some(text(case, "body").to_owned().into_bytes())
    };
    decoded.unwrap_or_else(|| panic!("{}: the body is not written as it says", text(case, "id")))
}

/// The request of a case as it would have been read from a socket at the case's time.
pub fn inbound(case: &Value) -> Inbound {
    let (path, query) = text(case, "path").split_once('?').unwrap_or((text(case, "path"), ""));
    let headers = case["headers"].as_object().into_iter().flatten();
    let now = case["now"].as_f64().unwrap_or_default();
    Inbound {
        method: text(case, "method").to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers
            .flat_map(|(name, value)| {
                strings(value).into_iter().map(|value| (name.to_ascii_lowercase(), value.to_owned().into()))
            })
            .collect(),
        body: body(case).into(),
        #[expect(clippy::cast_possible_truncation, reason = "moments of this century")]
        received_at: Timestamp((now * 1000.0) as i64),
    }
}

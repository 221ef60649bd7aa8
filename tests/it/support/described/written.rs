//! Settings files beside the vectors: `PROVIDER.yaml`, or one with entries of several (`declic.yaml`, `settings.yaml`, any other).

use std::path::Path;

use declic::rules::yaml::{self, Limits};
use serde_json::{Map, Value, json};

use super::super::vectors::text;

/// The entry for the provider of a case: what its own file says, or the entry of that name, or the one with the case's path, in any file.
pub fn entry(folder: &Path, case: &Value) -> Option<Map<String, Value>> {
    let provider = text(case, "provider");
    let mut files: Vec<(String, Value)> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"))
        .filter_map(|name| Some((stem(&name), read(&folder.join(&name))?)))
        .collect();
    files.sort_by(|(one, _), (other, _)| one.cmp(other));
    let own = files.iter().find(|(name, _)| same(name, provider)).and_then(|(_, file)| of_own_file(file, provider));
    let entry = own.or_else(|| files.iter().find_map(|(_, file)| named(file, provider)));
    let entry = entry.or_else(|| files.iter().find_map(|(_, file)| at_path(file, text(case, "path"))))?;
    let mut entry = entry.as_object()?.clone();
    entry.entry("type").or_insert_with(|| "webhook".into());
    Some(entry)
}

/// `_acme.yaml` and `acme.yml` are both of acme.
fn stem(name: &str) -> String {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).trim_start_matches('_').to_owned()
}

fn same(one: &str, other: &str) -> bool {
    one.replace('_', "-").eq_ignore_ascii_case(&other.replace('_', "-"))
}

fn read(path: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(path).ok()?;
    let (node, faults) = yaml::read(&path.display().to_string(), &text, Limits::OPERATOR);
    assert!(node.is_some(), "{}: {faults:?}", path.display());
    node.map(|node| without_dollars(node.to_json()))
}

/// A file of one provider: settings with one source, an entry, or a provider's file as the catalogue has them.
fn of_own_file(file: &Value, provider: &str) -> Option<Value> {
    if let Some(entry) = named(file, provider) {
        return Some(entry);
    }
    if let Some(sources) = file.get("sources").and_then(Value::as_object) {
        return (sources.len() == 1).then(|| sources.values().next().cloned())?;
    }
    file.is_object().then(|| file.clone())
}

fn named(file: &Value, provider: &str) -> Option<Value> {
    let entries = ["sources", "providers"].iter().find_map(|section| file.get(*section)).unwrap_or(file);
    match entries {
        Value::Object(entries) => {
            entries.iter().find(|(name, entry)| same(name, provider) && entry.is_object()).map(|(_, entry)| entry.clone())
        }
        // A list of entries with names.
        Value::Array(entries) => {
            let named = |entry: &&Value| ["name", "provider"].iter().any(|key| same(text(entry, key), provider));
            let mut entry = entries.iter().find(named)?.clone();
            entry.as_object_mut()?.retain(|key, _| key != "name" && key != "provider");
            Some(entry)
        }
        _ => None,
    }
}

fn at_path(file: &Value, path: &str) -> Option<Value> {
    let path = path.split('?').next()?;
    let entries = file.get("sources")?.as_object()?;
    entries.values().find(|entry| entry.get("path").and_then(Value::as_str) == Some(path)).cloned()
}

/// `$secret` is how a file of the catalogue names what the settings give.
fn without_dollars(value: Value) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix('$') {
            Some(_) => json!("hook"),
            None => Value::String(text),
        },
        Value::Array(items) => items.into_iter().map(without_dollars).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, without_dollars(value))).collect(),
        other => other,
    }
}

//! `secrets:`: references, and what they refer to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use declic_actions::secret::Secret;

use super::Environment;
use super::entries::is_name;
use crate::rules::diagnostic::Faults;
use crate::rules::suggest::did_you_mean;
use crate::rules::values::{keys, not_a, unknown_key};
use crate::rules::yaml::{Content, Entry, Node};

/// More than any key; a mistaken path to a log or a device does not fill the memory.
const LARGEST: u64 = 256 * 1024;
/// Values of one secret that may be on their way out at once.
const MOST_PREVIOUS: usize = 8;

/// Where a secret's value is.
#[derive(Debug, Clone, PartialEq)]
pub enum SecretSource {
    /// A variable of the environment.
    Environment(String),
    /// A file; one line break at its end is not part of the value.
    File(PathBuf),
    /// A version in Secret Manager: `projects/P/secrets/S/versions/V`, fetched at start.
    GcpSecret(String),
}

/// One entry of `secrets:`.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretEntry {
    /// The value in use.
    pub current: SecretSource,
    /// Values that are still accepted during rotation, newest first; from the same kind of place.
    pub previous: Vec<SecretSource>,
    /// Where the entry stands in the file.
    pub span: Range<usize>,
}

/// Reads the section: references only, no values.
pub fn section(faults: &mut Faults, node: &Node, folder: &Path) -> BTreeMap<String, SecretEntry> {
    let Some(entries) = node.entries() else {
        not_a(faults, &node.span, "`secrets`", "a mapping of names", node.kind());
        return BTreeMap::new();
    };
    entries.iter().filter_map(|entry| reference(faults, entry, folder).map(|found| (entry.key.clone(), found))).collect()
}

fn reference(faults: &mut Faults, entry: &Entry, folder: &Path) -> Option<SecretEntry> {
    if !is_name(&entry.key) {
        let message = format!("`{}` cannot name a secret", entry.key);
        faults.error("id", entry.span.clone(), message, Some("use letters, digits and _".to_owned()));
    }
    if entry.value.scalar().is_some_and(|scalar| !scalar.is_null()) {
        let message = format!("`{}` must say where the value is, not the value itself", entry.key);
        let help = "{ from: env, name: VARIABLE }, { from: file, path: /run/secrets/x } or { from: gcp-secret, name: projects/P/secrets/S }";
        faults.error("plain-secret", entry.value.span.clone(), message, Some(help.to_owned()));
        faults.conceal(entry.value.span.clone());
        return None;
    }
    let owner = format!("the secret `{}`", entry.key);
    let found = keys(faults, &entry.value, &owner, &["from", "name", "path", "previous"], |_| None);
    let text = |key: &str| found.iter().find(|field| field.key == key);
    let Some(from) = text("from") else {
        let message = format!("{owner} needs `from`");
        faults.error("missing", entry.span.clone(), message, Some("from: env, file or gcp-secret".to_owned()));
        return None;
    };
    let kind = from.value.scalar().map_or("", |scalar| scalar.text.as_str());
    let (wanted, other) = match kind {
        "env" | "gcp-secret" => ("name", "path"),
        "file" => ("path", "name"),
        _ => {
            let help = did_you_mean(kind, ["env", "file", "gcp-secret"]).or(Some("env, file or gcp-secret".to_owned()));
            faults.error("name", from.value.span.clone(), format!("a secret cannot come from `{kind}`"), help);
            return None;
        }
    };
    if let Some(field) = text(other) {
        unknown_key(faults, &format!("a secret from `{kind}`"), field, Some(format!("write `{wanted}:`")));
    }
    let Some(place) = text(wanted) else {
        faults.error("missing", entry.span.clone(), format!("{owner} needs `{wanted}`"), None);
        return None;
    };
    let current = source(faults, kind, wanted, &place.value, folder);
    let previous = text("previous").map(|field| previous(faults, kind, &field.value, folder)).unwrap_or_default();
    Some(SecretEntry { current: current?, previous, span: entry.span.clone() })
}

/// One, or a list of them.
fn previous(faults: &mut Faults, kind: &str, value: &Node, folder: &Path) -> Vec<SecretSource> {
    let values = match &value.content {
        Content::List(items) => items.as_slice(),
        _ => std::slice::from_ref(value),
    };
    if values.len() > MOST_PREVIOUS {
        let message = format!("`previous` has {} values, more than {MOST_PREVIOUS}", values.len());
        faults.error("secret", value.span.clone(), message, Some("each request is checked against all of them".to_owned()));
    }
    values.iter().filter_map(|value| source(faults, kind, "previous", value, folder)).collect()
}

fn source(faults: &mut Faults, kind: &str, key: &str, value: &Node, folder: &Path) -> Option<SecretSource> {
    let text = value.scalar().map_or("", |scalar| scalar.text.as_str());
    if text.is_empty() {
        not_a(faults, &value.span, &format!("`{key}`"), "a string", value.kind());
        return None;
    }
    match kind {
        "env" => Some(SecretSource::Environment(text.to_owned())),
        "file" => Some(SecretSource::File(folder.join(text))),
        _ => gcp_resource(text).map(SecretSource::GcpSecret).or_else(|| {
            let help = "projects/PROJECT/secrets/NAME, with /versions/VERSION behind it to pin one".to_owned();
            let message = format!("`{text}` does not name a secret of Secret Manager");
            faults.error("name", value.span.clone(), message, Some(help));
            None
        }),
    }
}

/// The full name of a version, `latest` if none is named.
fn gcp_resource(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':' | b'.'))
    };
    match parts.as_slice() {
        ["projects", project, "secrets", name] if plain(project) && plain(name) => Some(format!("{text}/versions/latest")),
        ["projects", project, "secrets", name, "versions", version] if plain(project) && plain(name) && plain(version) => {
            Some(text.to_owned())
        }
        _ => None,
    }
}

/// Reads the values of variables and files. What is missing or empty is a fault that names the entry, never the value.
pub fn resolve(
    faults: &mut Faults,
    entries: &BTreeMap<String, SecretEntry>,
    environment: &Environment,
) -> BTreeMap<String, Vec<Secret>> {
    let mut values = BTreeMap::new();
    for (name, entry) in entries {
        let mut found = Vec::new();
        match read(faults, name, &entry.current, &entry.span, environment) {
            Ok(value) => found.extend(value),
            Err(why) => faults.error("secret", entry.span.clone(), format!("the secret `{name}` {why}"), None),
        }
        for previous in &entry.previous {
            match read(faults, name, previous, &entry.span, environment) {
                Ok(value) => found.extend(value),
                Err(why) => {
                    let message = format!("the previous value of the secret `{name}` {why}");
                    let help = "it is not accepted; take `previous` out when the rotation is over".to_owned();
                    faults.warning("secret", entry.span.clone(), message, Some(help));
                }
            }
        }
        values.insert(name.clone(), found);
    }
    values
}

/// The value in use, if it can be read here.
pub fn peek(entry: &SecretEntry, environment: &Environment) -> Option<Secret> {
    read(&mut Faults::new(""), "", &entry.current, &entry.span, environment).ok().flatten()
}

fn read(
    faults: &mut Faults,
    name: &str,
    source: &SecretSource,
    span: &Range<usize>,
    environment: &Environment,
) -> Result<Option<Secret>, String> {
    let (bytes, place) = match source {
        SecretSource::GcpSecret(_) => return Ok(None),
        SecretSource::Environment(variable) => {
            let value = environment.get(variable).ok_or_else(|| format!("is not there: the variable {variable} is not set"))?;
            (value.into_bytes(), format!("the variable {variable}"))
        }
        SecretSource::File(path) => {
            let shown = path.display();
            let metadata = std::fs::metadata(path).map_err(|error| format!("is not there: {shown}: {error}"))?;
            if !metadata.is_file() || metadata.len() > LARGEST {
                return Err(format!("cannot be in {shown}: that is no file of at most {LARGEST} bytes"));
            }
            if open_to_all(&metadata) {
                let message = format!("everybody on this machine can read the secret `{name}` in {shown}");
                faults.warning("secret", span.clone(), message, Some(format!("chmod o-rwx {shown}")));
            }
            let mut bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {shown}: {error}"))?;
            if bytes.ends_with(b"\n") {
                bytes.pop();
            }
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
            (bytes, shown.to_string())
        }
    };
    if bytes.is_empty() {
        return Err(format!("is empty: {place} holds nothing, and an empty secret would let everybody in"));
    }
    Ok(Some(Secret::new(bytes)))
}

#[cfg(unix)]
fn open_to_all(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn open_to_all(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// (entry, resource, previous?) of everything in Secret Manager, the values of one entry newest first.
pub fn to_fetch(entries: &BTreeMap<String, SecretEntry>) -> Vec<(String, String, bool)> {
    let mut wanted = Vec::new();
    for (name, entry) in entries {
        let previous = entry.previous.iter().map(|previous| (previous, true));
        for (source, previous) in std::iter::once((&entry.current, false)).chain(previous) {
            if let SecretSource::GcpSecret(resource) = source {
                wanted.push((name.clone(), resource.clone(), previous));
            }
        }
    }
    wanted
}

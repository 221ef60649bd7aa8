//! `sources:`, `targets:`, `connections:`: entries whose keys their `type:` declares.

use std::collections::{BTreeMap, BTreeSet};

use declic_actions::action::Field;
use declic_actions::targets::SettingKind;
use serde_json::{Map, Value};

use crate::rules::diagnostic::Faults;
use crate::rules::shapes;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::types::Type;
use crate::rules::values::{Positions, holds_secret, literal, not_a, unknown_key, value};
use crate::rules::yaml::{Entry, Node, Scalar};

/// What an operator may call an entry: rules name it, and it becomes a label of metrics.
pub fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
}

/// Values of settings: no templates, and secrets are names of entries of `secrets:`.
pub struct Plainly<'a> {
    /// Where faults go.
    pub faults: &'a mut Faults,
    /// Entries of `secrets:`.
    pub secrets: &'a BTreeSet<String>,
}

impl Positions for Plainly<'_> {
    fn faults(&mut self) -> &mut Faults {
        self.faults
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, expected: &Type, name: &str) -> Option<Template> {
        let is_secret = match expected {
            Type::Optional(inner) => **inner == Type::Secret,
            other => *other == Type::Secret,
        };
        if is_secret && !self.secrets.contains(&scalar.text) {
            let help = did_you_mean(&scalar.text, self.secrets.iter().map(String::as_str))
                .or_else(|| Some("name an entry of `secrets:`; the value itself never stands in this file".to_owned()));
            // The text may be the secret itself, so it is not repeated.
            self.faults.error("name", node.span.clone(), format!("`{name}` does not name an entry of `secrets:`"), help);
            self.faults.conceal(node.span.clone());
            return None;
        }
        literal(self.faults, node, scalar, expected, name).map(Template::literal)
    }

    fn stands_for_all(&self, _scalar: &Scalar) -> bool {
        false
    }
}

/// An entry after checking.
pub struct Checked {
    /// `type:`
    pub kind: &'static str,
    /// The other keys.
    pub fields: Map<String, Value>,
}

/// Checks one entry. `common` are keys that every type of the section has.
pub fn entry(
    plainly: &mut Plainly<'_>,
    entry: &Entry,
    section: &str,
    kinds: &[&'static SettingKind],
    common: &[Field],
) -> Option<Checked> {
    if !is_name(&entry.key) {
        let help = "use letters, digits, _ and -, at most 63 of them, beginning with a letter".to_owned();
        plainly.faults.error(
            "id",
            entry.span.clone(),
            format!("`{}` cannot name an entry of `{section}`", entry.key),
            Some(help),
        );
    }
    let Some(entries) = entry.value.entries() else {
        not_a(plainly.faults, &entry.value.span, &format!("`{}`", entry.key), "a mapping", entry.value.kind());
        return None;
    };
    let known = || kinds.iter().map(|kind| kind.name);
    let Some(kind_entry) = entries.iter().find(|field| field.key == "type") else {
        let help = format!("type: {}", known().collect::<Vec<_>>().join(", "));
        plainly.faults.error("missing", entry.span.clone(), format!("`{}` needs `type`", entry.key), Some(help));
        return None;
    };
    let word = kind_entry.value.scalar().map_or("", |scalar| scalar.text.as_str());
    let Some(kind) = kinds.iter().find(|kind| kind.name == word) else {
        let help = did_you_mean(word, known()).unwrap_or_else(|| format!("known: {}", known().collect::<Vec<_>>().join(", ")));
        plainly.faults.error("name", kind_entry.value.span.clone(), format!("`{section}` has no type `{word}`"), Some(help));
        return None;
    };
    let mut types = shapes::object(kind.fields);
    types.extend(shapes::object(common));
    let fields = fields(plainly, entry, entries, kind.name, &types)?;
    Some(Checked { kind: kind.name, fields })
}

fn fields(
    plainly: &mut Plainly<'_>,
    owner: &Entry,
    entries: &[Entry],
    kind: &str,
    types: &BTreeMap<String, Type>,
) -> Option<Map<String, Value>> {
    let mut checked = Map::new();
    let mut whole = true;
    for entry in entries.iter().filter(|entry| entry.key != "type") {
        let Some(expected) = types.get(&entry.key) else {
            let help = did_you_mean(&entry.key, types.keys().map(String::as_str));
            unknown_key(plainly.faults, &format!("the type `{kind}`"), entry, help);
            if types.values().any(holds_secret) {
                plainly.faults.conceal(entry.value.span.clone());
            }
            whole = false;
            continue;
        };
        if matches!(entry.key.as_str(), "url" | "base-url") && holds_credential(entry) {
            let message = format!("`{}` holds a credential", entry.key);
            let help = "put the credential into `auth:`; addresses are shown in logs and listings".to_owned();
            plainly.faults.error("plain-secret", entry.value.span.clone(), message, Some(help));
            plainly.faults.conceal(entry.value.span.clone());
            whole = false;
            continue;
        }
        match value(plainly, &entry.value, expected, &entry.key) {
            Some(Template::Literal(value)) => {
                checked.insert(entry.key.clone(), value);
            }
            _ => whole = false,
        }
    }
    for (key, expected) in types {
        if !matches!(expected, Type::Optional(_)) && !entries.iter().any(|entry| entry.key == *key) {
            let message = format!("`{}` needs `{key}`", owner.key);
            let help = (*expected == Type::Secret || key == "auth")
                .then(|| "without it nothing could be verified, and nothing unverified is taken in".to_owned());
            plainly.faults.error("missing", owner.span.clone(), message, help);
            whole = false;
        }
    }
    whole &= one_way(plainly.faults, entries, types);
    whole.then_some(checked)
}

/// Words in the name of a query parameter that is a credential.
const CREDENTIALS: &[&str] = &["key", "token", "secret", "password", "passwd", "pwd", "auth", "signature", "credential"];

/// An address with a user, or with a query parameter that is called like a credential.
fn holds_credential(entry: &Entry) -> bool {
    let Some(url) = entry.value.scalar().and_then(|scalar| url::Url::parse(&scalar.text).ok()) else { return false };
    let is_credential = |name: &str| {
        let name = name.to_ascii_lowercase();
        matches!(name.as_str(), "sig" | "code" | "pass") || CREDENTIALS.iter().any(|word| name.contains(word))
    };
    !url.username().is_empty() || url.password().is_some() || url.query_pairs().any(|(name, _)| is_credential(&name))
}

/// `auth:` with several ways in it would leave open which one counts.
fn one_way(faults: &mut Faults, entries: &[Entry], types: &BTreeMap<String, Type>) -> bool {
    let Some(auth) = entries.iter().find(|entry| entry.key == "auth") else { return true };
    let expected = match types.get("auth") {
        Some(Type::Optional(inner)) => inner.as_ref(),
        Some(other) => other,
        None => return true,
    };
    let (Type::Object(ways), Some(given)) = (expected, auth.value.entries()) else { return true };
    let several = ways.values().all(|way| matches!(way, Type::Optional(_)));
    if several && given.len() != 1 {
        let ways = ways.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        faults.error("auth", auth.span.clone(), format!("`auth` needs exactly one of {ways}"), None);
        return false;
    }
    true
}

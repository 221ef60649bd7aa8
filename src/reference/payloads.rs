//! The page of GitHub's payloads: what `event.payload` holds, event by event.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{cell, heading};
use crate::rules::github_payloads;
use crate::rules::types::Type;

/// Parts that most payloads have, all alike: they are shown once.
const SHARED: &[&str] = &["repository", "sender", "organization", "installation", "enterprise"];

/// Levels of objects that are written out; what is below is only said to be an object.
const LEVELS: usize = 2;

/// The page.
pub(super) fn page() -> String {
    let mut page = heading("GitHub's payloads");
    page.push_str(
        "What `event.payload` holds of each of GitHub's webhooks, as GitHub describes it. A type with `?` may be missing; `text` is what an outsider can \
         choose; `{…}` is an object whose fields the checker knows too. A field that is promised here and missing all the same is an error of the \
         expression that reads it.\n\n## In most payloads\n\n",
    );
    table(&mut page, &shared(), |_| false);
    for event_type in github_payloads::event_types() {
        let Some(Type::Object(fields)) = github_payloads::payload_type(event_type, None) else { continue };
        let _ = writeln!(page, "## {event_type}\n");
        table(&mut page, &fields, |name| SHARED.contains(&name));
    }
    page
}

/// The shared parts, each from the first payload that has it.
fn shared() -> BTreeMap<String, Type> {
    let mut found = BTreeMap::new();
    for event_type in github_payloads::event_types() {
        let Some(Type::Object(fields)) = github_payloads::payload_type(event_type, None) else { continue };
        for (name, kind) in fields.into_iter().filter(|(name, _)| SHARED.contains(&name.as_str())) {
            found.entry(name).or_insert_with(|| kind.present().clone());
        }
    }
    found
}

fn table(page: &mut String, fields: &BTreeMap<String, Type>, elsewhere: impl Fn(&str) -> bool) {
    page.push_str("| field | type |\n|---|---|\n");
    for (name, kind) in fields {
        let mark = if kind.is_optional() { "?" } else { "" };
        let shown = match kind.present() {
            Type::Object(_) if elsewhere(name) => "[as in most](#in-most-payloads)".to_owned(),
            kind => format!("`{}`", cell(&outline(kind, LEVELS))),
        };
        let _ = writeln!(page, "| `{name}{mark}` | {shown} |");
    }
    page.push('\n');
}

/// The type as a shape, with so many levels of objects.
fn outline(kind: &Type, levels: usize) -> String {
    match kind {
        Type::Object(fields) if !fields.is_empty() => {
            let Some(levels) = levels.checked_sub(1) else { return "{…}".to_owned() };
            let fields = fields.iter().map(|(name, kind)| {
                let mark = if kind.is_optional() { "?" } else { "" };
                format!("{name}{mark}: {}", outline(kind.present(), levels))
            });
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Type::List(inner) => format!("[{}]", outline(inner, levels)),
        Type::Map(inner) => format!("{{ \"*\": {} }}", outline(inner, levels)),
        Type::Optional(inner) => format!("{}?", outline(inner, levels)),
        other => other.to_string(),
    }
}

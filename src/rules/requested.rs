//! What rules ask for, beside what their repository was granted. Pure.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::rules::check::is_granted;
use crate::rules::model::{Grant, Rule};
use crate::rules::template::Template;

/// One thing that rules use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Request {
    /// `event`, `action`, `target`, `connection`, `source`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Was it granted?
    pub granted: bool,
}

/// Everything that the rules use and that needs a grant, each once, in the order of the words and names.
pub fn requested<'r>(rules: impl Iterator<Item = &'r Rule>, grant: &Grant) -> Vec<Request> {
    let mut found: BTreeSet<(&'static str, String)> = BTreeSet::new();
    for rule in rules {
        for trigger in &rule.triggers {
            found.insert(("event", trigger.event.to_owned()));
            found.extend(trigger.source.iter().map(|source| ("source", source.clone())));
        }
        for step in rule.steps.iter().chain(&rule.on_failure).chain(&rule.finally) {
            found.insert(("action", step.uses.clone()));
            for what in ["target", "connection"] {
                found.extend(literal(&step.with, what).map(|name| (what, name)));
            }
        }
    }
    let granted = |what: &str, name: &str| match what {
        "event" => is_granted(&grant.events, name),
        "action" => name != "exec/run" && is_granted(&grant.actions, name),
        "target" => is_granted(&grant.targets, name),
        "connection" => is_granted(&grant.connections, name),
        _ => is_granted(&grant.sources, name),
    };
    found.into_iter().map(|(what, name)| Request { granted: granted(what, &name), what, name }).collect()
}

/// Names of targets and connections are never computed.
fn literal(with: &Template, key: &str) -> Option<String> {
    let value = match with {
        Template::Literal(Value::Object(fields)) => fields.get(key),
        Template::Object(fields) => fields.iter().find_map(|(name, field)| match field {
            Template::Literal(value) if name == key => Some(value),
            _ => None,
        }),
        _ => None,
    };
    value?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::check::{Ground, check};

    #[test]
    fn each_thing_is_told_once_with_what_was_granted_of_it() {
        let text = "version: 1\nrules:\n  one:\n    on: { github.push: { branches: [main] } }\n    steps:\n      - { uses: github/comment, with: { body: x } }\n      - { uses: slack/post, with: { connection: slack_eng, channel: \"#a\", text: x } }\n      - { uses: github/comment, with: { body: y } }\n";
        let checked = check("a.yaml", text, &Ground::default());
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
        let grant = Grant { events: vec!["github.push".to_owned()], actions: vec!["github/*".to_owned()], ..Grant::default() };
        let told: Vec<String> = requested(checked.rules.iter(), &grant)
            .into_iter()
            .map(|Request { what, name, granted }| format!("{what} {name} {granted}"))
            .collect();
        assert_eq!(
            told,
            ["action github/comment true", "action slack/post false", "connection slack_eng false", "event github.push true"]
        );
    }
}

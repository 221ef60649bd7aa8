//! `collapse:`, what is told once.

use std::time::Duration;

use declic_actions::kinds;

use super::{Checker, advice, keys as known};
use crate::rules::expr::Scope;
use crate::rules::model::{Collapse, Repeats, Step};
use crate::rules::suggest::did_you_mean;
use crate::rules::types::Type;
use crate::rules::values::keys;
use crate::rules::yaml::{Entry, Node};

/// A message is edited no longer than this after the last time, unless the rule says otherwise: nobody looks for news so far above.
const QUIET: Duration = Duration::from_secs(3600);

impl Checker<'_> {
    /// Its own keys.
    pub fn collapse(&mut self, node: &Node, scope: &Scope) -> Option<Collapse> {
        let entries = keys(&mut self.faults, node, "`collapse`", known::COLLAPSE, advice::collapse);
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        let mut repeats = Repeats::default();
        if let Some(entry) = find("repeats")
            && let Some(word) = self.plain_text(&entry.value, "repeats")
        {
            match known::REPEATS.iter().find(|(name, _)| *name == word) {
                Some((_, found)) => repeats = *found,
                None => {
                    let names = || known::REPEATS.iter().map(|(name, _)| *name);
                    let help = did_you_mean(&word, names()).unwrap_or_else(|| "it is `edit` or `drop`".to_owned());
                    self.faults.error("type", entry.value.span.clone(), format!("`repeats` cannot be `{word}`"), Some(help));
                }
            }
        }
        let quiet = find("quiet").and_then(|entry| self.duration(&entry.value, "quiet"));
        let quiet = quiet.or_else(|| (repeats == Repeats::Edit).then_some(QUIET));
        let state = find("state").and_then(|entry| self.template(&entry.value, &Type::String, scope, "state"));
        let Some(key) = find("key") else {
            let help = "key: ${{ event.policy }}, what belongs together".to_owned();
            self.faults.error("missing", node.span.clone(), "`collapse` needs `key`", Some(help));
            return None;
        };
        Some(Collapse { key: self.template(&key.value, &Type::String, scope, "key")?, state, repeats, quiet })
    }

    /// What else the rule says must go with it: a repeat does again what the rule does.
    pub fn collapsed<'s>(
        &mut self,
        entry: &Entry,
        collapse: &Collapse,
        beside: &[&Entry],
        steps: impl Iterator<Item = &'s Step>,
    ) {
        for other in beside {
            let why = match (other.key.as_str(), collapse.repeats) {
                ("reply", _) => "whoever waits is to be answered every time",
                ("concurrency", Repeats::Edit) => "one that is told waits for its turn by itself",
                ("environment", Repeats::Edit) => "every repeat would make a deployment",
                _ => continue,
            };
            let message = format!("`collapse` does not go with `{}`: {why}", other.key);
            self.faults.error("collapse", other.span.clone(), message, None);
        }
        if collapse.repeats == Repeats::Drop {
            return;
        }
        for step in steps.filter(|step| kinds::find(&step.uses).is_some_and(|action| !action.edits())) {
            let able: Vec<&str> = kinds::ALL.iter().filter(|action| action.edits()).map(|action| action.spec().name).collect();
            let message = format!("every repeat would do `{}` again", step.uses);
            let help = format!(
                "only {} can edit what they said; `repeats: drop` does nothing for repeats, or put the step into a rule of its own",
                able.join(", ")
            );
            self.faults.error("collapse", entry.span.clone(), message, Some(help));
        }
    }
}

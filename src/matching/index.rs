//! Rules by (source, event, repository): the cost of a delivery does not grow with the number of rules for others.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::look::{Occasion, look, overlooked};
use super::{Check, Decisions, Trace, Verdict};
use crate::event::Event;
use crate::rules::model::{FilterTest, Rule, RuleSet, Trigger};

/// Rules by (source, event, repository), so that a delivery looks only at those that could start.
pub struct Index {
    set: Arc<RuleSet>,
    /// Hash of the key to (rule, trigger), in order. A wildcard is an entry with that part empty.
    entries: HashMap<u64, Vec<(usize, usize)>>,
    /// Event kinds of which some rule reads the payload.
    payloads: HashSet<String>,
}

impl Index {
    /// Builds it once for a rule set.
    pub fn new(set: Arc<RuleSet>) -> Self {
        let mut entries: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
        let mut payloads = HashSet::new();
        for (rule_number, rule) in set.rules.iter().enumerate() {
            if rule.reads_payload {
                payloads.extend(rule.triggers.iter().map(|trigger| trigger.event.clone()));
            }
            if !rule.enabled {
                continue;
            }
            for (trigger_number, trigger) in rule.triggers.iter().enumerate() {
                for repository in repositories(rule, trigger) {
                    let key = key(&trigger.event, trigger.source.as_deref(), repository);
                    entries.entry(key).or_default().push((rule_number, trigger_number));
                }
            }
        }
        Self { set, entries, payloads }
    }

    /// The rules behind it.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// Must an event of this kind be decoded with its payload?
    pub fn reads_payload(&self, event_kind: &str) -> bool {
        self.payloads.contains(event_kind)
    }

    /// Holds an event against every rule that could start.
    pub fn decide(&self, event: &Event) -> Decisions {
        let mut candidates = Vec::new();
        for source in [None, Some(event.source.as_str())] {
            for repository in [None, event.repository()] {
                candidates.extend(self.entries.get(&key(&event.kind, source, repository)).into_iter().flatten().copied());
                if event.repository().is_none() {
                    break;
                }
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        let occasion = Occasion::new(event);
        let mut decisions = Decisions::default();
        for (rule_number, trigger_number) in candidates {
            let Some(rule) = self.set.rules.get(rule_number) else { continue };
            let Some(trigger) = rule.triggers.get(trigger_number) else { continue };
            // Keys are hashes: a chance neighbour is told apart here.
            if overlooked(rule, trigger, event).is_none() {
                decisions.add(rule, look(rule, trigger, &occasion));
            }
        }
        decisions
    }

    /// Holds an event against all rules, also those of other events, sources and repositories: for `explain`.
    pub fn decide_all(&self, event: &Event) -> Decisions {
        let occasion = Occasion::new(event);
        let mut decisions = Decisions::default();
        for rule in &self.set.rules {
            let heard = rule.triggers.iter().find(|trigger| overlooked(rule, trigger, event).is_none());
            let trace = match heard {
                Some(trigger) if rule.enabled => look(rule, trigger, &occasion),
                _ => not_looked_at(rule, event),
            };
            decisions.add(rule, trace);
        }
        decisions
    }
}

/// The trace of a rule that the index does not even offer.
fn not_looked_at(rule: &Rule, event: &Event) -> Trace {
    let check = if rule.enabled {
        let checks = rule.triggers.iter().filter_map(|trigger| overlooked(rule, trigger, event));
        // Of several triggers, the one of the same event says most.
        checks
            .max_by_key(|check| !check.text.starts_with("event "))
            .unwrap_or_else(|| Check::new(false, "on", "it hears no event"))
    } else {
        Check::new(false, "enabled", "the rule is switched off by `enabled: false`")
    };
    Trace { rule: rule.name.clone(), place: rule.place.clone(), verdict: Verdict::NotMatched, checks: vec![check] }
}

/// The repositories that a rule can be found by; `None` stands for all.
fn repositories<'a>(rule: &'a Rule, trigger: &'a Trigger) -> Vec<Option<&'a str>> {
    if let Some(owner) = &rule.owner {
        return vec![Some(owner)];
    }
    let names = trigger.filters.iter().filter(|filter| filter.path == "repo.full_name").find_map(|filter| match &filter.test {
        FilterTest::Glob(set) => set.names(),
        _ => None,
    });
    names.map_or_else(|| vec![None], |names| names.into_iter().map(Some).collect())
}

/// GitHub's names ignore case; the filter itself does not, and its trace says so.
fn key(event: &str, source: Option<&str>, repository: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    source.hash(&mut hasher);
    repository.map(str::to_ascii_lowercase).hash(&mut hasher);
    hasher.finish()
}

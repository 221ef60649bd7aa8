//! Rules by (source, event, repository): the cost of a delivery does not grow with the number of rules for others.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::look::{Checks, Occasion, look, overlooked};
use super::{Asks, Check, Decisions, Verdict};
use crate::event::Event;
use crate::rules::model::{FilterTest, Rule, RuleSet, Trigger};
use crate::rules::registry;

/// Rules that are looked at while a sender waits, at most.
const QUICK: usize = 64;

/// Rules by (source, event, repository), so that a delivery looks only at those that could start.
pub struct Index {
    set: Arc<RuleSet>,
    /// Hash of the key to the places in `entries` that it has. A wildcard is a key with that part empty.
    keys: HashMap<u64, Range<u32>>,
    /// (rule, trigger) by key, in order.
    entries: Vec<(u32, u32)>,
    /// Event kinds of which some rule reads the payload.
    payloads: HashSet<&'static str>,
    /// Event kinds of which some rule needs the delivery's id to be decided.
    ids: HashSet<&'static str>,
    /// Sources to which some rule replies; none stands for all.
    replies: HashSet<Option<String>>,
}

impl Index {
    /// Builds it once for a rule set.
    pub fn new(set: Arc<RuleSet>) -> Self {
        let mut found: Vec<(u64, u32, u32)> = Vec::new();
        let mut payloads = HashSet::new();
        let mut ids = HashSet::new();
        let mut replies = HashSet::new();
        for (rule_number, rule) in (0..).zip(&set.rules) {
            if rule.reads_payload {
                payloads.extend(rule.triggers.iter().map(|trigger| trigger.event));
            }
            if rule.reads_id {
                ids.extend(rule.triggers.iter().map(|trigger| trigger.event));
            }
            if !rule.enabled {
                continue;
            }
            if rule.reply.is_some() {
                replies.extend(rule.triggers.iter().map(|trigger| trigger.source.clone()));
            }
            for (trigger_number, trigger) in (0..).zip(&rule.triggers) {
                for repository in repositories(rule, trigger) {
                    found.push((key(trigger.event, trigger.source.as_deref(), repository), rule_number, trigger_number));
                }
            }
        }
        found.sort_unstable();
        let mut keys = HashMap::new();
        for (place, (key, ..)) in (0..).zip(&found) {
            keys.entry(*key).or_insert(place..place).end = place + 1;
        }
        keys.shrink_to_fit();
        let entries = found.into_iter().map(|(_, rule, trigger)| (rule, trigger)).collect();
        Self { set, keys, entries, payloads, ids, replies }
    }

    /// The rules behind it.
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.set
    }

    /// Must an event of this kind be decoded with its payload?
    pub fn reads_payload(&self, event_kind: &str) -> bool {
        hears(&self.payloads, event_kind)
    }

    /// Does whether a rule starts for an event of this kind depend on the delivery's id?
    pub fn reads_id(&self, event_kind: &str) -> bool {
        hears(&self.ids, event_kind)
    }

    /// Could any rule reply to what this source brings?
    pub fn may_reply(&self, source: &str) -> bool {
        !self.replies.is_empty() && (self.replies.contains(&None) || self.replies.contains(&Some(source.to_owned())))
    }

    /// Holds an event against every rule that could start.
    pub fn decide(&self, event: &Event) -> Decisions {
        self.decide_within(event, usize::MAX)
    }

    /// The same with reasons for at most so many of the rules that do not match; the others are counted, and no reason is made for them.
    /// Of rules that start, are refused or fail, there is always a reason.
    pub fn decide_within(&self, event: &Event, most: usize) -> Decisions {
        let occasion = Occasion::new(event);
        let mut decisions = Decisions::default();
        let (mut left, mut looked_at) = (most, 0);
        self.heard(event, |rule, heard| {
            looked_at += 1;
            let keeps =
                left > 0 || best(rule, heard, &occasion, false).is_some_and(|(verdict, _)| verdict != Verdict::NotMatched);
            if !keeps {
                decisions.more += 1;
            } else if let Some((verdict, checks)) = best(rule, heard, &occasion, true) {
                left = left.saturating_sub(usize::from(verdict == Verdict::NotMatched));
                decisions.add(rule, verdict, checks);
            }
        });
        decisions.unheard = self.set.rules.len().saturating_sub(looked_at);
        decisions
    }

    /// Are there few enough rules to look at that somebody can wait for it? Patterns are compiled when they are first used.
    pub fn is_quick(&self, event: &Event) -> bool {
        self.candidates(event).len() <= QUICK
    }

    /// What GitHub must be asked before the event is decided.
    pub fn asks(&self, event: &Event) -> Asks {
        let mut asks = Asks::default();
        self.heard(event, |rule, heard| asks.add(rule, heard, event));
        asks
    }

    /// Every rule that could start, in order, with those of its triggers that hear the event.
    pub(super) fn heard<'s>(&'s self, event: &Event, mut each: impl FnMut(&'s Arc<Rule>, &[&'s Trigger])) {
        let mut rest = self.candidates(event).into_iter().peekable();
        while let Some((rule_number, trigger_number)) = rest.next() {
            let mut triggers = vec![trigger_number];
            while let Some((_, trigger_number)) = rest.next_if(|(rule, _)| *rule == rule_number) {
                triggers.push(trigger_number);
            }
            let Some(rule) = self.set.rules.get(rule_number as usize) else { continue };
            let heard = triggers.into_iter().filter_map(|number| rule.triggers.get(number as usize));
            // Keys are hashes: a chance neighbour is told apart here.
            let heard: Vec<&Trigger> = heard.filter(|trigger| overlooked(rule, trigger, event).is_none()).collect();
            if !heard.is_empty() {
                each(rule, &heard);
            }
        }
    }

    fn entries(&self, key: u64) -> &[(u32, u32)] {
        let places = self.keys.get(&key).map_or(0..0, |places| places.start as usize..places.end as usize);
        self.entries.get(places).unwrap_or_default()
    }

    /// (rule, trigger) of everything that could start, in order.
    fn candidates(&self, event: &Event) -> Vec<(u32, u32)> {
        let mut candidates = Vec::new();
        for kind in std::iter::once(event.kind.as_str()).chain(registry::also(&event.kind)) {
            for source in [None, Some(event.source.as_str())] {
                for repository in [None, event.repository()] {
                    candidates.extend_from_slice(self.entries(key(kind, source, repository)));
                    if event.repository().is_none() {
                        break;
                    }
                }
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    /// Holds an event against all rules, also those of other events, sources and repositories: for `explain`.
    pub fn decide_all(&self, event: &Event) -> Decisions {
        let occasion = Occasion::new(event);
        let mut decisions = Decisions::default();
        for rule in &self.set.rules {
            let heard: Vec<&Trigger> =
                rule.triggers.iter().filter(|trigger| rule.enabled && overlooked(rule, trigger, event).is_none()).collect();
            let looked = best(rule, &heard, &occasion, true);
            let (verdict, checks) = looked.unwrap_or_else(|| (Verdict::NotMatched, vec![unheard(rule, event)]));
            decisions.add(rule, verdict, checks);
        }
        decisions
    }
}

/// Is it one of these kinds, or one that it also is?
fn hears(kinds: &HashSet<&'static str>, event_kind: &str) -> bool {
    kinds.contains(event_kind) || registry::also(event_kind).is_some_and(|kind| kinds.contains(kind))
}

/// What the first trigger says that lets the rule start; the first one if none does. A rule starts once for an event.
fn best(rule: &Rule, heard: &[&Trigger], occasion: &Occasion<'_>, kept: bool) -> Option<(Verdict, Vec<Check>)> {
    let mut first = None;
    for trigger in heard {
        let looked = look(rule, trigger, occasion, Checks::new(kept));
        if looked.0 == Verdict::Matched {
            return Some(looked);
        }
        first.get_or_insert(looked);
    }
    first
}

/// Why the index does not even offer a rule.
pub(crate) fn unheard(rule: &Rule, event: &Event) -> Check {
    if rule.enabled {
        let checks = rule.triggers.iter().filter_map(|trigger| overlooked(rule, trigger, event));
        // Of several triggers, the one of the same event says most.
        checks
            .max_by_key(|check| !check.text.starts_with("event "))
            .unwrap_or_else(|| Check::new(false, "on", "it hears no event"))
    } else {
        Check::new(false, "enabled", "the rule is switched off by `enabled: false`")
    }
}

/// The repositories that a rule can be found by; `None` stands for all.
fn repositories<'a>(rule: &'a Rule, trigger: &'a Trigger) -> Vec<Option<&'a str>> {
    if let Some(owner) = &rule.owner {
        let granted = trigger.source.is_some().then_some(None);
        return std::iter::once(Some(owner.as_str())).chain(granted).collect();
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

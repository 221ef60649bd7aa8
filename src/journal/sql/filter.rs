//! A [`Listing`] as a condition of SQL: only what is asked for becomes part of it, values always as parameters.

use super::identity;
use super::value::Value;
use crate::journal::record::{Listing, RunState};

/// Conditions that must all hold, and the values of `?1`, `?2`, … in them.
#[derive(Default)]
pub(super) struct Filter {
    conditions: Vec<String>,
    pub values: Vec<Value<'static>>,
}

impl Filter {
    /// The mark of one more value.
    pub fn mark(&mut self, value: impl Into<Value<'static>>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// Every `?` of the condition stands for the value.
    pub fn all(&mut self, condition: &str, value: impl Into<Value<'static>>) {
        let mark = self.mark(value);
        self.conditions.push(condition.replace('?', &mark));
    }

    fn any_of(&mut self, column: &str, words: &[String]) {
        if words.is_empty() {
            return;
        }
        let marks: Vec<String> = words.iter().map(|word| self.mark(word.clone())).collect();
        self.conditions.push(format!("{column} IN ({})", marks.join(", ")));
    }

    /// What is about the delivery, whose table is `d`. Its number is its time of arrival, so that time is a range of the key.
    fn delivery(&mut self, listing: &Listing, key: &str) {
        if let Some(since) = listing.since {
            self.all(&format!("{key} >= ?"), identity::first(since));
        }
        if let Some(until) = listing.until {
            self.all(&format!("{key} < ?"), identity::first(until));
        }
        if let Some(source) = &listing.source {
            self.all("d.source = ?", source.clone());
        }
        if let Some(event) = &listing.event {
            self.all("(d.event = ? OR d.event_type = ?)", event.clone());
        }
        if let Some(repository) = &listing.repository {
            self.all("lower(d.repository) = lower(?)", repository.clone());
        }
    }

    /// For `deliveries d`.
    pub fn of_deliveries(listing: &Listing) -> Self {
        let mut filter = Self::default();
        if let Some(before) = &listing.before {
            filter.all("d.seq < ?", identity::delivery_number(before).unwrap_or(0));
        }
        filter.any_of("d.state", &listing.states);
        filter.delivery(listing, "d.seq");
        if let Some(rule) = &listing.rule {
            filter.all("EXISTS (SELECT 1 FROM runs r WHERE r.delivery = d.seq AND r.rule = ?)", rule.clone());
        }
        if let Some(text) = &listing.text {
            let id = identity::delivery_number(text).unwrap_or(-1);
            filter.all(
                "(d.delivery_id /*pg: I*/LIKE ? ESCAPE '\\' OR d.title /*pg: I*/LIKE ? ESCAPE '\\' OR d.repository /*pg: I*/LIKE ? ESCAPE '\\' \
                 OR d.reason /*pg: I*/LIKE ? ESCAPE '\\' OR d.event_type /*pg: I*/LIKE ? ESCAPE '\\' OR d.trace /*pg: I*/LIKE ? ESCAPE '\\')",
                like(text),
            );
            filter.or("d.seq = ?", id);
        }
        filter
    }

    /// For `runs r JOIN deliveries d`; `before` is the number of a run.
    pub fn of_runs(listing: &Listing, before: Option<i64>) -> Self {
        let mut filter = Self::default();
        if let Some(before) = before {
            filter.all("r.seq < ?", before);
        }
        filter.any_of("r.state", &listing.states);
        let is_open = |word: &String| RunState::of_word(word).is_some_and(|state| !state.is_final());
        if !listing.states.is_empty() && listing.states.iter().all(is_open) {
            // Few of all that are kept, and found by an index of their own.
            filter.conditions.push("r.seq IN (SELECT o.seq FROM runs o WHERE o.next_at IS NOT NULL)".to_owned());
        }
        let has_failed = |word: &String| matches!(RunState::of_word(word), Some(RunState::Failed | RunState::Dead));
        if !listing.states.is_empty() && listing.states.iter().all(has_failed) {
            // In the words of the index, so that it is seen to fit.
            filter.conditions.push("r.state IN ('failed', 'dead')".to_owned());
        }
        filter.delivery(listing, "r.delivery");
        if let Some(rule) = &listing.rule {
            filter.all("r.rule = ?", rule.clone());
        }
        if let Some(text) = &listing.text {
            let id = text.split_once('-').map_or(text.as_str(), |(delivery, _)| delivery);
            let id = identity::delivery_number(id).unwrap_or(-1);
            filter.all(
                "(r.rule /*pg: I*/LIKE ? ESCAPE '\\' OR r.failure /*pg: I*/LIKE ? ESCAPE '\\' OR r.group_key /*pg: I*/LIKE ? ESCAPE '\\' \
                 OR r.note /*pg: I*/LIKE ? ESCAPE '\\' OR d.title /*pg: I*/LIKE ? ESCAPE '\\' OR d.repository /*pg: I*/LIKE ? ESCAPE '\\')",
                like(text),
            );
            filter.or("r.delivery = ?", id);
        }
        filter
    }

    /// Widens the last condition.
    fn or(&mut self, condition: &str, value: impl Into<Value<'static>>) {
        let mark = self.mark(value);
        let last = self.conditions.pop().unwrap_or_default();
        self.conditions.push(format!("({last} OR {})", condition.replace('?', &mark)));
    }

    /// `WHERE …`, or nothing.
    pub fn clause(&self) -> String {
        if self.conditions.is_empty() { String::new() } else { format!("WHERE {}", self.conditions.join(" AND ")) }
    }
}

/// A pattern that finds the text wherever it is.
fn like(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

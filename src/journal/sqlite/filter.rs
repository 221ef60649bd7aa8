//! A [`Listing`] as a condition of SQL: only what is asked for becomes part of it, values always as parameters.

use rusqlite::types::Value;

use super::identity;
use crate::journal::record::Listing;

/// Conditions that must all hold, and the values of their question marks, in order.
#[derive(Default)]
pub(super) struct Filter {
    conditions: Vec<String>,
    pub values: Vec<Value>,
}

impl Filter {
    /// Every `?` of the condition stands for the same value.
    fn all(&mut self, condition: &str, value: impl Into<Value>) {
        let value = value.into();
        self.values.extend(condition.matches('?').map(|_| value.clone()));
        self.conditions.push(condition.to_owned());
    }

    fn any_of(&mut self, column: &str, words: &[String]) {
        if words.is_empty() {
            return;
        }
        let marks = vec!["?"; words.len()].join(", ");
        self.conditions.push(format!("{column} IN ({marks})"));
        self.values.extend(words.iter().cloned().map(Value::from));
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
            self.all("d.repository = ? COLLATE NOCASE", repository.clone());
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
                "(d.delivery_id LIKE ? ESCAPE '\\' OR d.title LIKE ? ESCAPE '\\' OR d.repository LIKE ? ESCAPE '\\' \
                 OR d.reason LIKE ? ESCAPE '\\' OR d.event_type LIKE ? ESCAPE '\\' OR d.trace LIKE ? ESCAPE '\\')",
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
        filter.delivery(listing, "r.delivery");
        if let Some(rule) = &listing.rule {
            filter.all("r.rule = ?", rule.clone());
        }
        if let Some(text) = &listing.text {
            let id = text.split_once('-').map_or(text.as_str(), |(delivery, _)| delivery);
            let id = identity::delivery_number(id).unwrap_or(-1);
            filter.all(
                "(r.rule LIKE ? ESCAPE '\\' OR r.failure LIKE ? ESCAPE '\\' OR r.group_key LIKE ? ESCAPE '\\' \
                 OR r.note LIKE ? ESCAPE '\\' OR d.title LIKE ? ESCAPE '\\' OR d.repository LIKE ? ESCAPE '\\')",
                like(text),
            );
            filter.or("r.delivery = ?", id);
        }
        filter
    }

    /// Widens the last condition.
    fn or(&mut self, condition: &str, value: impl Into<Value>) {
        let last = self.conditions.pop().unwrap_or_default();
        self.conditions.push(format!("({last} OR {condition})"));
        self.values.push(value.into());
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

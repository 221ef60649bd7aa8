//! A store that somebody looks into beside the processes that serve from it, on a thread that may block.

use serde_json::Value;

use super::listing;
use super::store::{Database, Fault};
use crate::clock::Timestamp;
use crate::journal::JournalError;
use crate::journal::record::{Delivery, DeliveryRecord, Listing, RunRecord, StepRecord};
use crate::rules::model::RuleFile;

/// A query that somebody waits for.
pub(in crate::journal) type Looking<'q> = &'q mut dyn FnMut(&dyn Database) -> Result<(), Fault>;

/// Where it looks.
pub(in crate::journal) trait Look: Send {
    /// Does the query in one view.
    fn with(&self, query: Looking<'_>) -> Result<(), JournalError>;

    /// What is damaged, if anything.
    fn damage(&self) -> Result<Option<String>, JournalError>;
}

/// Reads the store of a process that may be serving from it.
pub struct ReadOnly(pub(in crate::journal) Box<dyn Look>);

impl ReadOnly {
    fn look<T>(&self, query: impl Fn(&dyn Database) -> Result<T, Fault>) -> Result<T, JournalError> {
        let mut found = None;
        self.0.with(&mut |database| {
            found = Some(query(database)?);
            Ok(())
        })?;
        found.ok_or_else(|| JournalError::Down("the store answered nothing".to_owned()))
    }

    /// As [`super::super::Journal::deliveries`].
    pub fn deliveries(&self, listing: &Listing) -> Result<Vec<DeliveryRecord>, JournalError> {
        self.look(|database| listing::deliveries(database, listing))
    }

    /// As [`super::super::Journal::delivery`].
    pub fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError> {
        self.look(|database| listing::delivery(database, id))
    }

    /// As [`super::super::Journal::delivery_record`].
    pub fn delivery_record(&self, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, JournalError> {
        self.look(|database| listing::delivery_record(database, id))
    }

    /// As [`super::super::Journal::runs`].
    pub fn runs(&self, listing: &Listing) -> Result<Vec<RunRecord>, JournalError> {
        self.look(|database| listing::runs(database, listing))
    }

    /// As [`super::super::Journal::runs_of`].
    pub fn runs_of(&self, delivery: &str) -> Result<Vec<RunRecord>, JournalError> {
        self.look(|database| listing::runs_of(database, delivery))
    }

    /// As [`super::super::Journal::run`].
    pub fn run(&self, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, JournalError> {
        self.look(|database| listing::run(database, id))
    }

    /// As [`super::super::Journal::mark`].
    pub fn mark(&self, name: &str) -> Result<Option<Timestamp>, JournalError> {
        self.look(|database| listing::mark(database, name))
    }

    /// As [`super::super::Journal::rules`].
    pub fn rules(&self, revision: &str) -> Result<Option<Vec<RuleFile>>, JournalError> {
        self.look(|database| listing::rules(database, revision))
    }

    /// What is damaged in the store, if anything.
    pub fn integrity(&self) -> Result<Option<String>, JournalError> {
        self.0.damage()
    }
}

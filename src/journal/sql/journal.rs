//! The journal, over whatever store keeps the ledger.

use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::Answer;
use serde_json::Value;
use tokio::sync::watch;

use super::store::{Care, Session, Store};
use super::{audit, by_hand, claim, deliveries, exclusive, ledger, listing, order, retention};
use crate::clock::Timestamp;
use crate::journal::record::{
    Appended, AuditEntry, Change, Claim, Claimed, Counts, Decision, Delivery, DeliveryRecord, LastDone, Lease, Line, Listing,
    NewDelivery, Order, Place, RunRecord, Selection, StepRecord, Subject, TakenIn, Taking, Written,
};
use crate::journal::{Journal, JournalError, LedgerError};
use crate::rules::model::RuleFile;

#[async_trait]
impl<S: Store> Journal for S {
    async fn append(&self, delivery: NewDelivery) -> Result<Appended, JournalError> {
        Ok(self.take_in(delivery, Taking::Due).await?.0)
    }

    async fn append_as(&self, delivery: NewDelivery, taking: Taking) -> Result<TakenIn, JournalError> {
        self.take_in(delivery, taking).await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, JournalError> {
        Ok(self.change(Care::RELAXED, move |session| claim::claim(session, &claim)).await?)
    }

    async fn extend(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<bool>, JournalError> {
        Ok(self.change(Care::RELAXED, move |session| claim::extend(session, &leases, length)).await?)
    }

    async fn decide(&self, lease: Lease, decision: Decision) -> Result<Vec<String>, LedgerError> {
        self.change(Care::DECISION, move |session| deliveries::decide(session, &lease, &decision)).await
    }

    async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        let release = move |session: &Session<'_>| match &lease.subject {
            Subject::Delivery(_) => deliveries::release(session, &lease),
            Subject::Run(_) => ledger::write(session, &lease, &[Change::Released]).map(drop),
        };
        self.change(Care::RELAXED, release).await
    }

    async fn write(&self, lease: Lease, changes: Vec<Change>) -> Result<Written, LedgerError> {
        self.change(Care::FULL, move |session| ledger::write(session, &lease, &changes)).await
    }

    async fn wanted(&self, run: &str) -> Result<Written, JournalError> {
        let run = run.to_owned();
        self.look(move |database| ledger::wanted(database, &run)).await
    }

    async fn call_up(&self, name: &str, most: usize) -> Result<usize, JournalError> {
        let name = name.to_owned();
        Ok(self.change(Care::RELAXED, move |session| exclusive::call_up(session, &name, most)).await?)
    }

    async fn rivals(&self, line: &Line, groups: Vec<String>, exclusive: Option<String>) -> Result<Vec<Line>, JournalError> {
        let line = line.clone();
        self.look(move |database| order::rivals(database, &line, &groups, exclusive.as_deref())).await
    }

    async fn learn(&self, line: &Line, other: &Line, order: Order) -> Result<(), JournalError> {
        let (line, other) = (line.clone(), other.clone());
        Ok(self.change(Care::RELAXED, move |session| order::learn(session, &line, &other, order)).await?)
    }

    async fn retry(&self, run: &str) -> Result<(), LedgerError> {
        let run = run.to_owned();
        self.change(Care::FULL, move |session| by_hand::retry(session, &run)).await
    }

    async fn cancel(&self, run: &str) -> Result<bool, LedgerError> {
        let run = run.to_owned();
        self.change(Care::FULL, move |session| by_hand::cancel(session, &run)).await
    }

    async fn answer(&self, run: &str, place: Place, answer: Answer) -> Result<(), LedgerError> {
        let run = run.to_owned();
        self.change(Care::FULL, move |session| by_hand::answer(session, &run, place, &answer)).await
    }

    async fn dead(&self, selection: Selection) -> Result<Vec<String>, JournalError> {
        Ok(self.change(Care::RELAXED, move |session| by_hand::dead(session, &selection)).await?)
    }

    async fn replay(&self, delivery: &str) -> Result<String, LedgerError> {
        let delivery = delivery.to_owned();
        self.change(Care::FULL, move |session| by_hand::replay(session, &delivery)).await
    }

    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, JournalError> {
        let source = source.to_owned();
        self.look(move |database| listing::missing(database, &source, ids)).await
    }

    async fn mark(&self, name: &str) -> Result<Option<Timestamp>, JournalError> {
        let name = name.to_owned();
        self.look(move |database| listing::mark(database, &name)).await
    }

    async fn set_mark(&self, name: &str, at: Timestamp) -> Result<(), JournalError> {
        let name = name.to_owned();
        Ok(self.change(Care::RELAXED, move |session| deliveries::set_mark(session, &name, at)).await?)
    }

    async fn keep_rules(&self, revision: &str, files: Vec<RuleFile>) -> Result<(), JournalError> {
        let revision = revision.to_owned();
        Ok(self.change(Care::FULL, move |session| deliveries::keep_rules(session, &revision, &files)).await?)
    }

    async fn rules(&self, revision: &str) -> Result<Option<Vec<RuleFile>>, JournalError> {
        let revision = revision.to_owned();
        self.look(move |database| listing::rules(database, &revision)).await
    }

    async fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError> {
        let id = id.to_owned();
        self.look(move |database| listing::delivery(database, &id)).await
    }

    async fn delivery_record(&self, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, JournalError> {
        let id = id.to_owned();
        self.look(move |database| listing::delivery_record(database, &id)).await
    }

    async fn deliveries(&self, listing: Listing) -> Result<Vec<DeliveryRecord>, JournalError> {
        self.look(move |database| listing::deliveries(database, &listing)).await
    }

    async fn run(&self, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, JournalError> {
        let id = id.to_owned();
        self.look(move |database| listing::run(database, &id)).await
    }

    async fn runs(&self, listing: Listing) -> Result<Vec<RunRecord>, JournalError> {
        self.look(move |database| listing::runs(database, &listing)).await
    }

    async fn runs_of(&self, delivery: &str) -> Result<Vec<RunRecord>, JournalError> {
        let delivery = delivery.to_owned();
        self.look(move |database| listing::runs_of(database, &delivery)).await
    }

    async fn audit(&self, who: &str, act: &str, subject: &str) -> Result<i64, JournalError> {
        let [who, act, subject] = [who, act, subject].map(str::to_owned);
        Ok(self.change(Care::FULL, move |session| audit::write(session, &who, &act, &subject)).await?)
    }

    async fn audited(&self, number: i64, outcome: &str) -> Result<(), JournalError> {
        let outcome = outcome.to_owned();
        Ok(self.change(Care::FULL, move |session| audit::finish(session, number, &outcome)).await?)
    }

    async fn audit_log(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, JournalError> {
        self.look(move |database| audit::list(database, before, limit)).await
    }

    async fn last_done(&self) -> Result<Vec<LastDone>, JournalError> {
        self.look(exclusive::all).await
    }

    async fn counts(&self, since: Timestamp) -> Result<Counts, JournalError> {
        self.look(move |database| listing::counts(database, since)).await
    }

    async fn forget(&self, older: Duration, limit: usize) -> Result<usize, JournalError> {
        Ok(self.change(Care::RELAXED, move |session| retention::forget(session, older, limit)).await?)
    }

    async fn shrink(&self, bytes: u64, limit: usize) -> Result<usize, JournalError> {
        Ok(self.change(Care::RELAXED, move |session| retention::shrink(session, bytes, limit)).await?)
    }

    fn hints(&self) -> Option<watch::Receiver<u64>> {
        self.news()
    }

    fn works(&self) -> bool {
        self.takes_writes()
    }

    async fn probe(&self) -> Result<(), JournalError> {
        let write = |session: &Session<'_>| {
            session.connection.execute("UPDATE probe SET count = count + 1", &[])?;
            Ok(())
        };
        Ok(self.change(Care::FULL, write).await?)
    }
}

//! What lies between a process and its store: time, answers that are lost, and a line that is cut for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use declic::clock::Timestamp;
use declic::journal::record::{
    Appended, AuditEntry, Change, Claim, Claimed, Counts, Decision, Delivery, DeliveryRecord, LastDone, Lease, Line, Listing,
    NewDelivery, Order, Place, RunRecord, Selection, StepRecord, TakenIn, Taking, Verdict, Written,
};
use declic::journal::sqlite::Sqlite;
use declic::journal::{Journal, JournalError, LedgerError};
use declic::rules::model::RuleFile;
use declic_actions::action::Answer;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::outside::Outside;
use super::safeguards::Without;

/// What GitHub says of two commits; nothing if it does not say.
pub type Compare = Arc<dyn Fn(&Line, &Line) -> Option<Order> + Send + Sync>;

/// The store as one process sees it.
pub struct Between {
    pub store: Arc<Sqlite>,
    pub outside: Arc<Outside>,
    pub compare: Compare,
    /// The process is dead: nobody hears an answer any more.
    pub dead: Arc<AtomicBool>,
    /// Nothing gets through before.
    cut: Mutex<Option<Instant>>,
}

impl Between {
    pub fn new(store: &Arc<Sqlite>, outside: &Arc<Outside>, compare: &Compare, dead: &Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            outside: Arc::clone(outside),
            compare: Arc::clone(compare),
            dead: Arc::clone(dead),
            cut: Mutex::default(),
        })
    }

    /// Nothing gets through for so long.
    pub fn cut(&self, length: Duration) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + length);
    }

    /// Who may not go on: the dead for ever, those who are cut off for a while.
    async fn pass(&self, most: u64) {
        let chance = &self.outside.chance;
        if !self.outside.is_calm() {
            let delay = if chance.one_in(30) { chance.moment(most * 40) } else { chance.moment(most) };
            sleep(delay).await;
            let cut = *self.cut.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(until) = cut {
                sleep_until(until).await;
            }
        }
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    /// The question on its way.
    async fn there(&self) -> Result<(), JournalError> {
        self.pass(20).await;
        if !self.outside.is_calm() && self.outside.chance.one_in(60) {
            return Err(JournalError::Down("it did not arrive".to_owned()));
        }
        Ok(())
    }

    /// The answer on its way: what was asked for is done, whether or not that is heard.
    async fn back(&self) -> Result<(), JournalError> {
        self.pass(20).await;
        if !self.outside.is_calm() && self.outside.chance.one_in(60) {
            return Err(JournalError::Down("the answer was lost".to_owned()));
        }
        Ok(())
    }

    /// A decision without what the safeguard that is missing would do.
    fn spoilt(&self, mut decision: Decision) -> Decision {
        if let (true, Verdict::Runs(runs)) = (self.is_without(Without::Groups), &mut decision.verdict) {
            runs.iter_mut().for_each(|run| run.group = None);
        }
        if self.is_without(Without::Order) {
            decision.line = None;
        }
        decision
    }

    fn is_without(&self, what: Without) -> bool {
        self.outside.without == what
    }
}

macro_rules! carry {
    ($between:ident, $call:expr) => {{
        $between.there().await?;
        let answer = $call.await;
        $between.back().await?;
        answer
    }};
}

#[async_trait]
impl Journal for Between {
    async fn append(&self, delivery: NewDelivery) -> Result<Appended, JournalError> {
        if self.is_without(Without::Storing) {
            // Acknowledged first and stored afterwards.
            let (store, dead) = (Arc::clone(&self.store), Arc::clone(&self.dead));
            let id = format!("soon {}", delivery.delivery_id);
            drop(tokio::spawn(async move {
                sleep(Duration::from_millis(50)).await;
                if !dead.load(Ordering::SeqCst) {
                    drop(store.append(delivery).await);
                }
            }));
            return Ok(Appended::New { id });
        }
        carry!(self, self.store.append(delivery))
    }

    async fn append_as(&self, delivery: NewDelivery, mut taking: Taking) -> Result<TakenIn, JournalError> {
        if let Taking::Decided(decision, lease) = taking {
            taking = Taking::Decided(Arc::new(self.spoilt(Decision::clone(&decision))), lease);
        }
        carry!(self, self.store.append_as(delivery, taking))
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, JournalError> {
        carry!(self, self.store.claim(claim))
    }

    async fn extend(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<bool>, JournalError> {
        if self.is_without(Without::Leases) {
            return Ok(vec![true; leases.len()]);
        }
        carry!(self, self.store.extend(leases, length))
    }

    async fn decide(&self, lease: Lease, decision: Decision) -> Result<Vec<String>, LedgerError> {
        carry!(self, self.store.decide(lease, self.spoilt(decision)))
    }

    async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        carry!(self, self.store.release(lease))
    }

    async fn write(&self, lease: Lease, mut changes: Vec<Change>) -> Result<Written, LedgerError> {
        for change in &mut changes {
            match change {
                Change::Began { exclusive, .. } if self.is_without(Without::Order) => *exclusive = None,
                Change::Waits { after } if self.is_without(Without::Patience) => *after = Duration::ZERO,
                _ => {}
            }
        }
        carry!(self, self.store.write(lease, changes))
    }

    async fn wanted(&self, run: &str) -> Result<Written, JournalError> {
        carry!(self, self.store.wanted(run))
    }

    async fn call_up(&self, name: &str, most: usize) -> Result<usize, JournalError> {
        carry!(self, self.store.call_up(name, most))
    }

    /// Asks GitHub in place of the engine, whose client would leave the simulation.
    async fn rivals(&self, line: &Line, groups: Vec<String>, exclusive: Option<String>) -> Result<Vec<Line>, JournalError> {
        for rival in carry!(self, self.store.rivals(line, groups, exclusive))? {
            if let Some(order) = (self.compare)(line, &rival) {
                self.store.learn(line, &rival, order).await?;
            }
        }
        Ok(Vec::new())
    }

    async fn learn(&self, line: &Line, other: &Line, order: Order) -> Result<(), JournalError> {
        carry!(self, self.store.learn(line, other, order))
    }

    async fn retry(&self, run: &str) -> Result<(), LedgerError> {
        carry!(self, self.store.retry(run))
    }

    async fn cancel(&self, run: &str) -> Result<bool, LedgerError> {
        carry!(self, self.store.cancel(run))
    }

    async fn answer(&self, run: &str, place: Place, answer: Answer) -> Result<(), LedgerError> {
        carry!(self, self.store.answer(run, place, answer))
    }

    async fn dead(&self, selection: Selection) -> Result<Vec<String>, JournalError> {
        carry!(self, self.store.dead(selection))
    }

    async fn replay(&self, delivery: &str) -> Result<String, LedgerError> {
        carry!(self, self.store.replay(delivery))
    }

    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, JournalError> {
        carry!(self, self.store.missing(source, ids))
    }

    async fn mark(&self, name: &str) -> Result<Option<Timestamp>, JournalError> {
        carry!(self, self.store.mark(name))
    }

    async fn set_mark(&self, name: &str, at: Timestamp) -> Result<(), JournalError> {
        carry!(self, self.store.set_mark(name, at))
    }

    async fn keep_rules(&self, revision: &str, files: Vec<RuleFile>) -> Result<(), JournalError> {
        carry!(self, self.store.keep_rules(revision, files))
    }

    async fn rules(&self, revision: &str) -> Result<Option<Vec<RuleFile>>, JournalError> {
        carry!(self, self.store.rules(revision))
    }

    async fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError> {
        carry!(self, self.store.delivery(id))
    }

    async fn delivery_record(&self, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, JournalError> {
        carry!(self, self.store.delivery_record(id))
    }

    async fn deliveries(&self, listing: Listing) -> Result<Vec<DeliveryRecord>, JournalError> {
        carry!(self, self.store.deliveries(listing))
    }

    async fn run(&self, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, JournalError> {
        carry!(self, self.store.run(id))
    }

    async fn runs(&self, listing: Listing) -> Result<Vec<RunRecord>, JournalError> {
        carry!(self, self.store.runs(listing))
    }

    async fn runs_of(&self, delivery: &str) -> Result<Vec<RunRecord>, JournalError> {
        carry!(self, self.store.runs_of(delivery))
    }

    async fn audit(&self, who: &str, act: &str, subject: &str) -> Result<i64, JournalError> {
        carry!(self, self.store.audit(who, act, subject))
    }

    async fn audited(&self, number: i64, outcome: &str) -> Result<(), JournalError> {
        carry!(self, self.store.audited(number, outcome))
    }

    async fn audit_log(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, JournalError> {
        carry!(self, self.store.audit_log(before, limit))
    }

    async fn last_done(&self) -> Result<Vec<LastDone>, JournalError> {
        carry!(self, self.store.last_done())
    }

    async fn counts(&self, since: Timestamp) -> Result<Counts, JournalError> {
        carry!(self, self.store.counts(since))
    }

    async fn forget(&self, older: Duration, limit: usize) -> Result<usize, JournalError> {
        carry!(self, self.store.forget(older, limit))
    }

    async fn shrink(&self, bytes: u64, limit: usize) -> Result<usize, JournalError> {
        carry!(self, self.store.shrink(bytes, limit))
    }

    async fn probe(&self) -> Result<(), JournalError> {
        carry!(self, self.store.probe())
    }

    fn hints(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.store.hints()
    }

    fn works(&self) -> bool {
        self.store.works()
    }
}

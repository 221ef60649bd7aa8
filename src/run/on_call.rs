//! Work inside a request: one step of a run, and the calls that go on from there. Nothing is done, and no lease is held, between requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::leases::Leases;
use super::shared::Shared;
use super::{execute, matcher, worker};
use crate::clock::Timestamp;
use crate::dispatch::queue::{Call, Subject as Wanted};
use crate::journal::record::{Claim, ClaimedDelivery, ClaimedRun, DeliveryState, Lease, RunState, Subject};
use crate::journal::{JournalError, LedgerError};

/// Deliveries and runs that one sweep finds, each.
const BATCH: usize = 50;

/// What is asked for when a person changed something.
pub fn by_hand() -> Call {
    let same = format!("by hand {}", ulid::Ulid::new());
    Call { subject: Wanted::Sweep(true), same, after: Duration::ZERO }
}

/// What a call came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// Done, or there was nothing to do: these calls go on from here.
    Done(Vec<Call>),
    /// Somebody else is at it. If they do not come to an end, somebody must look again.
    Busy,
}

/// Where calls are answered. Cheap to clone.
#[derive(Clone)]
pub struct OnCall {
    pub(super) shared: Arc<Shared>,
    pub(super) leases: Leases,
    pub(super) lease: Duration,
    pub(super) worker: String,
    pub(super) draining: watch::Receiver<bool>,
}

impl OnCall {
    /// Does what the call is about; a step is broken off at that moment.
    pub async fn answer(&self, wanted: &Wanted, until: Instant) -> Result<Answered, JournalError> {
        match wanted {
            Wanted::Delivery(id) => self.delivery(id).await,
            Wanted::Run(id) => self.run(id, until).await,
            Wanted::Sweep(_) => self.sweep().await.map(Answered::Done),
        }
    }

    /// What is asked for when a delivery is on disk.
    pub fn of_delivery(id: &str) -> Call {
        Call { subject: Wanted::Delivery(id.to_owned()), same: format!("delivery {id}"), after: Duration::ZERO }
    }

    async fn delivery(&self, id: &str) -> Result<Answered, JournalError> {
        let asked = Instant::now();
        let claimed = self.shared.journal.claim(self.claim(1, 0, Some(Subject::Delivery(id.to_owned())))).await?;
        if let Some(claimed) = claimed.deliveries.into_iter().next() {
            return self.decide(claimed, asked).await.map(Answered::Done);
        }
        let record = self.shared.journal.delivery_record(id).await?;
        if record.is_some_and(|(record, _)| record.state == DeliveryState::Matching) {
            return Ok(Answered::Busy);
        }
        // Matched in the request that brought it, or by a call that was cut off before it could hand on.
        self.runs_of(id).await.map(Answered::Done)
    }

    async fn runs_of(&self, delivery: &str) -> Result<Vec<Call>, JournalError> {
        let mut calls = Vec::new();
        for run in self.shared.journal.runs_of(delivery).await? {
            calls.extend(self.next_of(&run.id).await?);
        }
        Ok(calls)
    }

    async fn decide(&self, claimed: ClaimedDelivery, asked: Instant) -> Result<Vec<Call>, JournalError> {
        let id = claimed.delivery.id.clone();
        let held = self.leases.hold(claimed.lease.clone(), asked);
        let span = worker::span(&claimed.delivery);
        matcher::decide(Arc::clone(&self.shared), claimed, None, held).instrument(span).await;
        self.runs_of(&id).await
    }

    async fn run(&self, id: &str, until: Instant) -> Result<Answered, JournalError> {
        let asked = Instant::now();
        let claimed = self.shared.journal.claim(self.claim(0, 1, Some(Subject::Run(id.to_owned())))).await?;
        if let Some(claimed) = claimed.runs.into_iter().next() {
            return self.step(claimed, asked, until).await.map(Answered::Done);
        }
        // One that waits was called a moment before it is due: clocks differ. One that is queued waits for its group, whose runs call it.
        let state = self.shared.journal.run(id).await?.map(|(run, _)| run.state);
        let early = matches!(state, Some(RunState::Running | RunState::Waiting));
        Ok(if early { Answered::Busy } else { Answered::Done(Vec::new()) })
    }

    async fn step(&self, claimed: ClaimedRun, asked: Instant, until: Instant) -> Result<Vec<Call>, JournalError> {
        let id = claimed.run.id.clone();
        let held = self.leases.hold(claimed.lease.clone(), asked);
        let span = worker::span(&claimed.delivery);
        execute::one_step(Arc::clone(&self.shared), claimed, held, self.draining.clone(), until).instrument(span).await;
        let next = self.next_of(&id).await?;
        // What waited for its group or its target can come now.
        let freed = Call { subject: Wanted::Sweep(true), same: format!("after {id}"), after: Duration::ZERO };
        Ok(vec![next.unwrap_or(freed)])
    }

    /// How a run goes on, if it is not over: named by how far it came, so that it is called once.
    async fn next_of(&self, id: &str) -> Result<Option<Call>, JournalError> {
        let Some((run, steps)) = self.shared.journal.run(id).await? else { return Ok(None) };
        if run.state.is_final() {
            return Ok(None);
        }
        let attempts: usize = steps.iter().map(|step| step.attempts.len()).sum();
        let due = run.due_at.map_or(0, |due| due.0);
        let now = Timestamp::now().0;
        let after = Duration::from_millis(u64::try_from(due.saturating_sub(now)).unwrap_or(0));
        let same = format!("run {id} {} {} {attempts} {due}", run.round, steps.len());
        Ok(Some(Call { subject: Wanted::Run(id.to_owned()), same, after }))
    }

    /// Calls for everything that is due, and one for when something is. Nothing is done here, so that the work is spread.
    async fn sweep(&self) -> Result<Vec<Call>, JournalError> {
        let claimed = self.shared.journal.claim(self.claim(BATCH, BATCH, None)).await?;
        let full = claimed.deliveries.len() == BATCH || claimed.runs.len() == BATCH;
        // Names that were used are taken: this is another call than the one that was lost.
        let now = Timestamp::now().seconds() / 5;
        let mut calls = Vec::new();
        for claimed in claimed.deliveries {
            let call = Self::of_delivery(&claimed.delivery.id);
            calls.push(Call { same: format!("{} {now}", call.same), ..call });
            self.release(claimed.lease).await?;
        }
        for claimed in claimed.runs {
            let subject = Wanted::Run(claimed.run.id.clone());
            calls.push(Call { subject, same: format!("swept {} {now}", claimed.run.id), after: Duration::ZERO });
            self.release(claimed.lease).await?;
        }
        if full {
            calls.push(self.later(Duration::ZERO));
        } else {
            calls.extend(claimed.next.map(|next| self.later(next)));
        }
        Ok(calls)
    }

    async fn release(&self, lease: Lease) -> Result<(), JournalError> {
        match self.shared.journal.release(lease).await {
            Err(LedgerError::Journal(error)) => Err(error),
            // Somebody else has it by now.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn later(&self, after: Duration) -> Call {
        let due = Timestamp::now().after(after).seconds();
        // A moment later than what is waited for, and one call for all that wait for the same second.
        let after = if after.is_zero() { after } else { after + Duration::from_secs(1) };
        Call {
            subject: Wanted::Sweep(true),
            same: format!("sweep {due} {}", if after.is_zero() { &self.worker } else { "" }),
            after,
        }
    }

    fn claim(&self, deliveries: usize, runs: usize, only: Option<Subject>) -> Claim {
        Claim { worker: self.worker.clone(), lease: self.lease, deliveries: deliveries.into(), runs: runs.into(), only }
    }
}

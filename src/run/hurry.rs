//! Work that somebody waits for: not held up by long runs, not done in any other way than theirs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::leases::Leases;
use super::shared::Shared;
use super::{execute, matcher, reply, worker};
use crate::dispatch::local::Local;
use crate::journal::record::{Claim, ClaimedRun, Subject};
use crate::sources::replies::Said;

/// Requests that wait for the worker to take them up.
const QUEUE: usize = 256;

/// Deliveries that are worked on beside the runs a worker may have; more wait their turn like all others.
pub(super) const MOST_HURRIED: usize = 64;

/// The shortest wait for something that is not due yet.
const MOMENT: Duration = Duration::from_millis(5);

/// A delivery whose sender waits.
#[derive(Debug)]
pub(super) struct Ask {
    delivery: String,
    until: Instant,
}

/// Where senders that wait are answered. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    shared: Arc<Shared>,
    asks: mpsc::Sender<Ask>,
}

impl Desk {
    /// The desk, and what it asks of the worker.
    pub(super) fn new(shared: Arc<Shared>) -> (Self, mpsc::Receiver<Ask>) {
        let (asks, receiver) = mpsc::channel(QUEUE);
        (Self { shared, asks }, receiver)
    }

    /// What the rules say to a delivery that is in the journal, at the latest when the time is up: then what `on-error:` says, while the
    /// work goes on. The same for one that came before.
    pub async fn ask(&self, source: &str, delivery: &str, until: Instant) -> Said {
        if !self.shared.rules.load().may_reply(source) {
            return Said::Nothing;
        }
        let mut waiter = self.shared.waiting.join(delivery, until);
        let said = async {
            if let Err(error) = reply::recall(&self.shared, delivery).await {
                tracing::error!(%error, "the store cannot tell what to reply");
            }
            // A worker that has no room for it takes it up like any other.
            drop(self.asks.try_send(Ask { delivery: delivery.to_owned(), until }));
            waiter.said().await
        };
        match tokio::time::timeout_at(until, said).await {
            Ok(said) => said,
            Err(_) => {
                self.shared.observer.of(delivery).say("late", "the sender was answered before the steps were done; they go on");
                waiter.late()
            }
        }
    }
}

/// Matches the delivery and does the run that replies to it, unless others are at it already.
pub(super) async fn hurry(
    shared: Arc<Shared>,
    leases: Leases,
    lease: Duration,
    worker: String,
    ask: Ask,
    draining: watch::Receiver<bool>,
    dispatch: Local,
) {
    let Ask { delivery, until } = ask;
    let claim = |only: Subject| Claim { worker: worker.clone(), lease, deliveries: 1.into(), runs: 1.into(), only: Some(only) };
    let mut waiter = shared.waiting.join(&delivery, until);
    let asked = Instant::now();
    match shared.journal.claim(claim(Subject::Delivery(delivery.clone()))).await {
        Ok(claimed) => {
            for claimed in claimed.deliveries {
                let held = leases.hold(claimed.lease.clone(), asked);
                matcher::decide(Arc::clone(&shared), claimed, None, held).await;
            }
        }
        Err(error) => tracing::error!(%error, "a delivery that somebody waits for cannot be claimed"),
    }
    // Its other runs wait their turn.
    dispatch.wake();
    let Ok(Some(run)) = tokio::time::timeout_at(until, waiter.run()).await else { return };
    while shared.waiting.until(&delivery, &run).is_some() && Instant::now() < until {
        let asked = Instant::now();
        let Ok(mut claimed) = shared.journal.claim(claim(Subject::Run(run.clone()))).await else { break };
        match (claimed.runs.pop(), claimed.next) {
            (Some(claimed), _) => {
                let held = leases.hold(claimed.lease.clone(), asked);
                execute(&shared, claimed, held, &draining).await;
            }
            // An attempt that is due later, or a run in other hands.
            (None, Some(next)) => tokio::time::sleep(next.max(MOMENT).min(until.saturating_duration_since(Instant::now()))).await,
            (None, None) => break,
        }
    }
    dispatch.wake();
}

async fn execute(shared: &Arc<Shared>, claimed: ClaimedRun, held: super::leases::Held, draining: &watch::Receiver<bool>) {
    use tracing::Instrument;
    let span = worker::span(&claimed.delivery);
    execute::execute(Arc::clone(shared), claimed, held, draining.clone()).instrument(span).await;
}

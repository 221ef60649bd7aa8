//! The loop that claims what is due and gives it to tasks: woken by the dispatcher, and looking by itself when something becomes due.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use super::fresh::Arrival;
use super::hurry::{self, Ask, MOST_HURRIED};
use super::leases::Leases;
use super::matcher::Matched;
use super::seats::Seats;
use super::shared::Shared;
use super::{execute, matcher};
use crate::dispatch::local::Local;
use crate::journal::record::{Claim, Claimed, Delivery};

/// Deliveries claimed together.
const CLAIMED_TOGETHER: usize = 64;
/// Nothing is missed for longer than this, even if every wake-up is lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After an error of the store.
const PAUSE: Duration = Duration::from_millis(500);

/// After the drain: a store that hangs must not hold up the end of the process, and leases end by themselves.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// How an engine works.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Runs at a time.
    pub workers: usize,
    /// How long a worker may be silent before others take its work on.
    pub lease: Duration,
    /// How long running steps have when the process is told to stop. Giving back the rest comes on top, within a second.
    pub drain: Duration,
    /// Finished deliveries older than this are removed; none keeps them for ever.
    pub keep: Option<Duration>,
    /// The oldest of them are removed while the store holds more than so many bytes.
    pub max_size: Option<u64>,
    /// No run that begins from now on does anything: what it would do is rendered and recorded.
    pub dry_run: bool,
    /// In `0.0..1.0`: where the wait before an attempt falls between nothing and its most.
    pub jitter: fn() -> f64,
    /// It works only when it is called ([`super::on_call`]), and never looks by itself.
    pub on_call: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            workers: 8,
            lease: Duration::from_secs(30),
            drain: Duration::from_millis(8500),
            keep: None,
            max_size: None,
            dry_run: false,
            jitter: rand::random,
            on_call: false,
        }
    }
}

pub(super) struct Worker {
    pub shared: Arc<Shared>,
    pub leases: Leases,
    pub dispatch: Local,
    pub policy: Policy,
    pub name: String,
    pub draining: watch::Receiver<bool>,
    /// A task for each delivery: one for which GitHub has to be asked holds up no other.
    pub matching: JoinSet<()>,
    /// Their places.
    pub matchers: Seats,
    /// Are there more deliveries in the store than there was room for?
    pub behind: bool,
    /// Deliveries that come leased from the receiver.
    pub arrivals: mpsc::Receiver<Arrival>,
    /// Deliveries that somebody waits for.
    pub hurried: JoinSet<()>,
    pub asks: mpsc::Receiver<Ask>,
    pub running: JoinSet<()>,
    /// The places of those that run.
    pub runners: Seats,
}

impl Worker {
    /// Until the engine drains; then waits for what is in hand, and gives back what does not end in time.
    pub async fn work(mut self) {
        let mut draining = self.draining.clone();
        let mut arrived = Vec::new();
        let mut look_at = Instant::now();
        let looks = !self.policy.on_call;
        while !*draining.borrow_and_update() {
            if looks && look_at <= Instant::now() {
                look_at = Instant::now() + self.look().await;
            }
            tokio::select! {
                // Always in this order, so that a simulation can be repeated. What makes room comes first, what can flood us last.
                biased;
                _ = draining.changed() => {}
                Some(_) = self.running.join_next(), if !self.running.is_empty() => look_at = Instant::now(),
                Some(_) = self.matching.join_next(), if !self.matching.is_empty() => {
                    // What arrives in memory needs no look into the store.
                    if self.behind {
                        look_at = Instant::now();
                    }
                }
                Some(_) = self.hurried.join_next(), if !self.hurried.is_empty() => {}
                Some(ask) = self.asks.recv(), if self.hurried.len() < MOST_HURRIED => self.hurry(ask),
                _ = self.arrivals.recv_many(&mut arrived, CLAIMED_TOGETHER) => {
                    arrived.drain(..).for_each(|arrival| self.welcome(arrival));
                    // Those who arrive must not keep us from those who wait.
                    if self.dispatch.woken().now_or_never().is_some() {
                        look_at = Instant::now();
                    }
                }
                () = self.dispatch.woken(), if looks => look_at = Instant::now(),
                () = tokio::time::sleep_until(look_at), if looks => {}
            }
        }
        self.drain().await;
    }

    /// Claims what there is room for. Answers when to look again at the latest.
    async fn look(&mut self) -> Duration {
        // Those that are done have made room; which of them wanted to say something has said it.
        while self.matching.try_join_next().is_some() {}
        while self.running.try_join_next().is_some() {}
        let claim = Claim {
            worker: self.name.clone(),
            lease: self.policy.lease,
            deliveries: self.matchers.room(CLAIMED_TOGETHER),
            runs: self.runners.room(self.policy.workers),
            only: None,
        };
        let full = (claim.deliveries.most, claim.runs.most);
        if full == (0, 0) {
            self.behind = true;
            return LOOK_EVERY;
        }
        let asked = Instant::now();
        match self.shared.journal.claim(claim).await {
            Ok(claimed) => {
                // There may be more where that came from.
                self.behind = claimed.waiting;
                let more = (full.0 > 0 && claimed.deliveries.len() == full.0) || (full.1 > 0 && claimed.runs.len() == full.1);
                let next = claimed.next.unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
                self.take(claimed, asked);
                if more { Duration::ZERO } else { next }
            }
            Err(error) => {
                tracing::error!(%error, "nothing can be claimed; trying again");
                tokio::time::sleep(PAUSE).await;
                Duration::ZERO
            }
        }
    }

    fn hurry(&mut self, ask: Ask) {
        self.hurried.spawn(hurry::hurry(
            Arc::clone(&self.shared),
            self.leases.clone(),
            self.policy.lease,
            self.name.clone(),
            ask,
            self.draining.clone(),
            self.dispatch.clone(),
        ));
    }

    /// Matches a delivery, and has the worker look for the runs that come of it.
    fn welcome(&mut self, Arrival { claimed, event, asked, seat }: Arrival) {
        let held = self.leases.hold(claimed.lease.clone(), asked);
        let span = span(&claimed.delivery);
        let decided = matcher::decide(Arc::clone(&self.shared), claimed, event, held).instrument(span);
        let dispatch = self.dispatch.clone();
        self.matching.spawn(async move {
            let matched = decided.await;
            drop(seat);
            if matched == Matched::Runs {
                dispatch.wake();
            }
        });
    }

    fn take(&mut self, claimed: Claimed, asked: Instant) {
        for claimed in claimed.deliveries {
            let seat = self.matchers.seat(&claimed.delivery.content.share);
            self.welcome(Arrival { claimed, event: None, asked, seat });
        }
        for claimed in claimed.runs {
            let held = self.leases.hold(claimed.lease.clone(), asked);
            let span = span(&claimed.delivery);
            let seat = self.runners.seat(&claimed.share);
            let work = execute::execute(Arc::clone(&self.shared), claimed, held, self.draining.clone()).instrument(span);
            self.running.spawn(async move {
                work.await;
                drop(seat);
            });
        }
    }

    async fn drain(mut self) {
        self.arrivals.close();
        let time = self.policy.drain;
        let in_hand = async {
            while let Some(arrival) = self.arrivals.recv().await {
                self.welcome(arrival);
            }
            while self.matching.join_next().await.is_some() {}
            while self.hurried.join_next().await.is_some() {}
            while self.running.join_next().await.is_some() {}
        };
        if tokio::time::timeout(time, in_hand).await.is_ok() {
            return;
        }
        // Not aborted before the leases are copied: a task that ends takes its lease out of the list.
        let leases = self.leases.remaining();
        tracing::warn!(steps = leases.len(), "steps did not end in time: they are given back and resumed by the next process");
        self.matching.shutdown().await;
        self.hurried.shutdown().await;
        self.running.shutdown().await;
        let give_back = async {
            for lease in leases {
                if let Err(error) = self.shared.journal.release(lease).await {
                    // A step that ended between the two is not ours any more.
                    tracing::debug!(%error, "a lease could not be given back");
                }
            }
        };
        if tokio::time::timeout(GIVE_BACK, give_back).await.is_err() {
            tracing::warn!("the store did not take all of them back in time: their leases have to end");
        }
    }
}

/// Ties every line of the log to the delivery it is about, from the request that brought it to the last effect.
pub(super) fn span(delivery: &Delivery) -> tracing::Span {
    tracing::info_span!("delivery", trace = %delivery.content.trace)
}

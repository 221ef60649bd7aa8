//! What stands between the runs and each target: bounds, and a breaker, so that a target that is slow or down holds up nobody else.
//!
//! A run that may not pass is given back to the store and waits there, without an attempt and without a worker. The gates are this
//! process's own: replicas learn of an outage each for itself.

mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use declic_actions::action::{Call, Failure};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::attempt::Came;
use crate::journal::Journal;
use crate::report::metrics::{HoldLabels, Metrics, TargetLabels};
use state::{Gate, Notice};
pub use state::{Limit, Sign, Wait};

/// Gates that are kept though nothing is known of them; hosts of `http/request` may be many.
const MOST_IDLE: usize = 256;

/// Where a target stands in this process, for the API and the console.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetState {
    /// `target web_staging`, `connection slack_eng`, `github`, `host api.example.com`.
    pub target: String,
    /// `closed`: it is asked; `open`: it is not; `half-open`: one attempt tries it.
    pub breaker: &'static str,
    /// Failures in a row.
    pub failures: u32,
    /// Why it is not asked.
    pub reason: Option<String>,
    /// Seconds until it is tried again.
    pub tries_in: Option<u64>,
    /// Steps that are at it now.
    pub in_hand: usize,
    /// Runs that wait for it.
    pub waiting: usize,
    /// Most steps at once, if the settings say so.
    pub at_once: Option<usize>,
    /// Most attempts in a minute, if the settings say so.
    pub per_minute: Option<usize>,
}

/// All gates of an engine. Cheap to clone.
#[derive(Clone)]
pub struct Gates {
    gates: Arc<Mutex<BTreeMap<String, Gate>>>,
    metrics: Arc<Metrics>,
    journal: Arc<dyn Journal>,
}

/// The target of a call and its limit; `None`: it has none, such as a wait.
pub(super) fn target_of(uses: &str, call: &Call) -> Option<(String, Limit)> {
    let named = |kind: &str, settings: Option<&Value>| {
        let name = call.params.get(kind)?.as_str()?;
        Some((format!("{kind} {name}"), Limit::of(settings)))
    };
    let (service, _) = uses.split_once('/')?;
    named("target", call.target.as_ref()).or_else(|| named("connection", call.connection.as_ref())).or_else(|| match service {
        "github" => Some(("github".to_owned(), Limit::default())),
        _ => {
            let url = call.params.get("url")?.as_str()?;
            let url = url::Url::parse(url).ok()?;
            Some((format!("host {}", url.host_str()?), Limit::default()))
        }
    })
}

impl Came {
    /// What it says about the target. One that was cut short for somebody who waits says nothing by being late.
    pub(super) fn sign(&self, cut_short: bool) -> Sign {
        match self {
            Self::Failed(Failure::Retry { why, .. }) if cut_short && why.code == "timeout" => Sign::Nothing,
            Self::Failed(Failure::Retry { after, why }) => match why.code.as_str() {
                "unavailable" | "unreachable" | "timeout" => Sign::Out(why.message.clone()),
                "rate-limited" => after.map_or(Sign::Alive, Sign::Patience),
                _ => Sign::Alive,
            },
            _ => Sign::Alive,
        }
    }
}

impl Gates {
    pub(super) fn new(metrics: Arc<Metrics>, journal: Arc<dyn Journal>) -> Self {
        Self { gates: Arc::default(), metrics, journal }
    }

    /// Every target that was asked for something, by name.
    pub fn states(&self) -> Vec<TargetState> {
        let now = Instant::now().into_std();
        self.lock().iter().map(|(target, gate)| gate.shown(target, now)).collect()
    }

    /// Lets an attempt through. The permit must be told what came of it.
    pub(super) fn enter(&self, target: &str, limit: Limit, usual: Option<usize>, run: &str) -> Result<Permit, Wait> {
        let mut gates = self.lock();
        if gates.len() > MOST_IDLE && !gates.contains_key(target) {
            gates.retain(|_, gate| !gate.is_idle());
        }
        let gate = gates.entry(target.to_owned()).or_insert_with(|| Gate::new(limit.clone()));
        gate.adjust(limit);
        match gate.enter(run, usual, Instant::now().into_std()) {
            Ok(()) => Ok(Permit { gates: self.clone(), target: target.to_owned(), told: false }),
            Err(wait) => {
                let labels = HoldLabels { target: target.to_owned(), why: wait.why };
                self.metrics.holds.get_or_create(&labels).inc();
                Err(wait)
            }
        }
    }

    /// A run is over, and waits for nothing any more.
    pub(super) fn forget(&self, run: &str) {
        self.lock().values_mut().for_each(|gate| gate.forget(run));
    }

    fn leave(&self, target: &str, sign: Sign) -> usize {
        let (notice, called) = match self.lock().get_mut(target) {
            Some(gate) => gate.leave(sign, Instant::now().into_std()),
            None => return 0,
        };
        let labels = || TargetLabels { target: target.to_owned() };
        match notice {
            // One notice for one outage, however many runs it holds up.
            Some(Notice::Opened(failures, pause, why)) => {
                self.metrics.breaker_open.get_or_create(&labels()).set(1);
                self.metrics.breaker_openings.get_or_create(&labels()).inc();
                tracing::error!(
                    target_name = target,
                    "{target} failed {failures} times in a row and is left alone for {} s; runs that need it wait: {why}",
                    pause.as_secs_f64()
                );
            }
            Some(Notice::StillOpen(pause)) => {
                tracing::debug!(target_name = target, "{target} still fails; it is left alone for {} s", pause.as_secs_f64());
            }
            Some(Notice::Closed) => {
                self.metrics.breaker_open.get_or_create(&labels()).set(0);
                tracing::info!(target_name = target, waiting = called, "{target} answers again; runs that waited for it go on");
            }
            None => {}
        }
        called
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that was let through. Dropped untold, nothing is learnt from it.
pub(super) struct Permit {
    gates: Gates,
    target: String,
    told: bool,
}

impl Permit {
    /// What came of it; those who wait are called.
    pub async fn tell(mut self, sign: Sign) {
        self.told = true;
        let called = self.gates.leave(&self.target, sign);
        if called > 0
            && let Err(error) = self.gates.journal.call_up(&self.target, called).await
        {
            // They look by themselves.
            tracing::debug!(%error, "runs that wait for {} cannot be called", self.target);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.told {
            self.gates.leave(&self.target, Sign::Nothing);
        }
    }
}

/// A target may hold so many of an engine's workers, where its settings say nothing: one that is slow leaves the others theirs.
pub(super) fn usual(workers: usize) -> usize {
    (workers / 2).max(1)
}

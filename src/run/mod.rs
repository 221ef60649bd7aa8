//! The engine: takes what the journal holds and does it, one step at a time, so that a crash at any point loses and doubles nothing.
//!
//! Intent, effect, outcome: the intent is durable before the action runs, the outcome as soon as it is known. Whoever finds an
//! intent without an outcome looks for the effect before making it again. Only this module tries again.

mod about;
mod ancestry;
pub mod approval;
mod aside;
mod asking;
mod attempt;
mod execute;
mod fresh;
pub mod gate;
mod heeding;
mod hurry;
mod key;
mod leases;
mod matcher;
pub mod observe;
pub mod on_call;
pub mod plan;
mod reading;
mod reply;
pub mod retry;
mod reviewing;
mod seats;
mod shared;
mod slack_groups;
mod waiting;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use declic_actions::action::{Action, Clients};
use declic_actions::secret::Secret;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::dispatch::local::Local;
use crate::journal::{Journal, JournalError};
use crate::matching::Index;
use crate::report::metrics::Metrics;
use crate::repositories::Repositories;
use crate::rules::model::Offer;
use crate::sources::Source;
pub use fresh::{Fresh, Place};
pub use gate::{Gates, TargetState};
pub use hurry::Desk;
use leases::Leases;
use observe::Observer;
use on_call::OnCall;
use seats::Seats;
pub use shared::Load;
use shared::Shared;
pub use worker::Policy;

/// Deliveries in hand at once, between being on disk and being decided. Most take a moment; what GitHub has to be asked about takes longer,
/// and the places of a repository are bounded, so that there is one for the others.
const MATCHERS: usize = 384;

/// Old deliveries are looked for this often.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// And first so soon after the start: one that lives shorter than [`FORGET_EVERY`] has to forget, too, but serving comes first.
const FORGET_FIRST: Duration = Duration::from_secs(3);
/// So many are removed in one transaction: others wait for it.
const FORGET_AT_ONCE: usize = 50;

/// What an engine is made of.
pub struct EngineParts {
    /// The store.
    pub journal: Arc<dyn Journal>,
    /// Sources by their names in `declic.yaml`: they decode.
    pub sources: BTreeMap<String, Arc<dyn Source>>,
    /// The rules in force. Their files must be kept ([`Journal::keep_rules`]) before they are put here.
    pub rules: Arc<ArcSwap<Index>>,
    /// What repositories bring themselves; none if no repository may.
    pub repositories: Option<Arc<Repositories>>,
    /// Rebuilds the rule set that an older run began with.
    pub load: Load,
    /// The actions there are; `declic_actions::kinds::ALL`.
    pub actions: &'static [&'static dyn Action],
    /// Clients of the actions.
    pub clients: Clients,
    /// Targets, connections and names of secrets.
    pub offer: Offer,
    /// The newest value of each secret.
    pub secrets: BTreeMap<String, Secret>,
    /// Where runs and attempts are counted.
    pub metrics: Arc<Metrics>,
    /// Address of the console, for links back, without a slash at the end.
    pub public_url: Option<String>,
    /// Who hears what happens.
    pub observer: Observer,
    /// How it works.
    pub policy: Policy,
}

/// A running engine. Dropping it stops everything at once, as a crash would: nothing is lost, leases have to end.
pub struct Engine {
    desk: Desk,
    gates: Gates,
    fresh: Fresh,
    on_call: OnCall,
    dispatch: Local,
    draining: watch::Sender<bool>,
    worker: JoinHandle<()>,
    beside: JoinSet<()>,
}

impl Engine {
    /// Starts it on the current tokio runtime.
    pub fn start(parts: EngineParts) -> Self {
        let dispatch = Local::default();
        let (sender, draining) = watch::channel(false);
        let leases = Leases::new(parts.policy.lease);
        let mut beside = JoinSet::new();
        let journal = Arc::clone(&parts.journal);
        let beating = leases.clone();
        beside.spawn(async move { beating.beat(journal.as_ref()).await });
        beside.spawn(forget(Arc::clone(&parts.journal), parts.policy.keep, parts.policy.max_size));
        let policy = parts.policy.clone();
        let workers = policy.workers;
        let shared = Arc::new(Shared::new(parts));
        let gates = shared.gates.clone();
        let (desk, asks) = Desk::new(Arc::clone(&shared));
        let matchers = Seats::new(MATCHERS);
        let (fresh, arrivals) = Fresh::new(Arc::clone(&shared), policy.lease, dispatch.clone(), matchers.clone(), MATCHERS);
        let name = format!("{}-{}", std::process::id(), ulid::Ulid::new().to_string().to_lowercase());
        let on_call = OnCall {
            shared: Arc::clone(&shared),
            leases: leases.clone(),
            lease: policy.lease,
            worker: name.clone(),
            draining: draining.clone(),
        };
        let worker = worker::Worker {
            leases,
            dispatch: dispatch.clone(),
            policy,
            name,
            draining,
            matching: JoinSet::new(),
            matchers,
            behind: false,
            hurried: JoinSet::new(),
            asks,
            arrivals,
            running: JoinSet::new(),
            runners: Seats::new(workers),
            shared,
        };
        Self { desk, gates, fresh, on_call, dispatch, draining: sender, worker: tokio::spawn(worker.work()), beside }
    }

    /// There is something to do: called after an append. Cheap, and may be called too often.
    pub fn wake(&self) {
        self.dispatch.wake();
    }

    /// The same, for whoever must not own the engine.
    pub fn dispatch(&self) -> Local {
        self.dispatch.clone()
    }

    /// Where senders that wait for an answer are answered.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Where each target stands that was asked for something.
    pub fn gates(&self) -> Gates {
        self.gates.clone()
    }

    /// Where deliveries are handed over that need not be claimed.
    pub fn fresh(&self) -> Fresh {
        self.fresh.clone()
    }

    /// Where the calls of a queue are answered.
    pub fn on_call(&self) -> OnCall {
        self.on_call.clone()
    }

    /// Takes on nothing new, lets running steps end within [`Policy::drain`], and gives the rest back to the store.
    pub async fn drain(mut self) {
        self.draining.send_replace(true);
        if let Err(error) = (&mut self.worker).await {
            tracing::error!(%error, "the worker broke off");
        }
        self.beside.shutdown().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// What is not kept.
#[derive(Debug, Clone, Copy)]
enum Excess {
    /// What ended longer ago.
    Older(Duration),
    /// What ended first, until the store holds no more bytes than this.
    Beyond(u64),
}

/// Removes what is too old, then what is too much.
async fn forget(journal: Arc<dyn Journal>, keep: Option<Duration>, max_size: Option<u64>) {
    let excesses = [keep.map(Excess::Older), max_size.map(Excess::Beyond)];
    tokio::time::sleep(FORGET_FIRST).await;
    loop {
        for excess in excesses.into_iter().flatten() {
            match remove(journal.as_ref(), excess).await {
                Ok(count @ 1..) if matches!(excess, Excess::Beyond(_)) => {
                    tracing::info!(deliveries = count, "removed before their time: the store held more than `max-size`");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old deliveries could not be removed"),
            }
        }
        tokio::time::sleep(FORGET_EVERY).await;
    }
}

/// Batch after batch, with room for others between them. Answers how many.
async fn remove(journal: &dyn Journal, excess: Excess) -> Result<usize, JournalError> {
    let mut removed = 0;
    loop {
        let count = match excess {
            Excess::Older(age) => journal.forget(age, FORGET_AT_ONCE).await?,
            Excess::Beyond(bytes) => journal.shrink(bytes, FORGET_AT_ONCE).await?,
        };
        removed += count;
        if count < FORGET_AT_ONCE {
            return Ok(removed);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

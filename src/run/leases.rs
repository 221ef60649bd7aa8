//! The leases this process holds, and the heartbeat that keeps them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::journal::Journal;
use crate::journal::record::{Lease, Subject};

/// All leases of one engine.
#[derive(Clone)]
pub(super) struct Leases {
    length: Duration,
    held: Arc<Mutex<HashMap<Subject, Entry>>>,
}

struct Entry {
    lease: Lease,
    /// Until then the store surely counts it as ours.
    until: watch::Sender<Instant>,
}

/// One lease; the work under it must stop when [`Held::lost`] says so. Dropping it ends the heartbeat, not the lease.
pub(super) struct Held {
    pub lease: Lease,
    until: watch::Receiver<Instant>,
    leases: Leases,
}

impl Leases {
    pub fn new(length: Duration) -> Self {
        Self { length, held: Arc::default() }
    }

    /// Takes a lease into the heartbeat. `asked` is when the claim was sent: the store's lease began no earlier.
    pub fn hold(&self, lease: Lease, asked: Instant) -> Held {
        let (sender, until) = watch::channel(asked + self.length);
        let entry = Entry { lease: lease.clone(), until: sender };
        self.lock().insert(lease.subject.clone(), entry);
        Held { lease, until, leases: self.clone() }
    }

    /// What is still held, for the end of the process.
    pub fn remaining(&self) -> Vec<Lease> {
        self.lock().values().map(|entry| entry.lease.clone()).collect()
    }

    /// Extends all of them, for ever, three times in the length of a lease.
    pub async fn beat(&self, journal: &dyn Journal) {
        let mut interval = tokio::time::interval(self.length / 3);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let leases = self.remaining();
            if leases.is_empty() {
                continue;
            }
            let asked = Instant::now();
            match journal.extend(leases.clone(), self.length).await {
                Ok(held) => self.extended(&leases, &held, asked),
                Err(error) => tracing::warn!(%error, "leases could not be extended"),
            }
        }
    }

    fn extended(&self, leases: &[Lease], still: &[bool], asked: Instant) {
        let mut held = self.lock();
        for (lease, still) in leases.iter().zip(still) {
            let Some(entry) = held.get_mut(&lease.subject).filter(|entry| entry.lease == *lease) else { continue };
            entry.until.send_replace(if *still { asked + self.length } else { Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Entry>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Until somebody else may have taken it over. A store that does not answer cannot say so; our own clock can, and to the moment: whoever
    /// goes on for longer makes an effect beside the one who took it over.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let end = *until.borrow_and_update();
            tokio::select! {
                biased;
                // The sender lives as long as we do.
                Ok(()) = until.changed() => {}
                () = tokio::time::sleep_until(end) => return,
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.leases.lock();
        if held.get(&self.lease.subject).is_some_and(|entry| entry.lease == self.lease) {
            held.remove(&self.lease.subject);
        }
    }
}

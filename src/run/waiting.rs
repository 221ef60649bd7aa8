//! Who waits for an answer to which delivery, what is known of it by now, and how long they wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::sources::replies::Said;

/// Everybody who waits. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<String, Entry>>>);

struct Entry {
    waiters: usize,
    /// The latest of theirs.
    deadline: Instant,
    known: watch::Sender<Known>,
}

/// What is known of an answer.
#[derive(Debug, Clone, Default)]
pub(super) enum Known {
    /// The delivery is not matched yet.
    #[default]
    Nothing,
    /// A run will say it.
    By {
        /// The run; none if somebody else matched the delivery and only its outcome counts.
        run: String,
        /// What to say if that comes too late.
        otherwise: Said,
    },
    /// This is it.
    Said(Said),
}

/// One who waits; stops when it is dropped.
pub(super) struct Waiter {
    waiting: Waiting,
    delivery: String,
    known: watch::Receiver<Known>,
}

impl Waiting {
    /// Begins to wait. Several may wait for the same delivery: the first request and its repetitions.
    pub fn join(&self, delivery: &str, deadline: Instant) -> Waiter {
        let mut entries = self.lock();
        let entry =
            entries.entry(delivery.to_owned()).or_insert_with(|| Entry { waiters: 0, deadline, known: watch::Sender::default() });
        entry.waiters += 1;
        entry.deadline = entry.deadline.max(deadline);
        Waiter { waiting: self.clone(), delivery: delivery.to_owned(), known: entry.known.subscribe() }
    }

    /// Does anybody wait?
    pub fn is_asked(&self, delivery: &str) -> bool {
        self.lock().contains_key(delivery)
    }

    /// Until when somebody waits for what this run says; none if nobody does, or has been told already.
    pub fn until(&self, delivery: &str, run: &str) -> Option<Instant> {
        let entries = self.lock();
        let entry = entries.get(delivery)?;
        let waits = matches!(&*entry.known.borrow(), Known::By { run: by, .. } if by == run);
        waits.then_some(entry.deadline)
    }

    /// Tells those who wait, if anybody does. What was said stays said.
    pub fn tell(&self, delivery: &str, known: Known) {
        if let Some(entry) = self.lock().get(delivery) {
            entry.known.send_if_modified(|before| {
                let open = !matches!(before, Known::Said(_));
                if open {
                    *before = known;
                }
                open
            });
        }
    }

    /// The run cannot say it any more, or not now.
    pub fn give_up(&self, delivery: &str, run: &str) {
        let otherwise = match self.lock().get(delivery).map(|entry| entry.known.borrow().clone()) {
            Some(Known::By { run: by, otherwise }) if by == run => otherwise,
            _ => return,
        };
        self.tell(delivery, Known::Said(otherwise));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Until it is said.
    pub async fn said(&mut self) -> Said {
        // The entry lives as long as we do, and with it the sender.
        match self.known.wait_for(|known| matches!(known, Known::Said(_))).await.as_deref() {
            Ok(Known::Said(said)) => said.clone(),
            _ => Said::Nothing,
        }
    }

    /// Until it is known who will say it: the run, if that is not over yet.
    pub async fn run(&mut self) -> Option<String> {
        match self.known.wait_for(|known| !matches!(known, Known::Nothing)).await.as_deref() {
            Ok(Known::By { run, .. }) => Some(run.clone()),
            _ => None,
        }
    }

    /// What is said when nobody waits any longer.
    pub fn late(&self) -> Said {
        match &*self.known.borrow() {
            Known::Nothing => Said::Nothing,
            Known::By { otherwise, .. } => otherwise.clone(),
            Known::Said(said) => said.clone(),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut entries = self.waiting.lock();
        if let Some(entry) = entries.get_mut(&self.delivery) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                entries.remove(&self.delivery);
            }
        }
    }
}

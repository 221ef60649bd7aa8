//! The sets of many repositories in bounded memory: those that were used longest ago go first, and are read again when they are needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::set::InForce;

/// A rule takes about so many bytes in memory for each byte of its text, and a set some besides: measured by `benches/repositories.rs`.
const PER_BYTE: usize = 12;
const PER_SET: usize = 4096;

/// What is known of one repository. Cheap to clone.
pub(super) type Slot = Arc<Kept>;

/// What is known of one repository.
#[derive(Default)]
pub(super) struct Kept {
    /// Held by whoever reads: the others wait for what comes of it.
    pub reading: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// Where a repository stands.
#[derive(Default, Clone)]
pub(super) struct State {
    /// The last good rules.
    pub set: Option<Arc<InForce>>,
    /// When GitHub was last asked with success.
    pub asked: Option<Instant>,
    /// ETag of the repository's document, and what matters of it.
    pub repository: Option<(String, super::read::Document)>,
    /// ETag of the default branch's document, and what matters of it.
    pub branch: Option<(String, super::read::Branch)>,
    /// The commit of the default branch whose files cannot be used: they are not read again.
    pub faulty: Option<Faulty>,
    /// Why it is not known what the default branch has, or why none of it is in force.
    pub trouble: Option<Trouble>,
    /// Nobody is asked before.
    pub not_before: Option<Instant>,
    /// When the files of the set were last kept in the journal.
    pub kept: Option<Instant>,
    /// Starts of runs within the last hour; none until it was looked up in the journal.
    pub started: Option<super::window::Window>,
}

/// Files that are wrong: the last good rules are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Faulty {
    /// Their commit.
    pub commit: String,
    /// The first fault, in one line.
    pub first: String,
    /// All of them, with excerpts.
    pub excerpts: String,
}

/// What keeps us from knowing what is on the default branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It cannot be read for now: the last good rules are in force.
    Unread(String),
    /// We may not read it, or the grant no longer fits: none are in force.
    Off(String),
}

impl Kept {
    /// For looking and for changing; never held over a wait.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them.
pub(super) struct Cache {
    slots: HashMap<i64, (Slot, u64)>,
    uses: u64,
    most: usize,
}

impl Cache {
    /// With room for about so many bytes.
    pub fn new(most: usize) -> Self {
        Self { slots: HashMap::new(), uses: 0, most }
    }

    /// That of a repository, made if it is not there.
    pub fn slot(&mut self, id: i64) -> Slot {
        self.uses += 1;
        let (slot, used) = self.slots.entry(id).or_default();
        *used = self.uses;
        Arc::clone(slot)
    }

    /// That of a repository, if it is there.
    pub fn find(&self, id: i64) -> Option<Slot> {
        self.slots.get(&id).map(|(slot, _)| Arc::clone(slot))
    }

    /// Everything that is there.
    pub fn all(&self) -> Vec<(i64, Slot)> {
        self.slots.iter().map(|(id, (slot, _))| (*id, Arc::clone(slot))).collect()
    }

    /// Forgets what was used longest ago until the rest has room. Called when a set was put in.
    pub fn shrink(&mut self) {
        let size = |slot: &Slot| PER_SET + slot.state().set.as_ref().map_or(0, |set| set.bytes() * PER_BYTE);
        let mut sizes: Vec<(u64, i64, usize)> = self.slots.iter().map(|(id, (slot, used))| (*used, *id, size(slot))).collect();
        let mut whole: usize = sizes.iter().map(|(_, _, size)| size).sum();
        if whole <= self.most {
            return;
        }
        sizes.sort_unstable();
        // A little more than needed, so that the next one does not sort them all again.
        let goal = self.most - self.most / 16;
        for (_, id, size) in sizes {
            if whole <= goal {
                return;
            }
            self.slots.remove(&id);
            whole -= size;
        }
    }
}

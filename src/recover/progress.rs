//! How far the sweeps over one log have come, between one and the next.

use std::collections::{HashMap, HashSet};

use super::log::Logged;
use crate::clock::Timestamp;

/// What need not be looked at again. Kept in memory only: after a restart the journal tells the same, at the cost of some requests.
#[derive(Debug, Default)]
pub struct Progress {
    /// Ids that were dealt with, and when they were last tried.
    settled: HashMap<String, Timestamp>,
    /// A walk that was halted.
    pub(super) halted: Option<Walk>,
}

/// From the newest attempt back to a moment, in parts.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    /// Where the next part begins; at the newest attempt, without one.
    pub cursor: Option<String>,
    /// When the newest attempt was made that the walk has seen, by GitHub's clock.
    pub newest: Option<Timestamp>,
    /// Ids that arrived, by parts that were seen: of an older attempt that failed nobody misses anything.
    arrived: HashSet<String>,
}

impl Progress {
    pub(super) fn settle(&mut self, logged: &Logged) {
        self.settled.insert(logged.guid.clone(), logged.delivered_at);
    }

    pub(super) fn is_settled(&self, logged: &Logged) -> bool {
        self.settled.contains_key(&logged.guid)
    }

    /// What no sweep that begins there or later will meet.
    pub(super) fn forget(&mut self, before: Timestamp) {
        self.settled.retain(|_, tried| *tried >= before);
    }
}

impl Walk {
    /// Notes a part of the log, the oldest first.
    pub fn saw(&mut self, part: &[Logged]) {
        self.newest = self.newest.or(part.last().map(|logged| logged.delivered_at));
        self.arrived.extend(part.iter().filter(|logged| logged.succeeded).map(|logged| logged.guid.clone()));
    }

    pub fn has_arrived(&self, logged: &Logged) -> bool {
        self.arrived.contains(&logged.guid)
    }
}

//! What the ledger asks of a store: connections in a transaction, and whether their work must outlive a power cut.

use tokio::sync::watch;

use super::value::{FromColumn, Row, Value};
use crate::clock::Timestamp;
use crate::journal::record::{Impossible, NewDelivery, Room, TakenIn, Taking};
use crate::journal::{JournalError, LedgerError};

/// A store that keeps the ledger in SQL.
pub(in crate::journal) trait Store: Send + Sync {
    /// Appends durably. A full queue is an error at once.
    fn take_in(&self, delivery: NewDelivery, taking: Taking) -> impl Future<Output = Result<TakenIn, JournalError>> + Send;

    /// Does `work` in a transaction; answers after its commit. The work may be done more than once, and only the last time counts.
    fn change<T: Send + 'static>(
        &self,
        care: Care,
        work: impl Fn(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> impl Future<Output = Result<T, LedgerError>> + Send;

    /// Reads in one view.
    fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Database) -> Result<T, Fault> + Send + 'static,
    ) -> impl Future<Output = Result<T, JournalError>> + Send;

    /// Counts hints of other replicas, where there are any.
    fn news(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Did the last transaction succeed?
    fn takes_writes(&self) -> bool;
}

/// One connection, inside a transaction.
pub(in crate::journal) trait Database {
    /// Does a statement; answers how many rows it changed.
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Fault>;

    /// Does a statement that answers rows, one after the other.
    fn each(&self, sql: &str, values: &[Value<'_>], row: &mut dyn FnMut(&Row<'_>) -> Result<(), Fault>) -> Result<(), Fault>;

    /// A number for a new delivery: later ones have greater ones.
    fn next_number(&self, now: Timestamp) -> Result<i64, Fault>;

    /// Runs that are due and whose turn it is, fair by share: whoever has fewest at work comes first, then who waits longest.
    fn due_runs(&self, now: Timestamp, room: &Room) -> Result<Vec<i64>, Fault>;

    /// Bytes that the ledger fills, about.
    fn used(&self) -> Result<u64, Fault>;

    /// Has a name to itself until the transaction ends; waits for it.
    fn lock(&self, name: &str) -> Result<(), Fault>;

    /// The same without waiting: false if somebody else has it.
    fn try_lock(&self, name: &str) -> Result<bool, Fault>;

    /// Do others write at the same time? What was read without a lock is then read again under it.
    fn is_shared(&self) -> bool;
}

impl dyn Database + '_ {
    /// All rows.
    pub fn rows<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let mut found = Vec::new();
        self.each(sql, values, &mut |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// The first row, if there is one.
    pub fn optional<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut found = None;
        self.each(sql, values, &mut |row| {
            if found.is_none() {
                found = Some(read(row)?);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The one row.
    pub fn one<T>(&self, sql: &str, values: &[Value<'_>], read: impl FnMut(&Row<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.optional(sql, values, read)?.ok_or_else(|| Fault::Unreadable("a row that must be there is not".to_owned()))
    }

    /// The one value.
    pub fn value<T: FromColumn>(&self, sql: &str, values: &[Value<'_>]) -> Result<T, Fault> {
        self.one(sql, values, |row| row.get(0))
    }
}

/// What a command works with: an open transaction, and what time it is for the store.
pub(in crate::journal) struct Session<'a> {
    pub connection: &'a dyn Database,
    pub now: Timestamp,
}

/// Why one command failed; the others of its transaction do not care.
#[derive(Debug)]
pub(in crate::journal) enum Fault {
    /// The store does not work.
    Store(String),
    /// It met another transaction, nothing of it is written, and it can be done again.
    Met(String),
    /// What is stored is not what was written.
    Unreadable(String),
    Ledger(LedgerError),
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<Impossible> for Fault {
    fn from(impossible: Impossible) -> Self {
        Self::Ledger(impossible.into())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(format!("a record cannot be read or written as JSON: {error}"))
    }
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Store(why) | Fault::Met(why) | Fault::Unreadable(why) => JournalError::Down(why).into(),
            Fault::Ledger(error) => error,
        }
    }
}

impl From<Fault> for JournalError {
    fn from(fault: Fault) -> Self {
        LedgerError::from(fault).into()
    }
}

/// Of commands that are not under a lease.
impl From<LedgerError> for JournalError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Journal(error) => error,
            LedgerError::Lost
            | LedgerError::Impossible(_)
            | LedgerError::Taken(_)
            | LedgerError::Stale { .. }
            | LedgerError::Unordered
            | LedgerError::Refused(_) => Self::Down(error.to_string()),
        }
    }
}

/// Must the answer survive a power cut? Everything survives the death of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::journal) enum Durability {
    /// Losing it with the power loses nothing that was promised: claims, heartbeats, decisions that would be made again.
    Relaxed,
    /// On disk before it is answered.
    Full,
}

/// What becomes of what a failing command has written already, where commands share a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::journal) enum Undo {
    /// It alone is undone: it works in a savepoint of its own, for which SQLite copies every page it touches.
    Alone,
    /// The whole transaction is, as if the disk had failed. For the two commands that every delivery needs: they refuse before they
    /// write, and beyond that fail only if the store does.
    Together,
}

/// How a command is done, where the store has a choice.
#[derive(Debug, Clone, Copy)]
pub(in crate::journal) struct Care {
    pub durability: Durability,
    pub undo: Undo,
}

impl Care {
    pub const RELAXED: Self = Self { durability: Durability::Relaxed, undo: Undo::Alone };
    pub const FULL: Self = Self { durability: Durability::Full, undo: Undo::Alone };
    /// For decisions about deliveries.
    pub const DECISION: Self = Self { durability: Durability::Relaxed, undo: Undo::Together };
    /// For appending.
    pub const APPEND: Self = Self { durability: Durability::Full, undo: Undo::Together };
}

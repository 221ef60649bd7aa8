//! Connections that only read: a few, each used by one reader at a time, kept for the next.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::writer::Fault;
use crate::journal::{JournalError, LedgerError};

/// Idle connections that are kept; each has a page cache of its own.
const KEPT: usize = 2;

#[derive(Clone)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default() }
    }

    /// Reads on a thread that may block.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        let readers = self.clone();
        match tokio::task::spawn_blocking(move || readers.with(query)).await {
            Ok(result) => result,
            Err(error) => Err(JournalError::Down(format!("a reader of the store broke off: {error}"))),
        }
    }

    /// Reads on this thread.
    pub fn with<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, JournalError> {
        let connection = match self.lock().pop() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| JournalError::Down(error.to_string()))?,
        };
        let result = in_one_view(&connection, query);
        let mut idle = self.lock();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        result.map_err(|fault| match fault.into() {
            LedgerError::Journal(error) => error,
            other => JournalError::Down(other.to_string()),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = connect(&self.path)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -1024)?;
        Ok(connection)
    }
}

/// A connection for reading. Writable if it may be: the first reader of a log that a dead process left behind has to recover it.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let open = |access| Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let connection = open(OpenFlags::SQLITE_OPEN_READ_WRITE).or_else(|_| open(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// Several statements of one query see the same moment.
fn in_one_view<T>(connection: &Connection, query: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
    let transaction = connection.unchecked_transaction()?;
    let result = query(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

//! Connections that only read: a few, each used by one reader at a time, kept for the next.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Threads;
use super::database::File;
use crate::journal::JournalError;
use crate::journal::sql::{Database, Fault, Look, Looking};

/// Idle connections that are kept; each has a page cache of its own.
const KEPT: usize = 2;

#[derive(Clone)]
pub(super) struct Readers {
    path: PathBuf,
    threads: Threads,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn new(path: &Path, threads: Threads) -> Self {
        Self { path: path.to_owned(), threads, idle: Arc::default() }
    }

    /// Reads on a thread that may block, if there are any.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        if self.threads == Threads::Within {
            return self.blocking(|connection| query(&File::new(connection)));
        }
        let readers = self.clone();
        match tokio::task::spawn_blocking(move || readers.blocking(|connection| query(&File::new(connection)))).await {
            Ok(result) => result,
            Err(error) => Err(JournalError::Down(format!("a reader of the store broke off: {error}"))),
        }
    }

    /// Reads on this thread.
    pub fn blocking<T>(&self, query: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, JournalError> {
        let connection = match self.lock().pop() {
            Some(connection) => connection,
            None => self.connect().map_err(|error| JournalError::Down(error.to_string()))?,
        };
        let result = in_one_view(&connection, query);
        let mut idle = self.lock();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        result.map_err(JournalError::from)
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

impl Look for Readers {
    fn with(&self, query: Looking<'_>) -> Result<(), JournalError> {
        self.blocking(|connection| query(&File::new(connection)))
    }

    fn damage(&self) -> Result<Option<String>, JournalError> {
        let found: String = self.blocking(|connection| {
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| Fault::Store(error.to_string()))
        })?;
        Ok((found != "ok").then_some(found))
    }
}

/// Several statements of one query see the same moment.
fn in_one_view<T>(connection: &Connection, query: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
    let fault = |error: rusqlite::Error| Fault::Store(error.to_string());
    let transaction = connection.unchecked_transaction().map_err(fault)?;
    let result = query(&transaction)?;
    transaction.commit().map_err(fault)?;
    Ok(result)
}

//! The journal in one SQLite file: WAL, `synchronous=FULL` for whatever is promised, one writer with group commit, readers beside it.

pub mod care;
mod database;
mod reader;
mod schema;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::crash::Faults;
use super::record::{NewDelivery, TakenIn, Taking};
pub use super::sql::ReadOnly;
use super::sql::{Care, Database, Fault, Session, Store, append};
use super::{JournalError, LedgerError};
use crate::clock::Timestamp;
use reader::Readers;
pub use writer::Clock;
use writer::{Desk, Writer};

/// Where a store works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// Beside the runtime: a thread of its own writes, and those that may block read.
    Beside,
    /// Within the runtime that opens it: the writer is one of its tasks and stops with it, and reading blocks. For simulations: nothing happens
    /// beside the runtime, so that the same seed leads to the same schedule.
    Within,
}

/// How a file is opened.
pub struct Options {
    /// The store's clock.
    pub clock: Clock,
    /// Commands that may wait; beyond it appending answers [`JournalError::Full`].
    pub queue: usize,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Where it works.
    pub threads: Threads,
    /// The file may not grow beyond so many pages of 16 KiB; none means the disk is the limit.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            queue: 1024,
            faults: Faults::default(),
            threads: Threads::Beside,
            max_pages: None,
        }
    }
}

/// Why a file cannot be opened: plain text that says what to do.
#[derive(Debug)]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the store {} cannot be opened: {}", self.path.display(), self.why)
    }
}

impl std::error::Error for OpenError {}

/// The store of a process that serves. Dropping the last handle waits until everything handed in is committed.
pub struct Sqlite {
    // In the order of dropping: the writer stops once its desk is gone, and the lock goes last.
    desk: Option<Desk>,
    writer: Option<std::thread::JoinHandle<()>>,
    readers: Readers,
    _lock: Option<File>,
}

impl Sqlite {
    /// Opens or creates the file. Another process that serves from it is an error.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let fail = |why: String| OpenError { path: path.to_owned(), why };
        let lock = lock(path).map_err(fail)?;
        let mut connection = connect(path, &options).map_err(|error| fail(error.to_string()))?;
        schema::migrate(&mut connection).map_err(fail)?;
        void_leases(&connection).map_err(|error| fail(error.to_string()))?;
        Self::begin(path, connection, options, Some(lock)).map_err(fail)
    }

    /// Opens an existing file beside the process that may be serving from it, for what a person asks for. SQLite's own lock puts one
    /// transaction after the other; the process that serves looks for work every second, and finds what was changed.
    pub fn beside(path: &Path) -> Result<Self, OpenError> {
        let fail = |why: String| OpenError { path: path.to_owned(), why };
        drop(ReadOnly::open(path)?);
        let options = Options::default();
        let connection = connect(path, &options).map_err(|error| fail(error.to_string()))?;
        Self::begin(path, connection, options, None).map_err(fail)
    }

    fn begin(path: &Path, connection: Connection, options: Options, lock: Option<File>) -> Result<Self, String> {
        let (writer, desk) = Writer::new(connection, options.clock, options.faults, options.queue);
        let writer = match options.threads {
            Threads::Beside => {
                let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.serve());
                Some(thread.map_err(|error| error.to_string())?)
            }
            Threads::Within => {
                drop(tokio::spawn(writer.serve_within()));
                None
            }
        };
        Ok(Self { desk: Some(desk), writer, readers: Readers::new(path, options.threads), _lock: lock })
    }

    fn desk(&self) -> &Desk {
        self.desk.as_ref().expect("the desk is taken away only by drop")
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.desk = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so itself.
            drop(writer.join());
        }
    }
}

impl ReadOnly {
    /// Opens an existing file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |why: String| OpenError { path: path.to_owned(), why };
        if !path.is_file() {
            return Err(fail("there is no such file; has `declic serve` run with these settings?".to_owned()));
        }
        let readers = Readers::new(path, Threads::Beside);
        readers
            .blocking(|connection| Ok(schema::recognise(connection)))
            .map_err(|error| fail(error.to_string()))?
            .map_err(fail)?;
        Ok(Self(Box::new(readers)))
    }
}

/// Held as long as the store is open; the operating system gives it up when the process dies.
fn lock(path: &Path) -> Result<File, String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| format!("its lock file {} cannot be made: {error}", Path::new(&name).display()))?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // A process that is just ending, or a child that has not let go of its parent's files yet, is no other server.
            Err(TryLockError::WouldBlock) if tries < 20 => std::thread::sleep(Duration::from_millis(25)),
            Err(TryLockError::WouldBlock) => return Err(BUSY.to_owned()),
            Err(TryLockError::Error(error)) => return Err(format!("its lock file cannot be locked: {error}")),
        }
        tries += 1;
    }
}

const BUSY: &str = "another declic serves from it; stop that one first, or name another file in `store:`";

fn connect(path: &Path, options: &Options) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "page_size", 16_384)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -4096)?;
    connection.pragma_update(None, "wal_autocheckpoint", 2000)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    if let Some(pages) = options.max_pages {
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

impl Store for Sqlite {
    async fn take_in(&self, delivery: NewDelivery, taking: Taking) -> Result<TakenIn, JournalError> {
        let size = delivery.body.len();
        Ok(self.desk().append(size, move |session: &Session<'_>| append(session, delivery, taking)).await?)
    }

    async fn change<T: Send + 'static>(
        &self,
        care: Care,
        work: impl Fn(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.desk().submit(care, work).await
    }

    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.readers.read(query).await
    }

    fn takes_writes(&self) -> bool {
        self.desk().works()
    }
}

/// The lock says that no other process serves from the file: whoever held a lease is dead, and nobody has to wait for its end.
fn void_leases(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE deliveries SET next_at = 0 WHERE next_at IS NOT NULL AND state = 'matching'", [])?;
    connection.execute("UPDATE runs SET next_at = 0 WHERE next_at IS NOT NULL AND state = 'running'", [])?;
    // And whoever knew that a target cannot be asked.
    connection.execute("UPDATE runs SET next_at = 0 WHERE waits_for IS NOT NULL AND state = 'waiting'", [])?;
    Ok(())
}

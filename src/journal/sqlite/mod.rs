//! The journal in one SQLite file: WAL, `synchronous=FULL` for whatever is promised, one writer with group commit, readers beside it.

mod audit;
mod by_hand;
pub mod care;
mod claim;
mod deliveries;
mod exclusive;
mod filter;
mod identity;
mod ledger;
mod listing;
mod order;
mod reader;
mod retention;
mod rows;
mod schema;
mod streaks;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::Answer;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::crash::Faults;
use super::record::{
    Appended, AppendedLeased, AuditEntry, Change, Claim, Claimed, Counts, Decision, Delivery, DeliveryRecord, LastDone, Lease,
    Line, Listing, NewDelivery, Order, Place, RunRecord, Selection, StepRecord, Subject, Written,
};
use super::{Journal, JournalError, LedgerError};
use crate::clock::Timestamp;
use crate::rules::model::RuleFile;
use reader::Readers;
pub use writer::Clock;
use writer::{Desk, Durability, Session, Undo, Writer};

/// How a file is opened.
pub struct Options {
    /// The store's clock.
    pub clock: Clock,
    /// Commands that may wait; beyond it appending answers [`JournalError::Full`].
    pub queue: usize,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// The file may not grow beyond so many pages of 16 KiB; none means the disk is the limit.
    pub max_pages: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Arc::new(Timestamp::now), queue: 1024, faults: Faults::default(), max_pages: None }
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
        claim::void_leases(&connection).map_err(|error| fail(error.to_string()))?;
        let (writer, desk) = Writer::new(connection, options.clock, options.faults, options.queue);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.serve())
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { desk: Some(desk), writer: Some(thread), readers: Readers::new(path), _lock: Some(lock) })
    }

    /// Opens an existing file beside the process that may be serving from it, for what a person asks for. SQLite's own lock puts one
    /// transaction after the other; the process that serves looks for work every second, and finds what was changed.
    pub fn beside(path: &Path) -> Result<Self, OpenError> {
        let fail = |why: String| OpenError { path: path.to_owned(), why };
        drop(ReadOnly::open(path)?);
        let options = Options::default();
        let connection = connect(path, &options).map_err(|error| fail(error.to_string()))?;
        let (writer, desk) = Writer::new(connection, options.clock, options.faults, options.queue);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.serve())
            .map_err(|error| fail(error.to_string()))?;
        Ok(Self { desk: Some(desk), writer: Some(thread), readers: Readers::new(path), _lock: None })
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

/// Reads the store of a process that may be serving from it.
pub struct ReadOnly {
    readers: Readers,
}

impl ReadOnly {
    /// Opens an existing file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |why: String| OpenError { path: path.to_owned(), why };
        if !path.is_file() {
            return Err(fail("there is no such file; has `declic serve` run with these settings?".to_owned()));
        }
        let readers = Readers::new(path);
        readers.with(|connection| Ok(schema::recognise(connection))).map_err(|error| fail(error.to_string()))?.map_err(fail)?;
        Ok(Self { readers })
    }

    /// As [`Journal::deliveries`].
    pub fn deliveries(&self, listing: &Listing) -> Result<Vec<DeliveryRecord>, JournalError> {
        self.readers.with(|connection| listing::deliveries(connection, listing))
    }

    /// As [`Journal::delivery`].
    pub fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError> {
        self.readers.with(|connection| listing::delivery(connection, id))
    }

    /// As [`Journal::delivery_record`].
    pub fn delivery_record(&self, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, JournalError> {
        self.readers.with(|connection| listing::delivery_record(connection, id))
    }

    /// As [`Journal::runs`].
    pub fn runs(&self, listing: &Listing) -> Result<Vec<RunRecord>, JournalError> {
        self.readers.with(|connection| listing::runs(connection, listing))
    }

    /// As [`Journal::runs_of`].
    pub fn runs_of(&self, delivery: &str) -> Result<Vec<RunRecord>, JournalError> {
        self.readers.with(|connection| listing::runs_of(connection, delivery))
    }

    /// As [`Journal::run`].
    pub fn run(&self, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, JournalError> {
        self.readers.with(|connection| listing::run(connection, id))
    }

    /// As [`Journal::mark`].
    pub fn mark(&self, name: &str) -> Result<Option<Timestamp>, JournalError> {
        self.readers.with(|connection| listing::mark(connection, name))
    }

    /// What is damaged in the file, if anything.
    pub fn integrity(&self) -> Result<Option<String>, JournalError> {
        let found: String =
            self.readers.with(|connection| Ok(connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?))?;
        Ok((found != "ok").then_some(found))
    }

    /// As [`Journal::rules`].
    pub fn rules(&self, revision: &str) -> Result<Option<Vec<RuleFile>>, JournalError> {
        self.readers.with(|connection| listing::rules(connection, revision))
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

#[async_trait]
impl Journal for Sqlite {
    async fn append(&self, delivery: NewDelivery) -> Result<Appended, JournalError> {
        let size = delivery.body.len();
        let append = move |session: &Session<'_>| deliveries::append(session, &delivery, None);
        self.desk().append(size, append).await.map_err(journal_error)
    }

    async fn append_leased(&self, delivery: NewDelivery, lease: Duration) -> Result<AppendedLeased, JournalError> {
        let size = delivery.body.len();
        let append = move |session: &Session<'_>| deliveries::append_leased(session, delivery, lease);
        self.desk().append(size, append).await.map_err(journal_error)
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, JournalError> {
        self.desk().submit(Durability::Relaxed, move |session| claim::claim(session, &claim)).await.map_err(journal_error)
    }

    async fn extend(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<bool>, JournalError> {
        self.desk()
            .submit(Durability::Relaxed, move |session| claim::extend(session, &leases, length))
            .await
            .map_err(journal_error)
    }

    async fn decide(&self, lease: Lease, decision: Decision) -> Result<Vec<String>, LedgerError> {
        let decide = move |session: &Session<'_>| deliveries::decide(session, &lease, &decision);
        self.desk().submit_as(Undo::Together, Durability::Relaxed, decide).await
    }

    async fn release(&self, lease: Lease) -> Result<(), LedgerError> {
        self.desk()
            .submit(Durability::Relaxed, move |session| match &lease.subject {
                Subject::Delivery(_) => deliveries::release(session, &lease),
                Subject::Run(_) => ledger::write(session, &lease, &[Change::Released]).map(drop),
            })
            .await
    }

    async fn write(&self, lease: Lease, changes: Vec<Change>) -> Result<Written, LedgerError> {
        self.desk().submit(Durability::Full, move |session| ledger::write(session, &lease, &changes)).await
    }

    async fn wanted(&self, run: &str) -> Result<Written, JournalError> {
        let run = run.to_owned();
        self.readers.read(move |connection| ledger::wanted(connection, &run)).await
    }

    async fn call_up(&self, name: &str, most: usize) -> Result<usize, JournalError> {
        let name = name.to_owned();
        let called = self.desk().submit(Durability::Relaxed, move |session| exclusive::call_up(session, &name, most));
        called.await.map_err(journal_error)
    }

    async fn rivals(&self, line: &Line, groups: Vec<String>, exclusive: Option<String>) -> Result<Vec<Line>, JournalError> {
        let line = line.clone();
        self.readers.read(move |connection| order::rivals(connection, &line, &groups, exclusive.as_deref())).await
    }

    async fn learn(&self, line: &Line, other: &Line, order: Order) -> Result<(), JournalError> {
        let (line, other) = (line.clone(), other.clone());
        let learned = self.desk().submit(Durability::Relaxed, move |session| order::learn(session, &line, &other, order));
        learned.await.map_err(journal_error)
    }

    async fn retry(&self, run: &str) -> Result<(), LedgerError> {
        let run = run.to_owned();
        self.desk().submit(Durability::Full, move |session| by_hand::retry(session, &run)).await
    }

    async fn cancel(&self, run: &str) -> Result<bool, LedgerError> {
        let run = run.to_owned();
        self.desk().submit(Durability::Full, move |session| by_hand::cancel(session, &run)).await
    }

    async fn answer(&self, run: &str, place: Place, answer: Answer) -> Result<(), LedgerError> {
        let run = run.to_owned();
        self.desk().submit(Durability::Full, move |session| by_hand::answer(session, &run, place, &answer)).await
    }

    async fn dead(&self, selection: Selection) -> Result<Vec<String>, JournalError> {
        let found = self.desk().submit(Durability::Relaxed, move |session| by_hand::dead(session, &selection));
        found.await.map_err(journal_error)
    }

    async fn replay(&self, delivery: &str) -> Result<String, LedgerError> {
        let delivery = delivery.to_owned();
        self.desk().submit(Durability::Full, move |session| by_hand::replay(session, &delivery)).await
    }

    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, JournalError> {
        let source = source.to_owned();
        self.readers.read(move |connection| listing::missing(connection, &source, ids)).await
    }

    async fn mark(&self, name: &str) -> Result<Option<Timestamp>, JournalError> {
        let name = name.to_owned();
        self.readers.read(move |connection| listing::mark(connection, &name)).await
    }

    async fn set_mark(&self, name: &str, at: Timestamp) -> Result<(), JournalError> {
        let name = name.to_owned();
        let kept = self.desk().submit(Durability::Relaxed, move |session| deliveries::set_mark(session, &name, at));
        kept.await.map_err(journal_error)
    }

    async fn keep_rules(&self, revision: &str, files: Vec<RuleFile>) -> Result<(), JournalError> {
        let revision = revision.to_owned();
        self.desk()
            .submit(Durability::Full, move |session| deliveries::keep_rules(session, &revision, &files))
            .await
            .map_err(journal_error)
    }

    async fn rules(&self, revision: &str) -> Result<Option<Vec<RuleFile>>, JournalError> {
        let revision = revision.to_owned();
        self.readers.read(move |connection| listing::rules(connection, &revision)).await
    }

    async fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError> {
        let id = id.to_owned();
        self.readers.read(move |connection| listing::delivery(connection, &id)).await
    }

    async fn delivery_record(&self, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, JournalError> {
        let id = id.to_owned();
        self.readers.read(move |connection| listing::delivery_record(connection, &id)).await
    }

    async fn deliveries(&self, listing: Listing) -> Result<Vec<DeliveryRecord>, JournalError> {
        self.readers.read(move |connection| listing::deliveries(connection, &listing)).await
    }

    async fn run(&self, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, JournalError> {
        let id = id.to_owned();
        self.readers.read(move |connection| listing::run(connection, &id)).await
    }

    async fn runs(&self, listing: Listing) -> Result<Vec<RunRecord>, JournalError> {
        self.readers.read(move |connection| listing::runs(connection, &listing)).await
    }

    async fn runs_of(&self, delivery: &str) -> Result<Vec<RunRecord>, JournalError> {
        let delivery = delivery.to_owned();
        self.readers.read(move |connection| listing::runs_of(connection, &delivery)).await
    }

    async fn audit(&self, who: &str, act: &str, subject: &str) -> Result<i64, JournalError> {
        let [who, act, subject] = [who, act, subject].map(str::to_owned);
        let written = self.desk().submit(Durability::Full, move |session| audit::write(session, &who, &act, &subject));
        written.await.map_err(journal_error)
    }

    async fn audited(&self, number: i64, outcome: &str) -> Result<(), JournalError> {
        let outcome = outcome.to_owned();
        let written = self.desk().submit(Durability::Full, move |session| audit::finish(session, number, &outcome));
        written.await.map_err(journal_error)
    }

    async fn audit_log(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, JournalError> {
        self.readers.read(move |connection| audit::list(connection, before, limit)).await
    }

    async fn last_done(&self) -> Result<Vec<LastDone>, JournalError> {
        self.readers.read(exclusive::all).await
    }

    async fn counts(&self, since: Timestamp) -> Result<Counts, JournalError> {
        self.readers.read(move |connection| listing::counts(connection, since)).await
    }

    async fn forget(&self, older: Duration, limit: usize) -> Result<usize, JournalError> {
        self.desk()
            .submit(Durability::Relaxed, move |session| retention::forget(session, older, limit))
            .await
            .map_err(journal_error)
    }

    async fn shrink(&self, bytes: u64, limit: usize) -> Result<usize, JournalError> {
        self.desk()
            .submit(Durability::Relaxed, move |session| retention::shrink(session, bytes, limit))
            .await
            .map_err(journal_error)
    }

    fn works(&self) -> bool {
        self.desk().works()
    }

    async fn probe(&self) -> Result<(), JournalError> {
        let write = |session: &writer::Session<'_>| {
            session.connection.prepare_cached("UPDATE probe SET count = count + 1")?.execute([])?;
            Ok(())
        };
        self.desk().submit(Durability::Full, write).await.map_err(journal_error)
    }
}

/// Of commands that are not under a lease.
fn journal_error(error: LedgerError) -> JournalError {
    match error {
        LedgerError::Journal(error) => error,
        LedgerError::Lost
        | LedgerError::Impossible(_)
        | LedgerError::Taken(_)
        | LedgerError::Stale { .. }
        | LedgerError::Refused(_) => JournalError::Down(error.to_string()),
    }
}

//! The one thread that writes. Everything that waits when a transaction is built is committed together and answered after the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::database::File;
use crate::clock::Timestamp;
use crate::journal::crash::{Faults, Point};
use crate::journal::sql::{Care, Database, Durability, Fault, Session, Undo};
use crate::journal::{JournalError, LedgerError};

/// The store's clock. Nobody else's time decides anything.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Commands in one transaction, at most.
const BATCH: usize = 256;
/// Bytes of new bodies in one transaction, about: a transaction of many megabytes would make small ones wait.
const BATCH_BYTES: usize = 8 << 20;
/// While the store is down, it is tried again this often.
const PROBE_EVERY: Duration = Duration::from_millis(200);

type Answer = Box<dyn FnOnce(Result<(), JournalError>) + Send>;
/// Given an error in place of a transaction, it does nothing and its answer is that error.
type Work = Box<dyn FnOnce(Result<(&File<'_>, Timestamp), JournalError>) -> Answer + Send>;

pub(super) struct Command {
    durability: Durability,
    size: usize,
    work: Work,
}

/// The way in for all commands.
#[derive(Clone)]
pub(super) struct Desk {
    commands: mpsc::Sender<Command>,
    works: Arc<AtomicBool>,
}

impl Desk {
    /// Did the last transaction succeed?
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed) && !self.commands.is_closed()
    }

    /// Does `work` inside the next transaction; answers after its commit. Waits for a place in the queue.
    pub async fn submit<T: Send + 'static>(
        &self,
        care: Care,
        work: impl FnOnce(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (command, answer) = self.command(care, 0, work);
        self.commands.send(command).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Does the work of an append, which is `size` bytes large; a full queue is an error at once.
    pub async fn append<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnOnce(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (command, answer) = self.command(Care::APPEND, size, work);
        self.commands.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => JournalError::Full,
            mpsc::error::TrySendError::Closed(_) => JournalError::Down("the store's writer has stopped".to_owned()),
        })?;
        answer.await.map_err(|_| stopped())?
    }

    fn command<T: Send + 'static>(
        &self,
        care: Care,
        size: usize,
        work: impl FnOnce(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> (Command, oneshot::Receiver<Result<T, LedgerError>>) {
        let (sender, receiver) = oneshot::channel();
        let works = Arc::clone(&self.works);
        let work: Work = Box::new(move |open| {
            let (result, store_failed) = match open {
                Ok((file, now)) => {
                    let session = Session { connection: file, now };
                    let result = match care.undo {
                        Undo::Alone => in_savepoint(file, &session, work),
                        Undo::Together => with_all(file, &session, work),
                    };
                    (result, file.failed.take())
                }
                Err(error) => (Err(Fault::Ledger(error.into())), false),
            };
            // Whoever asked may have gone away; what was written stays written.
            Box::new(move |commit| {
                if store_failed {
                    works.store(false, Ordering::Relaxed);
                }
                drop(sender.send(commit.map_err(LedgerError::from).and_then(|()| result.map_err(LedgerError::from))))
            })
        });
        (Command { durability: care.durability, size, work }, receiver)
    }
}

fn stopped() -> LedgerError {
    JournalError::Down("the store's writer has stopped".to_owned()).into()
}

/// A command that fails after it wrote takes the transaction with it.
fn with_all<T>(file: &File<'_>, session: &Session<'_>, work: impl FnOnce(&Session<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    let before = file.connection.total_changes();
    let result = work(session);
    if result.is_err() && file.connection.total_changes() != before && !file.connection.is_autocommit() {
        file.execute("ROLLBACK", &[])?;
    }
    result
}

/// A command that fails leaves nothing behind, and does not hurt those it shares the transaction with.
fn in_savepoint<T>(
    file: &File<'_>,
    session: &Session<'_>,
    work: impl FnOnce(&Session<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    file.execute("SAVEPOINT command", &[])?;
    let result = work(session);
    if result.is_err() && !file.connection.is_autocommit() {
        file.execute("ROLLBACK TO command", &[])?;
    }
    if !file.connection.is_autocommit() {
        file.execute("RELEASE command", &[])?;
    }
    result
}

/// The thread's side.
pub(super) struct Writer {
    connection: Connection,
    commands: mpsc::Receiver<Command>,
    clock: Clock,
    faults: Faults,
    /// What the connection is set to.
    durability: Option<Durability>,
    /// Why nothing is acknowledged, since when.
    down: Option<(String, Instant)>,
    /// The same for others.
    works: Arc<AtomicBool>,
}

impl Writer {
    pub fn new(connection: Connection, clock: Clock, faults: Faults, queue: usize) -> (Self, Desk) {
        let (sender, commands) = mpsc::channel(queue);
        let works = Arc::new(AtomicBool::new(true));
        let desk = Desk { commands: sender, works: Arc::clone(&works) };
        (Self { connection, commands, clock, faults, durability: None, down: None, works }, desk)
    }

    /// Until the last desk is gone.
    pub fn serve(mut self) {
        while let Some(first) = self.commands.blocking_recv() {
            let batch = self.batch(first);
            self.transact(batch);
        }
    }

    /// The same as a task of a runtime that has nothing better to do.
    pub async fn serve_within(mut self) {
        while let Some(first) = self.commands.recv().await {
            let batch = self.batch(first);
            self.transact(batch);
        }
    }

    /// With all that waits behind it.
    fn batch(&mut self, first: Command) -> Vec<Command> {
        let mut size = first.size;
        let mut batch = vec![first];
        while batch.len() < BATCH && size < BATCH_BYTES {
            let Ok(command) = self.commands.try_recv() else { break };
            size += command.size;
            batch.push(command);
        }
        batch
    }

    fn transact(&mut self, batch: Vec<Command>) {
        if let Err(why) = self.recover() {
            for command in batch {
                refuse(command, &why);
            }
            return;
        }
        let mut answers = Vec::with_capacity(batch.len());
        let result = self.commit(batch, &mut answers);
        if let Err(why) = &result {
            tracing::error!(%why, "the store failed; nothing is acknowledged until it works again");
            if !self.connection.is_autocommit() {
                // Best effort: a connection that cannot roll back is replaced by the next probe's failure.
                drop(self.connection.execute_batch("ROLLBACK"));
            }
            self.down = Some((why.clone(), Instant::now()));
            // Before the answers: who is told of the failure must not find us ready.
            self.works.store(false, Ordering::Relaxed);
        } else {
            self.works.store(true, Ordering::Relaxed);
        }
        for answer in answers {
            answer(result.clone().map_err(JournalError::Down));
        }
    }

    fn commit(&mut self, batch: Vec<Command>, answers: &mut Vec<Answer>) -> Result<(), String> {
        let durability = batch.iter().map(|command| command.durability).max().unwrap_or(Durability::Full);
        let mut begun = self.set(durability).and_then(|()| self.execute("BEGIN IMMEDIATE"));
        for command in batch {
            if let Err(why) = &begun {
                refuse(command, why);
                continue;
            }
            let file = File::new(&self.connection);
            answers.push((command.work)(Ok((&file, (self.clock)()))));
            if self.connection.is_autocommit() {
                begun = Err("the transaction was rolled back: the disk is full, or it fails".to_owned());
            }
        }
        begun?;
        self.faults.point(Point::BeforeCommit, durability == Durability::Full)?;
        self.execute("COMMIT")?;
        // A crash here must not lose what is committed, and the answer was never given: both sides are safe.
        self.faults.point(Point::BeforeAnswer, durability == Durability::Full)
    }

    fn execute(&self, sql: &str) -> Result<(), String> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(drop)
            .map_err(|error| error.to_string())
    }

    fn set(&mut self, durability: Durability) -> Result<(), String> {
        if self.durability != Some(durability) {
            let level = match durability {
                Durability::Relaxed => "NORMAL",
                Durability::Full => "FULL",
            };
            self.connection.pragma_update(None, "synchronous", level).map_err(|error| error.to_string())?;
            self.durability = Some(durability);
        }
        Ok(())
    }

    /// After a failure: is the store back? A sync that failed may have lost earlier pages of the log that were not synced yet,
    /// so the log is moved into the database and begun anew before anything is acknowledged on top of it.
    fn recover(&mut self) -> Result<(), String> {
        let Some((why, since)) = &self.down else { return Ok(()) };
        if since.elapsed() < PROBE_EVERY {
            return Err(why.clone());
        }
        match self.probe() {
            Ok(()) => {
                tracing::info!("the store works again");
                self.down = None;
                Ok(())
            }
            Err(why) => {
                self.down = Some((why.clone(), Instant::now()));
                Err(why)
            }
        }
    }

    fn probe(&mut self) -> Result<(), String> {
        self.set(Durability::Full)?;
        let busy: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|error| error.to_string())?;
        if busy != 0 {
            return Err("the log cannot be moved into the database while somebody reads it".to_owned());
        }
        self.execute("BEGIN IMMEDIATE")?;
        let written = self
            .execute("UPDATE probe SET count = count + 1")
            .and_then(|()| self.faults.point(Point::BeforeCommit, true))
            .and_then(|()| self.execute("COMMIT"));
        if written.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        written
    }
}

fn refuse(command: Command, why: &str) {
    (command.work)(Err(JournalError::Down(why.to_owned())))(Ok(()));
}

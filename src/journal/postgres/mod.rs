//! The journal in PostgreSQL, for many replicas: the ledger's SQL in transactions of their own, group commit for what comes in.
//!
//! Everything is committed synchronously, claims too: the server may lose its power while the workers live on, and a claim that was forgotten
//! would give the same fencing token twice.

mod address;
mod appends;
mod database;
mod due;
mod look;
mod news;
mod schema;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use address::{Address, Certificate};
use appends::Arrival;
use database::{Connection, Opened};

use super::crash::{Faults, Point};
use super::record::{NewDelivery, TakenIn, Taking};
use super::sql::{Care, Database, Durability, Fault, Session, Store};
use super::sqlite::Clock;
use super::{JournalError, LedgerError};

/// A connection out of the pool, or a new one, may take this long; then the store counts as down.
const WAIT: Duration = Duration::from_secs(5);
/// A transaction that met another one is done again so often, with growing pauses.
const TRIES: u32 = 10;

/// How a server is used.
pub struct Options {
    /// Where it is.
    pub address: Address,
    /// Certificates of its issuer, if not one that this machine trusts.
    pub ca: Option<PathBuf>,
    /// The schema of the tables; made if it is not there.
    pub schema: String,
    /// Connections, at most; one more listens.
    pub connections: usize,
    /// Deliveries that may wait; beyond it appending answers [`JournalError::Full`].
    pub queue: usize,
    /// A clock in place of the server's, for tests.
    pub clock: Option<Clock>,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

impl Options {
    /// The usual ones.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            ca: None,
            schema: "declic".to_owned(),
            connections: 10,
            queue: 1024,
            clock: None,
            faults: Faults::default(),
        }
    }
}

/// Why a server cannot be used: plain text that says what to do.
#[derive(Debug)]
pub struct OpenError {
    /// Which one, for people.
    pub address: String,
    /// What is wrong.
    pub why: String,
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the store {} cannot be used: {}", self.address, self.why)
    }
}

impl std::error::Error for OpenError {}

/// The store of one replica.
pub struct Postgres {
    transactions: Transactions,
    arrivals: mpsc::Sender<Arrival>,
    heard: watch::Receiver<u64>,
    /// Ends with the store.
    _beside: JoinSet<()>,
}

impl Postgres {
    /// Connects, and brings the tables up to date.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let address = options.address.to_string();
        let fail = |why: String| OpenError { address: address.clone(), why };
        let (config, tls) = options.address.connector(options.ca.as_deref()).map_err(fail)?;
        let pool = pool(config.clone(), tls.clone(), &options).map_err(fail)?;
        let mut client = pool.get().await.map_err(|error| fail(unreachable(&error)))?;
        schema::migrate(&mut client, &options.schema).await.map_err(fail)?;
        drop(client);
        let changed = Arc::new(Notify::new());
        let transactions = Transactions {
            pool: pool.clone(),
            clock: options.clock,
            faults: options.faults,
            works: Arc::new(AtomicBool::new(true)),
            changed: Arc::clone(&changed),
        };
        let (arrivals, waiting) = mpsc::channel(options.queue);
        let (told, heard) = watch::channel(0);
        let mut beside = JoinSet::new();
        // Ends by itself when the last delivery that was handed in is answered.
        tokio::spawn(appends::take_in(transactions.clone(), waiting));
        beside.spawn(news::tell(pool, options.schema.clone(), changed));
        beside.spawn(news::hear(config, tls, options.schema, told));
        Ok(Self { transactions, arrivals, heard, _beside: beside })
    }
}

fn pool(config: tokio_postgres::Config, tls: tls::Tls, options: &Options) -> Result<Pool, String> {
    let manager = Manager::from_config(config, tls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
    let schema = options.schema.clone();
    if !schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') || schema.is_empty() {
        return Err(format!("`{schema}` cannot name a schema: use small letters, digits and _"));
    }
    // What a hung server, a lock of somebody else or a lost replica may cost.
    let settings = format!(
        "SET search_path TO {schema}; SET statement_timeout TO '30s'; SET lock_timeout TO '10s'; \
         SET idle_in_transaction_session_timeout TO '60s'; SET synchronous_commit TO on"
    );
    let set = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        let settings = settings.clone();
        Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
    });
    Pool::builder(manager)
        .max_size(options.connections.max(2))
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .recycle_timeout(Some(WAIT))
        .post_create(set)
        .build()
        .map_err(|error| error.to_string())
}

fn unreachable(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => match database::fault(error, false) {
            Fault::Store(why) | Fault::Met(why) | Fault::Unreadable(why) => why,
            Fault::Ledger(error) => error.to_string(),
        },
        PoolError::Timeout(_) => "no connection within 5 seconds".to_owned(),
        other => address::chain(other),
    }
}

fn down(fault: Fault) -> JournalError {
    JournalError::from(fault)
}

/// Whatever writes, one transaction at a time on each connection.
#[derive(Clone)]
pub(super) struct Transactions {
    pool: Pool,
    clock: Option<Clock>,
    faults: Faults,
    works: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

impl Transactions {
    /// Does `work` in a transaction of its own, again if it meets another one.
    async fn change<T: Send + 'static>(
        &self,
        work: impl Fn(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let work = move |connection: &Connection, opened: &Opened| work(&Session { connection, now: opened.now });
        Ok(self.write(0, work).await?)
    }

    /// The same with so many numbers for new deliveries.
    async fn write<T: Send + 'static>(
        &self,
        numbers: usize,
        mut work: impl Fn(&Connection, &Opened) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let mut pause = Duration::from_millis(2);
        let mut tries = 0;
        loop {
            tries += 1;
            let client = match self.pool.get().await {
                Ok(client) => client,
                Err(error) => {
                    self.works.store(false, Ordering::Relaxed);
                    return Err(Fault::Store(unreachable(&error)));
                }
            };
            let transactions = self.clone();
            let done = tokio::task::spawn_blocking(move || {
                let result = transactions.transact(Connection::new(client), numbers, &work);
                (work, result)
            });
            let result;
            (work, result) = done.await.map_err(|error| Fault::Store(format!("a transaction broke off: {error}")))?;
            match result {
                Err(Fault::Met(why)) if tries < TRIES => {
                    tracing::debug!(%why, tries, "a transaction is done again");
                    tokio::time::sleep(pause + pause.mul_f64(rand::random::<f64>())).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                result => {
                    self.note(&result);
                    return result;
                }
            }
        }
    }

    fn note<T>(&self, result: &Result<T, Fault>) {
        match result {
            Ok(_) => self.works.store(true, Ordering::Relaxed),
            Err(Fault::Store(why) | Fault::Met(why)) => {
                if self.works.swap(false, Ordering::Relaxed) {
                    tracing::error!(%why, "the store failed");
                }
            }
            Err(Fault::Unreadable(_) | Fault::Ledger(_)) => {}
        }
    }

    fn transact<T>(
        &self,
        connection: Connection,
        numbers: usize,
        work: &impl Fn(&Connection, &Opened) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut opened = connection.begin(numbers)?;
        if let Some(clock) = &self.clock {
            opened.now = clock();
        }
        let result = work(&connection, &opened).and_then(|done| {
            self.faults.point(Point::BeforeCommit, true).map_err(Fault::Store)?;
            Ok(done)
        });
        match result {
            Ok(done) => {
                connection.commit()?;
                self.faults.point(Point::BeforeAnswer, true).map_err(Fault::Store)?;
                Ok(done)
            }
            Err(fault) => {
                connection.roll_back();
                Err(fault)
            }
        }
    }

    /// Reads in one view.
    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        let client = self.pool.get().await.map_err(|error| JournalError::Down(unreachable(&error)))?;
        let done = tokio::task::spawn_blocking(move || look::in_one_view(Connection::new(client), query));
        Ok(done.await.map_err(|error| JournalError::Down(format!("a reader of the store broke off: {error}")))??)
    }
}

impl Store for Postgres {
    async fn take_in(&self, delivery: NewDelivery, taking: Taking) -> Result<TakenIn, JournalError> {
        // Deliveries go in together, as one statement. A decision takes locks that others may hold, and all of them would wait.
        let lease = match taking {
            Taking::Due => None,
            Taking::Leased(lease) | Taking::Decided(_, lease) => Some(lease),
        };
        let (answer, answered) = oneshot::channel();
        self.arrivals.try_send(Arrival { delivery, lease, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => JournalError::Full,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        let appended = answered.await.map_err(|_| stopped())?;
        // What is leased to this process is nobody else's business yet.
        if lease.is_none() && appended.is_ok() {
            self.transactions.changed.notify_one();
        }
        appended
    }

    async fn change<T: Send + 'static>(
        &self,
        care: Care,
        work: impl Fn(&Session<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let done = self.transactions.change(work).await;
        // Claims and heartbeats make nothing due.
        if done.is_ok() && (care.durability == Durability::Full || care.undo == super::sql::Undo::Together) {
            self.transactions.changed.notify_one();
        }
        done
    }

    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&dyn Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, JournalError> {
        self.transactions.look(query).await
    }

    fn takes_writes(&self) -> bool {
        self.transactions.works.load(Ordering::Relaxed) && !self.arrivals.is_closed()
    }

    fn news(&self) -> Option<watch::Receiver<u64>> {
        Some(self.heard.clone())
    }
}

fn stopped() -> JournalError {
    JournalError::Down("the store takes nothing in any more".to_owned())
}

//! PostgreSQL under the ledger's SQL: statements as the ledger writes them, put into the server's dialect, one after the other in one
//! transaction. Runs on a thread that may block.

use std::cell::Cell;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use deadpool_postgres::Client;
use futures_executor::block_on;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row as Record, SimpleQueryMessage};

use super::address::chain;
use super::due::DUE_RUNS;
use crate::clock::Timestamp;
use crate::journal::record::Room;
use crate::journal::sql::{Columns, Database, Fault, Row, Value};

/// A connection out of the pool, in a transaction.
pub(super) struct Connection {
    client: Option<Client>,
    /// Some statement failed: the server takes no other one of this transaction.
    failed: Cell<bool>,
    /// Nothing of it is open any more, and the connection can be used again.
    over: AtomicBool,
}

/// What opening a transaction tells.
pub(super) struct Opened {
    pub now: Timestamp,
    /// Numbers for new deliveries, in order.
    pub numbers: Vec<i64>,
}

/// Two transactions met, and the server undid this one.
const REFUSED: [SqlState; 3] =
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE];
/// The server stops, or another of its processes died.
const ENDED: [SqlState; 2] = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];

/// The server's clock, in milliseconds.
const NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

impl Connection {
    pub fn new(client: Client) -> Self {
        Self { client: Some(client), failed: Cell::new(false), over: AtomicBool::new(false) }
    }

    fn client(&self) -> Result<&Client, Fault> {
        self.client.as_ref().ok_or_else(|| Fault::Store("the connection is gone".to_owned()))
    }

    /// Begins a transaction that writes; takes so many numbers for new deliveries on the way.
    pub fn begin(&self, numbers: usize) -> Result<Opened, Fault> {
        let wanted = match numbers {
            0 => String::new(),
            count => format!("; SELECT nextval('delivery_number') FROM generate_series(1, {count})"),
        };
        let mut told = self.simple(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {NOW}{wanted}"))?.into_iter();
        let now = told.next().ok_or_else(|| Fault::Store("the server does not tell the time".to_owned()))?;
        Ok(Opened { now: Timestamp(now), numbers: told.collect() })
    }

    /// Begins a transaction that only reads, all of it as of one moment.
    pub fn begin_view(&self) -> Result<(), Fault> {
        self.simple("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map(drop)
    }

    /// On disk when it returns. An error leaves open whether it is.
    pub fn commit(&self) -> Result<(), Fault> {
        if self.failed.get() {
            // The server would take the COMMIT and roll back.
            return Err(Fault::Store("a statement of the transaction failed".to_owned()));
        }
        if let Err(error) = block_on(self.client()?.simple_query("COMMIT")) {
            let fault = self.fault(&error);
            // Refused by the server: it is undone. Anything else: nobody knows, and it must not be done again as if nothing had been.
            let undone = matches!(error.code(), Some(code) if REFUSED.contains(code));
            return Err(match fault {
                Fault::Met(why) if !undone => Fault::Store(why),
                other => other,
            });
        }
        self.over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes it all back.
    pub fn roll_back(&self) {
        if self.simple("ROLLBACK").is_ok() {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    /// Statements without values; the numbers they answer.
    fn simple(&self, sql: &str) -> Result<Vec<i64>, Fault> {
        let answers = block_on(self.client()?.simple_query(sql)).map_err(|error| self.fault(&error))?;
        let number = |message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).and_then(|text| text.parse().ok()),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(number).collect())
    }

    /// A statement of this store's own, with arrays for values.
    pub fn own(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Record>, Fault> {
        let client = self.client()?;
        let query = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, values).await
        };
        block_on(query).map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &tokio_postgres::Error) -> Fault {
        self.failed.set(true);
        fault(error, self.client.as_ref().is_some_and(|client| client.is_closed()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // In the middle of a transaction: closed, not given back. The server takes back what was not committed.
        if !self.over.load(Ordering::Relaxed)
            && let Some(client) = self.client.take()
        {
            drop(Client::take(client));
        }
    }
}

/// Two transactions that met, and a connection that was lost before its transaction could be committed, are no failure of the store.
pub(super) fn fault(error: &tokio_postgres::Error, closed: bool) -> Fault {
    let Some(told) = error.as_db_error() else {
        let why = chain(error);
        return if closed { Fault::Met(why) } else { Fault::Store(why) };
    };
    // Its detail is left out: it repeats values.
    let why = format!("PostgreSQL says: {} ({})", told.message(), told.code().code());
    if REFUSED.contains(told.code()) || ENDED.contains(told.code()) { Fault::Met(why) } else { Fault::Store(why) }
}

/// The ledger's statement as PostgreSQL wants it: `$1` for `?1`, and what stands in `/*pg: … */`.
fn dialect(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(['?', '/', '*']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(inside) = from.strip_prefix("/*pg:") {
            rest = inside;
        } else if let Some(behind) = from.strip_prefix("*/") {
            rest = behind;
        } else {
            let mut letters = from.chars();
            match letters.next() {
                Some('?') => out.push('$'),
                Some(letter) => out.push(letter),
                None => {}
            }
            rest = letters.as_str();
        }
    }
    out.push_str(rest);
    out
}

impl Database for Connection {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Fault> {
        let client = self.client()?;
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let execute = async {
            let statement = client.prepare_cached(&dialect(sql)).await?;
            client.execute(&statement, &values).await
        };
        let changed = block_on(execute).map_err(|error| self.fault(&error))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    fn each(&self, sql: &str, values: &[Value<'_>], read: &mut dyn FnMut(&Row<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.own(&dialect(sql), &values)?.iter().try_for_each(|row| read(&Row(row)))
    }

    fn next_number(&self, now: Timestamp) -> Result<i64, Fault> {
        let counter: i64 = (self as &dyn Database).value("SELECT nextval('delivery_number')", &[])?;
        Ok(number(now, counter))
    }

    fn due_runs(&self, now: Timestamp, room: &Room) -> Result<Vec<i64>, Fault> {
        let count = i64::try_from(room.most).unwrap_or(i64::MAX);
        let with_share = |row: &Record| (row.get::<_, String>(1), row.get::<_, i64>(0));
        let mut candidates = self.own(&DUE_RUNS.candidates, &[&now.0, &count.saturating_mul(4)])?;
        candidates.retain(|row| room.left(row.get(1)) > 0);
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let candidates: Vec<i64> = candidates.iter().map(|row| row.get(0)).collect();
        let taken = self.own(&DUE_RUNS.take, &[&candidates, &now.0, &count])?;
        Ok(room.choose(taken.iter().map(with_share)).collect())
    }

    /// What the deliveries fill, and about what hangs on them. Tables do not become smaller when rows are removed, so that their size says
    /// nothing here.
    fn used(&self) -> Result<u64, Fault> {
        let bytes: i64 = (self as &dyn Database).value("SELECT coalesce(sum(size + 2048), 0)::bigint FROM deliveries", &[])?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    fn lock(&self, name: &str) -> Result<(), Fault> {
        self.own(
            "SELECT 1 FROM pg_advisory_xact_lock(hashtextextended(current_schema()::text || ' ' || $1::text, 0))",
            &[&plain(name)],
        )
        .map(drop)
    }

    fn try_lock(&self, name: &str) -> Result<bool, Fault> {
        let found = self.own(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema()::text || ' ' || $1::text, 0))",
            &[&plain(name)],
        )?;
        Ok(found.first().is_some_and(|row| row.get(0)))
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// The number of a delivery: its time above a counter that all replicas share.
pub(super) fn number(now: Timestamp, counter: i64) -> i64 {
    crate::journal::sql::identity::first(now) | (counter & ((1 << 20) - 1))
}

/// PostgreSQL has no text with a NUL in it: its picture stands for it.
pub(super) fn plain(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{2400}").into() } else { text.into() }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(number) => integer(*number, kind, out),
            Self::Flag(flag) => integer(i64::from(*flag), kind, out),
            Self::Text(text) => plain(text).as_ref().to_sql(kind, out),
            Self::Bytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn integer(number: i64, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
    match *kind {
        Type::INT8 => number.to_sql(kind, out),
        Type::INT4 => i32::try_from(number)?.to_sql(kind, out),
        Type::INT2 => i16::try_from(number)?.to_sql(kind, out),
        Type::BOOL => (number != 0).to_sql(kind, out),
        _ => Err(format!("a number is not {kind}").into()),
    }
}

impl Columns for Record {
    fn integer(&self, column: usize) -> Result<Option<i64>, Fault> {
        Ok(self.try_get::<_, Option<Whole>>(column).map_err(unreadable)?.map(|whole| whole.0))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Fault> {
        self.try_get(column).map_err(unreadable)
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, Fault> {
        self.try_get(column).map_err(unreadable)
    }
}

/// Whatever holds a whole number.
struct Whole(i64);

impl<'a> FromSql<'a> for Whole {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(match *kind {
            Type::INT8 => i64::from_sql(kind, raw)?,
            Type::INT4 => i64::from(i32::from_sql(kind, raw)?),
            Type::INT2 => i64::from(i16::from_sql(kind, raw)?),
            _ => i64::from(bool::from_sql(kind, raw)?),
        }))
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::INT8 | Type::INT4 | Type::INT2 | Type::BOOL)
    }
}

fn unreadable(error: tokio_postgres::Error) -> Fault {
    Fault::Unreadable(chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledgers_statements_become_those_of_the_server() {
        let sql = "SELECT a FROM t WHERE b = ?1 AND c /*pg:I*/LIKE ?12 ESCAPE '\\' /*pg: FOR UPDATE */";
        assert_eq!(dialect(sql), "SELECT a FROM t WHERE b = $1 AND c ILIKE $12 ESCAPE '\\'  FOR UPDATE ");
    }
}

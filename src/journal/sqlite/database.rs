//! SQLite under the ledger's SQL.

use std::cell::Cell;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Statement, ToSql};

use crate::clock::Timestamp;
use crate::journal::record::Room;
use crate::journal::sql::{Columns, Database, Fault, Row, Value, due_by_share, identity};

/// A connection of this file.
pub(super) struct File<'c> {
    pub connection: &'c Connection,
    /// Did SQLite itself fail, and not only what it was asked for?
    pub failed: Cell<bool>,
}

impl<'c> File<'c> {
    pub fn new(connection: &'c Connection) -> Self {
        Self { connection, failed: Cell::new(false) }
    }

    fn fault(&self, error: &rusqlite::Error) -> Fault {
        if matches!(error, rusqlite::Error::SqliteFailure(..)) {
            self.failed.set(true);
        }
        Fault::Store(error.to_string())
    }

    fn prepared(&self, sql: &str, values: &[Value<'_>]) -> rusqlite::Result<rusqlite::CachedStatement<'c>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for (index, value) in (1..).zip(values) {
            statement.raw_bind_parameter(index, value)?;
        }
        Ok(statement)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Flag(flag) => ValueRef::Integer(i64::from(*flag)),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Database for File<'_> {
    fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Fault> {
        let execute = || -> rusqlite::Result<usize> { self.prepared(sql, values)?.raw_execute() };
        execute().map_err(|error| self.fault(&error))
    }

    fn each(&self, sql: &str, values: &[Value<'_>], read: &mut dyn FnMut(&Row<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut statement = self.prepared(sql, values).map_err(|error| self.fault(&error))?;
        let mut rows = Statement::raw_query(&mut statement);
        while let Some(row) = rows.next().map_err(|error| self.fault(&error))? {
            read(&Row(row))?;
        }
        Ok(())
    }

    fn next_number(&self, now: Timestamp) -> Result<i64, Fault> {
        let last = || -> rusqlite::Result<Option<i64>> {
            let mut statement = self.connection.prepare_cached("SELECT seq FROM deliveries ORDER BY seq DESC LIMIT 1")?;
            statement.query_row([], |row| row.get(0)).optional()
        };
        Ok(identity::next(last().map_err(|error| self.fault(&error))?.unwrap_or(0), now))
    }

    fn due_runs(&self, now: Timestamp, room: &Room) -> Result<Vec<i64>, Fault> {
        due_by_share(self, now, room)
    }

    /// Pages that nothing uses do not count: they are used again before the file grows.
    fn used(&self) -> Result<u64, Fault> {
        let number = |name: &str| self.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let used = || -> rusqlite::Result<i64> { Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?) };
        used().map(|bytes| u64::try_from(bytes).unwrap_or(0)).map_err(|error| self.fault(&error))
    }

    /// Nobody else writes.
    fn lock(&self, _name: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn try_lock(&self, _name: &str) -> Result<bool, Fault> {
        Ok(true)
    }

    fn is_shared(&self) -> bool {
        false
    }
}

impl Columns for rusqlite::Row<'_> {
    fn integer(&self, column: usize) -> Result<Option<i64>, Fault> {
        self.get(column).map_err(unreadable)
    }

    fn text(&self, column: usize) -> Result<Option<&str>, Fault> {
        self.get_ref(column).and_then(|value| Ok(value.as_str_or_null()?)).map_err(unreadable)
    }

    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, Fault> {
        self.get_ref(column).and_then(|value| Ok(value.as_bytes_or_null()?)).map_err(unreadable)
    }
}

fn unreadable(error: rusqlite::Error) -> Fault {
    Fault::Unreadable(error.to_string())
}

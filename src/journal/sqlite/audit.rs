//! Who asked for what, and what came of it.

use rusqlite::{Connection, params};

use super::writer::{Fault, Session};
use crate::clock::Timestamp;
use crate::journal::record::AuditEntry;

pub(super) fn write(session: &Session<'_>, who: &str, act: &str, subject: &str) -> Result<i64, Fault> {
    session.connection.prepare_cached("INSERT INTO audit (at, who, act, subject) VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        session.now.0,
        who,
        act,
        subject
    ])?;
    Ok(session.connection.last_insert_rowid())
}

pub(super) fn finish(session: &Session<'_>, number: i64, outcome: &str) -> Result<(), Fault> {
    session.connection.prepare_cached("UPDATE audit SET outcome = ?2 WHERE number = ?1")?.execute(params![number, outcome])?;
    Ok(())
}

pub(super) fn list(connection: &Connection, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT number, at, who, act, subject, outcome FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement.query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
        Ok(AuditEntry {
            number: row.get(0)?,
            at: Timestamp(row.get(1)?),
            who: row.get(2)?,
            act: row.get(3)?,
            subject: row.get(4)?,
            outcome: row.get(5)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

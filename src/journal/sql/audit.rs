//! Who asked for what, and what came of it.

use super::store::{Database, Fault, Session};
use super::value::params;
use crate::clock::Timestamp;
use crate::journal::record::AuditEntry;

pub(super) fn write(session: &Session<'_>, who: &str, act: &str, subject: &str) -> Result<i64, Fault> {
    let sql = "INSERT INTO audit (at, who, act, subject) VALUES (?1, ?2, ?3, ?4) RETURNING number";
    session.connection.value(sql, params![session.now.0, who, act, subject])
}

pub(super) fn finish(session: &Session<'_>, number: i64, outcome: &str) -> Result<(), Fault> {
    session.connection.execute("UPDATE audit SET outcome = ?2 WHERE number = ?1", params![number, outcome])?;
    Ok(())
}

pub(super) fn list(connection: &dyn Database, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let sql = "SELECT number, at, who, act, subject, outcome FROM audit WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.rows(sql, params![before.unwrap_or(i64::MAX), limit], |row| {
        Ok(AuditEntry {
            number: row.get(0)?,
            at: Timestamp(row.get(1)?),
            who: row.get(2)?,
            act: row.get(3)?,
            subject: row.get(4)?,
            outcome: row.get(5)?,
        })
    })
}

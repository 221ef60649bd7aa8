//! What is removed: finished deliveries with all that hangs on them, by age and by size, in small batches, and rule sets nobody runs with.

use std::time::Duration;

use super::store::{Fault, Session};
use super::value::params;
use crate::journal::SIGNED_OUT;

/// Rule sets that stay in any case: the one in force has perhaps no run yet.
const RULE_SETS_KEPT: i64 = 16;

pub(super) fn forget(session: &Session<'_>, older: Duration, limit: usize) -> Result<usize, Fault> {
    let connection = session.connection;
    let before = session.now.0.saturating_sub(i64::try_from(older.as_millis()).unwrap_or(i64::MAX));
    let sql = "SELECT seq FROM deliveries WHERE finished_at < ?1 ORDER BY finished_at LIMIT ?2 /*pg: FOR UPDATE SKIP LOCKED */";
    let old = connection.rows(sql, params![before, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get::<i64>(0))?;
    remove(session, &old)?;
    connection.execute(
        "DELETE FROM rule_sets WHERE kept_at < ?1 AND revision NOT IN (SELECT revision FROM runs)
               AND revision NOT IN (SELECT revision FROM rule_sets ORDER BY kept_at DESC LIMIT ?2)",
        params![before, RULE_SETS_KEPT],
    )?;
    connection.execute("DELETE FROM ancestry WHERE kept_at < ?1", params![before])?;
    connection.execute("DELETE FROM marks WHERE name LIKE ?1 AND at < ?2", params![format!("{SIGNED_OUT}%"), session.now.0])?;
    Ok(old.len())
}

pub(super) fn shrink(session: &Session<'_>, bytes: u64, limit: usize) -> Result<usize, Fault> {
    let connection = session.connection;
    if connection.used()? <= bytes {
        return Ok(0);
    }
    let sql = "SELECT seq FROM deliveries WHERE finished_at IS NOT NULL ORDER BY finished_at, seq LIMIT ?1 /*pg: FOR UPDATE SKIP LOCKED */";
    let oldest = connection.rows(sql, params![i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get::<i64>(0))?;
    remove(session, &oldest)?;
    Ok(oldest.len())
}

fn remove(session: &Session<'_>, deliveries: &[i64]) -> Result<(), Fault> {
    let connection = session.connection;
    for delivery in deliveries {
        for sql in [
            "DELETE FROM attempts WHERE run IN (SELECT seq FROM runs WHERE delivery = ?1)",
            "DELETE FROM steps WHERE run IN (SELECT seq FROM runs WHERE delivery = ?1)",
            "DELETE FROM runs WHERE delivery = ?1",
            "DELETE FROM traces WHERE delivery = ?1",
            "DELETE FROM lines WHERE delivery = ?1",
            "DELETE FROM streaks WHERE delivery = ?1",
            "DELETE FROM contents WHERE delivery = ?1",
            "DELETE FROM deliveries WHERE seq = ?1",
        ] {
            connection.execute(sql, params![delivery])?;
        }
    }
    Ok(())
}

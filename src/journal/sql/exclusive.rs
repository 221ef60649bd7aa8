//! What a step has to itself while it is open, and what was last done under that name: nothing older follows.

use super::identity;
use super::locks;
use super::order::{self, Rival};
use super::store::{Database, Fault, Session};
use super::value::params;
use crate::journal::LedgerError;
use crate::journal::record::{LastDone, Line, Order};

/// The last step that ended well under a name.
pub(super) struct Last {
    run: i64,
    pub rival: Rival,
}

/// Takes a name for a step that begins, or says who has it, or what newer thing was done.
pub(super) fn take(session: &Session<'_>, name: &str, run: i64, delivery: i64, by_hand: bool) -> Result<(), Fault> {
    let connection = session.connection;
    let holder = connection.optional(
        "SELECT r.delivery, r.number FROM steps s JOIN runs r ON r.seq = s.run WHERE s.exclusive = ?1 AND s.run <> ?2 LIMIT 1",
        params![name, run],
        |row| Ok(identity::run(row.get(0)?, row.get(1)?)),
    )?;
    if let Some(holder) = holder {
        return Err(LedgerError::Taken(holder).into());
    }
    let Some(last) = last(connection, name)?.filter(|last| last.run != run) else { return Ok(()) };
    let line = order::line(connection, delivery)?;
    let found = order::stands(connection, delivery, line.as_ref(), &last.rival)?;
    if found.order == Order::Older && !by_hand {
        let note = found.note.unwrap_or_default();
        return Err(LedgerError::Stale { by: last.rival.id, note }.into());
    }
    let note = match found.order {
        Order::Older => found.note.map(|note| format!("by hand, although {note}")),
        _ => found.note,
    };
    if let Some(note) = note {
        connection.execute("UPDATE runs SET note = ?2 WHERE seq = ?1", params![run, note])?;
    }
    Ok(())
}

/// A step that had a name ended: whoever waits for it may come.
pub(super) fn give_back(session: &Session<'_>, name: &str, run: i64, delivery: i64, done: bool) -> Result<(), Fault> {
    let connection = session.connection;
    connection.execute(
        "UPDATE runs SET next_at = ?2 WHERE waits_for = ?1 AND state = 'waiting' AND next_at > ?2",
        params![name, session.now.0],
    )?;
    if !done {
        return Ok(());
    }
    let number: i64 = connection.one("SELECT number FROM runs WHERE seq = ?1", params![run], |row| row.get(0))?;
    let line = order::line(connection, delivery)?;
    let part = |part: fn(&Line) -> &String| line.as_ref().map(part);
    connection.execute(
        "INSERT INTO exclusives (name, run, run_id, delivery, repository, reference, before_sha, after_sha, forced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (name) DO UPDATE SET run = excluded.run, run_id = excluded.run_id, delivery = excluded.delivery,
                 repository = excluded.repository, reference = excluded.reference, before_sha = excluded.before_sha,
                 after_sha = excluded.after_sha, forced = excluded.forced",
        params![
            name,
            run,
            identity::run(delivery, number),
            delivery,
            part(|line| &line.repository),
            part(|line| &line.reference),
            line.as_ref().and_then(|line| line.before.as_ref()),
            part(|line| &line.after),
            line.as_ref().map(|line| line.forced),
        ],
    )?;
    Ok(())
}

/// The oldest of those who wait under a name may come.
pub(super) fn call_up(session: &Session<'_>, name: &str, most: usize) -> Result<usize, Fault> {
    locks::all(session, std::iter::once(locks::exclusive(name)))?;
    session.connection.execute(
        "UPDATE runs SET next_at = ?2 WHERE seq IN (
            SELECT seq FROM runs WHERE waits_for = ?1 AND state = 'waiting' AND next_at > ?2 ORDER BY seq LIMIT ?3)",
        params![name, session.now.0, i64::try_from(most).unwrap_or(i64::MAX)],
    )
}

/// The last of every name.
pub(super) fn all(connection: &dyn Database) -> Result<Vec<LastDone>, Fault> {
    let sql = "SELECT name, run_id, delivery, repository, reference, before_sha, after_sha, forced FROM exclusives ORDER BY name";
    connection.rows(sql, params![], |row| {
        let line = row.get::<Option<String>>(3)?.map(|_| order::read(row, 3)).transpose()?;
        Ok(LastDone { name: row.get(0)?, run: row.get(1)?, delivery: identity::delivery(row.get(2)?), line })
    })
}

pub(super) fn last(connection: &dyn Database, name: &str) -> Result<Option<Last>, Fault> {
    let last = connection.optional(
        "SELECT run, run_id, delivery, repository, reference, before_sha, after_sha, forced FROM exclusives WHERE name = ?1",
        params![name],
        |row| {
            let line = row.get::<Option<String>>(3)?.map(|_| order::read(row, 3)).transpose()?;
            Ok(Last { run: row.get(0)?, rival: Rival { id: row.get(1)?, delivery: row.get(2)?, line } })
        },
    )?;
    Ok(last)
}

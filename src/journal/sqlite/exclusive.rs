//! What a step has to itself while it is open, and what was last done under that name: nothing older follows.

use rusqlite::{Connection, OptionalExtension, params};

use super::identity;
use super::order::{self, Rival};
use super::writer::{Fault, Session};
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
    let holder = connection
        .prepare_cached(
            "SELECT r.delivery, r.number FROM steps s JOIN runs r ON r.seq = s.run WHERE s.exclusive = ?1 AND s.run <> ?2 LIMIT 1",
        )?
        .query_row(params![name, run], |row| Ok(identity::run(row.get(0)?, row.get(1)?)))
        .optional()?;
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
        connection.prepare_cached("UPDATE runs SET note = ?2 WHERE seq = ?1")?.execute(params![run, note])?;
    }
    Ok(())
}

/// A step that had a name ended: whoever waits for it may come.
pub(super) fn give_back(session: &Session<'_>, name: &str, run: i64, delivery: i64, done: bool) -> Result<(), Fault> {
    let connection = session.connection;
    connection
        .prepare_cached("UPDATE runs SET next_at = ?2 WHERE waits_for = ?1 AND state = 'waiting' AND next_at > ?2")?
        .execute(params![name, session.now.0])?;
    if !done {
        return Ok(());
    }
    let number: i64 = connection.prepare_cached("SELECT number FROM runs WHERE seq = ?1")?.query_row([run], |row| row.get(0))?;
    let line = order::line(connection, delivery)?;
    let part = |part: fn(&Line) -> &String| line.as_ref().map(part);
    connection
        .prepare_cached(
            "INSERT INTO exclusives (name, run, run_id, delivery, repository, reference, before_sha, after_sha, forced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT DO UPDATE SET run = excluded.run, run_id = excluded.run_id, delivery = excluded.delivery,
                 repository = excluded.repository, reference = excluded.reference, before_sha = excluded.before_sha,
                 after_sha = excluded.after_sha, forced = excluded.forced",
        )?
        .execute(params![
            name,
            run,
            identity::run(delivery, number),
            delivery,
            part(|line| &line.repository),
            part(|line| &line.reference),
            line.as_ref().and_then(|line| line.before.as_ref()),
            part(|line| &line.after),
            line.as_ref().map(|line| line.forced),
        ])?;
    Ok(())
}

/// The oldest of those who wait under a name may come.
pub(super) fn call_up(session: &Session<'_>, name: &str, most: usize) -> Result<usize, Fault> {
    let mut statement = session.connection.prepare_cached(
        "UPDATE runs SET next_at = ?2 WHERE seq IN (
            SELECT seq FROM runs WHERE waits_for = ?1 AND state = 'waiting' AND next_at > ?2 ORDER BY seq LIMIT ?3)",
    )?;
    Ok(statement.execute(params![name, session.now.0, i64::try_from(most).unwrap_or(i64::MAX)])?)
}

/// The last of every name.
pub(super) fn all(connection: &Connection) -> Result<Vec<LastDone>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT name, run_id, delivery, repository, reference, before_sha, after_sha, forced FROM exclusives ORDER BY name",
    )?;
    let found = statement.query_map([], |row| {
        let line = row.get::<_, Option<String>>(3)?.map(|_| order::read(row, 3)).transpose()?;
        Ok(LastDone { name: row.get(0)?, run: row.get(1)?, delivery: identity::delivery(row.get(2)?), line })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn last(connection: &Connection, name: &str) -> Result<Option<Last>, Fault> {
    let last = connection
        .prepare_cached(
            "SELECT run, run_id, delivery, repository, reference, before_sha, after_sha, forced FROM exclusives WHERE name = ?1",
        )?
        .query_row([name], |row| {
            let line = row.get::<_, Option<String>>(3)?.map(|_| order::read(row, 3)).transpose()?;
            Ok(Last { run: row.get(0)?, rival: Rival { id: row.get(1)?, delivery: row.get(2)?, line } })
        })
        .optional()?;
    Ok(last)
}

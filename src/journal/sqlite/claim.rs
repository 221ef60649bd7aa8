//! Leases: who works on what, until when, by the store's clock.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::identity;
use super::listing::{delivery_by_number, steps_of};
use super::rows::{self, RUN_RECORD, word};
use super::streaks;
use super::writer::{Fault, Session};
use crate::clock::Timestamp;
use crate::journal::record::{Claim, Claimed, ClaimedDelivery, ClaimedRun, DeliveryState, Lease, RunState, Subject};

/// The lock says that no other process serves from the file: whoever held a lease is dead, and nobody has to wait for its end.
pub(super) fn void_leases(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE deliveries SET next_at = 0 WHERE next_at IS NOT NULL AND state = 'matching'", [])?;
    connection.execute("UPDATE runs SET next_at = 0 WHERE next_at IS NOT NULL AND state = 'running'", [])?;
    // And whoever knew that a target cannot be asked.
    connection.execute("UPDATE runs SET next_at = 0 WHERE waits_for IS NOT NULL AND state = 'waiting'", [])?;
    Ok(())
}

pub(super) fn claim(session: &Session<'_>, claim: &Claim) -> Result<Claimed, Fault> {
    let mut claimed = Claimed::default();
    let until = session.now.after(claim.lease);
    let (deliveries, runs) = match &claim.only {
        None => (due_deliveries(session, claim.deliveries)?, due_runs(session, claim.runs)?),
        Some(Subject::Delivery(id)) => (due_delivery(session, id)?.into_iter().collect(), Vec::new()),
        Some(Subject::Run(id)) => (Vec::new(), due_run(session, id)?.into_iter().collect()),
    };
    for number in deliveries {
        claimed.deliveries.push(claim_delivery(session, number, until)?);
    }
    for number in runs {
        claimed.runs.push(claim_run(session, number, &claim.worker, until)?);
    }
    claimed.next = next(session)?;
    Ok(claimed)
}

fn due_delivery(session: &Session<'_>, id: &str) -> Result<Option<i64>, Fault> {
    let mut statement = session.connection.prepare_cached("SELECT seq FROM deliveries WHERE seq = ?1 AND next_at <= ?2")?;
    let number = identity::delivery_number(id);
    Ok(statement.query_row(params![number, session.now.0], |row| row.get(0)).optional()?)
}

/// A run of a group waits for those before it.
const ITS_TURN: &str = "(group_key IS NULL OR state <> 'queued' OR NOT EXISTS (
    SELECT 1 FROM runs AS o WHERE o.group_key = r.group_key AND o.next_at IS NOT NULL AND o.seq <> r.seq
       AND (o.seq < r.seq OR o.state <> 'queued')))";

fn due_run(session: &Session<'_>, id: &str) -> Result<Option<i64>, Fault> {
    let Some(number) = run_by_id(session.connection, id)? else { return Ok(None) };
    let sql = format!("SELECT seq FROM runs AS r WHERE seq = ?1 AND next_at <= ?2 AND {ITS_TURN}");
    let mut statement = session.connection.prepare_cached(&sql)?;
    Ok(statement.query_row(params![number, session.now.0], |row| row.get(0)).optional()?)
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn due_deliveries(session: &Session<'_>, count: usize) -> Result<Vec<i64>, Fault> {
    let mut statement =
        session.connection.prepare_cached("SELECT seq FROM deliveries WHERE next_at <= ?1 ORDER BY next_at, seq LIMIT ?2")?;
    let due = statement.query_map(params![session.now.0, limit(count)], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(due)
}

/// Those that are due and have their group to themselves, fair by share: whoever has fewest at work comes first, then who waits longest.
fn due_runs(session: &Session<'_>, count: usize) -> Result<Vec<i64>, Fault> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let connection = session.connection;
    // From one share to the next in the index, however many runs each has.
    let mut next_share =
        connection.prepare_cached("SELECT share FROM runs WHERE next_at IS NOT NULL AND share > ?1 ORDER BY share LIMIT 1")?;
    let mut busy =
        connection.prepare_cached("SELECT count(*) FROM runs WHERE share = ?1 AND next_at > ?2 AND state = 'running'")?;
    let sql = format!(
        "SELECT seq, next_at FROM runs AS r WHERE share = ?1 AND next_at <= ?2 AND {ITS_TURN} ORDER BY next_at, seq LIMIT ?3"
    );
    let mut due = connection.prepare_cached(&sql)?;
    let mut turns: Vec<(i64, i64, i64)> = Vec::new();
    let mut share: Option<String> = connection
        .prepare_cached("SELECT share FROM runs WHERE next_at IS NOT NULL ORDER BY share LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    while let Some(current) = share {
        let at_work: i64 = busy.query_row(params![current, session.now.0], |row| row.get(0))?;
        let found = due.query_map(params![current, session.now.0, limit(count)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (turn, run) in (at_work..).zip(found.collect::<Result<Vec<(i64, i64)>, _>>()?) {
            turns.push((turn, run.1, run.0));
        }
        share = next_share.query_row([&current], |row| row.get(0)).optional()?;
    }
    turns.sort_unstable();
    Ok(turns.into_iter().take(count).map(|(_, _, run)| run).collect())
}

fn claim_delivery(session: &Session<'_>, number: i64, until: Timestamp) -> Result<ClaimedDelivery, Fault> {
    let connection = session.connection;
    let state = connection
        .prepare_cached("SELECT state FROM deliveries WHERE seq = ?1")?
        .query_row([number], |row| word(row, 0, DeliveryState::of_word))?;
    let (token, claims) = connection
        .prepare_cached(
            "UPDATE deliveries SET state = ?2, next_at = ?3, claims = claims + 1, token = token + 1 WHERE seq = ?1 RETURNING token, claims",
        )?
        .query_row(params![number, state.to(DeliveryState::Matching)?.word(), until.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let delivery = delivery_by_number(connection, number)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(ClaimedDelivery { lease: Lease { subject: Subject::Delivery(identity::delivery(number)), token }, claims, delivery })
}

fn claim_run(session: &Session<'_>, number: i64, worker: &str, until: Timestamp) -> Result<ClaimedRun, Fault> {
    let connection = session.connection;
    let state = connection
        .prepare_cached("SELECT state FROM runs WHERE seq = ?1")?
        .query_row([number], |row| word(row, 0, RunState::of_word))?;
    let (token, delivery) = connection
        .prepare_cached(
            "UPDATE runs SET state = ?2, next_at = ?3, claims = claims + 1, token = token + 1, worker = ?4, waits_for = NULL, started_at = coalesce(started_at, ?5)
             WHERE seq = ?1 RETURNING token, delivery",
        )?
        .query_row(params![number, state.to(RunState::Running)?.word(), until.0, worker, session.now.0], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?))
        })?;
    let run = connection
        .prepare_cached(&format!("SELECT {RUN_RECORD} FROM runs r WHERE r.seq = ?1"))?
        .query_row([number], rows::run_record)?;
    let age = run.started_at.map_or(0, |started| session.now.0.saturating_sub(started.0));
    Ok(ClaimedRun {
        lease: Lease { subject: Subject::Run(run.id.clone()), token },
        steps: steps_of(connection, number)?,
        delivery: delivery_by_number(connection, delivery)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
        age: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
        streak: streaks::of_run(connection, number)?,
        run,
    })
}

/// When something becomes due that is not due now. What is due but not claimed waits for a free worker or for its group, not for time.
fn next(session: &Session<'_>) -> Result<Option<Duration>, Fault> {
    let mut earliest: Option<i64> = None;
    for sql in ["SELECT min(next_at) FROM deliveries WHERE next_at > ?1", "SELECT min(next_at) FROM runs WHERE next_at > ?1"] {
        let at: Option<i64> = session.connection.prepare_cached(sql)?.query_row([session.now.0], |row| row.get(0))?;
        earliest = [earliest, at].into_iter().flatten().min();
    }
    Ok(earliest.map(|at| Duration::from_millis(u64::try_from(at.saturating_sub(session.now.0)).unwrap_or(0))))
}

pub(super) fn extend(session: &Session<'_>, leases: &[Lease], length: Duration) -> Result<Vec<bool>, Fault> {
    let until = session.now.after(length).0;
    let mut held = Vec::with_capacity(leases.len());
    for lease in leases {
        let changed = match &lease.subject {
            Subject::Delivery(id) => match identity::delivery_number(id) {
                Some(number) => session
                    .connection
                    .prepare_cached("UPDATE deliveries SET next_at = ?3 WHERE seq = ?1 AND token = ?2 AND state = 'matching'")?
                    .execute(params![number, lease.token, until])?,
                None => 0,
            },
            Subject::Run(id) => match run_by_id(session.connection, id)? {
                Some(number) => session
                    .connection
                    .prepare_cached("UPDATE runs SET next_at = ?3 WHERE seq = ?1 AND token = ?2 AND state = 'running'")?
                    .execute(params![number, lease.token, until])?,
                None => 0,
            },
        };
        held.push(changed == 1);
    }
    Ok(held)
}

pub(super) fn run_by_id(connection: &Connection, id: &str) -> Result<Option<i64>, Fault> {
    let Some((delivery, number)) = identity::run_number(id) else { return Ok(None) };
    let run = connection
        .prepare_cached("SELECT seq FROM runs WHERE delivery = ?1 AND number = ?2")?
        .query_row(params![delivery, number], |row| row.get(0))
        .optional()?;
    Ok(run)
}

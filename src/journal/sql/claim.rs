//! Leases: who works on what, until when, by the store's clock.

use std::time::Duration;

use super::identity;
use super::listing::{delivery_by_number, steps_of};
use super::locks;
use super::rows::{self, RUN_RECORD, word};
use super::store::{Database, Fault, Session};
use super::streaks;
use super::value::params;
use crate::clock::Timestamp;
use crate::journal::record::{Claim, Claimed, ClaimedDelivery, ClaimedRun, DeliveryState, Lease, Room, RunState, Subject};

pub(super) fn claim(session: &Session<'_>, claim: &Claim) -> Result<Claimed, Fault> {
    let mut claimed = Claimed::default();
    let until = session.now.after(claim.lease);
    let (deliveries, runs) = match &claim.only {
        None => (due_deliveries(session, &claim.deliveries)?, due_runs(session, &claim.runs)?),
        Some(Subject::Delivery(id)) => (due_delivery(session, id)?.into_iter().collect(), Vec::new()),
        Some(Subject::Run(id)) => (Vec::new(), due_run(session, id)?.into_iter().collect()),
    };
    for number in deliveries {
        claimed.deliveries.push(claim_delivery(session, number, until)?);
    }
    for number in runs {
        if !has_its_turn(session, number)? {
            continue;
        }
        claimed.runs.push(claim_run(session, number, &claim.worker, until)?);
    }
    claimed.waiting = claim.only.is_none() && first_waiting(session.connection)?.is_some();
    claimed.next = next(session)?;
    Ok(claimed)
}

fn due_delivery(session: &Session<'_>, id: &str) -> Result<Option<i64>, Fault> {
    let sql = "SELECT seq FROM deliveries WHERE seq = ?1 AND next_at <= ?2 /*pg: FOR UPDATE SKIP LOCKED */";
    session.connection.optional(sql, params![identity::delivery_number(id), session.now.0], |row| row.get(0))
}

/// A run of a group waits for those before it.
pub(in crate::journal) const ITS_TURN: &str = "(group_key IS NULL OR state <> 'queued' OR NOT EXISTS (
    SELECT 1 FROM runs AS o WHERE o.group_key = r.group_key AND o.next_at IS NOT NULL AND o.seq <> r.seq
       AND (o.seq < r.seq OR o.state <> 'queued')))";

fn due_run(session: &Session<'_>, id: &str) -> Result<Option<i64>, Fault> {
    let Some(number) = run_by_id(session.connection, id)? else { return Ok(None) };
    let sql =
        format!("SELECT seq FROM runs AS r WHERE seq = ?1 AND next_at <= ?2 AND {ITS_TURN} /*pg: FOR UPDATE OF r SKIP LOCKED */");
    session.connection.optional(&sql, params![number, session.now.0], |row| row.get(0))
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Those whose worker went away come first: there are no more of them than were in hand. The others by turns.
fn due_deliveries(session: &Session<'_>, room: &Room) -> Result<Vec<i64>, Fault> {
    if room.most == 0 {
        return Ok(Vec::new());
    }
    let left_behind = "SELECT seq FROM deliveries WHERE state = 'matching' AND next_at <= ?1 ORDER BY next_at, seq LIMIT ?2
         /*pg: FOR UPDATE SKIP LOCKED */";
    let mut due = session.connection.rows(left_behind, params![session.now.0, limit(room.most)], |row| row.get(0))?;
    let waiting = waiting_by_share(session.connection, room)?;
    let still = "SELECT seq FROM deliveries WHERE seq = ?1 AND state = 'accepted' /*pg: FOR UPDATE SKIP LOCKED */";
    for number in room.choose(waiting) {
        if due.len() >= room.most {
            break;
        }
        let is_ours =
            !session.connection.is_shared() || session.connection.optional(still, params![number], |_| Ok(()))?.is_some();
        due.extend(is_ours.then_some(number));
    }
    Ok(due)
}

fn first_waiting(connection: &dyn Database) -> Result<Option<String>, Fault> {
    let sql = "SELECT share FROM deliveries WHERE state = 'accepted' ORDER BY share LIMIT 1";
    connection.optional(sql, params![], |row| row.get(0))
}

/// Deliveries that nobody has, in the order of their turns: whoever has fewest in hand here comes first, then who waits longest.
fn waiting_by_share(connection: &dyn Database, room: &Room) -> Result<Vec<(String, i64)>, Fault> {
    let next_share = "SELECT share FROM deliveries WHERE state = 'accepted' AND share > ?1 ORDER BY share LIMIT 1";
    let oldest = "SELECT seq, next_at FROM deliveries WHERE state = 'accepted' AND share = ?1 ORDER BY next_at, seq LIMIT ?2";
    let mut turns: Vec<(usize, i64, i64, String)> = Vec::new();
    let mut share = first_waiting(connection)?;
    while let Some(current) = share {
        let found =
            connection.rows(oldest, params![current, limit(room.left(&current))], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (turn, (number, since)) in (room.in_hand(&current)..).zip(found) {
            turns.push((turn, since, number, current.clone()));
        }
        share = connection.optional(next_share, params![current], |row| row.get(0))?;
    }
    turns.sort_unstable();
    Ok(turns.into_iter().map(|(_, _, number, share)| (share, number)).collect())
}

/// Those that are due and have their group to themselves. Where others claim at the same time, a group is looked at again under its name:
/// one of its runs may have been taken, or have come back, since.
fn due_runs(session: &Session<'_>, room: &Room) -> Result<Vec<i64>, Fault> {
    if room.most == 0 {
        return Ok(Vec::new());
    }
    session.connection.due_runs(session.now, room)
}

/// Has the run its group to itself, and nobody decides about the group at this moment?
fn has_its_turn(session: &Session<'_>, run: i64) -> Result<bool, Fault> {
    let connection = session.connection;
    if !connection.is_shared() {
        return Ok(true);
    }
    let sql = "SELECT group_key FROM runs WHERE seq = ?1 AND state = 'queued'";
    let Some(group) = connection.optional(sql, params![run], |row| row.get::<Option<String>>(0))?.flatten() else {
        return Ok(true);
    };
    if !connection.try_lock(&locks::group(&group))? {
        return Ok(false);
    }
    let sql = format!("SELECT 1 FROM runs AS r WHERE seq = ?1 AND {ITS_TURN}");
    Ok(connection.optional(&sql, params![run], |_| Ok(()))?.is_some())
}

/// From one share to the next in the index, however many runs each has.
pub(in crate::journal) fn due_by_share(connection: &dyn Database, now: Timestamp, room: &Room) -> Result<Vec<i64>, Fault> {
    let next_share = "SELECT share FROM runs WHERE next_at IS NOT NULL AND share > ?1 ORDER BY share LIMIT 1";
    let busy = "SELECT count(*) FROM runs WHERE share = ?1 AND next_at > ?2 AND state = 'running'";
    let due = format!(
        "SELECT seq, next_at FROM runs AS r WHERE share = ?1 AND next_at <= ?2 AND {ITS_TURN} ORDER BY next_at, seq LIMIT ?3"
    );
    let mut turns: Vec<(i64, i64, i64, String)> = Vec::new();
    let first_share = "SELECT share FROM runs WHERE next_at IS NOT NULL ORDER BY share LIMIT 1";
    let mut share: Option<String> = connection.optional(first_share, params![], |row| row.get(0))?;
    while let Some(current) = share {
        let at_work: i64 = connection.value(busy, params![current, now.0])?;
        let most = limit(room.left(&current));
        let found = connection.rows(&due, params![current, now.0, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for (turn, (run, due)) in (at_work..).zip(found) {
            turns.push((turn, due, run, current.clone()));
        }
        share = connection.optional(next_share, params![current], |row| row.get(0))?;
    }
    turns.sort_unstable();
    Ok(room.choose(turns.into_iter().map(|(_, _, run, share)| (share, run))).take(room.most).collect())
}

fn claim_delivery(session: &Session<'_>, number: i64, until: Timestamp) -> Result<ClaimedDelivery, Fault> {
    let connection = session.connection;
    let state = connection
        .one("SELECT state FROM deliveries WHERE seq = ?1", params![number], |row| word(row, 0, DeliveryState::of_word))?;
    let (token, claims) = connection.one("UPDATE deliveries SET state = ?2, next_at = ?3, claims = claims + 1, token = token + 1 WHERE seq = ?1 RETURNING token, claims", params![number, state.to(DeliveryState::Matching)?.word(), until.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let delivery = delivery_by_number(connection, number)?.ok_or_else(gone)?;
    Ok(ClaimedDelivery { lease: Lease { subject: Subject::Delivery(identity::delivery(number)), token }, claims, delivery })
}

fn claim_run(session: &Session<'_>, number: i64, worker: &str, until: Timestamp) -> Result<ClaimedRun, Fault> {
    let connection = session.connection;
    let state =
        connection.one("SELECT state FROM runs WHERE seq = ?1", params![number], |row| word(row, 0, RunState::of_word))?;
    let (token, delivery, share) = connection.one("UPDATE runs SET state = ?2, next_at = ?3, claims = claims + 1, token = token + 1, worker = ?4, waits_for = NULL, started_at = coalesce(started_at, ?5)
             WHERE seq = ?1 RETURNING token, delivery, share", params![number, state.to(RunState::Running)?.word(), until.0, worker, session.now.0], |row| {
            Ok((row.get(0)?, row.get::<i64>(1)?, row.get(2)?))
        })?;
    let run = connection.one(&format!("SELECT {RUN_RECORD} FROM runs r WHERE r.seq = ?1"), params![number], rows::run_record)?;
    let age = run.started_at.map_or(0, |started| session.now.0.saturating_sub(started.0));
    Ok(ClaimedRun {
        lease: Lease { subject: Subject::Run(run.id.clone()), token },
        steps: steps_of(connection, number)?,
        delivery: delivery_by_number(connection, delivery)?.ok_or_else(gone)?,
        age: Duration::from_millis(u64::try_from(age).unwrap_or(0)),
        streak: streaks::of_run(connection, number)?,
        share,
        run,
    })
}

fn gone() -> Fault {
    Fault::Unreadable("a delivery has no body".to_owned())
}

/// When something becomes due that is not due now. What is due but not claimed waits for a free worker or for its group, not for time.
fn next(session: &Session<'_>) -> Result<Option<Duration>, Fault> {
    let mut earliest: Option<i64> = None;
    for sql in [
        "SELECT min(next_at) FROM deliveries WHERE state = 'matching' AND next_at > ?1",
        "SELECT min(next_at) FROM runs WHERE next_at > ?1",
    ] {
        let at: Option<i64> = session.connection.one(sql, params![session.now.0], |row| row.get(0))?;
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
                Some(number) => session.connection.execute(
                    "UPDATE deliveries SET next_at = ?3 WHERE seq = ?1 AND token = ?2 AND state = 'matching'",
                    params![number, lease.token, until],
                )?,
                None => 0,
            },
            Subject::Run(id) => match run_by_id(session.connection, id)? {
                Some(number) => session.connection.execute(
                    "UPDATE runs SET next_at = ?3 WHERE seq = ?1 AND token = ?2 AND state = 'running'",
                    params![number, lease.token, until],
                )?,
                None => 0,
            },
        };
        held.push(changed == 1);
    }
    Ok(held)
}

pub(super) fn run_by_id(connection: &dyn Database, id: &str) -> Result<Option<i64>, Fault> {
    let Some((delivery, number)) = identity::run_number(id) else { return Ok(None) };
    let run =
        connection
            .optional("SELECT seq FROM runs WHERE delivery = ?1 AND number = ?2", params![delivery, number], |row| row.get(0))?;
    Ok(run)
}

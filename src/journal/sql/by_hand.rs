//! What people ask for: a run again, a run no more, a delivery once more.

use super::claim::run_by_id;
use super::deliveries::{match_again, revive_run, settle};
use super::filter::Filter;
use super::identity;
use super::locks;
use super::rows::word;
use super::store::{Fault, Session};
use super::value::params;
use crate::journal::LedgerError;
use crate::journal::record::{DeliveryState, Listing, Place, RunState, Selection};
use declic_actions::action::Answer;

/// The run is queued again at the step that failed, marked as started by hand. One that could not even begin, because its rule or its delivery
/// could not be evaluated, is matched again: nobody knows whether it may begin.
pub(super) fn retry(session: &Session<'_>, id: &str) -> Result<(), Fault> {
    let (run, delivery, state) = find(session, id)?;
    let before = state_of(session, delivery)?;
    if state == RunState::Failed && !has_begun(session, run)? {
        return match before {
            DeliveryState::Accepted | DeliveryState::Matching => Ok(()),
            DeliveryState::Running => Err(refused(format!(
                "{id} cannot be retried yet: its delivery is matched again, and other runs of it are not over"
            ))),
            _ => match_again(session, delivery, before),
        };
    }
    if !matches!(state, RunState::Failed | RunState::Dead | RunState::Cancelled | RunState::Superseded | RunState::Skipped) {
        let advice = match state {
            RunState::Succeeded => "it succeeded; to do it all again, replay its delivery",
            _ => "it is not over yet",
        };
        return Err(refused(format!("{id} cannot be retried: {advice}")));
    }
    revive_run(session, run, state)?;
    let connection = session.connection;
    connection.execute("UPDATE runs SET by_hand = 1 WHERE seq = ?1", params![run])?;
    if before != DeliveryState::Running {
        connection.execute(
            "UPDATE deliveries SET state = ?2, reason = NULL, finished_at = NULL WHERE seq = ?1",
            params![delivery, before.to(DeliveryState::Running)?.word()],
        )?;
    }
    Ok(())
}

fn state_of(session: &Session<'_>, delivery: i64) -> Result<DeliveryState, Fault> {
    let sql = "SELECT state FROM deliveries WHERE seq = ?1";
    session.connection.one(sql, params![delivery], |row| word(row, 0, DeliveryState::of_word))
}

fn has_begun(session: &Session<'_>, run: i64) -> Result<bool, Fault> {
    session.connection.value("SELECT started_at IS NOT NULL OR round > 0 FROM runs WHERE seq = ?1", params![run])
}

/// One that has not begun is over at once; any other is asked to stop. True if it is over.
pub(super) fn cancel(session: &Session<'_>, id: &str) -> Result<bool, Fault> {
    let (run, delivery, state) = find(session, id)?;
    if state.is_final() {
        return Err(refused(format!("{id} cannot be cancelled: it is over ({})", state.word())));
    }
    let connection = session.connection;
    let steps: i64 = connection.value("SELECT count(*) FROM steps WHERE run = ?1", params![run])?;
    if state == RunState::Queued && steps == 0 {
        connection.execute(
            "UPDATE runs SET state = ?2, cancelled = 1, finished_at = ?3, next_at = NULL WHERE seq = ?1",
            params![run, state.to(RunState::Cancelled)?.word(), session.now.0],
        )?;
        settle(session, delivery)?;
        return Ok(true);
    }
    // A worker does what has to be done at its end. One that waits for its next attempt comes now.
    connection.execute("UPDATE runs SET cancelled = 1, next_at = CASE WHEN state = 'running' THEN next_at WHEN next_at < ?2 THEN next_at ELSE ?2 END WHERE seq = ?1", params![run, session.now.0])?;
    Ok(false)
}

/// Runs that failed for good, oldest first.
pub(super) fn dead(session: &Session<'_>, selection: &Selection) -> Result<Vec<String>, Fault> {
    let since =
        selection.since.map_or(0, |since| session.now.0.saturating_sub(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)));
    let mut filter = Filter::of_runs(&Listing { states: Vec::new(), ..selection.among.clone() }, None);
    filter.all("(r.state IN ('failed', 'dead') AND r.finished_at >= ?)", since);
    let most = filter.mark(i64::try_from(selection.limit).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT r.delivery, r.number FROM runs r JOIN deliveries d ON d.seq = r.delivery {} ORDER BY r.seq LIMIT {most}",
        filter.clause()
    );
    session.connection.rows(&sql, &filter.values, |row| Ok(identity::run(row.get(0)?, row.get(1)?)))
}

/// The same delivery as a new one: matched by the rules of today, with effects of its own.
pub(super) fn replay(session: &Session<'_>, id: &str) -> Result<String, Fault> {
    let old = identity::delivery_number(id).ok_or_else(|| unknown("delivery", id))?;
    let connection = session.connection;
    let number = connection.next_number(session.now)?;
    let copied = connection.execute("INSERT INTO deliveries (seq, source, delivery_id, event_type, received_at, trace, verified, size, replay, state, next_at, share)
             SELECT ?2, source, delivery_id, event_type, received_at, trace, verified, size, 1, ?3, ?4, share FROM deliveries WHERE seq = ?1", params![old, number, DeliveryState::Accepted.word(), session.now.0])?;
    if copied == 0 {
        return Err(unknown("delivery", id));
    }
    connection.execute(
        "INSERT INTO contents (delivery, headers, body) SELECT ?2, headers, body FROM contents WHERE delivery = ?1",
        params![old, number],
    )?;
    Ok(identity::delivery(number))
}

/// Keeps what a person said to a step that asks. The first answer counts; its run comes now.
pub(super) fn answer(session: &Session<'_>, id: &str, place: Place, answer: &Answer) -> Result<(), Fault> {
    let (run, _, state) = find(session, id)?;
    let connection = session.connection;
    let taken = connection.execute(
        "UPDATE steps SET answer = ?5 WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4
               AND state IN ('running', 'waiting') AND answer IS NULL",
        params![run, place.round, place.phase.word(), place.index, serde_json::to_string(answer)?],
    )?;
    if taken == 0 {
        return Err(refused(format!("{id} waits for no answer any more")));
    }
    if state == RunState::Waiting {
        connection.execute(
            "UPDATE runs SET next_at = CASE WHEN next_at < ?2 THEN next_at ELSE ?2 END WHERE seq = ?1",
            params![run, session.now.0],
        )?;
    }
    Ok(())
}

fn find(session: &Session<'_>, id: &str) -> Result<(i64, i64, RunState), Fault> {
    let run = run_by_id(session.connection, id)?.ok_or_else(|| unknown("run", id))?;
    if let Some((delivery, _)) = identity::run_number(id) {
        locks::delivery(session, delivery)?;
    }
    let found =
        session.connection.one("SELECT delivery, state FROM runs WHERE seq = ?1 /*pg: FOR UPDATE */", params![run], |row| {
            Ok((run, row.get(0)?, word(row, 1, RunState::of_word)?))
        })?;
    Ok(found)
}

fn unknown(what: &str, id: &str) -> Fault {
    refused(format!("there is no {what} {id}"))
}

fn refused(why: String) -> Fault {
    LedgerError::Refused(why).into()
}

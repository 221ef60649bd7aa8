//! Rows of the tables as records.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::identity;
use super::store::Fault;
use super::value::Row;
use crate::clock::Timestamp;
use crate::journal::record::{
    About, AttemptRecord, AttemptState, Delivery, DeliveryRecord, DeliveryState, Group, GroupMode, NewDelivery, Phase, Place,
    RunRecord, RunState, StepLabel, StepRecord, StepState,
};

/// What [`delivery`] reads: from `deliveries d JOIN contents c`.
pub(super) const DELIVERY: &str = "d.seq, d.source, d.delivery_id, d.event_type, c.headers, c.body, d.received_at, d.trace, d.verified, d.replay, d.learned, \
     d.share";
/// What [`delivery_record`] reads, from `deliveries d`.
pub(super) const DELIVERY_RECORD: &str = "d.seq, d.source, d.delivery_id, d.event_type, d.received_at, d.verified, d.trace, d.size, d.replay, d.state, d.reason, d.finished_at, \
     d.event, d.repository, d.title";
/// What [`run_record`] reads, from `runs r`.
pub(super) const RUN_RECORD: &str = "r.delivery, r.number, r.rule, r.owner, r.place, r.revision, r.state, r.group_key, r.group_mode, r.round, \
    r.claims, r.created_at, r.started_at, r.finished_at, r.next_at, r.failure, \
    (SELECT o.delivery FROM runs o WHERE o.seq = r.covered_by), (SELECT o.number FROM runs o WHERE o.seq = r.covered_by), r.cancelled, r.by_hand, r.note, \
    r.waits_for, r.dry";
/// What [`step_record`] reads.
pub(super) const STEP_RECORD: &str =
    "round, phase, number, id, name, uses, state, intent, saved, outcome, why, started_at, finished_at, answer, said";
/// What [`attempt_record`] reads.
pub(super) const ATTEMPT_RECORD: &str = "step_round, phase, step, number, round, worker, state, why, started_at, finished_at";

pub(super) fn delivery(row: &Row<'_>) -> Result<Delivery, Fault> {
    Ok(Delivery {
        id: identity::delivery(row.get(0)?),
        content: NewDelivery {
            source: row.get(1)?,
            delivery_id: row.get(2)?,
            event_type: row.get(3)?,
            headers: json(row, 4)?.unwrap_or_default(),
            body: Bytes::from(row.get::<Vec<u8>>(5)?),
            received_at: Timestamp(row.get(6)?),
            trace: row.get(7)?,
            verified: row.get(8)?,
            share: row.get(11)?,
        },
        replay: row.get(9)?,
        learned: json(row, 10)?,
    })
}

pub(super) fn delivery_record(row: &Row<'_>) -> Result<DeliveryRecord, Fault> {
    Ok(DeliveryRecord {
        id: identity::delivery(row.get(0)?),
        source: row.get(1)?,
        delivery_id: row.get(2)?,
        event_type: row.get(3)?,
        received_at: Timestamp(row.get(4)?),
        verified: row.get(5)?,
        trace: row.get(6)?,
        size: row.get(7)?,
        replay: row.get(8)?,
        state: word(row, 9, DeliveryState::of_word)?,
        reason: row.get(10)?,
        finished_at: moment(row, 11)?,
        about: About { event: row.get(12)?, repository: row.get(13)?, title: row.get(14)? },
    })
}

pub(super) fn run_record(row: &Row<'_>) -> Result<RunRecord, Fault> {
    let state = word(row, 6, RunState::of_word)?;
    let key: Option<String> = row.get(7)?;
    let group = match key {
        Some(key) => Some(Group { key, mode: word(row, 8, GroupMode::of_word)? }),
        None => None,
    };
    let covered_by = match (row.get::<Option<i64>>(16)?, row.get::<Option<i64>>(17)?) {
        (Some(delivery), Some(number)) => Some(identity::run(delivery, number)),
        _ => None,
    };
    let delivery: i64 = row.get(0)?;
    Ok(RunRecord {
        id: identity::run(delivery, row.get(1)?),
        delivery: identity::delivery(delivery),
        rule: row.get(2)?,
        owner: row.get(3)?,
        place: row.get(4)?,
        revision: row.get(5)?,
        state,
        group,
        round: row.get(9)?,
        claims: row.get(10)?,
        created_at: Timestamp(row.get(11)?),
        started_at: moment(row, 12)?,
        finished_at: moment(row, 13)?,
        due_at: if state == RunState::Waiting { moment(row, 14)? } else { None },
        failure: json(row, 15)?,
        covered_by,
        cancelled: row.get(18)?,
        by_hand: row.get(19)?,
        note: row.get(20)?,
        waits_for: row.get::<Option<String>>(21)?.filter(|_| state == RunState::Waiting),
        dry: row.get(22)?,
    })
}

/// Without its attempts.
pub(super) fn step_record(row: &Row<'_>) -> Result<StepRecord, Fault> {
    Ok(StepRecord {
        place: Place { round: row.get(0)?, phase: word(row, 1, Phase::of_word)?, index: row.get(2)? },
        label: StepLabel { id: row.get(3)?, name: row.get(4)?, uses: row.get(5)? },
        state: word(row, 6, StepState::of_word)?,
        intent: json(row, 7)?,
        saved: json(row, 8)?,
        outcome: json(row, 9)?,
        why: json(row, 10)?,
        answer: json(row, 13)?,
        started_at: moment(row, 11)?,
        finished_at: moment(row, 12)?,
        said: json(row, 14)?.unwrap_or_default(),
        attempts: Vec::new(),
    })
}

/// With the place of its step.
pub(super) fn attempt_record(row: &Row<'_>) -> Result<(Place, AttemptRecord), Fault> {
    let place = Place { round: row.get(0)?, phase: word(row, 1, Phase::of_word)?, index: row.get(2)? };
    let attempt = AttemptRecord {
        number: row.get(3)?,
        round: row.get(4)?,
        worker: row.get(5)?,
        state: word(row, 6, AttemptState::of_word)?,
        why: json(row, 7)?,
        started_at: Timestamp(row.get(8)?),
        finished_at: moment(row, 9)?,
    };
    Ok((place, attempt))
}

fn moment(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Fault> {
    Ok(row.get::<Option<i64>>(column)?.map(Timestamp))
}

/// One of our words; another one means that the store was tampered with.
pub(super) fn word<T>(row: &Row<'_>, column: usize, of_word: fn(&str) -> Option<T>) -> Result<T, Fault> {
    row.text(column)?.and_then(of_word).ok_or_else(|| Fault::Unreadable(format!("column {column} of a row has no word of ours")))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>, Fault> {
    Ok(row.text(column)?.map(serde_json::from_str).transpose()?)
}

//! Reads. Each is one transaction's view.

use serde_json::Value;

use super::claim::run_by_id;
use super::filter::Filter;
use super::identity;
use super::rows::{self, ATTEMPT_RECORD, DELIVERY, DELIVERY_RECORD, RUN_RECORD, STEP_RECORD};
use super::store::{Database, Fault};
use super::value::params;
use crate::clock::Timestamp;
use crate::journal::record::{Counts, Delivery, DeliveryRecord, DeliveryState, Listing, RunRecord, RunState, StepRecord};
use crate::rules::model::RuleFile;

pub(super) fn rules(connection: &dyn Database, revision: &str) -> Result<Option<Vec<RuleFile>>, Fault> {
    let files: Option<String> =
        connection.optional("SELECT files FROM rule_sets WHERE revision = ?1", params![revision], |row| row.get(0))?;
    Ok(files.map(|files| serde_json::from_str(&files)).transpose()?)
}

pub(super) fn delivery(connection: &dyn Database, id: &str) -> Result<Option<Delivery>, Fault> {
    match identity::delivery_number(id) {
        Some(number) => delivery_by_number(connection, number),
        None => Ok(None),
    }
}

pub(super) fn delivery_by_number(connection: &dyn Database, number: i64) -> Result<Option<Delivery>, Fault> {
    let sql = format!("SELECT {DELIVERY} FROM deliveries d JOIN contents c ON c.delivery = d.seq WHERE d.seq = ?1");
    connection.optional(&sql, params![number], rows::delivery)
}

pub(super) fn delivery_record(connection: &dyn Database, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, Fault> {
    let Some(number) = identity::delivery_number(id) else { return Ok(None) };
    let sql = format!(
        "SELECT {DELIVERY_RECORD}, (SELECT traces FROM traces WHERE delivery = d.seq) FROM deliveries d WHERE d.seq = ?1"
    );
    let found =
        connection.optional(&sql, params![number], |row| Ok((rows::delivery_record(row)?, row.get::<Option<String>>(15)?)))?;
    let Some((record, traces)) = found else { return Ok(None) };
    Ok(Some((record, traces.map(|traces| serde_json::from_str(&traces)).transpose()?)))
}

pub(super) fn deliveries(connection: &dyn Database, listing: &Listing) -> Result<Vec<DeliveryRecord>, Fault> {
    let mut filter = Filter::of_deliveries(listing);
    let most = filter.mark(limit(listing));
    let sql = format!("SELECT {DELIVERY_RECORD} FROM deliveries d {} ORDER BY d.seq DESC LIMIT {most}", filter.clause());
    connection.rows(&sql, &filter.values, rows::delivery_record)
}

pub(super) fn runs(connection: &dyn Database, listing: &Listing) -> Result<Vec<RunRecord>, Fault> {
    let before = match &listing.before {
        Some(id) => Some(run_by_id(connection, id)?.unwrap_or(0)),
        None => None,
    };
    let mut filter = Filter::of_runs(listing, before);
    let most = filter.mark(limit(listing));
    let sql = format!(
        "SELECT {RUN_RECORD} FROM runs r JOIN deliveries d ON d.seq = r.delivery {} ORDER BY r.seq DESC LIMIT {most}",
        filter.clause()
    );
    connection.rows(&sql, &filter.values, rows::run_record)
}

fn limit(listing: &Listing) -> i64 {
    i64::try_from(listing.limit).unwrap_or(i64::MAX)
}

/// By the key alone where it can be: a number of a delivery is its time of arrival.
pub(super) fn counts(connection: &dyn Database, since: Timestamp) -> Result<Counts, Fault> {
    let first = identity::first(since);
    // One pass without sorting: grouping by a state would sort everything first.
    let count = |table: &str, key: &str, mut words: Vec<&'static str>| {
        words.sort_unstable();
        let columns: Vec<String> = words.iter().map(|word| format!("count(*) FILTER (WHERE state = '{word}')")).collect();
        let sql = format!("SELECT {} FROM {table} WHERE {key} >= ?1", columns.join(", "));
        let counts = connection.one(&sql, params![first], |row| {
            (0..words.len()).map(|column| row.get::<u64>(column)).collect::<Result<Vec<u64>, Fault>>()
        })?;
        Ok::<_, Fault>(words.into_iter().map(str::to_owned).zip(counts).filter(|(_, count)| *count > 0).collect())
    };
    Ok(Counts {
        deliveries: count("deliveries", "seq", DeliveryState::ALL.iter().map(|state| state.word()).collect())?,
        runs: count("runs", "delivery", RunState::ALL.iter().map(|state| state.word()).collect())?,
    })
}

pub(super) fn runs_of(connection: &dyn Database, delivery: &str) -> Result<Vec<RunRecord>, Fault> {
    let Some(number) = identity::delivery_number(delivery) else { return Ok(Vec::new()) };
    let sql = format!("SELECT {RUN_RECORD} FROM runs r WHERE r.delivery = ?1 ORDER BY r.number");
    connection.rows(&sql, params![number], rows::run_record)
}

pub(super) fn run(connection: &dyn Database, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, Fault> {
    let Some(number) = run_by_id(connection, id)? else { return Ok(None) };
    let record =
        connection.optional(&format!("SELECT {RUN_RECORD} FROM runs r WHERE r.seq = ?1"), params![number], rows::run_record)?;
    let Some(record) = record else { return Ok(None) };
    Ok(Some((record, steps_of(connection, number)?)))
}

/// The steps of a run with their attempts, in the order in which they are done.
pub(super) fn steps_of(connection: &dyn Database, run: i64) -> Result<Vec<StepRecord>, Fault> {
    let sql = format!("SELECT {STEP_RECORD} FROM steps WHERE run = ?1");
    let mut steps = connection.rows(&sql, params![run], rows::step_record)?;
    if steps.is_empty() {
        return Ok(steps);
    }
    steps.sort_by_key(|step| (step.place.round, step.place));
    let sql = format!("SELECT {ATTEMPT_RECORD} FROM attempts WHERE run = ?1 ORDER BY number");
    for (place, attempt) in connection.rows(&sql, params![run], rows::attempt_record)? {
        if let Some(step) = steps.iter_mut().find(|step| step.place == place) {
            step.attempts.push(attempt);
        }
    }
    Ok(steps)
}

/// Which of these ids a source has yet to bring, in the order given: those that are not known, and those that could not be read or matched.
/// What began and failed is known: it is for people to take up again.
pub(super) fn missing(connection: &dyn Database, source: &str, ids: Vec<String>) -> Result<Vec<String>, Fault> {
    let sql =
        "SELECT 1 FROM deliveries WHERE source = ?1 AND delivery_id = ?2 AND replay = 0 AND (state NOT IN ('failed', 'rejected')
           OR EXISTS (SELECT 1 FROM runs WHERE runs.delivery = deliveries.seq AND runs.started_at IS NOT NULL))";
    let mut missing = Vec::new();
    for id in ids {
        if connection.optional(sql, params![source, id], |_| Ok(()))?.is_none() {
            missing.push(id);
        }
    }
    Ok(missing)
}

pub(super) fn mark(connection: &dyn Database, name: &str) -> Result<Option<Timestamp>, Fault> {
    let at = connection.optional("SELECT at FROM marks WHERE name = ?1", params![name], |row| row.get(0))?;
    Ok(at.map(Timestamp))
}

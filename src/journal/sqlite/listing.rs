//! Reads. Each is one transaction's view.

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde_json::Value;

use super::claim::run_by_id;
use super::filter::Filter;
use super::identity;
use super::rows::{self, ATTEMPT_RECORD, DELIVERY, DELIVERY_RECORD, RUN_RECORD, STEP_RECORD};
use super::writer::Fault;
use crate::clock::Timestamp;
use crate::journal::record::{Counts, Delivery, DeliveryRecord, Listing, RunRecord, StepRecord};
use crate::rules::model::RuleFile;

pub(super) fn rules(connection: &Connection, revision: &str) -> Result<Option<Vec<RuleFile>>, Fault> {
    let files: Option<String> = connection
        .prepare_cached("SELECT files FROM rule_sets WHERE revision = ?1")?
        .query_row([revision], |row| row.get(0))
        .optional()?;
    Ok(files.map(|files| serde_json::from_str(&files)).transpose()?)
}

pub(super) fn delivery(connection: &Connection, id: &str) -> Result<Option<Delivery>, Fault> {
    match identity::delivery_number(id) {
        Some(number) => delivery_by_number(connection, number),
        None => Ok(None),
    }
}

pub(super) fn delivery_by_number(connection: &Connection, number: i64) -> Result<Option<Delivery>, Fault> {
    let sql = format!("SELECT {DELIVERY} FROM deliveries d JOIN contents c ON c.delivery = d.seq WHERE d.seq = ?1");
    Ok(connection.prepare_cached(&sql)?.query_row([number], rows::delivery).optional()?)
}

pub(super) fn delivery_record(connection: &Connection, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, Fault> {
    let Some(number) = identity::delivery_number(id) else { return Ok(None) };
    let sql = format!(
        "SELECT {DELIVERY_RECORD}, (SELECT traces FROM traces WHERE delivery = d.seq) FROM deliveries d WHERE d.seq = ?1"
    );
    let found = connection
        .prepare_cached(&sql)?
        .query_row([number], |row| Ok((rows::delivery_record(row)?, row.get::<_, Option<String>>(15)?)))
        .optional()?;
    let Some((record, traces)) = found else { return Ok(None) };
    Ok(Some((record, traces.map(|traces| serde_json::from_str(&traces)).transpose()?)))
}

pub(super) fn deliveries(connection: &Connection, listing: &Listing) -> Result<Vec<DeliveryRecord>, Fault> {
    let mut filter = Filter::of_deliveries(listing);
    let sql = format!("SELECT {DELIVERY_RECORD} FROM deliveries d {} ORDER BY d.seq DESC LIMIT ?", filter.clause());
    filter.values.push(limit(listing).into());
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(filter.values), rows::delivery_record)?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn runs(connection: &Connection, listing: &Listing) -> Result<Vec<RunRecord>, Fault> {
    let before = match &listing.before {
        Some(id) => Some(run_by_id(connection, id)?.unwrap_or(0)),
        None => None,
    };
    let mut filter = Filter::of_runs(listing, before);
    let sql = format!(
        "SELECT {RUN_RECORD} FROM runs r JOIN deliveries d ON d.seq = r.delivery {} ORDER BY r.seq DESC LIMIT ?",
        filter.clause()
    );
    filter.values.push(limit(listing).into());
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_map(params_from_iter(filter.values), rows::run_record)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn limit(listing: &Listing) -> i64 {
    i64::try_from(listing.limit).unwrap_or(i64::MAX)
}

/// By the key alone where it can be: a number of a delivery is its time of arrival.
pub(super) fn counts(connection: &Connection, since: Timestamp) -> Result<Counts, Fault> {
    let first = identity::first(since);
    let count = |sql: &str| -> Result<Vec<(String, u64)>, Fault> {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([first], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    Ok(Counts {
        deliveries: count("SELECT state, count(*) FROM deliveries WHERE seq >= ?1 GROUP BY state")?,
        runs: count("SELECT state, count(*) FROM runs WHERE delivery >= ?1 GROUP BY state")?,
    })
}

pub(super) fn runs_of(connection: &Connection, delivery: &str) -> Result<Vec<RunRecord>, Fault> {
    let Some(number) = identity::delivery_number(delivery) else { return Ok(Vec::new()) };
    let mut statement =
        connection.prepare_cached(&format!("SELECT {RUN_RECORD} FROM runs r WHERE r.delivery = ?1 ORDER BY r.number"))?;
    Ok(statement.query_map([number], rows::run_record)?.collect::<Result<_, _>>()?)
}

pub(super) fn run(connection: &Connection, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, Fault> {
    let Some(number) = run_by_id(connection, id)? else { return Ok(None) };
    let record = connection
        .prepare_cached(&format!("SELECT {RUN_RECORD} FROM runs r WHERE r.seq = ?1"))?
        .query_row([number], rows::run_record)
        .optional()?;
    let Some(record) = record else { return Ok(None) };
    Ok(Some((record, steps_of(connection, number)?)))
}

/// The steps of a run with their attempts, in the order in which they are done.
pub(super) fn steps_of(connection: &Connection, run: i64) -> Result<Vec<StepRecord>, Fault> {
    let mut statement = connection.prepare_cached(&format!("SELECT {STEP_RECORD} FROM steps WHERE run = ?1"))?;
    let mut steps = statement.query_map([run], rows::step_record)?.collect::<Result<Vec<_>, _>>()?;
    if steps.is_empty() {
        return Ok(steps);
    }
    steps.sort_by_key(|step| (step.place.round, step.place));
    let sql = format!("SELECT {ATTEMPT_RECORD} FROM attempts WHERE run = ?1 ORDER BY number");
    let mut statement = connection.prepare_cached(&sql)?;
    for attempt in statement.query_map([run], rows::attempt_record)? {
        let (place, attempt) = attempt?;
        if let Some(step) = steps.iter_mut().find(|step| step.place == place) {
            step.attempts.push(attempt);
        }
    }
    Ok(steps)
}

/// Which of these ids are not known of a source, in the order given.
pub(super) fn missing(connection: &Connection, source: &str, ids: Vec<String>) -> Result<Vec<String>, Fault> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM deliveries WHERE source = ?1 AND delivery_id = ?2 AND replay = 0")?;
    let mut missing = Vec::new();
    for id in ids {
        if !statement.exists(params![source, id])? {
            missing.push(id);
        }
    }
    Ok(missing)
}

pub(super) fn mark(connection: &Connection, name: &str) -> Result<Option<Timestamp>, Fault> {
    let at = connection.prepare_cached("SELECT at FROM marks WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?;
    Ok(at.map(Timestamp))
}

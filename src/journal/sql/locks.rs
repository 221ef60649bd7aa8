//! What is locked where several replicas write, in the order in which everybody takes it: names, then a delivery, then its runs. SQLite has one
//! writer and locks nothing.

use super::claim::run_by_id;
use super::identity;
use super::store::{Fault, Session};
use super::value::params;
use crate::journal::record::{Change, Lease, NewRun, Subject};

/// What a group is called.
pub(super) fn group(key: &str) -> String {
    format!("group {key}")
}

/// What a name is called that one step has to itself.
pub(super) fn exclusive(name: &str) -> String {
    format!("exclusive {name}")
}

/// What a run that is created is counted and ordered by.
pub(super) fn of_run(run: &NewRun) -> impl Iterator<Item = String> {
    let group = run.group.as_ref().map(|found| group(&found.key));
    let streak = run.collapse.as_ref().map(|collapse| format!("streak {}", collapse.key));
    group.into_iter().chain(streak)
}

/// Has all of these names to itself.
pub(super) fn all(session: &Session<'_>, names: impl Iterator<Item = String>) -> Result<(), Fault> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.iter().try_for_each(|name| session.connection.lock(name))
}

/// Before the runs of a delivery are changed by somebody who has no lease on them.
pub(super) fn delivery(session: &Session<'_>, delivery: i64) -> Result<(), Fault> {
    if session.connection.is_shared() {
        session
            .connection
            .optional("SELECT 1 FROM deliveries WHERE seq = ?1 /*pg: FOR UPDATE */", params![delivery], |_| Ok(()))?;
    }
    Ok(())
}

/// What a worker's changes touch beside its run.
pub(super) fn of_changes(session: &Session<'_>, lease: &Lease, changes: &[Change]) -> Result<(), Fault> {
    let Subject::Run(id) = &lease.subject else { return Ok(()) };
    if !session.connection.is_shared() {
        return Ok(());
    }
    let mut names = Vec::new();
    let ends_steps = changes.iter().any(|change| matches!(change, Change::Ended { .. }));
    if let (true, Some(run)) = (ends_steps, run_by_id(session.connection, id)?) {
        let sql = "SELECT exclusive FROM steps WHERE run = ?1 AND exclusive IS NOT NULL";
        names = session.connection.rows(sql, params![run], |row| Ok(exclusive(&row.get::<String>(0)?)))?;
    }
    names.extend(changes.iter().filter_map(|change| match change {
        Change::Began { exclusive: Some(name), .. } | Change::WaitsFor { exclusive: name, .. } => Some(exclusive(name)),
        _ => None,
    }));
    all(session, names.into_iter())?;
    match identity::run_number(id) {
        Some((number, _)) if changes.iter().any(|change| matches!(change, Change::Finished { .. })) => delivery(session, number),
        _ => Ok(()),
    }
}

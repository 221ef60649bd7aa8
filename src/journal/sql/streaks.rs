//! What is told once: how often it happened, and what the message before left behind.

use std::collections::BTreeMap;

use serde_json::Value;

use super::store::{Database, Fault, Session};
use super::value::params;
use crate::clock::Timestamp;
use crate::journal::record::{Collapse, Repeats, Streak};

/// What counting came to.
#[derive(Default)]
pub(super) struct Counted {
    /// Number of the streak; none for what is older than what was told last.
    pub streak: Option<i64>,
    /// It is not to be told: the run that told it, if it is still there, and why.
    pub told: Option<(Option<i64>, String)>,
}

/// The newest streak of a key.
struct Last {
    number: i64,
    state: String,
    count: i64,
    first_at: i64,
    last_at: i64,
    delivery: i64,
    run: Option<i64>,
}

/// Counts a delivery that is decided.
pub(super) fn count(session: &Session<'_>, delivery: i64, collapse: &Collapse) -> Result<Counted, Fault> {
    let connection = session.connection;
    let last = connection.optional(
        "SELECT seq, state, count, first_at, last_at, delivery, run FROM streaks WHERE key = ?1 ORDER BY seq DESC LIMIT 1",
        params![&collapse.key],
        |row| {
            Ok(Last {
                number: row.get(0)?,
                state: row.get(1)?,
                count: row.get(2)?,
                first_at: row.get(3)?,
                last_at: row.get(4)?,
                delivery: row.get(5)?,
                run: row.get(6)?,
            })
        },
    )?;
    let now = session.now.0;
    if let Some(last) = last {
        let silent = collapse.quiet.is_some_and(|quiet| session.now.0 > Timestamp(last.last_at).after(quiet).0);
        if last.state == collapse.state && !silent {
            connection.execute("UPDATE streaks SET count = count + 1, last_at = ?2, delivery = CASE WHEN delivery < ?3 THEN ?3 ELSE delivery END WHERE seq = ?1", params![last.number, now, delivery])?;
            let told = (collapse.repeats == Repeats::Drop).then(|| {
                let since = Timestamp(last.first_at).rfc3339();
                (last.run, format!("told once: number {} since {since}", last.count + 1))
            });
            return Ok(Counted { streak: Some(last.number), told });
        }
        if delivery < last.delivery {
            let note = "a later delivery said something else already".to_owned();
            return Ok(Counted { streak: None, told: Some((last.run, note)) });
        }
    }
    let streak: i64 = connection.value(
        "INSERT INTO streaks (key, state, count, first_at, last_at, delivery) VALUES (?1, ?2, 1, ?3, ?3, ?4) RETURNING seq",
        params![collapse.key, collapse.state, now, delivery],
    )?;
    Ok(Counted { streak: Some(streak), told: None })
}

/// The first run of a streak is the one that tells it.
pub(super) fn tells(session: &Session<'_>, streak: i64, run: i64) -> Result<(), Fault> {
    session.connection.execute("UPDATE streaks SET run = coalesce(run, ?2) WHERE seq = ?1", params![streak, run])?;
    Ok(())
}

/// Those of a streak and a group that wait for their start, with the numbers of their deliveries, but for one.
pub(super) fn waiting(connection: &dyn Database, group: &str, streak: i64, but: i64) -> Result<Vec<(i64, i64)>, Fault> {
    connection.rows(
        "SELECT seq, delivery FROM runs
          WHERE group_key = ?1 AND next_at IS NOT NULL AND state = 'queued' AND streak = ?2 AND seq <> ?3",
        params![group, streak, but],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// The streak of a run that is claimed.
pub(super) fn of_run(connection: &dyn Database, run: i64) -> Result<Option<Streak>, Fault> {
    let found = connection.optional("SELECT s.count, s.first_at, r.delivery >= s.delivery, s.kept FROM runs r JOIN streaks s ON s.seq = r.streak WHERE r.seq = ?1", params![run], |row| {
            Ok((row.get::<i64>(0)?, row.get(1)?, row.get::<bool>(2)?, row.get::<Option<String>>(3)?))
        })?;
    let Some((count, since, is_newest, kept)) = found else { return Ok(None) };
    let kept = kept.map(|kept| serde_json::from_str(&kept)).transpose()?.unwrap_or_default();
    Ok(Some(Streak { count: u64::try_from(count).unwrap_or(0), since: Timestamp(since), is_newest, kept }))
}

/// Keeps what a step left to the later runs of its streak.
pub(super) fn keep(session: &Session<'_>, run: i64, step: &str, value: &Value) -> Result<(), Fault> {
    let connection = session.connection;
    let found = connection.optional(
        "SELECT s.seq, s.kept FROM runs r JOIN streaks s ON s.seq = r.streak WHERE r.seq = ?1 /*pg: FOR UPDATE OF s */",
        params![run],
        |row| Ok((row.get::<i64>(0)?, row.get::<Option<String>>(1)?)),
    )?;
    let Some((streak, kept)) = found else { return Ok(()) };
    let mut kept: BTreeMap<String, Value> = kept.map(|kept| serde_json::from_str(&kept)).transpose()?.unwrap_or_default();
    kept.insert(step.to_owned(), value.clone());
    connection.execute("UPDATE streaks SET kept = ?2 WHERE seq = ?1", params![streak, serde_json::to_string(&kept)?])?;
    Ok(())
}

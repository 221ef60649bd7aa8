//! Writes about runs under their lease: intents, progress, outcomes, final states.

use serde_json::Value;

use super::claim::run_by_id;
use super::deliveries::settle;
use super::exclusive;
use super::identity;
use super::locks;
use super::order;
use super::rows::word;
use super::store::{Database, Fault, Session};
use super::streaks;
use super::value::params;
use crate::journal::LedgerError;
use crate::journal::record::{
    AttemptState, Change, Impossible, Lease, Place, Remark, RunFailure, RunState, StepEnd, StepLabel, StepState, Subject, Written,
};

/// Of what an action says of one step, so much is kept.
const REMARKS: usize = 100;

/// The run a lease is on, inside one write.
struct Held<'a> {
    session: &'a Session<'a>,
    run: i64,
    delivery: i64,
    round: i64,
    worker: String,
    by_hand: bool,
}

pub(super) fn write(session: &Session<'_>, lease: &Lease, changes: &[Change]) -> Result<Written, Fault> {
    locks::of_changes(session, lease, changes)?;
    let held = hold(session, lease)?;
    let mut given_back = false;
    for change in changes {
        if given_back {
            return Err(Impossible("a run cannot be changed after it was given back".to_owned()).into());
        }
        match change {
            Change::Began { place, label, intent, exclusive } => {
                held.began(*place, label, &serde_json::to_string(intent)?, exclusive.as_deref())?;
            }
            Change::KnowsOrder { exclusive } => held.knows_order(exclusive)?,
            Change::Saved { place, saved } => held.saved(*place, saved)?,
            Change::Said { place, remarks } => held.said(*place, remarks)?,
            Change::Retrying { place, state, why } => {
                held.step_to(*place, StepState::Waiting)?;
                held.end_attempt(*place, *state, Some(serde_json::to_string(why)?))?;
                if *state != AttemptState::Interrupted {
                    held.got_on()?;
                }
            }
            Change::Ended { place, label, end } => held.ended(*place, label, end)?,
            Change::Waits { after } => {
                held.give_back(RunState::Waiting, session.now.after(*after).0)?;
                given_back = true;
            }
            Change::WaitsFor { exclusive, after } => {
                held.give_back(RunState::Waiting, session.now.after(*after).0)?;
                held.waits_for(exclusive)?;
                given_back = true;
            }
            Change::Parked { place, why, after } => {
                held.parked(*place, &serde_json::to_string(why)?, session.now.after(*after).0)?;
                given_back = true;
            }
            Change::Kept { step, value } => streaks::keep(session, held.run, step, value)?,
            Change::Covered { by, note } => held.covered(by, note)?,
            Change::Released => {
                held.give_back(RunState::Waiting, session.now.0)?;
                given_back = true;
            }
            Change::Finished { state, failure } => {
                held.finished(*state, failure.as_ref())?;
                given_back = true;
            }
        }
    }
    stop(session.connection, held.run)
}

fn hold<'a>(session: &'a Session<'a>, lease: &Lease) -> Result<Held<'a>, Fault> {
    let Subject::Run(id) = &lease.subject else { return Err(LedgerError::Lost.into()) };
    let run = run_by_id(session.connection, id)?.ok_or(LedgerError::Lost)?;
    let held = session
        .connection.optional("SELECT delivery, round, coalesce(worker, ''), by_hand FROM runs WHERE seq = ?1 AND token = ?2 AND state = 'running' /*pg: FOR UPDATE */", params![run, lease.token], |row| {
            Ok(Held { session, run, delivery: row.get(0)?, round: row.get(1)?, worker: row.get(2)?, by_hand: row.get(3)? })
        })?;
    held.ok_or_else(|| LedgerError::Lost.into())
}

impl Held<'_> {
    fn began(&self, place: Place, label: &StepLabel, intent: &str, exclusive: Option<&str>) -> Result<(), Fault> {
        let Place { round, phase, index } = place;
        let to = StepState::to(self.state_of(place)?, StepState::Running)?;
        let connection = self.session.connection;
        if let Some(name) = exclusive
            && self.exclusive_of(place)?.is_none()
        {
            exclusive::take(self.session, name, self.run, self.delivery, self.by_hand)?;
        }
        connection.execute("INSERT INTO steps (run, round, phase, number, id, name, uses, state, intent, started_at, exclusive)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (run, round, phase, number) DO UPDATE SET state = excluded.state, exclusive = excluded.exclusive, intent = coalesce(steps.intent, excluded.intent),
                     started_at = coalesce(steps.started_at, excluded.started_at)", params![
                self.run,
                round,
                phase.word(),
                index,
                label.id,
                label.name,
                label.uses,
                to.word(),
                intent,
                self.session.now.0,
                exclusive
            ])?;
        connection.execute(
            "INSERT INTO attempts (run, step_round, phase, step, number, round, worker, state, started_at)
                 SELECT ?1, ?2, ?3, ?4, 1 + coalesce(max(number), 0), ?5, ?6, ?7, ?8 FROM attempts
                  WHERE run = ?1 AND step_round = ?2 AND phase = ?3 AND step = ?4",
            params![self.run, round, phase.word(), index, self.round, self.worker, AttemptState::Open.word(), self.session.now.0],
        )?;
        Ok(())
    }

    fn saved(&self, place: Place, saved: &Value) -> Result<(), Fault> {
        let changed = self.session.connection.execute(
            "UPDATE steps SET saved = ?5 WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4 AND state = 'running'",
            params![self.run, place.round, place.phase.word(), place.index, serde_json::to_string(saved)?],
        )?;
        if changed != 1 {
            return Err(Impossible("progress can be kept only of a running step".to_owned()).into());
        }
        self.got_on()
    }

    fn said(&self, place: Place, remarks: &[Remark]) -> Result<(), Fault> {
        let of = "WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4";
        let kept = self.session.connection.optional(
            &format!("SELECT said FROM steps {of}"),
            params![self.run, place.round, place.phase.word(), place.index],
            |row| row.get::<Option<String>>(0),
        )?;
        let mut all: Vec<Remark> = kept.flatten().map(|kept| serde_json::from_str(&kept)).transpose()?.unwrap_or_default();
        all.extend(remarks.iter().cloned());
        let all = serde_json::to_string(all.split_at(all.len().saturating_sub(REMARKS)).1)?;
        self.session.connection.execute(
            &format!("UPDATE steps SET said = ?5 {of}"),
            params![self.run, place.round, place.phase.word(), place.index, all],
        )?;
        Ok(())
    }

    fn knows_order(&self, name: &str) -> Result<(), Fault> {
        let Some(line) = order::line(self.session.connection, self.delivery)? else { return Ok(()) };
        let open = order::rivals(self.session.connection, &line, &[], Some(name))?;
        if open.is_empty() { Ok(()) } else { Err(LedgerError::Unordered.into()) }
    }

    fn ended(&self, place: Place, label: &StepLabel, end: &StepEnd) -> Result<(), Fault> {
        let (to, attempt, outcome, why) = match end {
            StepEnd::Succeeded { outcome, found } => {
                let attempt = if *found { AttemptState::Found } else { AttemptState::Succeeded };
                (StepState::Succeeded, attempt, Some(serde_json::to_string(outcome)?), None)
            }
            StepEnd::Failed { why } => (StepState::Failed, AttemptState::Failed, None, Some(serde_json::to_string(why)?)),
            StepEnd::Skipped { why } => (StepState::Skipped, AttemptState::Failed, None, Some(serde_json::to_string(why)?)),
        };
        let from = self.state_of(place)?;
        let to = StepState::to(from, to)?;
        let exclusive = self.exclusive_of(place)?;
        let Place { round, phase, index } = place;
        self.session
            .connection.execute("INSERT INTO steps (run, round, phase, number, id, name, uses, state, outcome, why, finished_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (run, round, phase, number) DO UPDATE SET state = excluded.state, outcome = excluded.outcome, why = excluded.why,
                     finished_at = excluded.finished_at, exclusive = NULL", params![
                self.run,
                round,
                phase.word(),
                index,
                label.id,
                label.name,
                label.uses,
                to.word(),
                outcome,
                why,
                self.session.now.0
            ])?;
        if from == Some(StepState::Running) {
            self.end_attempt(place, attempt, why)?;
        }
        if let Some(name) = exclusive {
            let done = to == StepState::Succeeded || (to == StepState::Failed && self.is_undecided(place)?);
            exclusive::give_back(self.session, &name, self.run, self.delivery, done)?;
        }
        self.got_on()
    }

    /// The step was given up: what its last attempt came to is not known, so it counts as done when it comes to what may follow.
    fn is_undecided(&self, place: Place) -> Result<bool, Fault> {
        let last = self.session.connection.optional(
            "SELECT state FROM attempts WHERE run = ?1 AND step_round = ?2 AND phase = ?3 AND step = ?4 ORDER BY number DESC LIMIT 1",
            params![self.run, place.round, place.phase.word(), place.index],
            |row| word(row, 0, AttemptState::of_word),
        )?;
        Ok(matches!(last, Some(AttemptState::Retry | AttemptState::Interrupted)))
    }

    /// The open attempt goes as if it had not been: somebody who waits for a day would leave thousands of them.
    fn parked(&self, place: Place, why: &str, next_at: i64) -> Result<(), Fault> {
        self.step_to(place, StepState::Waiting)?;
        let Place { round, phase, index } = place;
        let connection = self.session.connection;
        connection.execute(
            "DELETE FROM attempts WHERE run = ?1 AND step_round = ?2 AND phase = ?3 AND step = ?4 AND state = 'open'",
            params![self.run, round, phase.word(), index],
        )?;
        let answered: bool = connection.one(
            "UPDATE steps SET why = ?5 WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4 RETURNING answer IS NOT NULL",
            params![self.run, round, phase.word(), index, why],
            |row| row.get(0),
        )?;
        self.got_on()?;
        self.give_back(RunState::Waiting, if answered { self.session.now.0 } else { next_at })
    }

    fn finished(&self, state: RunState, failure: Option<&RunFailure>) -> Result<(), Fault> {
        let state = RunState::Running.to(state)?;
        if !state.is_final() {
            return Err(Impossible(format!("a run cannot finish as {}", state.word())).into());
        }
        let open: i64 = self.session.connection.one(
            "SELECT count(*) FROM steps WHERE run = ?1 AND state IN ('running', 'waiting')",
            params![self.run],
            |row| row.get(0),
        )?;
        if open != 0 {
            return Err(Impossible("a run cannot finish while one of its steps is open".to_owned()).into());
        }
        self.session.connection.execute(
            "UPDATE runs SET state = ?2, failure = ?3, finished_at = ?4, next_at = NULL, worker = NULL WHERE seq = ?1",
            params![self.run, state.word(), failure.map(serde_json::to_string).transpose()?, self.session.now.0],
        )?;
        settle(self.session, self.delivery)
    }

    fn exclusive_of(&self, place: Place) -> Result<Option<String>, Fault> {
        let exclusive = self.session.connection.optional(
            "SELECT exclusive FROM steps WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4",
            params![self.run, place.round, place.phase.word(), place.index],
            |row| row.get(0),
        )?;
        Ok(exclusive.flatten())
    }

    fn waits_for(&self, exclusive: &str) -> Result<(), Fault> {
        self.session.connection.execute("UPDATE runs SET waits_for = ?2 WHERE seq = ?1", params![self.run, exclusive])?;
        Ok(())
    }

    fn covered(&self, by: &str, note: &str) -> Result<(), Fault> {
        let by = run_by_id(self.session.connection, by)?;
        self.session.connection.execute(
            "UPDATE runs SET covered_by = coalesce(?2, covered_by), note = ?3 WHERE seq = ?1",
            params![self.run, by, note],
        )?;
        Ok(())
    }

    /// A claim that ends in order does not count as one that brought its worker down.
    fn give_back(&self, state: RunState, next_at: i64) -> Result<(), Fault> {
        self.session
            .connection.execute("UPDATE runs SET state = ?2, next_at = ?3, claims = CASE WHEN claims > 0 THEN claims - 1 ELSE 0 END, worker = NULL WHERE seq = ?1", params![self.run, RunState::Running.to(state)?.word(), next_at])?;
        Ok(())
    }

    /// Claims are counted only between two things that got done.
    fn got_on(&self) -> Result<(), Fault> {
        self.session.connection.execute("UPDATE runs SET claims = 1 WHERE seq = ?1", params![self.run])?;
        Ok(())
    }

    fn state_of(&self, place: Place) -> Result<Option<StepState>, Fault> {
        let state = self.session.connection.optional(
            "SELECT state FROM steps WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4",
            params![self.run, place.round, place.phase.word(), place.index],
            |row| word(row, 0, StepState::of_word),
        )?;
        Ok(state)
    }

    fn step_to(&self, place: Place, state: StepState) -> Result<(), Fault> {
        let state = StepState::to(self.state_of(place)?, state)?;
        self.session.connection.execute(
            "UPDATE steps SET state = ?5 WHERE run = ?1 AND round = ?2 AND phase = ?3 AND number = ?4",
            params![self.run, place.round, place.phase.word(), place.index, state.word()],
        )?;
        Ok(())
    }

    /// Ends the one open attempt of a step.
    fn end_attempt(&self, place: Place, state: AttemptState, why: Option<String>) -> Result<(), Fault> {
        let state = AttemptState::Open.to(state)?;
        let changed = self.session.connection.execute(
            "UPDATE attempts SET state = ?5, why = ?6, finished_at = ?7
                 WHERE run = ?1 AND step_round = ?2 AND phase = ?3 AND step = ?4 AND state = 'open'",
            params![self.run, place.round, place.phase.word(), place.index, state.word(), why, self.session.now.0],
        )?;
        if changed == 1 { Ok(()) } else { Err(Impossible("a running step has exactly one open attempt".to_owned()).into()) }
    }
}

/// Who asks a run to stop.
fn stop(connection: &dyn Database, run: i64) -> Result<Written, Fault> {
    let asked = connection.optional(
        "SELECT r.cancelled, o.delivery, o.number FROM runs r LEFT JOIN runs o ON o.seq = r.covered_by WHERE r.seq = ?1",
        params![run],
        |row| {
            let by = row.get::<Option<i64>>(1)?.zip(row.get::<Option<i64>>(2)?);
            Ok(Written { stop: by.map(|(delivery, number)| identity::run(delivery, number)), cancelled: row.get(0)? })
        },
    )?;
    Ok(asked.unwrap_or_default())
}

/// The same for a run by its id.
pub(super) fn wanted(connection: &dyn Database, id: &str) -> Result<Written, Fault> {
    match run_by_id(connection, id)? {
        Some(run) => stop(connection, run),
        None => Ok(Written::default()),
    }
}

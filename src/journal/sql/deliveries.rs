//! Writes about deliveries that are in the store: the decision of matching, and the final state.

use declic_actions::action::Why;

use super::identity;
use super::locks;
use super::order::{self, Found};
use super::rows::word;
use super::store::{Fault, Session};
use super::streaks::{self, Counted};
use super::value::params;
use crate::clock::Timestamp;
use crate::journal::LedgerError;
use crate::journal::record::{
    AttemptState, Decision, DeliveryState, Group, GroupMode, Lease, NewRun, Order, RunState, StepState, Subject, Verdict,
};
use crate::rules::model::RuleFile;

/// Letters by which shares are told apart: an index has its limits, and who sends longer names shares with their like.
const SHARE: usize = 200;

pub(in crate::journal) fn share(name: &str) -> String {
    name.chars().take(SHARE).collect()
}

/// Has a delivery matched once more, by the rules in force: what of it never began has no other way to begin.
pub(super) fn match_again(session: &Session<'_>, delivery: i64, state: DeliveryState) -> Result<(), Fault> {
    session.connection.execute(
        "UPDATE deliveries SET state = ?2, reason = NULL, finished_at = NULL, next_at = ?3, claims = 0 WHERE seq = ?1",
        params![delivery, state.to(DeliveryState::Accepted)?.word(), session.now.0],
    )?;
    Ok(())
}

/// What its steps did stays done, what follows a failure belongs to a new round, and its time begins anew. The step that failed is made anew; if it was given up
/// while it might have worked, from what it had saved.
pub(super) fn revive_run(session: &Session<'_>, run: i64, state: RunState) -> Result<(), Fault> {
    let connection = session.connection;
    connection.execute("UPDATE runs SET state = ?2, round = round + 1, failure = NULL, finished_at = NULL, claims = 0, next_at = ?3, covered_by = NULL,
                    cancelled = 0, note = NULL, waits_for = NULL, started_at = NULL
             WHERE seq = ?1", params![run, state.to(RunState::Queued)?.word(), session.now.0])?;
    connection.execute("UPDATE steps SET state = ?2, intent = NULL, why = NULL, answer = NULL, started_at = NULL, finished_at = NULL, exclusive = NULL,
                saved = CASE (SELECT a.state FROM attempts a WHERE a.run = ?1 AND a.step_round = 0 AND a.phase = 'steps'
                               AND a.step = steps.number ORDER BY a.number DESC LIMIT 1) WHEN ?4 THEN NULL ELSE saved END
             WHERE run = ?1 AND round = 0 AND phase = 'steps' AND (state = ?3 OR (state = ?5 AND ?6))
               AND number = (SELECT max(number) FROM steps WHERE run = ?1 AND round = 0 AND phase = 'steps')", params![
            run,
            StepState::Waiting.word(),
            StepState::Failed.word(),
            AttemptState::Failed.word(),
            StepState::Skipped.word(),
            // A step that its run's end cut short is wanted again with it.
            matches!(state, RunState::Cancelled | RunState::Superseded),
        ])?;
    Ok(())
}

pub(super) fn decide(session: &Session<'_>, lease: &Lease, decision: &Decision) -> Result<Vec<String>, Fault> {
    if let Verdict::Runs(runs) = &decision.verdict {
        locks::all(session, runs.iter().flat_map(locks::of_run))?;
    }
    let (delivery, state) = held(session, lease)?;
    // Before anything is written: a refusal afterwards would take the whole transaction with it.
    if is_unordered(session, decision)? {
        return Err(LedgerError::Unordered.into());
    }
    keep(session, delivery, decision)?;
    // Under its first lease it cannot have runs: nobody decided it before.
    let (earlier, last) = if lease.token > 1 { earlier(session, delivery)? } else { (Vec::new(), 0) };
    let mut states: Vec<RunState> = earlier.iter().map(|run| run.state).collect();
    let mut ids = Vec::new();
    if let Verdict::Runs(runs) = &decision.verdict {
        // A rule whose run began goes on with that run.
        let new = runs.iter().filter(|run| !earlier.iter().any(|known| known.rule == run.rule && known.owner == run.owner));
        for (number, run) in (last + 1..).zip(new) {
            states.push(create(session, delivery, number, run)?);
            ids.push(identity::run(delivery, number));
        }
    }
    ids.extend(give_up(session, delivery, last + 1, &decision.verdict)?);
    let (next, reason) = ends(&decision.verdict, earlier.is_empty(), DeliveryState::settled(states));
    let next = state.to(next)?;
    session.connection.execute(
        "UPDATE deliveries SET state = ?2, reason = ?3, finished_at = ?4, next_at = NULL, claims = 0,
                event = ?5, repository = ?6, title = ?7, learned = ?8 WHERE seq = ?1",
        params![
            delivery,
            next.word(),
            reason,
            next.is_final().then_some(session.now.0),
            decision.about.event,
            decision.about.repository,
            decision.about.title,
            decision.learned.as_ref().map(serde_json::to_string).transpose()?
        ],
    )?;
    Ok(ids)
}

/// Must the order of its commit to those of open runs be asked for first?
pub(super) fn is_unordered(session: &Session<'_>, decision: &Decision) -> Result<bool, Fault> {
    let (true, Some(line), Verdict::Runs(runs)) = (decision.may_ask, &decision.line, &decision.verdict) else { return Ok(false) };
    let groups: Vec<String> = runs.iter().filter_map(NewRun::ordered_group).collect();
    Ok(!order::rivals(session.connection, line, &groups, None)?.is_empty())
}

/// Writes what a decision says of the delivery itself.
pub(super) fn keep(session: &Session<'_>, delivery: i64, decision: &Decision) -> Result<(), Fault> {
    session.connection.execute(
        "INSERT INTO traces (delivery, traces) VALUES (?1, ?2) ON CONFLICT (delivery) DO UPDATE SET traces = excluded.traces",
        params![delivery, serde_json::to_string(&decision.traces)?],
    )?;
    decision.line.as_ref().map_or(Ok(()), |line| order::keep(session, delivery, line))
}

/// Where a decided delivery stands, and why. `first`: it has no runs from an earlier decision. `settled` is what all of its runs make it.
pub(super) fn ends(verdict: &Verdict, first: bool, settled: DeliveryState) -> (DeliveryState, Option<&str>) {
    match verdict {
        Verdict::Ignored if first => (DeliveryState::Ignored, None),
        Verdict::Ignored | Verdict::Runs(_) => (settled, None),
        // The reason makes it end as failed once the runs it has from before are over.
        Verdict::Rejected(why) | Verdict::Failed(why) if settled == DeliveryState::Running => (settled, Some(why)),
        Verdict::Rejected(why) => (DeliveryState::Rejected, Some(why)),
        Verdict::Failed(why) => (DeliveryState::Failed, Some(why)),
    }
}

/// A delivery that could not be matched stands among the dead runs, where people look for what was given up. Answers the id of that run.
pub(super) fn give_up(session: &Session<'_>, delivery: i64, number: i64, verdict: &Verdict) -> Result<Option<String>, Fault> {
    let Verdict::Failed(why) = verdict else { return Ok(None) };
    create(session, delivery, number, &NewRun::given_up(why))?;
    Ok(Some(identity::run(delivery, number)))
}

/// A run that a delivery has from an earlier matching.
struct Earlier {
    rule: String,
    owner: Option<String>,
    state: RunState,
}

/// The runs that began before a delivery is decided again, and the highest of their numbers. Those that never began are what this decision replaces.
fn earlier(session: &Session<'_>, delivery: i64) -> Result<(Vec<Earlier>, i64), Fault> {
    let connection = session.connection;
    connection.execute("DELETE FROM runs WHERE delivery = ?1 AND state = 'failed' AND started_at IS NULL", params![delivery])?;
    let mut last = 0;
    let runs = connection.rows("SELECT rule, owner, state, number FROM runs WHERE delivery = ?1", params![delivery], |row| {
        last = last.max(row.get(3)?);
        Ok(Earlier { rule: row.get(0)?, owner: row.get(1)?, state: word(row, 2, RunState::of_word)? })
    })?;
    Ok((runs, last))
}

pub(super) fn release(session: &Session<'_>, lease: &Lease) -> Result<(), Fault> {
    let (delivery, state) = held(session, lease)?;
    session.connection.execute(
        "UPDATE deliveries SET state = ?2, next_at = ?3, claims = claims - 1 WHERE seq = ?1",
        params![delivery, state.to(DeliveryState::Accepted)?.word(), session.now.0],
    )?;
    Ok(())
}

/// Number and state of the delivery, if the lease on it is held.
fn held(session: &Session<'_>, lease: &Lease) -> Result<(i64, DeliveryState), Fault> {
    let Subject::Delivery(id) = &lease.subject else { return Err(LedgerError::Lost.into()) };
    let number = identity::delivery_number(id).ok_or(LedgerError::Lost)?;
    let state = session.connection.optional(
        "SELECT state FROM deliveries WHERE seq = ?1 AND token = ?2 AND state = 'matching' /*pg: FOR UPDATE */",
        params![number, lease.token],
        |row| word(row, 0, DeliveryState::of_word),
    )?;
    Ok((number, state.ok_or(LedgerError::Lost)?))
}

pub(super) fn create(session: &Session<'_>, delivery: i64, number: i64, run: &NewRun) -> Result<RunState, Fault> {
    let connection = session.connection;
    let taken_by = match &run.group {
        Some(Group { key, mode: GroupMode::Skip }) => {
            connection.one("SELECT min(seq) FROM runs WHERE group_key = ?1 AND next_at IS NOT NULL", params![key], |row| {
                row.get::<Option<i64>>(0)
            })?
        }
        _ => None,
    };
    let counted = match (&run.collapse, &run.failure) {
        (Some(collapse), None) => streaks::count(session, delivery, collapse)?,
        _ => Counted::default(),
    };
    let (covered_by, note) = counted.told.map_or((taken_by, None), |(by, note)| (by, Some(note)));
    let state = match &run.failure {
        Some(_) => RunState::Failed,
        None if covered_by.is_some() || note.is_some() => RunState::Skipped,
        None => RunState::Queued,
    };
    let open = !state.is_final();
    let created: i64 = connection.value(
        "INSERT INTO runs (delivery, number, rule, owner, place, revision, state, group_key, group_mode,
                               created_at, finished_at, failure, covered_by, next_at, share, dry, streak, note, by_hand)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                     (SELECT replay FROM deliveries WHERE seq = ?1))
             RETURNING seq",
        params![
            delivery,
            number,
            run.rule,
            run.owner,
            run.place,
            run.revision,
            state.word(),
            run.group.as_ref().map(|group| &group.key),
            run.group.as_ref().map(|group| group.mode.word()),
            session.now.0,
            (!open).then_some(session.now.0),
            run.failure.as_ref().map(serde_json::to_string).transpose()?,
            covered_by,
            open.then_some(session.now.0),
            share(&run.share),
            run.dry,
            counted.streak,
            note,
        ],
    )?;
    if let Some(streak) = counted.streak.filter(|_| open) {
        streaks::tells(session, streak, created)?;
    }
    match (&run.group, counted.streak) {
        (Some(Group { key, mode: GroupMode::Collapse }), Some(streak)) if open => join(session, key, streak, created, delivery),
        (Some(group), _) if open => cover(session, group, created, delivery),
        _ => Ok(state),
    }
}

/// Of a streak that waits to be told, the latest delivery is told. One that runs already has its count, so another follows it.
fn join(session: &Session<'_>, group: &str, streak: i64, run: i64, delivery: i64) -> Result<RunState, Fault> {
    for (waiting, of) in streaks::waiting(session.connection, group, streak, run)? {
        if of > delivery {
            superseded(session, run, delivery, waiting, None)?;
            return Ok(RunState::Superseded);
        }
        superseded(session, waiting, of, run, None)?;
    }
    Ok(RunState::Queued)
}

/// Of a group only the newest has to be done: it covers those that wait for their start, or is covered by what is newer. Answers its
/// state.
fn cover(session: &Session<'_>, group: &Group, run: i64, delivery: i64) -> Result<RunState, Fault> {
    if !group.mode.goes_by_commit() {
        return Ok(RunState::Queued);
    }
    let connection = session.connection;
    let line = order::line(connection, delivery)?;
    let mut older = Vec::new();
    let mut note = None;
    for (rival, state, known) in order::of_group(connection, &group.key, run)? {
        let Found { order, note: found } = order::stands(connection, delivery, line.as_ref(), &known)?;
        if order == Order::Older {
            superseded(session, run, delivery, rival, found)?;
            return Ok(RunState::Superseded);
        }
        note = note.or(found);
        older.push((rival, state, known.delivery));
    }
    if let Some(note) = note {
        connection.execute("UPDATE runs SET note = ?2 WHERE seq = ?1", params![run, note])?;
    }
    for (rival, state, of) in older {
        if state == RunState::Queued.word() {
            superseded(session, rival, of, run, None)?;
        } else if group.mode == GroupMode::Supersede {
            connection.execute("UPDATE runs SET covered_by = ?2 WHERE seq = ?1", params![rival, run])?;
        }
    }
    Ok(RunState::Queued)
}

/// Ends a queued run that another one covers, and the step that was to be made again if it had been taken up once more.
fn superseded(session: &Session<'_>, run: i64, delivery: i64, by: i64, note: Option<String>) -> Result<(), Fault> {
    locks::delivery(session, delivery)?;
    let ended = session.connection.execute(
        "UPDATE runs SET state = ?2, covered_by = ?3, note = coalesce(?4, note), next_at = NULL, finished_at = ?5
             WHERE seq = ?1 AND state = 'queued'",
        params![run, RunState::Queued.to(RunState::Superseded)?.word(), by, note, session.now.0],
    )?;
    // Where others write, too, a person may have ended it meanwhile.
    if ended == 0 {
        return Ok(());
    }
    let why = Why::new("superseded", "something newer came before it was made again");
    session.connection.execute(
        "UPDATE steps SET state = ?2, why = ?3, finished_at = ?4 WHERE run = ?1 AND state = 'waiting'",
        params![run, StepState::Skipped.word(), serde_json::to_string(&why)?, session.now.0],
    )?;
    settle(session, delivery)
}

/// Gives a delivery its final state once the last of its runs is over.
pub(super) fn settle(session: &Session<'_>, delivery: i64) -> Result<(), Fault> {
    let connection = session.connection;
    // Its row first: of two runs that end at once, the second must see that the first one has.
    let (state, faulty) = connection.one(
        "SELECT state, reason IS NOT NULL FROM deliveries WHERE seq = ?1 /*pg: FOR UPDATE */",
        params![delivery],
        |row| Ok((word(row, 0, DeliveryState::of_word)?, row.get::<bool>(1)?)),
    )?;
    let runs = connection
        .rows("SELECT state FROM runs WHERE delivery = ?1", params![delivery], |row| word(row, 0, RunState::of_word))?;
    let settled = DeliveryState::settled(runs);
    // Before and while it is decided, the decision itself settles it.
    if settled == DeliveryState::Running || matches!(state, DeliveryState::Accepted | DeliveryState::Matching) {
        return Ok(());
    }
    let settled = if faulty { DeliveryState::Failed } else { settled };
    connection.execute(
        "UPDATE deliveries SET state = ?2, finished_at = ?3 WHERE seq = ?1",
        params![delivery, state.to(settled)?.word(), session.now.0],
    )?;
    Ok(())
}

pub(super) fn keep_rules(session: &Session<'_>, revision: &str, files: &[RuleFile]) -> Result<(), Fault> {
    session
        .connection.execute("INSERT INTO rule_sets (revision, files, kept_at) VALUES (?1, ?2, ?3) ON CONFLICT (revision) DO UPDATE SET files = excluded.files, kept_at = excluded.kept_at", params![revision, serde_json::to_string(files)?, session.now.0])?;
    Ok(())
}

pub(super) fn set_mark(session: &Session<'_>, name: &str, at: Timestamp) -> Result<(), Fault> {
    session.connection.execute(
        "INSERT INTO marks (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET at = excluded.at",
        params![name, at.0],
    )?;
    Ok(())
}

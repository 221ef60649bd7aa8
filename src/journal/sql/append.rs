//! Taking a delivery in: told from what came before, and decided in the same transaction where its decision came with it.

use super::deliveries::{self, revive_run};
use super::identity;
use super::rows::word;
use super::store::{Fault, Session};
use super::value::params;
use crate::clock::Timestamp;
use crate::journal::record::{
    Appended, ClaimedDelivery, Decision, Delivery, DeliveryState, Lease, Left, NewDelivery, RunState, Subject, TakenIn, Taking,
    Verdict,
};

/// What was appended, in the hands of whoever appended it, as its first claim.
pub(in crate::journal) fn leased(id: String, content: NewDelivery) -> Left {
    let lease = Lease { subject: Subject::Delivery(id.clone()), token: 1 };
    let delivery = Delivery { id, content, replay: false, learned: None };
    Left::Matching(Box::new(ClaimedDelivery { lease, claims: 1, delivery }))
}

pub(in crate::journal) fn append(session: &Session<'_>, delivery: NewDelivery, taking: Taking) -> Result<TakenIn, Fault> {
    let number = session.connection.next_number(session.now)?;
    let id = identity::delivery(number);
    let taking = match taking {
        // Its order to another commit has to be asked for first, which is a worker's to do.
        Taking::Decided(decision, lease) if deliveries::is_unordered(session, &decision)? => Taking::Leased(lease),
        taking => taking,
    };
    if !insert(session, number, &delivery, &Standing::of(&taking, session.now)?)? {
        return Ok((known(session, &delivery)?, Left::Nothing));
    }
    let left = match taking {
        Taking::Due => Left::Nothing,
        Taking::Leased(_) => leased(id.clone(), delivery),
        Taking::Decided(decision, _) => Left::Runs(begin(session, number, &decision)?),
    };
    Ok((Appended::New { id }, left))
}

/// How a new delivery stands.
struct Standing<'a> {
    state: DeliveryState,
    /// When somebody may take it.
    next_at: Option<Timestamp>,
    claims: bool,
    /// Those that were ever in somebody's hands have a token.
    token: bool,
    finished_at: Option<Timestamp>,
    decision: Option<&'a Decision>,
    reason: Option<&'a str>,
}

impl<'a> Standing<'a> {
    fn of(taking: &'a Taking, now: Timestamp) -> Result<Self, Fault> {
        let accepted = DeliveryState::Accepted;
        let due = Self {
            state: accepted,
            next_at: Some(now),
            claims: false,
            token: false,
            finished_at: None,
            decision: None,
            reason: None,
        };
        Ok(match taking {
            Taking::Due => due,
            Taking::Leased(lease) => Self {
                state: accepted.to(DeliveryState::Matching)?,
                next_at: Some(now.after(*lease)),
                claims: true,
                token: true,
                ..due
            },
            Taking::Decided(decision, _) => {
                let settled = match &decision.verdict {
                    Verdict::Runs(_) => DeliveryState::Running,
                    _ => DeliveryState::settled([]),
                };
                let (ends, reason) = deliveries::ends(&decision.verdict, true, settled);
                let state = accepted.to(DeliveryState::Matching)?.to(ends)?;
                let finished_at = state.is_final().then_some(now);
                Self { state, next_at: None, token: true, finished_at, decision: Some(decision), reason, ..due }
            }
        })
    }
}

/// False if it came before.
fn insert(session: &Session<'_>, number: i64, delivery: &NewDelivery, standing: &Standing<'_>) -> Result<bool, Fault> {
    let connection = session.connection;
    let decision = standing.decision;
    let inserted = connection.execute(
        "INSERT INTO deliveries (seq, source, delivery_id, event_type, received_at, trace, verified, size, state, next_at, claims, token,
                                 reason, finished_at, event, repository, title, learned, share)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
             ON CONFLICT (source, delivery_id) WHERE replay = 0 DO NOTHING",
        params![
            number,
            delivery.source,
            delivery.delivery_id,
            delivery.event_type,
            delivery.received_at.0,
            delivery.trace,
            delivery.verified,
            i64::try_from(delivery.body.len()).unwrap_or(i64::MAX),
            standing.state.word(),
            standing.next_at.map(|at| at.0),
            standing.claims,
            standing.token,
            standing.reason,
            standing.finished_at.map(|at| at.0),
            decision.and_then(|decision| decision.about.event.as_ref()),
            decision.and_then(|decision| decision.about.repository.as_ref()),
            decision.and_then(|decision| decision.about.title.as_ref()),
            decision.and_then(|decision| decision.learned.as_ref()).map(serde_json::to_string).transpose()?,
            deliveries::share(&delivery.share),
        ],
    )?;
    if inserted == 0 {
        return Ok(false);
    }
    connection.execute(
        "INSERT INTO contents (delivery, headers, body) VALUES (?1, ?2, ?3)",
        params![number, serde_json::to_string(&delivery.headers)?, delivery.body.as_ref()],
    )?;
    Ok(true)
}

/// Writes what was decided of a delivery that is new. Answers the ids of its runs.
fn begin(session: &Session<'_>, number: i64, decision: &Decision) -> Result<Vec<String>, Fault> {
    deliveries::keep(session, number, decision)?;
    let Verdict::Runs(runs) = &decision.verdict else {
        return Ok(deliveries::give_up(session, number, 1, &decision.verdict)?.into_iter().collect());
    };
    let mut ids = Vec::new();
    let mut states = Vec::new();
    for (place, run) in (1..).zip(runs) {
        states.push(deliveries::create(session, number, place, run)?);
        ids.push(identity::run(number, place));
    }
    let settled = DeliveryState::settled(states);
    if settled != DeliveryState::Running {
        session.connection.execute(
            "UPDATE deliveries SET state = ?2, finished_at = ?3 WHERE seq = ?1",
            params![number, DeliveryState::Running.to(settled)?.word(), session.now.0],
        )?;
    }
    Ok(ids)
}

/// It came before: one that failed is taken up again, any other is left alone.
pub(in crate::journal) fn known(session: &Session<'_>, delivery: &NewDelivery) -> Result<Appended, Fault> {
    let (number, state) = session.connection.one(
        "SELECT seq, state FROM deliveries WHERE source = ?1 AND delivery_id = ?2 AND replay = 0 /*pg: FOR UPDATE */",
        params![delivery.source, delivery.delivery_id],
        |row| Ok((row.get::<i64>(0)?, word(row, 1, DeliveryState::of_word)?)),
    )?;
    let id = identity::delivery(number);
    if !matches!(state, DeliveryState::Failed | DeliveryState::Rejected) {
        return Ok(Appended::Duplicate { id });
    }
    revive(session, number, state)?;
    Ok(Appended::Revived { id })
}

/// Takes a failed delivery up again. What began goes on at its failed step; what never began is matched again, by the rules in force now.
fn revive(session: &Session<'_>, delivery: i64, state: DeliveryState) -> Result<(), Fault> {
    let connection = session.connection;
    let begun = connection.rows(
        "SELECT seq, state FROM runs WHERE delivery = ?1 AND state IN ('failed', 'dead') AND started_at IS NOT NULL",
        params![delivery],
        |row| Ok((row.get::<i64>(0)?, word(row, 1, RunState::of_word)?)),
    )?;
    // Matching failed, or could not evaluate a rule.
    let unmatched: bool = connection.one(
        "SELECT reason IS NOT NULL OR EXISTS (SELECT 1 FROM runs WHERE delivery = ?1 AND state = 'failed' AND started_at IS NULL)
               FROM deliveries WHERE seq = ?1",
        params![delivery],
        |row| row.get(0),
    )?;
    let next = if unmatched || begun.is_empty() { DeliveryState::Accepted } else { DeliveryState::Running };
    for (run, state) in begun {
        revive_run(session, run, state)?;
    }
    let next = state.to(next)?;
    let due = (next == DeliveryState::Accepted).then_some(session.now.0);
    connection.execute(
        "UPDATE deliveries SET state = ?2, reason = NULL, finished_at = NULL, next_at = ?3, claims = 0 WHERE seq = ?1",
        params![delivery, next.word(), due],
    )?;
    Ok(())
}

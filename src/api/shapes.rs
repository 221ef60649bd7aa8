//! What the interface shows of deliveries, runs and the rest. What is not there is left out.

use declic_actions::action;
use poem_openapi::Object;
use poem_openapi::types::Any;
use serde_json::Value;

use super::redact::Redaction;
use super::words::{Moment, Word};
use crate::journal::record::{self, AttemptState, DeliveryState, GroupMode, Phase, RunState, StepState};
use crate::run::observe::Stage;
use crate::run::plan::shown;

/// A delivery in a listing.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Delivery {
    /// Our id of it; sorts by arrival.
    pub id: String,
    /// Name of the source in `declic.yaml`.
    pub source: String,
    /// The provider's id.
    pub delivery_id: String,
    /// The provider's word for the event.
    pub event_type: String,
    /// Kind of event as in `on:`, once it was matched.
    pub event: Option<String>,
    /// `owner/name`, if it is about a repository.
    pub repository: Option<String>,
    /// One line of what it is about. An outsider may have chosen it.
    pub title: Option<String>,
    /// When its last byte was read.
    pub received_at: Moment,
    /// How its origin was proved: `x-hub-signature-256, secret 1 of 2`.
    pub verified: String,
    /// The one id from delivery to effect.
    pub trace: String,
    /// Bytes of its body.
    pub size: u64,
    /// Is it a replay by hand?
    pub replay: bool,
    /// Where it stands.
    pub state: Word<DeliveryState>,
    /// Why it failed or was rejected.
    pub reason: Option<String>,
    /// When it reached its final state.
    pub finished_at: Option<Moment>,
}

impl From<record::DeliveryRecord> for Delivery {
    fn from(record: record::DeliveryRecord) -> Self {
        Self {
            id: record.id,
            source: record.source,
            delivery_id: record.delivery_id,
            event_type: record.event_type,
            event: record.about.event,
            repository: record.about.repository,
            title: record.about.title,
            received_at: Moment(record.received_at),
            verified: record.verified,
            trace: record.trace,
            size: record.size,
            replay: record.replay,
            state: Word::new(record.state.word()),
            reason: record.reason,
            finished_at: record.finished_at.map(Moment),
        }
    }
}

/// Runs of the same key exclude each other.
#[derive(Debug, Clone, Object)]
pub struct Group {
    /// The rendered name.
    pub key: String,
    /// What happens to those that wait.
    pub mode: Word<GroupMode>,
}

/// Why a run failed.
#[derive(Debug, Clone, Object)]
pub struct RunFailure {
    /// Id of the step, or its number; empty if it failed before any step.
    pub step: String,
    /// Its action.
    pub action: String,
    /// Stable word for the cause.
    pub code: String,
    /// The cause, for people.
    pub message: String,
    /// Attempts made.
    pub attempts: u32,
    /// Did the action put back what was there before?
    pub rolled_back: bool,
}

/// A run in a listing.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Run {
    /// `DELIVERY-N`
    pub id: String,
    /// Our id of the delivery that caused it.
    pub delivery: String,
    /// Name of the rule.
    pub rule: String,
    /// The repository whose rule it is; none for an operator's rule.
    pub owner: Option<String>,
    /// `file:line` of the rule.
    pub place: String,
    /// The rule set it runs with.
    pub revision: String,
    /// Where it stands.
    pub state: Word<RunState>,
    /// Its concurrency group.
    pub group: Option<Group>,
    /// How often it was taken up again after it had failed.
    pub round: u32,
    /// When it was created.
    pub created_at: Moment,
    /// When it was first claimed.
    pub started_at: Option<Moment>,
    /// When it reached its final state.
    pub finished_at: Option<Moment>,
    /// When its next attempt is due, while it waits.
    pub due_at: Option<Moment>,
    /// Why it failed.
    pub failure: Option<RunFailure>,
    /// The run that made this one superfluous, or that asks it to stop.
    pub covered_by: Option<String>,
    /// Did a person ask for it to be stopped?
    pub cancelled: bool,
    /// Did a person start it again, or replay its delivery?
    pub by_hand: bool,
    /// What it waits for while it waits: something another run has to itself, or a target that cannot take it now.
    pub waits_for: Option<String>,
    /// Does it only render and record what it would do?
    pub dry: bool,
    /// What decided about its order, for people.
    pub note: Option<String>,
}

impl From<record::RunRecord> for Run {
    fn from(run: record::RunRecord) -> Self {
        Self {
            id: run.id,
            delivery: run.delivery,
            rule: run.rule,
            owner: run.owner,
            place: run.place,
            revision: run.revision,
            state: Word::new(run.state.word()),
            group: run.group.map(|group| Group { key: group.key, mode: Word::new(group.mode.word()) }),
            round: run.round,
            created_at: Moment(run.created_at),
            started_at: run.started_at.map(Moment),
            finished_at: run.finished_at.map(Moment),
            due_at: run.due_at.map(Moment),
            failure: run.failure.map(|failure| RunFailure {
                step: failure.step,
                action: failure.action,
                code: failure.code,
                message: failure.message,
                attempts: failure.attempts,
                rolled_back: failure.rolled_back,
            }),
            covered_by: run.covered_by,
            cancelled: run.cancelled,
            by_hand: run.by_hand,
            waits_for: run.waits_for,
            dry: run.dry,
            note: run.note,
        }
    }
}

/// Why something did not work.
#[derive(Debug, Clone, Object)]
pub struct Why {
    /// Stable word for the cause.
    pub code: String,
    /// The cause, for people.
    pub message: String,
    /// Did the action put back what was there before?
    pub rolled_back: bool,
}

impl From<declic_actions::action::Why> for Why {
    fn from(why: declic_actions::action::Why) -> Self {
        Self { code: why.code, message: why.message, rolled_back: why.rolled_back }
    }
}

/// One attempt of a step.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The run's round it belongs to.
    pub round: u32,
    /// The worker that made it.
    pub worker: String,
    /// What became of it.
    pub state: Word<AttemptState>,
    /// Why it did not work.
    pub why: Option<Why>,
    /// When its intent was written.
    pub started_at: Moment,
    /// When its outcome was written.
    pub finished_at: Option<Moment>,
}

/// What a person said to a step that asked.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct PersonsAnswer {
    /// Yes or no.
    pub approved: bool,
    /// Who.
    pub by: String,
    /// Where: `github`, `slack`, `api`, …
    pub via: String,
    /// What they added.
    pub comment: Option<String>,
}

/// One line of what was said of a run while it ran.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct LogLine {
    /// When.
    pub at: Moment,
    /// Id or number of the step, with its part in front outside of `steps`.
    pub step: Option<String>,
    /// Stable word: `started`, `retrying`, `succeeded`, or the action's own, such as `image resolved`.
    pub name: String,
    /// For people, without secrets.
    pub line: String,
}

impl From<Stage> for LogLine {
    fn from(stage: Stage) -> Self {
        Self { at: Moment(stage.at), step: stage.step, name: stage.name, line: stage.line }
    }
}

/// A step of a run. One that was never reached is not listed.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Step {
    /// Part of the run.
    pub phase: Word<Phase>,
    /// From 0, within the part.
    pub index: u32,
    /// The run's round; always 0 for the part `steps`.
    pub round: u32,
    /// `id:` of the step.
    pub id: Option<String>,
    /// `name:` of the step.
    pub name: Option<String>,
    /// Its action.
    pub uses: String,
    /// Where it stands.
    pub state: Word<StepState>,
    /// What was going to be done, in one line.
    pub intent: Option<String>,
    /// The filled-in parameters, redacted.
    pub with: Option<Any<Value>>,
    /// What the action made of them before it did anything, such as a rendered request, redacted.
    pub plan: Option<Any<Value>>,
    /// What came of it, in one line.
    pub summary: Option<String>,
    /// Where the effect can be seen.
    pub url: Option<String>,
    /// Its outputs, redacted.
    pub outputs: Option<Any<Value>>,
    /// Why it failed or was skipped, or what it waits for.
    pub why: Option<Why>,
    /// What a person said to it, if it asked.
    pub answer: Option<PersonsAnswer>,
    /// When it began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// Every attempt with its reason.
    pub attempts: Vec<Attempt>,
}

impl Step {
    /// As it may be shown.
    pub fn new(step: record::StepRecord, redaction: &Redaction) -> Self {
        let (intent, with, plan) = match step.intent {
            Some(intent) => {
                let with = Any(redaction.value(Value::Object(intent.call.params)));
                (Some(redaction.text(intent.summary)), Some(with), Some(Any(redaction.value(intent.plan))))
            }
            None => (None, None, None),
        };
        let (summary, url, outputs) = match step.outcome {
            Some(outcome) => (
                Some(redaction.text(outcome.summary)),
                outcome.url.map(|url| redaction.text(url)),
                Some(Any(redaction.value(outcome.outputs))),
            ),
            None => (None, None, None),
        };
        Self {
            phase: Word::new(step.place.phase.word()),
            index: step.place.index,
            round: step.place.round,
            id: step.label.id,
            name: step.label.name,
            uses: step.label.uses,
            state: Word::new(step.state.word()),
            intent,
            with,
            plan,
            summary,
            url,
            outputs,
            why: step.why.map(|why| Why::from(action::Why { message: redaction.text(why.message), ..why })),
            answer: step.answer.map(|answer| PersonsAnswer {
                approved: answer.approved,
                by: answer.by,
                via: answer.via,
                comment: answer.comment,
            }),
            started_at: step.started_at.map(Moment),
            finished_at: step.finished_at.map(Moment),
            attempts: step.attempts.into_iter().map(Attempt::from).collect(),
        }
    }
}

impl Step {
    /// Its id, or its number from 1, with its part of the run in front outside of `steps`: as log lines name it.
    pub fn shown(&self) -> String {
        let called = self.id.clone().unwrap_or_else(|| (self.index + 1).to_string());
        if self.phase.0 == Phase::Steps.word() { called } else { format!("{}/{called}", self.phase.0) }
    }
}

impl From<record::AttemptRecord> for Attempt {
    fn from(attempt: record::AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            round: attempt.round,
            worker: attempt.worker,
            state: Word::new(attempt.state.word()),
            why: attempt.why.map(Why::from),
            started_at: Moment(attempt.started_at),
            finished_at: attempt.finished_at.map(Moment),
        }
    }
}

/// A run with its steps.
#[derive(Debug, Clone, Object)]
pub struct RunDetail {
    /// The run.
    pub run: Run,
    /// Its steps, in the order in which they are done.
    pub steps: Vec<Step>,
    /// What was said of it while it ran, oldest first: by its actions, which is kept, and by the process that is asked, which is gone with it.
    pub log: Vec<LogLine>,
}

impl RunDetail {
    /// As it may be shown. `lately` is what this process said.
    pub fn new(run: record::RunRecord, steps: Vec<record::StepRecord>, lately: Vec<Stage>, redaction: &Redaction) -> Self {
        let mut log = log(&steps, lately);
        log.iter_mut().for_each(|line| line.line = redaction.text(std::mem::take(&mut line.line)));
        Self { run: run.into(), steps: steps.into_iter().map(|step| Step::new(step, redaction)).collect(), log }
    }
}

/// What is kept, with what this process said besides.
fn log(steps: &[record::StepRecord], lately: Vec<Stage>) -> Vec<LogLine> {
    let kept = |step: &record::StepRecord| {
        let shown = shown(&step.label, step.place);
        let line = |remark: &record::Remark| LogLine {
            at: Moment(remark.at),
            step: Some(shown.clone()),
            name: remark.name.clone(),
            line: remark.line.clone(),
        };
        step.said.iter().map(line).collect::<Vec<_>>()
    };
    let mut log: Vec<LogLine> = steps.iter().flat_map(kept).collect();
    for line in lately.into_iter().map(LogLine::from) {
        // A long line is kept shorter than it was said.
        let same = |known: &LogLine| {
            known.at == line.at && known.step == line.step && known.name == line.name && line.line.starts_with(&known.line)
        };
        if !log.iter().any(same) {
            log.push(line);
        }
    }
    log.sort_by_key(|line| line.at.0);
    log
}

//! The end of an attempt whose worker went away, and of a run.

use declic_actions::action::Why;
use tracing::Level;

use super::Execution;
use crate::journal::LedgerError;
use crate::journal::record::{AttemptState, Change, RunFailure, RunRecord, RunState, StepEnd, StepRecord, StepState};
use crate::report::metrics::RunLabels;
use crate::run::leases::Held;
use crate::run::observe::Told;
use crate::run::shared::Shared;

/// If a worker went away in the middle of a step, its attempt is closed before anything else happens to the step.
pub(super) fn interrupted(record: &StepRecord) -> Option<Change> {
    let why = Why::new("interrupted", "its worker went away before the outcome was known");
    let open = record.state == StepState::Running;
    open.then_some(Change::Retrying { place: record.place, state: AttemptState::Interrupted, why })
}

/// Ends a run whose rule or event is no longer there, and with it the step that was open.
pub(super) async fn fail(
    shared: &Shared,
    held: &Held,
    run: &RunRecord,
    steps: &[StepRecord],
    told: &Told,
    why: Why,
) -> Result<Option<Execution>, LedgerError> {
    let open = steps.iter().filter(|step| !step.state.is_final());
    let ended = |step: &StepRecord| Change::Ended {
        place: step.place,
        label: step.label.clone(),
        end: StepEnd::Failed { why: why.clone() },
    };
    let mut changes: Vec<Change> = open.flat_map(|step| interrupted(step).into_iter().chain([ended(step)])).collect();
    let failure = RunFailure {
        step: String::new(),
        action: String::new(),
        code: why.code,
        message: why.message,
        attempts: 0,
        rolled_back: false,
    };
    changes.push(Change::Finished { state: RunState::Failed, failure: Some(failure.clone()) });
    shared.journal.write(held.lease.clone(), changes).await?;
    shared.waiting.give_up(&run.delivery, &run.id);
    over(shared, run, told, RunState::Failed, Some(&failure));
    Ok(None)
}

pub(super) fn over(shared: &Shared, run: &RunRecord, told: &Told, state: RunState, failure: Option<&RunFailure>) {
    shared.gates.forget(&run.id);
    shared.metrics.runs.get_or_create(&RunLabels { rule: run.rule.clone(), state: state.word() }).inc();
    let line = match failure {
        Some(failure) => format!("{}: {}", state.word(), failure.message),
        None => state.word().to_owned(),
    };
    let level = if matches!(state, RunState::Failed | RunState::Dead) { Level::ERROR } else { Level::INFO };
    told.say_as(level, "finished", line);
}

//! What a run does next, from its rule and what has been done. Pure: after a crash the same question gets the same answer.

use std::borrow::Cow;

use declic_actions::action::STOPPED;

use crate::journal::record::{AttemptState, Phase, Place, RunFailure, RunRecord, RunState, StepLabel, StepRecord, StepState};
use crate::report::github::{self, Ending};
use crate::rules::model::{Rule, Step};

/// The code of a step that brought its worker down again and again.
pub const POISON: &str = "poison";
/// The code of a step that was not made because something newer was done there already.
pub const STALE: &str = "stale";

/// The code of a step that was not begun, or not waited for any longer, because the run's `timeout:` was over.
pub const OUT_OF_TIME: &str = "run-timeout";

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// This step, from its beginning or from where it is.
    Step {
        /// Which one.
        place: Place,
        /// What the rule says.
        step: Cow<'a, Step>,
    },
    /// Nothing: the run is over.
    Over {
        /// A final state.
        state: RunState,
        /// Why, if it failed.
        failure: Option<RunFailure>,
    },
}

/// Where a run stands.
pub struct Standing<'r, 's> {
    rule: &'r Rule,
    run: &'s RunRecord,
    steps: &'s [StepRecord],
    stop: bool,
}

impl<'r, 's> Standing<'r, 's> {
    /// From its records. `stop`: the run was asked to stop at the next boundary between steps.
    pub fn new(rule: &'r Rule, run: &'s RunRecord, steps: &'s [StepRecord], stop: bool) -> Self {
        Self { rule, run, steps, stop }
    }

    /// What comes next.
    pub fn next(&self) -> Next<'r> {
        if let Some(environment) = &self.rule.environment
            && let Some(place) = self.undone(Phase::Begin, 0)
        {
            return Next::Step { place, step: Cow::Owned(github::begin(environment)) };
        }
        let failure = self.failure();
        if failure.is_none()
            && let Some(next) = self.unless_stopped()
        {
            return next;
        }
        if failure.is_some()
            && !self.gave_up(Phase::OnFailure, &self.rule.on_failure)
            && let Some(next) = self.first_undone(Phase::OnFailure, &self.rule.on_failure)
        {
            return next;
        }
        if let Some(next) = self.first_undone(Phase::Finally, &self.rule.finally) {
            return next;
        }
        let failed =
            self.failed_in(Phase::Steps, &self.rule.steps).or_else(|| self.failed_in(Phase::Finally, &self.rule.finally));
        let failure = failed.map(|record| failure_of(record, self.run.round));
        if let Some(environment) = &self.rule.environment
            && let Some(place) = self.undone(Phase::End, 0)
        {
            let ending = match &failure {
                Some(failure) => Ending::Failure(failure),
                None if self.is_cut_short() => Ending::Cancelled,
                None => Ending::Success,
            };
            return Next::Step { place, step: Cow::Owned(github::end(environment, &ending)) };
        }
        let state = match failed {
            Some(record) if was_given_up(record) => RunState::Dead,
            Some(_) => RunState::Failed,
            None if self.is_cut_short() && self.run.cancelled => RunState::Cancelled,
            None if self.is_cut_short() => RunState::Superseded,
            None => RunState::Succeeded,
        };
        Next::Over { state, failure }
    }

    /// `failure.*`: the step of `steps:` that stopped the run.
    pub fn failure(&self) -> Option<RunFailure> {
        self.failed_in(Phase::Steps, &self.rule.steps).map(|record| failure_of(record, self.run.round))
    }

    /// `result`, as `finally:` sees it.
    pub fn result(&self) -> &'static str {
        match self.failure() {
            Some(_) => "failure",
            None if self.is_cut_short() => "cancelled",
            None => "success",
        }
    }

    /// The record of a step, if it was reached.
    pub fn record(&self, place: Place) -> Option<&'s StepRecord> {
        self.steps.iter().find(|step| step.place == place)
    }

    /// The steps of the rule with an id, with their records.
    pub fn named(&self) -> impl Iterator<Item = (&'r str, Option<&'s StepRecord>)> {
        let phases =
            [(Phase::Steps, &self.rule.steps), (Phase::OnFailure, &self.rule.on_failure), (Phase::Finally, &self.rule.finally)];
        phases.into_iter().flat_map(move |(phase, steps)| {
            steps
                .iter()
                .zip(0_u32..)
                .filter_map(move |(step, index)| Some((step.id.as_deref()?, self.record(self.place(phase, index)))))
        })
    }

    fn place(&self, phase: Phase, index: u32) -> Place {
        Place { phase, index, round: if phase == Phase::Steps { 0 } else { self.run.round } }
    }

    fn state(&self, place: Place) -> Option<StepState> {
        self.record(place).map(|record| record.state)
    }

    fn undone(&self, phase: Phase, index: u32) -> Option<Place> {
        let place = self.place(phase, index);
        (!self.state(place).is_some_and(StepState::is_final)).then_some(place)
    }

    fn first_undone(&self, phase: Phase, steps: &'r [Step]) -> Option<Next<'r>> {
        steps.iter().zip(0_u32..).find_map(|(step, index)| {
            let place = self.undone(phase, index)?;
            Some(Next::Step { place, step: Cow::Borrowed(step) })
        })
    }

    /// The next of `steps:`. A run that was asked to stop ends the step it is in, and begins no other.
    fn unless_stopped(&self) -> Option<Next<'r>> {
        if self.ended_early() {
            return None;
        }
        let next = self.first_undone(Phase::Steps, &self.rule.steps)?;
        match &next {
            Next::Step { place, .. } if self.stop && self.record(*place).is_none() => None,
            _ => Some(next),
        }
    }

    /// Asked to stop before the last of `steps:` was done.
    fn is_cut_short(&self) -> bool {
        let cut = self.ended_early() || (self.stop && self.first_undone(Phase::Steps, &self.rule.steps).is_some());
        cut && self.failure().is_none()
    }

    /// One of `steps:` was not made, or unmade, because the run was no longer wanted.
    fn ended_early(&self) -> bool {
        self.steps.iter().any(|step| {
            let code = step.why.as_ref().map(|why| why.code.as_str());
            step.place.phase == Phase::Steps && step.state == StepState::Skipped && matches!(code, Some(STALE | STOPPED))
        })
    }

    fn gave_up(&self, phase: Phase, steps: &[Step]) -> bool {
        self.failed_in(phase, steps).is_some()
    }

    /// The first step of a part whose failure is the part's.
    fn failed_in(&self, phase: Phase, steps: &[Step]) -> Option<&'s StepRecord> {
        steps.iter().zip(0_u32..).find_map(|(step, index)| {
            let record = self.record(self.place(phase, index))?;
            (record.state == StepState::Failed && !step.continue_on_error).then_some(record)
        })
    }
}

/// It failed although it could have worked: attempts, time or workers were used up, and what came of the last attempt, if there was one, may be
/// unknown. Otherwise a failed step is decided: its target said no.
fn was_given_up(record: &StepRecord) -> bool {
    let code = record.why.as_ref().map(|why| why.code.as_str());
    let last = record.attempts.last().map(|attempt| attempt.state);
    matches!(code, Some(POISON | OUT_OF_TIME)) || matches!(last, Some(AttemptState::Retry | AttemptState::Interrupted))
}

/// What people call a step: its id, or its number from 1.
pub fn called(label: &StepLabel, place: Place) -> String {
    label.id.clone().unwrap_or_else(|| (place.index + 1).to_string())
}

/// The same among all phases of its run.
pub fn shown(label: &StepLabel, place: Place) -> String {
    match place.phase {
        Phase::Steps => called(label, place),
        phase => format!("{}/{}", phase.word(), called(label, place)),
    }
}

fn failure_of(record: &StepRecord, round: u32) -> RunFailure {
    let why = record.why.clone().unwrap_or_else(|| declic_actions::action::Why::new("unknown", "the reason was not recorded"));
    RunFailure {
        step: called(&record.label, record.place),
        action: record.label.uses.clone(),
        code: why.code,
        message: why.message,
        attempts: made(record, round),
        rolled_back: why.rolled_back,
    }
}

/// Attempts of this round that count against `retry.attempts`.
pub fn made(record: &StepRecord, round: u32) -> u32 {
    let count = record.attempts.iter().filter(|attempt| attempt.round == round && attempt.state.counts()).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

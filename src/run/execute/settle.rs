//! What an attempt came to: the end of its step, or another attempt.

use std::time::Duration;

use declic_actions::action::{Failure, STOPPED, Why};
use tokio::time::Instant;
use tracing::Level;

use super::end::interrupted;
use super::{Execution, Turn, label, shown};
use crate::journal::LedgerError;
use crate::journal::record::{AttemptState, Change, Phase, Place, StepEnd};
use crate::rules::model::Step;
use crate::run::attempt::{Came, seconds};
use crate::run::plan::made;
use crate::run::retry;

impl Execution {
    /// Writes what an attempt came to, and decides about another one.
    pub(super) async fn settle(
        &mut self,
        place: Place,
        step: &Step,
        came: Came,
        left: Option<Change>,
    ) -> Result<Turn, LedgerError> {
        let (outcome, found) = match came {
            Came::Done(outcome) => (outcome, false),
            Came::Found(outcome) => (outcome, true),
            Came::Failed(failure) => return self.failed(place, step, failure).await,
        };
        self.end_after(left.into_iter().collect(), place, step, StepEnd::Succeeded { outcome, found }).await
    }

    async fn failed(&mut self, place: Place, step: &Step, failure: Failure) -> Result<Turn, LedgerError> {
        let (after, mut why) = match failure {
            Failure::Final { why } if self.stop && why.code == STOPPED => {
                return self.end(place, step, StepEnd::Skipped { why }).await;
            }
            Failure::Final { why } => return self.end(place, step, StepEnd::Failed { why }).await,
            // What a deploy has begun is seen through; anything else is not tried again for nobody.
            Failure::Retry { why, .. } | Failure::NotYet { why, .. }
                if self.stop && place.phase == Phase::Steps && self.is_plain(step) =>
            {
                let why = Why::new(STOPPED, format!("no further attempt, its run is no longer wanted: {}", why.message));
                // What came of it is not decided: should the run be wanted after all, it is the same call.
                let last = Change::Retrying { place, state: AttemptState::Retry, why: why.clone() };
                return self.end_after(vec![last], place, step, StepEnd::Skipped { why }).await;
            }
            Failure::NotYet { after, why } => return self.park(place, step, after, why).await,
            Failure::Retry { after, why } => (after, why),
        };
        // The one that just failed is still open in the journal, so it is not among those made.
        let failures = self.record(place).map_or(0, |record| made(record, self.run.round)) + 1;
        let wait = retry::wait(&step.retry, failures, after, (self.shared.policy.jitter)());
        let in_time = |wait: &Duration| {
            place.phase != Phase::Steps || self.deadline.is_none_or(|deadline| Instant::now() + *wait < deadline)
        };
        let Some(wait) = wait.filter(in_time) else {
            if failures > 1 {
                why.message = format!("{} (after {failures} attempts)", why.message);
            }
            // As one that could be tried again: what came of it is not decided.
            let last = Change::Retrying { place, state: AttemptState::Retry, why: why.clone() };
            return self.end_after(vec![last], place, step, StepEnd::Failed { why }).await;
        };
        self.count(step, "retried");
        let line = format!("{}; next attempt in {}", why.message, seconds(wait));
        let retrying = Change::Retrying { place, state: AttemptState::Retry, why };
        self.write(vec![retrying, Change::Waits { after: wait }]).await?;
        self.told.clone().step(shown(&label(step), place)).say_as(Level::WARN, "retrying", line);
        Ok(Turn::GivenBack)
    }

    /// Ends a step without another attempt.
    pub(super) async fn give_up(&mut self, place: Place, step: &Step, why: Why) -> Result<Turn, LedgerError> {
        let before = self.record(place).and_then(interrupted).into_iter().collect();
        self.end_after(before, place, step, StepEnd::Failed { why }).await
    }

    pub(super) async fn end(&mut self, place: Place, step: &Step, end: StepEnd) -> Result<Turn, LedgerError> {
        self.end_after(Vec::new(), place, step, end).await
    }

    pub(super) async fn end_after(
        &mut self,
        mut changes: Vec<Change>,
        place: Place,
        step: &Step,
        end: StepEnd,
    ) -> Result<Turn, LedgerError> {
        let level = if matches!(end, StepEnd::Failed { .. }) { Level::ERROR } else { Level::INFO };
        let (name, counted, line) = match &end {
            StepEnd::Succeeded { outcome, found: false } => ("succeeded", "succeeded", outcome.summary.clone()),
            StepEnd::Succeeded { outcome, found: true } => {
                ("succeeded", "found", format!("{} (it was there already)", outcome.summary))
            }
            StepEnd::Failed { why } => ("failed", "failed", why.message.clone()),
            StepEnd::Skipped { why } => ("skipped", "skipped", why.message.clone()),
        };
        let label = label(step);
        let shown = shown(&label, place);
        changes.push(Change::Ended { place, label, end });
        self.write(changes).await?;
        self.count(step, counted);
        self.told.clone().step(shown).say_as(level, name, line);
        Ok(Turn::Next)
    }
}

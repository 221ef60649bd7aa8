//! The beginning of an attempt, and whether its run is still wanted while it lasts.

use std::time::Duration;

use declic_actions::action::{Action, Intent, Why};
use tokio::sync::watch;

use super::end::interrupted;
use super::{Execution, Turn, label, shown};
use crate::journal::LedgerError;
use crate::journal::record::{Change, Phase, Place, StepEnd};
use crate::rules::model::Step;
use crate::run::ancestry;
use crate::run::plan::STALE;

/// While a step runs, it is asked so often whether its run is still wanted.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A run that waits for what another one has to itself looks at the latest after this; mostly it is woken.
const WAITS_AT_MOST: Duration = Duration::from_secs(15);

impl Execution {
    /// Writes the intent of an attempt. Something else to do if the step has to wait for another run, or something newer was done.
    pub(super) async fn begin(
        &mut self,
        place: Place,
        step: &Step,
        action: &dyn Action,
        intent: &Intent,
    ) -> Result<Option<Turn>, LedgerError> {
        let exclusive = action.exclusive(&intent.call);
        if let (Some(name), Some(line)) = (&exclusive, ancestry::line(&self.event)) {
            ancestry::learn(&self.shared, &line, Vec::new(), Some(name.clone())).await;
        }
        let mut changes: Vec<Change> = self.record(place).and_then(interrupted).into_iter().collect();
        let intent = Box::new(intent.clone());
        changes.push(Change::Began { place, label: label(step), intent, exclusive: exclusive.clone() });
        match (self.write(changes).await, exclusive) {
            (Ok(()), _) => Ok(None),
            (Err(LedgerError::Taken(by)), Some(exclusive)) => {
                self.told.clone().step(shown(&label(step), place)).say("waiting", format!("{by} is at {exclusive}"));
                self.write(vec![Change::WaitsFor { exclusive, after: WAITS_AT_MOST }]).await?;
                Ok(Some(Turn::GivenBack))
            }
            (Err(LedgerError::Stale { by, note }), Some(exclusive)) => {
                let why = Why::new(STALE, format!("{exclusive} has something newer: {note}"));
                let covered = Change::Covered { by, note };
                let end = StepEnd::Skipped { why: why.clone() };
                self.write(vec![Change::Ended { place, label: label(step), end }, covered]).await?;
                self.stop = true;
                self.count(step, "skipped");
                self.told.clone().step(shown(&label(step), place)).say("skipped", why.message);
                Ok(Some(Turn::Next))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Tells a running step as soon as its run is no longer wanted. Never done by itself.
    pub(super) async fn watch(&self, place: Place, stopping: &watch::Sender<bool>) {
        while !*stopping.borrow() && place.phase == Phase::Steps {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.shared.journal.wanted(&self.run.id).await {
                Ok(asked) if asked.cancelled || asked.stop.is_some() => {
                    self.told.say("stopping", "the run is no longer wanted");
                    stopping.send_replace(true);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "whether the run is still wanted cannot be looked up"),
            }
        }
        std::future::pending().await
    }
}

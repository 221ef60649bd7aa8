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
        let mut changes: Vec<Change> = self.record(place).and_then(interrupted).into_iter().collect();
        let intent = Box::new(intent.clone());
        changes.push(Change::Began { place, label: label(step), intent, exclusive: exclusive.clone() });
        match (self.write_in_order(changes, exclusive.as_deref()).await, exclusive) {
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

    /// Writes what begins; where a deploy comes after another one as soon as their order is known, or cannot be learnt.
    async fn write_in_order(&mut self, changes: Vec<Change>, exclusive: Option<&str>) -> Result<(), LedgerError> {
        if let (Some(name), Some(line)) = (exclusive, ancestry::line(&self.event)) {
            for _ in 0..ancestry::ASKED {
                if !ancestry::learn(&self.shared, &line, Vec::new(), Some(name.to_owned())).await? {
                    break;
                }
                let order = [Change::KnowsOrder { exclusive: name.to_owned() }];
                match self.write(order.into_iter().chain(changes.clone()).collect()).await {
                    Err(LedgerError::Unordered) => {}
                    written => return written,
                }
            }
        }
        self.write(changes).await
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

//! A step whose time has not come: its run is given back and comes again, and no worker is held meanwhile.

use std::time::Duration;

use declic_actions::action::Why;
use tokio::time::Instant;
use tracing::Level;

use super::{Execution, Turn, label, shown};
use crate::journal::LedgerError;
use crate::journal::record::{Change, Phase, Place, StepState};
use crate::rules::model::Step;

/// The shortest time between two looks at what a step waits for.
const SHORTEST: Duration = Duration::from_millis(50);

impl Execution {
    /// Parks the run until the step looks again. The end of the run's own `timeout:` is not slept through.
    pub(super) async fn park(&mut self, place: Place, step: &Step, after: Duration, why: Why) -> Result<Turn, LedgerError> {
        let left = self.deadline.filter(|_| place.phase == Phase::Steps).map(|end| end.saturating_duration_since(Instant::now()));
        let after = left.map_or(after, |left| after.min(left)).max(SHORTEST);
        let said =
            self.record(place).is_some_and(|record| record.state == StepState::Waiting && record.why.as_ref() == Some(&why));
        let level = if said { Level::DEBUG } else { Level::INFO };
        let line = why.message.clone();
        self.write(vec![Change::Parked { place, why, after }]).await?;
        self.told.clone().step(shown(&label(step), place)).say_as(level, "waiting", line);
        Ok(Turn::GivenBack)
    }

    /// How long ago the step first began. All three moments are the store's, and so is the age.
    pub(super) fn waited(&self, place: Place) -> Duration {
        let begun = self.record(place).and_then(|record| record.started_at);
        let (Some(begun), Some(started)) = (begun, self.run.started_at) else { return Duration::ZERO };
        let before = u64::try_from(begun.0.saturating_sub(started.0)).unwrap_or(0);
        (self.age + self.claimed.elapsed()).saturating_sub(Duration::from_millis(before))
    }
}

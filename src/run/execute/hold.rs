//! A step whose target cannot take it now: the run waits in the store, without an attempt and without a worker.

use std::time::Duration;

use declic_actions::action::Intent;
use tokio::time::Instant;
use tracing::Level;

use super::{Execution, label, shown};
use crate::journal::LedgerError;
use crate::journal::record::{Change, Phase, Place};
use crate::rules::model::Step;
use crate::run::gate::{self, Permit, Wait};

/// The shortest time between two looks at a target.
const SHORTEST: Duration = Duration::from_millis(20);

/// May the step go on?
pub(super) enum Pass {
    /// Yes; what it comes to is told to its target's gate, if it has a target.
    Through(Option<Permit>),
    /// No: the run was given back.
    Held,
}

impl Execution {
    /// Asks the gate of the step's target. The end of the run's own `timeout:` is not slept through.
    pub(super) async fn pass(&mut self, place: Place, step: &Step, intent: &Intent) -> Result<Pass, LedgerError> {
        // A report at the beginning is not worth waiting for: a deploy does not stand still because GitHub does.
        let asked = gate::target_of(&step.uses, &intent.call).filter(|_| place.phase != Phase::Begin);
        let Some((target, limit)) = asked else { return Ok(Pass::Through(None)) };
        // Whoever is waited for runs beside the workers, and holds up none of them.
        let is_waited_for = self.shared.waiting.until(&self.run.delivery, &self.run.id).is_some();
        let usual = (!is_waited_for).then(|| gate::usual(self.shared.policy.workers));
        let Wait { after, why } = match self.shared.gates.enter(&target, limit, usual, &self.run.id) {
            Ok(permit) => return Ok(Pass::Through(Some(permit))),
            Err(wait) => wait,
        };
        let left = self.deadline.filter(|_| place.phase == Phase::Steps).map(|end| end.saturating_duration_since(Instant::now()));
        let after = left.map_or(after, |left| after.min(left)).max(SHORTEST);
        // Not a word of it above DEBUG: the outage itself was told, once.
        self.told.clone().step(shown(&label(step), place)).say_as(Level::DEBUG, "waiting", format!("for {target} ({why})"));
        self.write(vec![Change::WaitsFor { exclusive: target, after }]).await?;
        Ok(Pass::Held)
    }
}

//! A step of a dry run: what would be done is written down, and nothing is done.

use declic_actions::action::{Action, Intent, Outcome};

use super::end::interrupted;
use super::{Execution, Turn, label};
use crate::journal::LedgerError;
use crate::journal::record::{Change, Place, StepEnd};
use crate::rules::model::Step;
use crate::rules::testing::{outputs, sample};

impl Execution {
    /// Keeps the rendered call, and gives the step outputs of the right types, so that later steps can be rendered, too. It takes nothing to
    /// itself: no run that does something waits for one that does not.
    pub(super) async fn rehearse(
        &mut self,
        place: Place,
        step: &Step,
        action: &dyn Action,
        intent: Intent,
    ) -> Result<Turn, LedgerError> {
        let outputs = outputs(action.spec(), |parameter| intent.call.params.get(parameter));
        let summary = format!("dry run, nothing was done: {}", intent.summary);
        let outcome = Outcome { outputs: sample::of_type(&outputs, ""), summary, url: None };
        let mut before: Vec<Change> = self.record(place).and_then(interrupted).into_iter().collect();
        before.push(Change::Began { place, label: label(step), intent: Box::new(intent), exclusive: None });
        self.end_after(before, place, step, StepEnd::Succeeded { outcome, found: false }).await
    }
}

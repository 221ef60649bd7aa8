//! Answers of people to steps that ask: from the API, the command line, and the buttons of a chat.

use declic_actions::action::Answer;
use declic_actions::kinds::approve;

use crate::journal::record::{Place, StepRecord};
use crate::journal::{Journal, LedgerError};

/// Takes an answer to the run's question, and has the run go on at once. Refused with a reason for whoever answered: if there is no such run,
/// if it asks nothing, if it was answered already, or if whoever answers may not.
pub async fn answer(journal: &dyn Journal, run: &str, answer: Answer) -> Result<(), LedgerError> {
    let refused = |why: String| LedgerError::Refused(why);
    let (_, steps) = journal.run(run).await?.ok_or_else(|| refused(format!("there is no run {run}")))?;
    let (place, step) = question(&steps).ok_or_else(|| refused(format!("{run} waits for no answer")))?;
    if let Some(intent) = &step.intent {
        approve::may_answer(intent, &answer).map_err(refused)?;
    }
    journal.answer(run, place, answer).await
}

/// The step of a run that waits for a person.
pub fn question(steps: &[StepRecord]) -> Option<(Place, &StepRecord)> {
    let asks = |step: &&StepRecord| step.label.uses == approve::NAME && !step.state.is_final() && step.answer.is_none();
    steps.iter().find(asks).map(|step| (step.place, step))
}

/// What such a step asks, as it was filled in.
pub fn asked(step: &StepRecord) -> &str {
    let question = step.intent.as_ref().and_then(|intent| intent.call.params.get("question"));
    question.and_then(serde_json::Value::as_str).unwrap_or("Go on?")
}

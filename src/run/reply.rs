//! `reply:`, what a rule says to somebody who waits: rendered from the rule, its event and its steps, never kept. The same delivery
//! with the same steps always gets the same answer, so a repeated request is answered from the journal.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::plan::{Next, Standing};
use super::reading;
use super::shared::Shared;
use super::waiting::Known;
use crate::event::Event;
use crate::journal::JournalError;
use crate::journal::record::{DeliveryState, Phase, RunFailure, RunRecord, StepRecord};
use crate::matching;
use crate::rules::expr::{Environment, EvaluationError};
use crate::rules::model::{Reply, Rule};
use crate::sources::replies::Said;

/// A rule that replies, and what it replies to.
struct Replying {
    rule: Arc<Rule>,
    event: Event,
}

impl Replying {
    /// Is there anything to wait for before it is said?
    fn is_at_once(&self) -> bool {
        self.rule.steps.is_empty() || self.rule.reply.as_ref().is_some_and(|reply| reply.first)
    }

    /// What is known of the answer, from the records of the run.
    fn known(&self, shared: &Shared, run: &RunRecord, steps: &[StepRecord]) -> Known {
        let ended = run.state.is_final();
        let began = run.started_at.is_some();
        let failure = run.failure.clone().filter(|_| ended && !began);
        if self.is_at_once() {
            // A run that is not even begun for a group's sake is answered; one that cannot be evaluated is not.
            return Known::Said(if failure.is_some() { Said::Failed } else { self.begun(shared, true, None) });
        }
        if began
            && let Some(said) =
                by_steps(shared, &self.rule, &self.event, &Standing::new(&self.rule, run, steps, run.covered_by.is_some()))
        {
            return Known::Said(said);
        }
        if ended {
            let failure = failure.unwrap_or_else(|| unfinished(run.state.word(), "the run was not carried out"));
            return Known::Said(self.begun(shared, false, Some(failure)));
        }
        self.expected(shared, run.id.clone())
    }

    /// The run will say it; if that comes too late, `on-error:` is said.
    fn expected(&self, shared: &Shared, run: String) -> Known {
        let late = unfinished("timeout", "the steps take longer than the sender waits");
        Known::By { run, otherwise: self.begun(shared, false, Some(late)) }
    }

    /// What is said before any step has come to anything.
    fn begun(&self, shared: &Shared, succeeded: bool, failure: Option<RunFailure>) -> Said {
        let Some(reply) = &self.rule.reply else { return Said::Nothing };
        let mut environment = match matching::environment(&self.rule, &self.event) {
            Ok(environment) => environment,
            Err(error) => return failed(&self.rule, &error),
        };
        let ids = self.rule.steps.iter().filter_map(|step| step.id.clone());
        let steps: Map<String, Value> = ids.map(|id| (id, json!({ "result": null, "outputs": null }))).collect();
        let mut name = |name: &str, value: Value| environment.names.insert(name.to_owned(), Arc::new(value));
        name("steps", Value::Object(steps));
        if self.rule.owner.is_none() {
            name("secrets", reading::secret_names(&shared.offer));
        }
        if let Some(failure) = failure {
            name("failure", json!(failure));
        }
        said(&self.rule, reply, &environment, succeeded)
    }
}

/// A failure that no step had.
fn unfinished(code: &str, message: &str) -> RunFailure {
    RunFailure {
        step: String::new(),
        action: String::new(),
        code: code.to_owned(),
        message: message.to_owned(),
        attempts: 0,
        rolled_back: false,
    }
}

/// What the run says now; `None` as long as its `steps:` are not done.
pub(super) fn by_steps(shared: &Shared, rule: &Rule, event: &Event, standing: &Standing<'_, '_>) -> Option<Said> {
    let reply = rule.reply.as_ref()?;
    if !reply.first && matches!(standing.next(), Next::Step { place, .. } if place.phase <= Phase::Steps) {
        return None;
    }
    let succeeded = reply.first || standing.result() == "success";
    Some(match reading::environment(rule, event, &shared.offer, standing) {
        Ok(environment) => said(rule, reply, &environment, succeeded),
        Err(error) => failed(rule, &error),
    })
}

fn said(rule: &Rule, reply: &Reply, environment: &Environment, succeeded: bool) -> Said {
    if succeeded {
        match reply.with.render(environment) {
            Ok(fields) => return Said::Fields(fields),
            Err(error) => drop(failed(rule, &error)),
        }
    }
    match reply.on_error.as_ref().map(|on_error| on_error.render(environment)) {
        Some(Ok(fields)) => Said::Fields(fields),
        Some(Err(error)) => failed(rule, &error),
        None => Said::Failed,
    }
}

fn failed(rule: &Rule, error: &EvaluationError) -> Said {
    tracing::error!(rule = %rule.name, place = %rule.place, "the reply cannot be rendered: {}", error.message);
    Said::Failed
}

/// Tells those who wait for a delivery what its journal says by now: who will reply, or the reply itself.
pub(super) async fn recall(shared: &Shared, delivery: &str) -> Result<(), JournalError> {
    let Some((record, _)) = shared.journal.delivery_record(delivery).await? else { return Ok(()) };
    if matches!(record.state, DeliveryState::Accepted | DeliveryState::Matching) {
        return Ok(());
    }
    for run in shared.journal.runs_of(delivery).await? {
        // A rule that is gone replies to nobody.
        let Ok(rule) = shared.rule(&run).await else { continue };
        if rule.reply.is_none() {
            continue;
        }
        let Some(kept) = shared.journal.delivery(delivery).await? else { return Ok(()) };
        match shared.decode(&kept, rule.reads_payload) {
            Ok(Some(event)) => return by_run(shared, &Replying { rule, event }, run).await,
            _ => shared.waiting.tell(delivery, Known::Said(Said::Failed)),
        }
        return Ok(());
    }
    shared.waiting.tell(delivery, Known::Said(Said::Nothing));
    Ok(())
}

/// The run is named before its records are read: what it does from then on it tells by itself, and what it did before is in them.
async fn by_run(shared: &Shared, replying: &Replying, run: RunRecord) -> Result<(), JournalError> {
    let mut records = (run, Vec::new());
    if !replying.is_at_once() {
        let id = records.0.id.clone();
        if !records.0.state.is_final() {
            shared.waiting.tell(&records.0.delivery, replying.expected(shared, id.clone()));
        }
        let Some(again) = shared.journal.run(&id).await? else { return Ok(()) };
        records = again;
    }
    let (run, steps) = records;
    shared.waiting.tell(&run.delivery, replying.known(shared, &run, &steps));
    Ok(())
}

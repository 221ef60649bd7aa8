//! One attempt of a step: look for the effect if it may be there, else make it, under the step's deadline.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::{Action, Answer, Clients, Context, Failure, Intent, Outcome, Progress, Stop, Streak};
use declic_actions::http::traced;
use declic_actions::secret::Secret;
use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::Instant;

use super::observe::Told;
use crate::journal::record::{Change, Lease, Place, Remark};
use crate::journal::{Journal, LedgerError};

/// An action knows its deadline and says best itself what was not done by then; this much later it is cut off.
const GRACE: Duration = Duration::from_millis(500);
/// Letters of a remark that are kept.
const LONGEST: usize = 1000;

/// All that one attempt needs.
pub(super) struct Attempt<'a> {
    pub action: &'a dyn Action,
    pub clients: &'a Clients,
    pub intent: &'a Intent,
    /// From 1.
    pub number: u32,
    pub is_last: bool,
    pub saved: Option<Value>,
    pub timeout: Duration,
    pub secrets: &'a BTreeMap<String, Secret>,
    pub progress: &'a Keeper<'a>,
    pub stop: &'a Stop,
    /// Since the step first began, by the store's clock.
    pub waited: Duration,
    pub answer: Option<&'a Answer>,
    pub streak: Option<&'a Streak>,
}

/// What an attempt came to.
pub(super) enum Came {
    /// The effect was made.
    Done(Outcome),
    /// An earlier attempt had made it.
    Found(Outcome),
    /// It was not made, as far as the action knows.
    Failed(Failure),
}

impl Attempt<'_> {
    /// Never longer than the deadline and its grace; a panic of the action is a failure of the step.
    pub async fn make(self) -> Came {
        let deadline = Instant::now() + self.timeout;
        let timeout = self.timeout;
        let trace = self.intent.call.origin.trace.as_deref();
        let work = AssertUnwindSafe(traced(trace, self.work(deadline))).catch_unwind();
        match tokio::time::timeout_at(deadline + GRACE, work).await {
            Ok(Ok(came)) => came,
            Ok(Err(_)) => {
                Came::Failed(Failure::last("internal", "the action broke off with an error of its own; the log has the details"))
            }
            Err(_) => Came::Failed(Failure::retry("timeout", format!("there was no outcome within {}", seconds(timeout)))),
        }
    }

    async fn work(self, deadline: Instant) -> Came {
        let context = Context {
            clients: self.clients,
            deadline: deadline.into_std(),
            attempt: self.number,
            is_last: self.is_last,
            saved: self.saved,
            progress: self.progress,
            secrets: self.secrets,
            stop: self.stop,
            waited: self.waited,
            answer: self.answer,
            streak: self.streak,
        };
        // An earlier attempt may have had its effect without knowing: its answer was lost, its time was up, its process died.
        if self.number > 1 {
            match self.action.find(&context, self.intent).await {
                Ok(Some(outcome)) => return Came::Found(outcome),
                Ok(None) => {}
                Err(failure) => return Came::Failed(failure),
            }
        }
        match self.action.run(&context, self.intent).await {
            Ok(outcome) => Came::Done(outcome),
            Err(failure) => Came::Failed(failure),
        }
    }
}

/// A length of time for people: `1.5 s`, `15 min`.
pub(super) fn seconds(length: Duration) -> String {
    match length.as_millis() {
        0..1_000 => format!("{} ms", length.as_millis()),
        1_000..60_000 => format!("{} s", (length.as_secs_f64() * 10.0).round() / 10.0),
        _ if length.as_secs().is_multiple_of(60) => format!("{} min", length.as_secs() / 60),
        _ => format!("{} min {} s", length.as_secs() / 60, length.as_secs() % 60),
    }
}

/// Keeps an action's progress in the journal, under the run's lease.
pub(super) struct Keeper<'a> {
    pub journal: &'a dyn Journal,
    pub lease: &'a Lease,
    pub place: Place,
    pub told: &'a Told,
    /// What the action said and is not in the journal yet: it is written with whatever is written next.
    pub said: Mutex<Vec<Remark>>,
}

impl Keeper<'_> {
    /// What is still to be written.
    pub fn take(&self) -> Option<Change> {
        let remarks = std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner));
        (!remarks.is_empty()).then_some(Change::Said { place: self.place, remarks })
    }
}

/// No longer than people read.
fn cut(line: &str) -> String {
    line.chars().take(LONGEST).collect()
}

#[async_trait]
impl Progress for Keeper<'_> {
    fn stage(&self, name: &'static str, line: &str) {
        let at = self.told.say(name, line);
        let remark = Remark { at, name: name.to_owned(), line: cut(line) };
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(remark);
    }

    async fn save(&self, saved: Value) -> Result<(), Failure> {
        let changes = self.take().into_iter().chain([Change::Saved { place: self.place, saved }]).collect();
        match self.journal.write(self.lease.clone(), changes).await {
            Ok(_) => Ok(()),
            Err(error @ LedgerError::Impossible(_)) => Err(Failure::last("internal", error.to_string())),
            Err(error) => Err(Failure::retry("store", error.to_string())),
        }
    }
}

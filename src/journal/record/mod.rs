//! What the journal holds, as types. Pure: the states and their transitions are in [`state`].

pub mod state;

use std::time::Duration;

use bytes::Bytes;
use declic_actions::action::{Intent, Outcome, Why};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
pub use state::{AttemptState, DeliveryState, Impossible, RunState, StepState};

/// A verified delivery on its way into the journal. Made by `receive` from a `Verified` only.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Name of the source in `declic.yaml`.
    pub source: String,
    /// The provider's id of the delivery, at most 255 bytes; opaque.
    pub delivery_id: String,
    /// The provider's word for the event: `push`.
    pub event_type: String,
    /// Headers worth keeping, names in lower case, never credentials or signatures.
    pub headers: Vec<(String, String)>,
    /// The raw body.
    pub body: Bytes,
    /// When its last byte was read.
    pub received_at: Timestamp,
    /// `traceparent` or our own id: the one id from delivery to effect.
    pub trace: String,
    /// How its origin was proved, one line for people: `X-Hub-Signature-256, secret 1 of 2`.
    pub verified: String,
}

/// A delivery as it is kept.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Our id of it: sortable by arrival, `[0-9a-z]`.
    pub id: String,
    /// What came in.
    pub content: NewDelivery,
    /// A replay by hand?
    pub replay: bool,
}

/// What appending came to. All three are acknowledged with a 2xx.
#[derive(Debug, Clone, PartialEq)]
pub enum Appended {
    /// It is new, and on disk.
    New {
        /// Our id.
        id: String,
    },
    /// It was here before and is being, or has been, dealt with.
    Duplicate {
        /// Our id of the first one.
        id: String,
    },
    /// It was here before and had failed: it is taken up again.
    Revived {
        /// Our id of the first one.
        id: String,
    },
}

/// A delivery in a listing: everything but headers and body.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryRecord {
    /// Our id.
    pub id: String,
    /// Name of the source.
    pub source: String,
    /// The provider's id.
    pub delivery_id: String,
    /// The provider's word for the event.
    pub event_type: String,
    /// When its last byte was read.
    pub received_at: Timestamp,
    /// How its origin was proved.
    pub verified: String,
    /// The one id from delivery to effect.
    pub trace: String,
    /// Size of the body in bytes.
    pub size: u64,
    /// A replay by hand?
    pub replay: bool,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it failed or was rejected.
    pub reason: Option<String>,
    /// When it reached its final state.
    pub finished_at: Option<Timestamp>,
}

/// The right to work on a delivery or a run, until the store's clock says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is a lease on.
    pub subject: Subject,
    /// Counts the claims of the subject: a write with an older token is refused.
    pub token: i64,
}

/// What can be claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A delivery to be matched, by our id.
    Delivery(String),
    /// A run, by its id.
    Run(String),
}

/// A worker asks for work.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Who asks: shown with the attempts it makes.
    pub worker: String,
    /// How long it may be silent.
    pub lease: Duration,
    /// At most so many deliveries to match.
    pub deliveries: usize,
    /// At most so many runs.
    pub runs: usize,
}

/// What there was to do.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Deliveries to match.
    pub deliveries: Vec<ClaimedDelivery>,
    /// Runs to go on with.
    pub runs: Vec<ClaimedRun>,
    /// When something becomes due that is not due now, by the store's clock.
    pub next: Option<Duration>,
}

/// A delivery that waits to be matched.
#[derive(Debug)]
pub struct ClaimedDelivery {
    /// The right to decide it.
    pub lease: Lease,
    /// How often it has been claimed, this time included.
    pub claims: u32,
    /// What came in.
    pub delivery: Delivery,
}

/// A run that waits to be gone on with.
#[derive(Debug)]
pub struct ClaimedRun {
    /// The right to work on it.
    pub lease: Lease,
    /// The run, already in state running.
    pub run: RunRecord,
    /// What has been done of it, in order.
    pub steps: Vec<StepRecord>,
    /// What caused it.
    pub delivery: Delivery,
    /// How long ago it first started.
    pub age: Duration,
}

/// What matching came to; stored in one transaction, with which the delivery leaves the hands of its worker.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The `matching::Trace`s, also when nothing matched.
    pub traces: Value,
    /// What is to be done, and what could not be evaluated.
    pub verdict: Verdict,
}

/// The outcome of matching one delivery.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// No rule wants it.
    Ignored,
    /// These runs, in the order of the rules.
    Runs(Vec<NewRun>),
    /// It cannot be read as an event: why.
    Rejected(String),
    /// It could not be matched: why.
    Failed(String),
}

/// A run to be created.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Name of the rule.
    pub rule: String,
    /// The repository whose rule it is; `None` for an operator's rule.
    pub owner: Option<String>,
    /// `file:line` of the rule.
    pub place: String,
    /// The rule set it was matched with: it ends with the rule it began with.
    pub revision: String,
    /// Runs that exclude each other.
    pub group: Option<Group>,
    /// A run that fails before its first step, such as a condition that cannot be evaluated: it is born failed, never hidden.
    pub failure: Option<RunFailure>,
}

/// Runs of the same key exclude each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The rendered name.
    pub key: String,
    /// What happens to those that wait.
    pub mode: GroupMode,
}

/// What happens to a run whose group is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupMode {
    /// It waits, and covers those that waited before it.
    QueueLatest,
    /// It waits for its turn.
    QueueAll,
    /// As `QueueLatest`, and the running one is asked to stop.
    Supersede,
    /// It is dropped.
    Skip,
}

/// A run as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRecord {
    /// `DELIVERY-N`
    pub id: String,
    /// Our id of the delivery that caused it.
    pub delivery: String,
    /// Name of the rule.
    pub rule: String,
    /// The repository whose rule it is.
    pub owner: Option<String>,
    /// `file:line` of the rule.
    pub place: String,
    /// The rule set it runs with.
    pub revision: String,
    /// Where it stands.
    pub state: RunState,
    /// Its concurrency group.
    pub group: Option<Group>,
    /// How often it was taken up again after it had failed.
    pub round: u32,
    /// Claims since it last got on.
    pub claims: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was first claimed.
    pub started_at: Option<Timestamp>,
    /// When it reached its final state.
    pub finished_at: Option<Timestamp>,
    /// When its next attempt is due, while it waits.
    pub due_at: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<RunFailure>,
    /// The run that made this one superfluous, or that asks it to stop.
    pub covered_by: Option<String>,
}

/// Why a run failed: `failure.*` of its `on-failure:` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFailure {
    /// Id of the step, its number where it has none; empty if it failed before any step.
    pub step: String,
    /// Its action.
    pub action: String,
    /// Stable word.
    pub code: String,
    /// For people.
    pub message: String,
    /// Attempts made.
    pub attempts: u32,
    /// True if the action put back what was there before.
    pub rolled_back: bool,
}

/// The parts of a run, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reports that it began.
    Begin,
    /// `steps:`
    Steps,
    /// `on-failure:`
    OnFailure,
    /// `finally:`
    Finally,
    /// Reports how it ended.
    End,
}

/// Which step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// Part of the run.
    pub phase: Phase,
    /// From 0, within the part.
    pub index: u32,
    /// The run's round; always 0 for `steps:`, which keep their effects when a failed run is taken up again.
    pub round: u32,
}

/// A step as it is kept. One that was never reached is not.
#[derive(Debug, Clone, Serialize)]
pub struct StepRecord {
    /// Which one.
    pub place: Place,
    /// What the rule says of it.
    pub label: StepLabel,
    /// Where it stands.
    pub state: StepState,
    /// The call as it was made; the same for every attempt.
    pub intent: Option<Intent>,
    /// What the action saved on its way.
    pub saved: Option<Value>,
    /// How it ended well.
    pub outcome: Option<Outcome>,
    /// Why it failed or was skipped.
    pub why: Option<Why>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Every attempt with its reason.
    pub attempts: Vec<AttemptRecord>,
}

/// What the rule says of a step; kept so that a listing can be read without the rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepLabel {
    /// `id:`
    pub id: Option<String>,
    /// `name:`
    pub name: Option<String>,
    /// `uses:`
    pub uses: String,
}

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptRecord {
    /// From 1.
    pub number: u32,
    /// The run's round it belongs to: a run taken up again has all of its attempts again.
    pub round: u32,
    /// Who made it.
    pub worker: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Why it did not work.
    pub why: Option<Why>,
    /// When its intent was written.
    pub started_at: Timestamp,
    /// When its outcome was written.
    pub finished_at: Option<Timestamp>,
}

/// One thing that happened to a run. A list of them is written in one transaction under the run's lease.
#[derive(Debug, Clone)]
pub enum Change {
    /// An attempt begins. Durable before the effect: from here on its outcome is unknown until it is written.
    Began {
        /// Which step.
        place: Place,
        /// What the rule says of it.
        label: StepLabel,
        /// The call; kept by the first attempt, ignored by later ones.
        intent: Box<Intent>,
    },
    /// The action keeps its progress.
    Saved {
        /// Which step.
        place: Place,
        /// Opaque.
        saved: Value,
    },
    /// The open attempt did not work, and another one will be made.
    Retrying {
        /// Which step.
        place: Place,
        /// Retry, or interrupted.
        state: AttemptState,
        /// Why it did not work.
        why: Why,
    },
    /// The step is done, by the open attempt if there is one.
    Ended {
        /// Which step.
        place: Place,
        /// What the rule says of it.
        label: StepLabel,
        /// How.
        end: StepEnd,
    },
    /// Nothing to do before the time is up: the run is given back and comes again.
    Waits {
        /// How long, by the store's clock.
        after: Duration,
    },
    /// The run is over.
    Finished {
        /// A final state.
        state: RunState,
        /// Why, if it failed.
        failure: Option<RunFailure>,
    },
    /// The worker stops; the claim does not count.
    Released,
}

/// How a step ends.
#[derive(Debug, Clone, PartialEq)]
pub enum StepEnd {
    /// It worked.
    Succeeded {
        /// What came of it.
        outcome: Outcome,
        /// The effect was there already.
        found: bool,
    },
    /// It did not work, and no other attempt will be made.
    Failed {
        /// Why.
        why: Why,
    },
    /// Its condition did not hold, or the run no longer needs it.
    Skipped {
        /// Why.
        why: Why,
    },
}

/// What a write came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    /// The run that asks this one to stop at its next safe point.
    pub stop: Option<String>,
}

/// What is listed, newest first.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only those before this id.
    pub before: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only those in this state, by its word.
    pub state: Option<String>,
    /// Only runs of this rule, or deliveries of this source.
    pub of: Option<String>,
}

//! What the journal holds, as types. Pure: the states and their transitions are in [`state`].

pub(super) mod order;
mod places;
pub mod state;
mod streak;
mod work;

use bytes::Bytes;
use declic_actions::action::{Answer, Intent, Outcome, Why};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
pub use order::{Line, Order};
pub use places::{Places, Room};
pub use state::{AttemptState, DeliveryState, Impossible, RunState, StepState};
pub use streak::{Collapse, Repeats, Streak};
pub use work::{
    Change, Claim, Claimed, ClaimedDelivery, ClaimedRun, Decision, Lease, Left, NewRun, Selection, StepEnd, Subject, TakenIn,
    Taking, Verdict, Written,
};

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
    /// Whose turn it uses: the repository, where that is known before it is matched, or the source.
    pub share: String,
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
    /// What its provider said when it was asked, before the delivery was decided: fields of the contexts `event` and `actor`.
    pub learned: Option<Value>,
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
    /// What it is about, once it was matched.
    #[serde(flatten)]
    pub about: About,
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
    /// It waits for its turn, and those of its streak that wait are one.
    Collapse,
}

impl GroupMode {
    /// Does it matter which of two commits is the newer one? Where every run has its turn, it does not.
    pub const fn goes_by_commit(self) -> bool {
        matches!(self, Self::QueueLatest | Self::Supersede)
    }
}

impl NewRun {
    /// The name of its group, if runs of that go by their commits.
    pub(crate) fn ordered_group(&self) -> Option<String> {
        self.group.as_ref().filter(|group| group.mode.goes_by_commit()).map(|group| group.key.clone())
    }
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
    /// A person asked for it to be stopped.
    pub cancelled: bool,
    /// A person started it again, or its delivery is a replay: it may do what is older than what was done last.
    pub by_hand: bool,
    /// What it waits for while it waits: something another run has to itself, or a target that cannot take it now.
    pub waits_for: Option<String>,
    /// It renders and records what it would do, and does nothing; for ever, whatever the process is told later.
    pub dry: bool,
    /// What decided about its order, for people: `older than …`, `order by arrival: …`.
    pub note: Option<String>,
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
    /// Why it failed or was skipped, or what it waits for.
    pub why: Option<Why>,
    /// What a person said to it, if it asks.
    pub answer: Option<Answer>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the action said of it, over all attempts; of much, the last.
    pub said: Vec<Remark>,
    /// Every attempt with its reason.
    pub attempts: Vec<AttemptRecord>,
}

/// One thing that an action said of its step while it was at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remark {
    /// When, by the clock of whoever did it.
    pub at: Timestamp,
    /// Stable word: `image resolved`.
    pub name: String,
    /// One line for people, without secrets.
    pub line: String,
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

/// What is listed, newest first. What is not given does not matter.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only those before this id.
    pub before: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only those in one of these states, by their words; all if there are none.
    pub states: Vec<String>,
    /// Only what came from this source.
    pub source: Option<String>,
    /// Only what this kind of event brought: `github.push`, or the provider's word for it.
    pub event: Option<String>,
    /// Only what is about this repository.
    pub repository: Option<String>,
    /// Only runs of this rule, or deliveries that started it.
    pub rule: Option<String>,
    /// Only what was received at this moment or later.
    pub since: Option<Timestamp>,
    /// Only what was received before this moment.
    pub until: Option<Timestamp>,
    /// Only what has this text, in any case, in an id, a title, a repository, a rule or a reason.
    pub text: Option<String>,
}

/// What a delivery is about, as its source reads it: kept for listings.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct About {
    /// Kind of event as in `on:`; none if no rule can ask for it.
    pub event: Option<String>,
    /// `owner/name`
    pub repository: Option<String>,
    /// One line for people; an outsider may have chosen it.
    pub title: Option<String>,
}

/// What was last done under a name that one step has to itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastDone {
    /// The name: an action's own, such as `cloud-run/…` of a service.
    pub name: String,
    /// The run that did it, or was given up (`dead`) when it may have.
    pub run: String,
    /// Our id of its delivery.
    pub delivery: String,
    /// What the delivery said about commits.
    pub line: Option<Line>,
}

/// How many there are of each state, by its word.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Deliveries.
    pub deliveries: Vec<(String, u64)>,
    /// Runs.
    pub runs: Vec<(String, u64)>,
}

/// Something a person did, at the API, the console or by any other way in that knows who they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Grows with time.
    pub number: i64,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked.
    pub who: String,
    /// `retry`, `cancel`, `replay`, `redrive`, `approve`, `sign-in`, …
    pub act: String,
    /// What it was asked of: the id of a run or delivery.
    pub subject: String,
    /// What came of it; none if the process ended before it could be said.
    pub outcome: Option<String>,
}

//! What workers say to the journal and hear from it: claims and leases, decisions, changes.

use std::sync::Arc;
use std::time::Duration;

use declic_actions::action::{Intent, Outcome, Why};
use serde_json::Value;

use super::{
    About, Appended, AttemptState, Collapse, Delivery, Group, Line, Listing, Place, Remark, Room, RunFailure, RunRecord,
    RunState, StepLabel, StepRecord, Streak,
};

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
    /// Room for deliveries to match.
    pub deliveries: Room,
    /// Room for runs.
    pub runs: Room,
    /// Only this one, if it is due: somebody waits for it.
    pub only: Option<Subject>,
}

/// What there was to do.
#[derive(Debug, Default)]
pub struct Claimed {
    /// Deliveries to match.
    pub deliveries: Vec<ClaimedDelivery>,
    /// Runs to go on with.
    pub runs: Vec<ClaimedRun>,
    /// Are there more deliveries to match, for which there was no room?
    pub waiting: bool,
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

/// In whose hands a delivery is to be once it is appended.
#[derive(Debug, Clone)]
pub enum Taking {
    /// In nobody's: it is claimed like all others.
    Due,
    /// In those of whoever appends it, for so long.
    Leased(Duration),
    /// In nobody's any more: it was decided before it was appended, and both are written in one transaction. A store that cannot, or finds that
    /// the decision needs to know more, leases it for so long instead.
    Decided(Arc<Decision>, Duration),
}

/// What is left to do with a delivery that was appended.
#[derive(Debug)]
pub enum Left {
    /// Nothing for whoever appended it: others will claim it, or it came before.
    Nothing,
    /// To match it.
    Matching(Box<ClaimedDelivery>),
    /// It is decided. These are the ids of its runs.
    Runs(Vec<String>),
}

/// What appending came to, and what is left to do.
pub type TakenIn = (Appended, Left);

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
    /// How often what it tells has happened, if its rule collapses events.
    pub streak: Option<Streak>,
    /// Whose turn it uses.
    pub share: String,
}

/// What matching came to; stored in one transaction, with which the delivery leaves the hands of its worker.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The `matching::Trace`s, also when nothing matched.
    pub traces: Value,
    /// What is to be done, and what could not be evaluated.
    pub verdict: Verdict,
    /// What the delivery says about commits, if it is about one.
    pub line: Option<Line>,
    /// Refused as [`crate::journal::LedgerError::Unordered`] if an open run of one of its groups came up whose order to it is not known and can
    /// be asked about; otherwise arrival decides. Two pushes that are matched at the same moment would not know of each other.
    pub may_ask: bool,
    /// What it is about, for listings.
    pub about: About,
    /// What its provider was asked: [`Delivery::learned`]. It replaces what was learned before.
    pub learned: Option<Value>,
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
    /// Whose turn it uses: the repository, or the source.
    pub share: String,
    /// It renders and records what it would do, and does nothing.
    pub dry: bool,
    /// What it tells once: it is counted, and born skipped if it is not to be told again.
    pub collapse: Option<Collapse>,
    /// A run that fails before its first step, such as a condition that cannot be evaluated: it is born failed, never hidden.
    pub failure: Option<RunFailure>,
}

impl NewRun {
    /// What stands for a rule where a delivery could not be held against any.
    pub const NO_RULE: &str = "(matching)";

    /// In place of the runs of a delivery that could not be matched.
    pub fn given_up(why: &str) -> Self {
        Self {
            rule: Self::NO_RULE.to_owned(),
            owner: None,
            place: String::new(),
            revision: String::new(),
            group: None,
            share: String::new(),
            dry: false,
            collapse: None,
            failure: Some(RunFailure {
                step: String::new(),
                action: String::new(),
                code: "matching".to_owned(),
                message: why.to_owned(),
                attempts: 0,
                rolled_back: false,
            }),
        }
    }
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
        /// What the step has to itself until it ends. If another run has it, the write is refused with `Taken`.
        exclusive: Option<String>,
    },
    /// The order to what was last done under a name must be known, or was asked for in vain; refused as
    /// [`crate::journal::LedgerError::Unordered`] otherwise.
    KnowsOrder {
        /// The name.
        exclusive: String,
    },
    /// The action keeps its progress.
    Saved {
        /// Which step.
        place: Place,
        /// Opaque.
        saved: Value,
    },
    /// The action said something of its step, for people. Of much that is said, the last is kept.
    Said {
        /// Which step.
        place: Place,
        /// In order.
        remarks: Vec<Remark>,
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
    /// As `Waits`, but the run comes at once when what it waits for is free.
    WaitsFor {
        /// What another run has to itself.
        exclusive: String,
        /// How long at most.
        after: Duration,
    },
    /// What the open attempt waits for is not there yet. The attempt is as if it had not been made; the run is given back and comes again.
    Parked {
        /// Which step.
        place: Place,
        /// What it waits for.
        why: Why,
        /// How long, by the store's clock. Not at all if somebody answered meanwhile.
        after: Duration,
    },
    /// A step leaves something to the later runs of its streak, in place of what was left by these words. Nothing if the run has no streak.
    Kept {
        /// Which step, in words that stay the same from run to run.
        step: String,
        /// Opaque.
        value: Value,
    },
    /// Something newer was done: the run is asked to stop.
    Covered {
        /// By which run.
        by: String,
        /// In what sense it is newer.
        note: String,
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

/// Which dead runs are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only those that a listing of this would hold, whatever it says of states, its place and its size.
    pub among: Listing,
    /// Only those that failed within this time.
    pub since: Option<Duration>,
    /// At most so many.
    pub limit: usize,
}

/// What a write came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Written {
    /// The run that asks this one to stop at its next safe point.
    pub stop: Option<String>,
    /// A person asks for the same.
    pub cancelled: bool,
}

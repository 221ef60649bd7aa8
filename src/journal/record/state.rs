//! States and the only ways between them.
//!
//! ```text
//! delivery   accepted -> matching -> running -> completed
//!                 ^          |          '-----> failed
//!                 |          |-> ignored           |
//!                 |          |-> rejected --.      |
//!                 |          '-> failed ----|      |
//!                 '----- redelivered -------'      |
//!                        running <- redelivered ---'   (its failed runs are queued again)
//!                        running <- retried by hand --- completed
//!
//! run        queued -> running <-> waiting
//!              |          |-> succeeded | failed | dead | cancelled | superseded
//!              |-> superseded | skipped | cancelled
//!              |--- redelivered or retried by hand --- failed | dead
//!              ^--- retried by hand --- cancelled | superseded | skipped
//!
//! step       (none) -> running <-> waiting      running: an intent without outcome, so its effect is unknown
//!              |          '-> succeeded | failed | skipped
//!              '-> skipped | failed
//!
//! attempt    open -> succeeded | found | retry | failed | interrupted
//! ```
//!
//! A run is born queued, skipped (its group is taken) or failed (its condition cannot be evaluated). One born failed never began: if its
//! delivery is redelivered, the new decision replaces it.
//! A final state is left only if somebody outside asks for it: a redelivery or a person. Leases live beside the states: a
//! subject in state matching or running whose lease is over may be claimed again, and stays in that state.

use serde::{Deserialize, Serialize};

/// A transition that is not in the diagram: an error of ours, never of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impossible(pub String);

impl Impossible {
    fn new(what: &str, from: &str, to: &str) -> Self {
        Self(format!("a {what} cannot go from {from} to {to}"))
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word for it, in the store, at the API and in listings.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The state of that word.
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|state| state.word() == word)
            }
        }
    };
}

words! {
    /// Where a delivery stands.
    DeliveryState {
        /// On disk, acknowledged, not looked at.
        Accepted = "accepted",
        /// A worker holds it against the rules.
        Matching = "matching",
        /// Some of its runs are not over.
        Running = "running",
        /// No rule wanted it. Final.
        Ignored = "ignored",
        /// All of its runs are over and none failed. Final.
        Completed = "completed",
        /// Matching, or one of its runs, failed. Final.
        Failed = "failed",
        /// It cannot be read as an event. Final.
        Rejected = "rejected",
    }
}

words! {
    /// Where a run stands.
    RunState {
        /// Not started.
        Queued = "queued",
        /// A worker has it.
        Running = "running",
        /// Started; its next attempt is due later.
        Waiting = "waiting",
        /// All that had to be done is done. Final.
        Succeeded = "succeeded",
        /// A step failed for good: another attempt would not have helped. Final.
        Failed = "failed",
        /// It was given up: its attempts, its time or its workers were used up at a step that might have worked later. Final.
        Dead = "dead",
        /// A person stopped it. Final.
        Cancelled = "cancelled",
        /// A newer run of its group covers it. Final.
        Superseded = "superseded",
        /// Its group was taken, and it does not queue. Final.
        Skipped = "skipped",
    }
}

words! {
    /// Where a step stands.
    StepState {
        /// Its intent is written, its outcome is not.
        Running = "running",
        /// Its next attempt is due later.
        Waiting = "waiting",
        /// It worked. Final.
        Succeeded = "succeeded",
        /// It failed. Final unless the run is taken up again.
        Failed = "failed",
        /// It was not needed. Final.
        Skipped = "skipped",
    }
}

words! {
    /// What became of an attempt.
    AttemptState {
        /// Its outcome is unknown.
        Open = "open",
        /// It made the effect.
        Succeeded = "succeeded",
        /// The effect was there already.
        Found = "found",
        /// It did not work; another one may, whether or not there was one.
        Retry = "retry",
        /// It did not work, and no other one would.
        Failed = "failed",
        /// Its worker went away: what came of it is looked up by the next one.
        Interrupted = "interrupted",
    }
}

impl DeliveryState {
    /// Nothing more happens to it by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ignored | Self::Completed | Self::Failed | Self::Rejected)
    }

    /// The state after a step along the diagram, or why there is none.
    pub fn to(self, next: Self) -> Result<Self, Impossible> {
        use DeliveryState::{Accepted, Completed, Failed, Ignored, Matching, Rejected, Running};
        let allowed = match self {
            Accepted => matches!(next, Matching),
            Matching => matches!(next, Matching | Accepted | Running | Completed | Ignored | Rejected | Failed),
            Running => matches!(next, Completed | Failed),
            Rejected => matches!(next, Accepted),
            Failed => matches!(next, Accepted | Running),
            // A run of it that was not needed is wanted by hand.
            Completed => matches!(next, Running),
            Ignored => false,
        };
        if allowed { Ok(next) } else { Err(Impossible::new("delivery", self.word(), next.word())) }
    }

    /// Where a delivery stands whose last open run has ended.
    pub fn settled(runs: impl IntoIterator<Item = RunState>) -> Self {
        let mut state = Self::Completed;
        for run in runs {
            match run {
                RunState::Queued | RunState::Running | RunState::Waiting => return Self::Running,
                RunState::Failed | RunState::Dead => state = Self::Failed,
                RunState::Succeeded | RunState::Cancelled | RunState::Superseded | RunState::Skipped => {}
            }
        }
        state
    }
}

impl RunState {
    /// Nothing more happens to it by itself.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting)
    }

    /// It has its group to itself.
    pub const fn holds_group(self) -> bool {
        matches!(self, Self::Running | Self::Waiting)
    }

    /// The state after a step along the diagram, or why there is none.
    pub fn to(self, next: Self) -> Result<Self, Impossible> {
        use RunState::{Cancelled, Dead, Failed, Queued, Running, Skipped, Succeeded, Superseded, Waiting};
        let allowed = match self {
            Queued => matches!(next, Running | Superseded | Skipped | Cancelled),
            Running => matches!(next, Running | Waiting | Succeeded | Failed | Dead | Cancelled | Superseded),
            Waiting => matches!(next, Running | Cancelled),
            Failed | Dead | Cancelled | Superseded | Skipped => matches!(next, Queued),
            Succeeded => false,
        };
        if allowed { Ok(next) } else { Err(Impossible::new("run", self.word(), next.word())) }
    }
}

impl StepState {
    /// The step is over.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Skipped)
    }

    /// The state after a step along the diagram, or why there is none. `None` is a step that was never reached.
    pub fn to(from: Option<Self>, next: Self) -> Result<Self, Impossible> {
        use StepState::{Failed, Running, Skipped, Succeeded, Waiting};
        let allowed = match from {
            None => matches!(next, Running | Skipped | Failed),
            Some(Running) => matches!(next, Waiting | Succeeded | Failed | Skipped),
            Some(Waiting) => matches!(next, Running | Failed | Skipped),
            Some(Succeeded | Failed | Skipped) => false,
        };
        if allowed { Ok(next) } else { Err(Impossible::new("step", from.map_or("nothing", Self::word), next.word())) }
    }

    /// `steps.ID.result` in rules; a step that is not over has none.
    pub const fn result(self) -> Option<&'static str> {
        match self {
            Self::Succeeded => Some("success"),
            Self::Failed => Some("failure"),
            Self::Skipped => Some("skipped"),
            Self::Running | Self::Waiting => None,
        }
    }
}

impl AttemptState {
    /// Ends an open attempt; an attempt ends once.
    pub fn to(self, next: Self) -> Result<Self, Impossible> {
        if self == Self::Open && next != Self::Open {
            Ok(next)
        } else {
            Err(Impossible::new("attempt", self.word(), next.word()))
        }
    }

    /// It counts against `retry.attempts`: a worker that went away is not the target's fault, and one that is still open has come to nothing yet.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Open | Self::Interrupted)
    }
}

impl super::Phase {
    /// All of them, in order.
    pub const ALL: &[Self] = &[Self::Begin, Self::Steps, Self::OnFailure, Self::Finally, Self::End];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Steps => "steps",
            Self::OnFailure => "on-failure",
            Self::Finally => "finally",
            Self::End => "end",
        }
    }

    /// The phase of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|phase| phase.word() == word)
    }
}

impl super::GroupMode {
    /// The word for it, as in rules.
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueLatest => "queue-latest",
            Self::QueueAll => "queue-all",
            Self::Supersede => "supersede",
            Self::Skip => "skip",
            Self::Collapse => "collapse",
        }
    }

    /// The mode of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::QueueLatest, Self::QueueAll, Self::Supersede, Self::Skip, Self::Collapse]
            .into_iter()
            .find(|mode| mode.word() == word)
    }
}

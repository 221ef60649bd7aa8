//! The durable record: what came in, what was decided, what was done. The 2xx follows [`Journal::append`], never precedes it.

pub mod acts;
pub mod crash;
pub mod place;
pub mod postgres;
pub mod record;
mod sql;
pub mod sqlite;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::Answer;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::rules::model::RuleFile;
use record::{
    Appended, AuditEntry, Change, Claim, Claimed, Counts, Decision, Delivery, DeliveryRecord, LastDone, Lease, Line, Listing,
    NewDelivery, Order, Place, RunRecord, Selection, StepRecord, TakenIn, Taking, Written,
};

/// Marks of these names are of use until their moment only.
pub const SIGNED_OUT: &str = "signed out: ";

/// The store could not do it. Never the sender's fault: the answer is a 503.
#[derive(Debug, Clone, PartialEq)]
pub enum JournalError {
    /// The queue in front of the store is full: try again later.
    Full,
    /// The store failed; the text is for the log.
    Down(String),
}

/// Why a worker's write was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum LedgerError {
    /// The lease is over and somebody else has the subject: whoever wrote must stop at once.
    Lost,
    /// The write is not a step along the state diagram: an error of ours.
    Impossible(String),
    /// What the step needs to itself is in the hands of this run.
    Taken(String),
    /// A newer delivery was done there already.
    Stale {
        /// By this run.
        by: String,
        /// In what sense it is newer.
        note: String,
    },
    /// Which of two commits is newer is not known here and can be asked about first: see [`record::Decision::may_ask`].
    Unordered,
    /// What a person asked for cannot be done; the text says why.
    Refused(String),
    /// The store could not do it; nothing was written.
    Journal(JournalError),
}

impl fmt::Display for JournalError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => formatter.write_str("the queue in front of the store is full"),
            Self::Down(why) => write!(formatter, "the store does not work: {why}"),
        }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => formatter.write_str("the lease is over and somebody else has taken it on"),
            Self::Impossible(why) => write!(formatter, "refused by the state diagram: {why}"),
            Self::Taken(by) => write!(formatter, "{by} has it"),
            Self::Stale { by, note } => write!(formatter, "{by} did something newer: {note}"),
            Self::Unordered => formatter.write_str("which commit is newer is not known yet"),
            Self::Refused(why) => formatter.write_str(why),
            Self::Journal(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for JournalError {}
impl std::error::Error for LedgerError {}

impl From<JournalError> for LedgerError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<record::Impossible> for LedgerError {
    fn from(impossible: record::Impossible) -> Self {
        Self::Impossible(impossible.0)
    }
}

/// One store. It does not know what a rule is, and all of its times are its own: callers give lengths of time, never moments.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends durably and tells new from duplicate by (source, delivery id).
    async fn append(&self, delivery: NewDelivery) -> Result<Appended, JournalError>;

    /// The same, for a worker of this process: what is new need not be claimed.
    async fn append_as(&self, delivery: NewDelivery, taking: Taking) -> Result<TakenIn, JournalError>;

    /// Takes on what is due: each subject goes to one worker, whose lease must be extended.
    async fn claim(&self, claim: Claim) -> Result<Claimed, JournalError>;

    /// Extends leases, from now. The answers say, in order, which are still held.
    async fn extend(&self, leases: Vec<Lease>, length: Duration) -> Result<Vec<bool>, JournalError>;

    /// Ends the matching of a delivery: traces and runs in one transaction. Answers the ids of the runs.
    async fn decide(&self, lease: Lease, decision: Decision) -> Result<Vec<String>, LedgerError>;

    /// Gives a delivery back unmatched; the claim does not count.
    async fn release(&self, lease: Lease) -> Result<(), LedgerError>;

    /// Writes what happened to a run, in one transaction, if the lease is held. Intents, progress and outcomes are durable on return.
    async fn write(&self, lease: Lease, changes: Vec<Change>) -> Result<Written, LedgerError>;

    /// Is the run no longer wanted? Answers which run asks it to stop, and whether a person does.
    async fn wanted(&self, run: &str) -> Result<Written, JournalError>;

    /// So many of the runs that wait under this name ([`record::Change::WaitsFor`]) are due at once, the oldest first. Answers how many.
    async fn call_up(&self, name: &str, most: usize) -> Result<usize, JournalError>;

    /// Those whose order to `line` only GitHub can say: among the open runs of these groups, and what was last done under a name.
    async fn rivals(&self, line: &Line, groups: Vec<String>, exclusive: Option<String>) -> Result<Vec<Line>, JournalError>;

    /// Keeps what GitHub said of the two: how `line` stands to `other`.
    async fn learn(&self, line: &Line, other: &Line, order: Order) -> Result<(), JournalError>;

    /// Queues a run again that failed, was stopped or was not needed; what it does may be older than what was done since.
    async fn retry(&self, run: &str) -> Result<(), LedgerError>;

    /// Ends a run that has not begun, or asks it to stop. True if it is over.
    async fn cancel(&self, run: &str) -> Result<bool, LedgerError>;

    /// Keeps what a person says to a step that asks, and has its run come at once. The first answer counts, later ones are refused.
    async fn answer(&self, run: &str, place: Place, answer: Answer) -> Result<(), LedgerError>;

    /// The runs that failed for good, oldest first.
    async fn dead(&self, selection: Selection) -> Result<Vec<String>, JournalError>;

    /// Takes a kept delivery in once more, as a new one. Answers its id.
    async fn replay(&self, delivery: &str) -> Result<String, LedgerError>;

    /// Which of these ids of the provider are not known here, or failed before any run of them began.
    async fn missing(&self, source: &str, ids: Vec<String>) -> Result<Vec<String>, JournalError>;

    /// A moment that was kept under a name.
    async fn mark(&self, name: &str) -> Result<Option<Timestamp>, JournalError>;

    /// Keeps a moment under a name.
    async fn set_mark(&self, name: &str, at: Timestamp) -> Result<(), JournalError>;

    /// Keeps the files of a rule set, so that runs can end with the rules they began with. Before the first run of that revision. What was kept
    /// under the same name is replaced: a revision names what it holds, other names stand for the last one.
    async fn keep_rules(&self, revision: &str, files: Vec<RuleFile>) -> Result<(), JournalError>;

    /// The files of a rule set.
    async fn rules(&self, revision: &str) -> Result<Option<Vec<RuleFile>>, JournalError>;

    /// One delivery with its body.
    async fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError>;

    /// Where a delivery stands, and the traces of its matching once there are any.
    async fn delivery_record(&self, id: &str) -> Result<Option<(DeliveryRecord, Option<Value>)>, JournalError>;

    /// Deliveries, newest first.
    async fn deliveries(&self, listing: Listing) -> Result<Vec<DeliveryRecord>, JournalError>;

    /// One run with its steps.
    async fn run(&self, id: &str) -> Result<Option<(RunRecord, Vec<StepRecord>)>, JournalError>;

    /// Runs, newest first.
    async fn runs(&self, listing: Listing) -> Result<Vec<RunRecord>, JournalError>;

    /// The runs of one delivery, in the order of the rules.
    async fn runs_of(&self, delivery: &str) -> Result<Vec<RunRecord>, JournalError>;

    /// Writes down that somebody asks for something, before it is done. Answers the number of the entry.
    async fn audit(&self, who: &str, act: &str, subject: &str) -> Result<i64, JournalError>;

    /// What came of it.
    async fn audited(&self, number: i64, outcome: &str) -> Result<(), JournalError>;

    /// Who asked for what, newest first: at most `limit` entries before `before`.
    async fn audit_log(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, JournalError>;

    /// What was last done under every name that one step has to itself, such as a service that is deployed to.
    async fn last_done(&self) -> Result<Vec<LastDone>, JournalError>;

    /// How many deliveries and runs are in each state, of those received at `since` or later.
    async fn counts(&self, since: Timestamp) -> Result<Counts, JournalError>;

    /// Removes up to `limit` deliveries that ended longer ago than `older`, with all that hangs on them. Answers how many.
    async fn forget(&self, older: Duration, limit: usize) -> Result<usize, JournalError>;

    /// Removes up to `limit` of the deliveries that ended first, if the store holds more than so many bytes. Answers how many.
    async fn shrink(&self, bytes: u64, limit: usize) -> Result<usize, JournalError>;

    /// Fails if the store cannot take deliveries at this moment.
    async fn probe(&self) -> Result<(), JournalError>;

    /// Counts hints of other replicas that something may be due; none where there are no others. Any of them may be lost.
    fn hints(&self) -> Option<tokio::sync::watch::Receiver<u64>>;

    /// Did the store take the last write? At once false after one that failed, true again after the next that works.
    fn works(&self) -> bool;
}

//! Where the answers of commands come from: the store on this machine, or the API of a service elsewhere. Both give what the API shows.

mod elsewhere;
mod here;

use declic_actions::action::Answer;
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};

use super::{USAGE, WRONG};
use crate::api::deliveries::Header;
use crate::api::shapes::{Delivery, Run, RunDetail};
use crate::clock::Timestamp;
use crate::journal::record::Listing;
use crate::matching::Trace;
pub use elsewhere::Elsewhere;
pub use here::Here;

/// Why there is no answer.
#[derive(Debug)]
pub struct Trouble {
    /// How the command ends.
    pub status: u8,
    /// For the user.
    pub why: String,
}

impl Trouble {
    /// The command or its settings are wrong.
    pub fn usage(why: impl Into<String>) -> Self {
        Self { status: USAGE, why: why.into() }
    }

    /// What was asked about is.
    pub fn wrong(why: impl ToString) -> Self {
        Self { status: WRONG, why: why.to_string() }
    }
}

/// A delivery with all that was made of it.
#[derive(Debug)]
pub struct Whole {
    /// The delivery.
    pub delivery: Delivery,
    /// Headers that were kept, redacted.
    pub headers: Vec<Header>,
    /// Every rule that was looked at: why it matched, or why not.
    pub decisions: Vec<Trace>,
    /// Its runs with their steps, in the order of the rules.
    pub runs: Vec<RunDetail>,
}

impl Whole {
    /// For programs.
    pub fn document(&self) -> Value {
        json!({
            "delivery": self.delivery.to_json(),
            "headers": self.headers.to_json(),
            "decisions": self.decisions,
            "runs": self.runs.to_json(),
        })
    }
}

/// Which dead runs are queued again.
#[derive(Debug)]
pub struct Redrive {
    /// Only those that a listing of this would hold.
    pub among: Listing,
    /// Only those that failed then or later.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Only say which.
    pub dry_run: bool,
}

/// Which were, or would be.
#[derive(Debug, Default)]
pub struct Redriven {
    /// Their ids, oldest first.
    pub runs: Vec<String>,
    /// Those that could not be, with the reason.
    pub refused: Vec<(String, String)>,
}

/// What can be asked, wherever it is answered.
pub trait Ledger {
    /// Deliveries, newest first.
    fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, Trouble>;

    /// Runs, newest first.
    fn runs(&self, listing: &Listing) -> Result<Vec<Run>, Trouble>;

    /// One delivery.
    fn delivery(&self, id: &str) -> Result<Whole, Trouble>;

    /// The body of a delivery, byte by byte.
    fn body(&self, id: &str) -> Result<Vec<u8>, Trouble>;

    /// One run.
    fn run(&self, id: &str) -> Result<RunDetail, Trouble>;

    /// What the rules of today would do with a delivery.
    fn decisions(&self, delivery: &str) -> Result<Vec<Trace>, Trouble>;

    /// Takes a delivery in once more. Answers the id of the new one.
    fn replay(&self, delivery: &str) -> Result<String, Trouble>;

    /// Queues a run again.
    fn retry(&self, run: &str) -> Result<(), Trouble>;

    /// Stops a run; true if it is over.
    fn cancel(&self, run: &str) -> Result<bool, Trouble>;

    /// Yes or no to a run that asks. Who says so is known elsewhere by their token, and named by them here.
    fn answer(&self, run: &str, answer: &Answer) -> Result<(), Trouble>;

    /// Queues dead runs again.
    fn redrive(&self, which: &Redrive) -> Result<Redriven, Trouble>;
}

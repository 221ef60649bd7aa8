//! The durable record: what came in, what was decided, what was done. The 2xx follows [`Journal::append`], never precedes it.

pub mod record;

use async_trait::async_trait;

use record::{Appended, Delivery, NewDelivery};

/// The store could not do it. Never the sender's fault: the answer is a 503.
#[derive(Debug, Clone, PartialEq)]
pub enum JournalError {
    /// The queue in front of the store is full: try again later.
    Full,
    /// The store failed; the text is for the log.
    Down(String),
}

/// One store. It does not know what a rule is.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends durably and tells new from duplicate.
    async fn append(&self, delivery: NewDelivery) -> Result<Appended, JournalError>;

    /// One delivery with its body.
    async fn delivery(&self, id: &str) -> Result<Option<Delivery>, JournalError>;
}

//! What the journal holds, as types: states of deliveries, runs, steps and attempts, and the transitions between them. Pure.

use bytes::Bytes;

use crate::clock::Timestamp;

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

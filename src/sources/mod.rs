//! The list of sources: one file a provider, most of them data on top of [`crate::verify`].

use crate::event::Event;
use crate::inbound::Inbound;
use crate::journal::record::Delivery;
use crate::verify::{Refusal, Verified};

/// What a source reads from a verified request before it is journaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The provider's id of the delivery.
    pub delivery_id: String,
    /// The provider's word for the event.
    pub event_type: String,
}

/// An answer that is not "accepted": an ownership challenge, a ping.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// A configured entry point. Does no IO and parses nothing before it verified.
pub trait Source: Send + Sync {
    /// Its name in `declic.yaml`.
    fn name(&self) -> &str;

    /// Checks the raw bytes.
    fn authenticate(&self, inbound: Inbound) -> Result<Verified, Refusal>;

    /// The answer to a verified ownership challenge, if the request is one.
    fn challenge(&self, _verified: &Verified) -> Option<Answer> {
        None
    }

    /// Id and type, after a strict look at the body: what cannot be decoded later is refused now with a 400.
    fn identify(&self, verified: &Verified) -> Result<Identity, Refusal>;

    /// The event as rules see it, from the journal. `None`: a kind of event no rule can ask for.
    /// `payload` asks for the whole body as `event.payload`.
    fn decode(&self, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String>;
}

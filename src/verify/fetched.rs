//! Deliveries that nobody sent: read from the provider's own API, over TLS and under our credential.
//!
//! GitHub's delivery log hands a payload out as a value and not as the bytes that were signed. Where the bytes come out the same, the
//! signature in the log proves them as it would have at the door. Where they do not, the payload is as trustworthy as everything else that
//! the API tells us, such as who may start a deploy: the address is the operator's, the connection is authenticated, the token is ours.
//! What was done is kept with the delivery, so the two can be told apart for ever.

use super::{Scheme, Verified};
use crate::inbound::Inbound;

impl Scheme {
    /// What an API handed out; `by` says which: `the delivery log of hook 42 of acme/web`. Only for what we fetched ourselves.
    pub fn fetched(&self, inbound: Inbound, by: &str) -> Verified {
        match self.check(&inbound) {
            Ok((_, secret, how)) => Verified { inbound, secret, how: format!("{how}; read from {by}") },
            Err(_) => Verified { inbound, secret: 0, how: format!("read from {by} with our own credential") },
        }
    }
}

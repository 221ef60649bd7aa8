//! Checks of raw bytes. Nothing outside this folder can make a [`Verified`].

use crate::inbound::Inbound;

/// A request whose bytes prove where they come from. Only this module makes one, and only it can be journaled.
#[derive(Debug)]
pub struct Verified {
    inbound: Inbound,
    secret: usize,
}

impl Verified {
    /// The request.
    pub fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// Which of the source's secrets matched, from 0: the newest.
    pub fn secret(&self) -> usize {
        self.secret
    }
}

/// Why a request is not taken in. Two messages: what the sender may know, and what the operator's log says.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// 400, 401, 404, 405, 413, 415, …
    pub status: u16,
    /// For the sender: says nothing that helps an attacker.
    pub public: &'static str,
    /// For the log: never holds a secret, an expected signature or a body.
    pub private: String,
}

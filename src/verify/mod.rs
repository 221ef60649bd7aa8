//! Checks of raw bytes. Nothing outside this folder can make a [`Verified`].
//!
//! A handful of schemes covers the providers: most of them are an [`hmac::Template`], which is data.

use crate::inbound::Inbound;

pub mod hmac;
pub mod signature;
pub mod timestamp;

/// A request whose bytes prove where they come from. Only this module makes one, and only it can be journaled.
#[derive(Debug)]
pub struct Verified {
    inbound: Inbound,
    secret: usize,
    how: String,
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

    /// How it was proved, one line for people: `x-hub-signature-256, secret 1 of 2`.
    pub fn how(&self) -> &str {
        &self.how
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

impl Refusal {
    /// 401. The sender learns that it failed and not why: a forger gets no hint of what to try next.
    pub fn unverified(private: impl Into<String>) -> Self {
        Self { status: 401, public: "The request could not be verified.", private: private.into() }
    }

    /// 400: verified, but not what this source's provider sends.
    pub fn malformed(private: impl Into<String>) -> Self {
        Self { status: 400, public: "The request is malformed.", private: private.into() }
    }

    /// 415.
    pub fn media_type(private: impl Into<String>) -> Self {
        Self { status: 415, public: "The content type or encoding is not supported here.", private: private.into() }
    }
}

/// How the requests of one source prove where they come from, with its keys.
#[derive(Debug)]
pub enum Scheme {
    /// A MAC over parts of the request.
    Hmac(hmac::Scheme),
}

impl Scheme {
    /// Checks the raw bytes.
    pub fn verify(&self, inbound: Inbound) -> Result<Verified, Refusal> {
        let (secret, how) = match self {
            Self::Hmac(scheme) => scheme.verify(&inbound).map(|secret| (secret, scheme.describe(secret)))?,
        };
        Ok(Verified { inbound, secret, how })
    }

    /// The headers with which the provider would prove this request, made with the newest secret.
    pub fn sign(&self, inbound: &Inbound) -> Result<Vec<(String, String)>, Refusal> {
        match self {
            Self::Hmac(scheme) => scheme.sign(inbound),
        }
    }
}

//! Checks of raw bytes. Nothing outside this folder can make a [`Verified`].
//!
//! A handful of schemes covers the providers: most of them are an [`hmac::Template`], which is data.

use bytes::Bytes;
use declic_actions::secret::Secret;

use crate::inbound::Inbound;

pub mod credential;
mod fetched;
pub mod hmac;
pub mod items;
pub mod jwt;
pub mod path;
pub mod person;
pub mod public_key;
pub mod signature;
pub mod signed;
pub mod sns;
pub mod timestamp;
pub mod trust;
mod x509;

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

    /// Which of the source's secrets matched, from 0: the newest. Without meaning for what was fetched ([`Scheme::fetched`]).
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

    /// 503: it may be right, but what is needed to tell is not there. The sender tries again.
    pub fn not_now(private: impl Into<String>) -> Self {
        Self { status: 503, public: "It cannot be verified at the moment. Send it again later.", private: private.into() }
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
    /// A signature over parts of the request, by a key pair.
    PublicKey(public_key::Scheme),
    /// A secret shown as it is.
    Credential(credential::Scheme),
    /// An ID token.
    Token(jwt::Scheme),
    /// Amazon SNS.
    Sns(sns::Scheme),
    /// A MAC in each item of the body.
    Items(items::Scheme),
    /// Any of these: a provider that writes the same proof in several ways.
    Any(Vec<Scheme>),
}

impl Scheme {
    /// Checks the raw bytes. Where only the JSON in a form or a query is signed, that JSON is the body of what is verified.
    pub fn verify(&self, mut inbound: Inbound) -> Result<Verified, Refusal> {
        let (by, secret, how) = self.check(&inbound)?;
        if let Self::Hmac(scheme) = by
            && let Some(signed) = scheme.unwrapped(&inbound)
        {
            inbound.body = signed;
            inbound.query.clear();
            inbound.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            inbound.headers.push(("content-type".to_owned(), Bytes::from_static(b"application/json")));
        }
        Ok(Verified { inbound, secret, how })
    }

    /// The scheme that proves it, which of its secrets, and how that is told.
    fn check(&self, inbound: &Inbound) -> Result<(&Self, usize, String), Refusal> {
        let (secret, how) = match self {
            Self::Hmac(scheme) => scheme.verify(inbound).map(|secret| (secret, scheme.describe(secret)))?,
            Self::PublicKey(scheme) => scheme.verify(inbound).map(|key| (key, scheme.describe(key)))?,
            Self::Credential(scheme) => scheme.verify(inbound).map(|secret| (secret, scheme.describe(secret)))?,
            Self::Items(scheme) => scheme.verify(inbound).map(|secret| (secret, scheme.describe(secret)))?,
            Self::Token(scheme) => scheme.verify(inbound).map(|()| (0, "authorization (ID token)".to_owned()))?,
            Self::Sns(scheme) => scheme.verify(inbound).map(|()| (0, "Signature in the body".to_owned()))?,
            Self::Any(schemes) => {
                let mut refused = Refusal::unverified("there is no way to verify");
                for scheme in schemes {
                    match scheme.check(inbound) {
                        Ok(proved) => return Ok(proved),
                        Err(refusal) => refused = refusal,
                    }
                }
                return Err(refused);
            }
        };
        Ok((self, secret, how))
    }

    /// What must be fetched before this request can be checked.
    pub fn wants(&self, inbound: &Inbound) -> Option<trust::Want> {
        match self {
            Self::Token(scheme) => scheme.wants(inbound),
            Self::Sns(scheme) => scheme.wants(inbound),
            Self::Any(schemes) => schemes.iter().find_map(|scheme| scheme.wants(inbound)),
            Self::Hmac(_) | Self::PublicKey(_) | Self::Credential(_) | Self::Items(_) => None,
        }
    }

    /// Is the secret the last segment of the path?
    pub fn in_path(&self) -> bool {
        match self {
            Self::Credential(scheme) => scheme.in_path(),
            Self::Any(schemes) => schemes.iter().any(Self::in_path),
            _ => false,
        }
    }

    /// Changes a request so that it proves itself as the provider's would, with the newest secret. `private` is a key made for tests,
    /// where only the provider has the real one.
    pub fn sign(&self, inbound: &mut Inbound, private: Option<&Secret>) -> Result<(), Refusal> {
        match self {
            Self::Hmac(scheme) => scheme.sign(inbound),
            Self::PublicKey(scheme) => scheme.sign(inbound, private),
            Self::Token(scheme) => {
                let token = scheme.sign(inbound, private)?;
                inbound.headers.push(("authorization".to_owned(), format!("Bearer {token}").into()));
                Ok(())
            }
            Self::Credential(scheme) => scheme.sign(inbound),
            Self::Items(scheme) => scheme.sign(inbound),
            Self::Sns(scheme) => scheme.sign(inbound, private),
            Self::Any(schemes) => match schemes.first() {
                Some(first) => first.sign(inbound, private),
                None => Err(Refusal::unverified("there is no way to verify")),
            },
        }
    }
}

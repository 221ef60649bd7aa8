//! MACs over parts of a request, described as data: most providers are nothing else.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, Context, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use declic_actions::secret::Secret;

use super::Refusal;
use super::signed::Envelope;
use crate::inbound::Inbound;

/// The hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA1: unbroken as a MAC, and only for providers that have nothing else.
    Sha1,
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA384.
    Sha384,
    /// HMAC-SHA512.
    Sha512,
}

/// How the configured secret becomes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    /// Its bytes as they are.
    Text,
    /// Base64, after this prefix if it is there.
    Base64(&'static str),
    /// Hexadecimal.
    Hex,
}

/// How a provider signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The hash function.
    pub algorithm: Algorithm,
    /// How the secret becomes the key.
    pub key: KeyForm,
    /// Where the signature stands and what it covers.
    pub envelope: Envelope,
}

/// A template with the keys of one source, newest first.
pub struct Scheme {
    template: Template,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Scheme {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scheme").field("template", &self.template).field("keys", &self.keys.len()).finish()
    }
}

impl Scheme {
    /// Takes in the keys. An error is for the operator: no key, an empty one (it would let everybody in), or one in the wrong form.
    pub fn new(template: Template, secrets: &[Secret]) -> Result<Self, String> {
        Ok(Self { keys: keys(template.algorithm, &template.key, secrets)?, template })
    }

    /// Which key matches, from 0.
    pub fn verify(&self, inbound: &Inbound) -> Result<usize, Refusal> {
        let envelope = &self.template.envelope;
        let presented = envelope.presented(inbound)?;
        let mut matched = None;
        envelope.any(inbound, &presented, &mut |pieces| {
            matched = self.keys.iter().position(|key| {
                let tag = mac(key, pieces);
                presented.signatures.iter().any(|signature| same(&tag, signature))
            });
            matched.is_some()
        })?;
        let Some(index) = matched else {
            let site = &envelope.site;
            return Err(Refusal::unverified(format!("the signature in {site} is of none of the source's secrets")));
        };
        envelope.check_body_time(inbound)?;
        Ok(index)
    }

    /// For people: what was checked and which key matched.
    pub(super) fn describe(&self, secret: usize) -> String {
        format!("{}, secret {} of {}", self.template.envelope.site, secret + 1, self.keys.len())
    }

    /// The part of a verified request that was signed, if it came wrapped in something that was not.
    pub(super) fn unwrapped(&self, inbound: &Inbound) -> Option<Bytes> {
        self.template.envelope.unwrapped(inbound)
    }

    /// Signs a request as the provider would, with the newest key. For `declic send` and tests.
    pub fn sign(&self, inbound: &mut Inbound) -> Result<(), Refusal> {
        let key = self.keys.first().ok_or_else(|| Refusal::unverified("there is no key"))?;
        self.template.envelope.write(inbound, &|pieces| Ok(mac(key, pieces)))
    }
}

/// The keys of the secrets, newest first.
pub(crate) fn keys(algorithm: Algorithm, form: &KeyForm, secrets: &[Secret]) -> Result<Vec<Key>, String> {
    if secrets.is_empty() {
        return Err("has no secret: a source that cannot verify does not start".to_owned());
    }
    let algorithm = match algorithm {
        Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha384 => hmac::HMAC_SHA384,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
    };
    secrets.iter().map(|secret| Ok(Key::new(algorithm, &form.bytes(secret)?))).collect()
}

/// The MAC over the pieces.
pub(crate) fn mac(key: &Key, pieces: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut context = Context::with_key(key);
    for piece in pieces {
        context.update(piece.as_ref());
    }
    context.sign().as_ref().to_vec()
}

/// In constant time, and only if the length is exact.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    verify_slices_are_equal(left, right).is_ok()
}

impl KeyForm {
    /// Bytes of the key that a secret becomes. Errors as [`Scheme::new`].
    pub fn length(&self, secret: &Secret) -> Result<usize, String> {
        self.bytes(secret).map(|bytes| bytes.len())
    }

    fn bytes(&self, secret: &Secret) -> Result<Vec<u8>, String> {
        let bytes = match self {
            Self::Text => secret.expose().to_vec(),
            Self::Base64(prefix) => {
                let text = secret.expose_text().unwrap_or_default();
                STANDARD
                    .decode(text.strip_prefix(prefix).unwrap_or(text))
                    .map_err(|_| "has a secret that is not base64".to_owned())?
            }
            Self::Hex => hex::decode(secret.expose()).map_err(|_| "has a secret that is not hexadecimal".to_owned())?,
        };
        if bytes.is_empty() { Err("has an empty secret, which would let everybody in".to_owned()) } else { Ok(bytes) }
    }
}

//! MACs over parts of a request, described as data: most providers are nothing else.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};

use super::Refusal;
use super::signature::{Encoding, Layout};
use super::timestamp::{Place, Rule};
use crate::inbound::Inbound;

/// The hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA256.
    Sha256,
    /// HMAC-SHA512.
    Sha512,
}

/// What is signed is these, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The raw body.
    Body,
    /// A fixed text.
    Text(Cow<'static, str>),
    /// The time as it was written in the request.
    Timestamp,
    /// The value of a header, which must be there once.
    Header(Cow<'static, str>),
    /// The method in capitals.
    Method,
    /// The address the provider was told, from the settings.
    Url(String),
}

/// How the configured secret becomes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyForm {
    /// Its bytes as they are.
    Text,
    /// Base64, after this prefix if it is there.
    Base64(Cow<'static, str>),
    /// Hexadecimal.
    Hex,
}

/// How a provider signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The hash function.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The header it stands in.
    pub header: Cow<'static, str>,
    /// How the header is laid out.
    pub layout: Layout,
    /// What is signed.
    pub signed: Vec<Part>,
    /// How old it may be.
    pub timestamp: Option<Rule>,
    /// How the secret becomes the key.
    pub key: KeyForm,
}

/// A MAC that has taken in its key.
#[derive(Clone)]
enum Keyed {
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Keyed {
    fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Sha256 => Hmac::new_from_slice(key).ok().map(Self::Sha256),
            Algorithm::Sha512 => Hmac::new_from_slice(key).ok().map(Self::Sha512),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
        }
    }

    /// In constant time, and only if the length is exact.
    fn matches(self, signature: &[u8]) -> bool {
        match self {
            Self::Sha256(mac) => mac.verify_slice(signature).is_ok(),
            Self::Sha512(mac) => mac.verify_slice(signature).is_ok(),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(mac) => mac.finalize().into_bytes().to_vec(),
            Self::Sha512(mac) => mac.finalize().into_bytes().to_vec(),
        }
    }
}

/// A template with the keys of one source, newest first.
pub struct Scheme {
    template: Template,
    keys: Vec<Keyed>,
}

impl std::fmt::Debug for Scheme {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scheme").field("template", &self.template).field("keys", &self.keys.len()).finish()
    }
}

impl Scheme {
    /// Takes in the keys. An error is for the operator: no key, an empty one (it would let everybody in), or one in the wrong form.
    pub fn new(template: Template, secrets: &[Secret]) -> Result<Self, String> {
        if secrets.is_empty() {
            return Err("has no secret: a source that cannot verify does not start".to_owned());
        }
        let keys = secrets.iter().map(|secret| {
            let bytes = template.key.bytes(secret)?;
            Keyed::new(template.algorithm, &bytes).ok_or_else(|| "has a secret that cannot be a key".to_owned())
        });
        Ok(Self { keys: keys.collect::<Result<_, String>>()?, template })
    }

    /// Which key matches, from 0.
    pub fn verify(&self, inbound: &Inbound) -> Result<usize, Refusal> {
        let template = &self.template;
        let header = &template.header;
        let Some(value) = inbound.header(header) else {
            return Err(Refusal::unverified(format!("the header {header} is missing, occurs twice or is not text")));
        };
        let candidates = template.layout.candidates(value);
        let candidates = candidates.map_err(|what| Refusal::unverified(format!("the header {header} {what}")))?;
        let timestamp = self.timestamp(inbound, value)?;
        let decoded: Vec<Vec<u8>> = candidates.into_iter().filter_map(|text| template.encoding.decode(text)).collect();
        if decoded.is_empty() {
            return Err(Refusal::unverified(format!("the signature in {header} is not written as it must be")));
        }
        for (index, key) in self.keys.iter().enumerate() {
            let mut mac = key.clone();
            template.feed(inbound, timestamp, &mut |bytes| mac.update(bytes))?;
            if decoded.iter().any(|signature| mac.clone().matches(signature)) {
                return Ok(index);
            }
        }
        Err(Refusal::unverified(format!("the signature in {header} is of none of the source's secrets")))
    }

    /// For people: what was checked and which key matched.
    pub(super) fn describe(&self, secret: usize) -> String {
        format!("{}, secret {} of {}", self.template.header, secret + 1, self.keys.len())
    }

    /// The time as written, checked; `None` if the template has none outside the body.
    fn timestamp<'i>(&self, inbound: &'i Inbound, value: &'i str) -> Result<Option<&'i str>, Refusal> {
        let Some(rule) = &self.template.timestamp else { return Ok(None) };
        let text = match &rule.place {
            Place::Header(name) => inbound.header(name),
            Place::Label(label) => self.template.layout.labelled(value, label),
            Place::Body(_) => return Ok(None),
        };
        let Some(text) = text else { return Err(Refusal::unverified("the time of the request is missing or occurs twice")) };
        rule.check(text, inbound.received_at)
            .map_err(|what| Refusal::unverified(format!("the time of the request {what}: check both clocks")))?;
        Ok(Some(text))
    }

    /// Signs a request as the provider would, with the newest key: the headers to add. For `declic send` and tests.
    pub fn sign(&self, inbound: &Inbound) -> Result<Vec<(String, String)>, Refusal> {
        let template = &self.template;
        let time = template.timestamp.as_ref().map(|rule| rule.write(inbound.received_at));
        let Some(mut mac) = self.keys.first().cloned() else { return Err(Refusal::unverified("there is no key")) };
        template.feed(inbound, time.as_deref(), &mut |bytes| mac.update(bytes))?;
        let signature = template.encoding.encode(&mac.finish());
        let place = template.timestamp.as_ref().map(|rule| &rule.place);
        let label = match (place, &time) {
            (Some(Place::Label(label)), Some(time)) => Some((label.as_ref(), time.as_str())),
            _ => None,
        };
        let mut headers = vec![(template.header.to_string(), template.layout.write(&signature, label))];
        if let (Some(Place::Header(name)), Some(time)) = (place, time) {
            headers.push((name.to_string(), time));
        }
        Ok(headers)
    }
}

impl Template {
    fn feed(&self, inbound: &Inbound, timestamp: Option<&str>, into: &mut dyn FnMut(&[u8])) -> Result<(), Refusal> {
        for part in &self.signed {
            match part {
                Part::Body => into(&inbound.body),
                Part::Text(text) => into(text.as_bytes()),
                Part::Method => into(inbound.method.as_bytes()),
                Part::Url(url) => into(url.as_bytes()),
                Part::Timestamp => into(timestamp.unwrap_or_default().as_bytes()),
                Part::Header(name) => match inbound.header(name) {
                    Some(value) if !value.is_empty() => into(value.as_bytes()),
                    _ => return Err(Refusal::unverified(format!("the header {name} is missing, empty or occurs twice"))),
                },
            }
        }
        Ok(())
    }
}

impl KeyForm {
    fn bytes(&self, secret: &Secret) -> Result<Vec<u8>, String> {
        let bytes = match self {
            Self::Text => secret.expose().to_vec(),
            Self::Base64(prefix) => {
                let text = secret.expose_text().unwrap_or_default();
                STANDARD
                    .decode(text.strip_prefix(prefix.as_ref()).unwrap_or(text))
                    .map_err(|_| "has a secret that is not base64".to_owned())?
            }
            Self::Hex => hex::decode(secret.expose()).map_err(|_| "has a secret that is not hexadecimal".to_owned())?,
        };
        if bytes.is_empty() { Err("has an empty secret, which would let everybody in".to_owned()) } else { Ok(bytes) }
    }
}

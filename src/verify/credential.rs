//! A secret that the sender shows as it is: a header, a password, a parameter, a part of the path, a field of the body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic_actions::secret::Secret;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::Refusal;
use super::hmac::same;
use super::path::Path;
use crate::inbound::Inbound;
use crate::json;
use crate::sources::form;

/// Where the secret is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header, after a prefix: `Bearer `.
    Header {
        /// In lower case.
        name: String,
        /// Before the secret; case does not matter in it.
        prefix: String,
    },
    /// `Authorization: Basic`; the secret is `user:password`.
    Basic,
    /// A parameter of the query, there exactly once.
    Query(String),
    /// The last segment of the path.
    Path,
    /// A field of every item of the body: `value.*.clientState`. The body is read strictly before anything is proved, because the
    /// proof is in it; all of them must be right, and there must be one.
    Body(Path),
}

/// A place with the secrets of one source, newest first.
pub struct Scheme {
    place: Place,
    secrets: Vec<Secret>,
}

impl fmt::Debug for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scheme").field("place", &self.place).field("secrets", &self.secrets.len()).finish()
    }
}

impl Scheme {
    /// Takes in the secrets. An error is for the operator.
    pub fn new(place: Place, secrets: &[Secret]) -> Result<Self, String> {
        if secrets.is_empty() {
            return Err("has no secret: a source that cannot verify does not start".to_owned());
        }
        if secrets.iter().any(Secret::is_empty) {
            return Err("has an empty secret, which would let everybody in".to_owned());
        }
        if place == Place::Basic && secrets.iter().any(|secret| !secret.expose().contains(&b':')) {
            return Err("has a secret that is not user:password".to_owned());
        }
        Ok(Self { place, secrets: secrets.to_vec() })
    }

    /// Is the secret a part of the path?
    pub fn in_path(&self) -> bool {
        self.place == Place::Path
    }

    /// Which secret matches, from 0.
    pub fn verify(&self, inbound: &Inbound) -> Result<usize, Refusal> {
        let shown = self.shown(inbound)?;
        let Some((first, rest)) = shown.split_first() else { return Err(self.unverified("there is no item that shows it")) };
        let matched = self.secrets.iter().position(|secret| equal(secret, first));
        match matched.and_then(|index| Some((index, self.secrets.get(index)?))) {
            Some((index, secret)) if rest.iter().all(|other| equal(secret, other)) => Ok(index),
            _ => Err(self.unverified("it is of none of the source's secrets")),
        }
    }

    fn shown(&self, inbound: &Inbound) -> Result<Vec<Vec<u8>>, Refusal> {
        let missing = || self.unverified("it is missing or occurs twice");
        Ok(match &self.place {
            Place::Header { name, prefix } => {
                let value = inbound.header(name).ok_or_else(missing)?;
                vec![after(value, prefix).ok_or_else(|| self.unverified("it does not begin as it must"))?.as_bytes().to_vec()]
            }
            Place::Basic => {
                let value = inbound.header("authorization").ok_or_else(missing)?;
                let encoded = after(value, "Basic ").ok_or_else(|| self.unverified("it does not begin as it must"))?;
                vec![STANDARD.decode(encoded).map_err(|_| self.unverified("it is not base64"))?]
            }
            Place::Query(name) => vec![form::only(inbound.query.as_bytes(), name).map_err(|_| missing())?.into_bytes()],
            Place::Path => vec![inbound.path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec()],
            Place::Body(path) => {
                let body = form::document(inbound).map_err(|flaw| self.unverified(&flaw))?;
                let found = path.all(&body).ok_or_else(missing)?;
                let texts = found.into_iter().map(|value| Some(value.as_str()?.as_bytes().to_vec()));
                texts.collect::<Option<_>>().ok_or_else(missing)?
            }
        })
    }

    fn unverified(&self, why: &str) -> Refusal {
        let refusal = Refusal::unverified(format!("{}: {why}", self.describe_place()));
        // A path that is wrong in its secret part is a path that is not there.
        if self.place == Place::Path { Refusal { status: 404, public: "There is nothing here.", ..refusal } } else { refusal }
    }

    fn describe_place(&self) -> String {
        match &self.place {
            Place::Header { name, .. } => name.clone(),
            Place::Basic => "authorization (basic)".to_owned(),
            Place::Query(name) => format!("query parameter {name}"),
            Place::Path => "path".to_owned(),
            Place::Body(_) => "field of the body".to_owned(),
        }
    }

    /// For people: what was checked and which secret matched.
    pub(super) fn describe(&self, secret: usize) -> String {
        format!("{}, secret {} of {}", self.describe_place(), secret + 1, self.secrets.len())
    }

    /// Shows the newest secret in a request.
    pub fn sign(&self, inbound: &mut Inbound) -> Result<(), Refusal> {
        let text = self.secrets.first().and_then(Secret::expose_text);
        let text = text.ok_or_else(|| Refusal::unverified("the secret is not text"))?;
        match &self.place {
            Place::Header { name, prefix } => inbound.headers.push((name.clone(), format!("{prefix}{text}").into())),
            Place::Basic => {
                inbound.headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(text)).into()));
            }
            Place::Query(name) => {
                inbound.query =
                    form_urlencoded::Serializer::new(std::mem::take(&mut inbound.query)).append_pair(name, text).finish();
            }
            Place::Path => inbound.path = format!("{}/{text}", inbound.path),
            Place::Body(path) => {
                let mut body = json::parse(&inbound.body).map_err(|flaw| Refusal::malformed(flaw.to_string()))?;
                path.put(&mut body, text);
                inbound.body = body.to_string().into();
            }
        }
        Ok(())
    }
}

/// In constant time; hashed first, so that not even the length can be felt.
pub fn equal(secret: &Secret, shown: &[u8]) -> bool {
    same(&Sha256::digest(secret.expose()), &Sha256::digest(shown))
}

fn after<'v>(value: &'v str, prefix: &str) -> Option<&'v str> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

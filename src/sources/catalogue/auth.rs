//! `auth:` as it is written, in a provider's file or in an operator's settings, and the scheme it becomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use declic_actions::secret::Secret;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::Value;

use super::Around;
use crate::rules::yaml::duration;
use crate::verify::hmac::{self, Algorithm, KeyForm};
use crate::verify::public_key;
use crate::verify::signature::{Encoding, Layout};
use crate::verify::signed::{Envelope, Parts};
use crate::verify::timestamp::{Place, Rule, Unit};
use crate::verify::{Scheme, credential, items, jwt, sns};

/// Seconds a signed time may differ from ours if nothing else is said.
const TOLERANCE: i64 = 300;

/// Bytes of a shared key of Standard Webhooks.
const STANDARD_KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// Where Google's keys for ID tokens are, at the address of its keys.
const GOOGLE_KEYS: &str = "/oauth2/v3/certs";
const GOOGLE_ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// One thing or a list of them.
#[derive(Debug, Clone)]
pub struct Many<T>(Vec<T>);

impl<T> Many<T> {
    /// All of them.
    pub fn list(self) -> Vec<T> {
        self.0
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = match Value::deserialize(deserializer)? {
            Value::Array(items) => items,
            one => vec![one],
        };
        let items = items.into_iter().map(|item| serde_json::from_value(item).map_err(D::Error::custom));
        items.collect::<Result<_, _>>().map(Self)
    }
}

/// One way to prove where a request comes from. Secrets are names of entries of `secrets:`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// A MAC.
    Hmac(Signed),
    /// Standard Webhooks.
    StandardWebhooks(Standard),
    /// Ed25519.
    Ed25519(Signed),
    /// ECDSA on P-256.
    EcdsaP256(Signed),
    /// A MAC in each item of the body.
    Items(Items),
    /// Amazon SNS.
    Sns(Sns),
    /// An ID token.
    Oidc(Oidc),
    /// `Authorization: Basic`; the secret is `user:password`.
    Basic(String),
    /// `Authorization: Bearer`.
    Bearer(String),
    /// A header with a secret.
    Token(Token),
    /// A parameter of the query.
    Query(Named),
    /// The last segment of the path.
    Path(String),
    /// A field in every item of the body.
    Field(Field),
}

/// A signature in a header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signed {
    secret: String,
    header: String,
    algorithm: Option<String>,
    prefix: Option<String>,
    label: Option<String>,
    separator: Option<String>,
    encoding: Option<String>,
    signed: Option<String>,
    timestamp_header: Option<String>,
    timestamp_label: Option<String>,
    timestamp_field: Option<String>,
    timestamp_unit: Option<String>,
    max_age: Option<String>,
    key: Option<String>,
    public_url: Option<String>,
}

/// Standard Webhooks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Standard {
    secret: String,
    /// Before `-id`, `-timestamp` and `-signature`.
    headers: Option<String>,
    max_age: Option<String>,
}

/// A signature in each item.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Items {
    secret: String,
    list: String,
    #[serde(default)]
    item: String,
    signature: String,
    signed: Vec<String>,
    key: Option<String>,
}

/// Amazon SNS.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sns {
    topic_arn: Many<String>,
}

/// An ID token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oidc {
    audience: Many<String>,
    email: Option<String>,
    #[serde(default)]
    issuers: Vec<String>,
    keys_url: Option<String>,
}

/// A header with a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    header: String,
    #[serde(default)]
    prefix: String,
    secret: String,
}

/// A parameter with a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Named {
    name: String,
    secret: String,
}

/// A field with a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Field {
    path: String,
    secret: String,
}

/// What the entry's names lead to.
pub struct Building<'b> {
    /// The values of `secrets:`, newest first.
    pub secrets: &'b BTreeMap<String, Vec<Secret>>,
    /// What the whole service has.
    pub around: &'b Around,
    /// The entry's path.
    pub path: &'b str,
}

impl Building<'_> {
    /// The values of a secret.
    pub fn values(&self, name: &str) -> Result<&[Secret], String> {
        match self.secrets.get(name).map(Vec::as_slice) {
            None | Some([]) => Err(format!("names the secret {name}, which has no value")),
            Some(values) => Ok(values),
        }
    }

    /// The scheme of these ways.
    pub fn scheme(&self, ways: Vec<Auth>) -> Result<Scheme, String> {
        let mut schemes = ways.into_iter().map(|way| self.way(way)).collect::<Result<Vec<_>, _>>()?;
        Ok(if schemes.len() == 1 { schemes.remove(0) } else { Scheme::Any(schemes) })
    }

    fn way(&self, way: Auth) -> Result<Scheme, String> {
        let credential = |place, secret: &str| Ok(Scheme::Credential(credential::Scheme::new(place, self.values(secret)?)?));
        let authorization =
            |prefix: &str| credential::Place::Header { name: "authorization".to_owned(), prefix: prefix.to_owned() };
        match way {
            Auth::Hmac(signed) => self.hmac(signed),
            Auth::StandardWebhooks(standard) => self.standard(&standard),
            Auth::Ed25519(signed) => self.public_key(public_key::Algorithm::Ed25519, &signed),
            Auth::EcdsaP256(signed) => self.public_key(public_key::Algorithm::EcdsaP256, &signed),
            Auth::Items(items) => {
                let Items { secret, list, item, signature, signed, key } = items;
                let template = items::Template { list, item, signature, fields: signed, key: key_form(key.as_deref())? };
                Ok(Scheme::Items(items::Scheme::new(template, self.values(&secret)?)?))
            }
            Auth::Sns(Sns { topic_arn }) => {
                Ok(Scheme::Sns(sns::Scheme { topics: topic_arn.list(), trust: Arc::clone(&self.around.trust) }))
            }
            Auth::Oidc(oidc) => Ok(Scheme::Token(self.oidc(oidc))),
            Auth::Basic(secret) => credential(credential::Place::Basic, &secret),
            Auth::Bearer(secret) => credential(authorization("Bearer "), &secret),
            Auth::Token(Token { header, prefix, secret }) => {
                credential(credential::Place::Header { name: header.to_ascii_lowercase(), prefix }, &secret)
            }
            Auth::Query(Named { name, secret }) => credential(credential::Place::Query(name), &secret),
            Auth::Path(secret) => credential(credential::Place::Path, &secret),
            Auth::Field(Field { path, secret }) => credential(credential::Place::Body(path), &secret),
        }
    }

    fn hmac(&self, signed: Signed) -> Result<Scheme, String> {
        let algorithm = match signed.algorithm.as_deref() {
            None | Some("sha256") => Algorithm::Sha256,
            Some("sha384") => Algorithm::Sha384,
            Some("sha512") => Algorithm::Sha512,
            Some("sha1") => Algorithm::Sha1,
            Some(other) => return Err(format!("has the algorithm {other}; known: sha256, sha384, sha512, sha1")),
        };
        let template = hmac::Template { algorithm, key: key_form(signed.key.as_deref())?, envelope: self.envelope(&signed)? };
        Ok(Scheme::Hmac(hmac::Scheme::new(template, self.values(&signed.secret)?)?))
    }

    fn public_key(&self, algorithm: public_key::Algorithm, signed: &Signed) -> Result<Scheme, String> {
        if signed.algorithm.is_some() || signed.key.is_some() {
            return Err("has an algorithm or a form of the key, which only hmac has".to_owned());
        }
        let scheme = public_key::Scheme::new(algorithm, self.envelope(signed)?, self.values(&signed.secret)?)?;
        Ok(Scheme::PublicKey(scheme))
    }

    fn oidc(&self, oidc: Oidc) -> jwt::Scheme {
        let issuers = if oidc.issuers.is_empty() { GOOGLE_ISSUERS.map(str::to_owned).to_vec() } else { oidc.issuers };
        jwt::Scheme {
            issuers,
            audiences: oidc.audience.list(),
            email: oidc.email,
            keys_url: self.keys_url(oidc.keys_url.as_deref().unwrap_or(GOOGLE_KEYS)),
            trust: Arc::clone(&self.around.trust),
        }
    }

    /// A path is one at the address of Google's keys.
    fn keys_url(&self, written: &str) -> String {
        if written.starts_with('/') { format!("{}{written}", self.around.google_certs_url) } else { written.to_owned() }
    }

    /// Both kinds of key have the same headers; each key is used in its own version only.
    fn standard(&self, standard: &Standard) -> Result<Scheme, String> {
        let values = self.values(&standard.secret)?;
        let is_public = |secret: &&Secret| secret.expose().starts_with(b"whpk_");
        let public: Vec<Secret> = values.iter().filter(is_public).cloned().collect();
        let shared: Vec<Secret> = values.iter().filter(|secret| !is_public(secret)).cloned().collect();
        shared.iter().try_for_each(fits_standard)?;
        let mut schemes = Vec::new();
        if !shared.is_empty() {
            let template = hmac::Template {
                algorithm: Algorithm::Sha256,
                key: KeyForm::Base64("whsec_"),
                envelope: standard.envelope("v1,")?,
            };
            schemes.push(Scheme::Hmac(hmac::Scheme::new(template, &shared)?));
        }
        if !public.is_empty() {
            let scheme = public_key::Scheme::new(public_key::Algorithm::Ed25519, standard.envelope("v1a,")?, &public)?;
            schemes.push(Scheme::PublicKey(scheme));
        }
        Ok(if schemes.len() == 1 { schemes.remove(0) } else { Scheme::Any(schemes) })
    }

    fn envelope(&self, form: &Signed) -> Result<Envelope, String> {
        let places = [
            form.timestamp_header.as_ref().map(|name| Place::Header(name.to_ascii_lowercase())),
            form.timestamp_label.clone().map(Place::Label),
            form.timestamp_field.clone().map(Place::Body),
        ];
        let mut places = places.into_iter().flatten();
        let place = places.next();
        if places.next().is_some() {
            return Err("has a time in two places".to_owned());
        }
        let outside = place.as_ref().is_some_and(|place| !matches!(place, Place::Body(_)));
        let signed = match &form.signed {
            Some(template) => Parts::read(template)?,
            None if outside => Parts::read("{timestamp}.{body}")?,
            None => Parts::body(),
        };
        if outside != signed.has_timestamp() {
            return Err("must sign the time it has: a time that is not signed proves nothing".to_owned());
        }
        let url = form.public_url.clone().or_else(|| Some(format!("{}{}", self.around.public_url.as_deref()?, self.path)));
        if signed.has_url() && url.is_none() {
            return Err("signs the address: write it down as `public-url`".to_owned());
        }
        let unit = match form.timestamp_unit.as_deref() {
            None | Some("seconds") => Unit::Seconds,
            Some("milliseconds") => Unit::Milliseconds,
            Some("rfc3339") => Unit::Date,
            Some(other) => return Err(format!("counts time in {other}; known: seconds, milliseconds, rfc3339")),
        };
        let tolerance = tolerance(form.max_age.as_deref())?;
        Ok(Envelope {
            header: form.header.to_ascii_lowercase(),
            layout: layout(form)?,
            encoding: encoding(form.encoding.as_deref())?,
            timestamp: place.map(|place| Rule { place, unit, tolerance }),
            url: url.map(|url| url.split_once('?').map_or(url.clone(), |(url, _)| url.to_owned())),
            signed,
        })
    }
}

impl Standard {
    fn envelope(&self, label: &str) -> Result<Envelope, String> {
        let headers = self.headers.as_deref().unwrap_or("webhook");
        Ok(Envelope {
            header: format!("{headers}-signature"),
            layout: Layout::Labelled { separator: ' ', label: label.to_owned() },
            encoding: Encoding::Base64,
            signed: Parts::read(&format!("{{header:{headers}-id}}.{{timestamp}}.{{body}}"))?,
            timestamp: Some(Rule {
                place: Place::Header(format!("{headers}-timestamp")),
                unit: Unit::Seconds,
                tolerance: tolerance(self.max_age.as_deref())?,
            }),
            url: None,
        })
    }
}

/// The specification's bounds of a shared key.
fn fits_standard(secret: &Secret) -> Result<(), String> {
    let length = KeyForm::Base64("whsec_").length(secret)?;
    if STANDARD_KEY.contains(&length) {
        return Ok(());
    }
    Err(format!("has a secret of {length} bytes; Standard Webhooks wants {STANDARD_KEY:?} of them, in base64 after whsec_")
        .replace("..=", " to "))
}

fn tolerance(max_age: Option<&str>) -> Result<i64, String> {
    let Some(text) = max_age else { return Ok(TOLERANCE) };
    let length = duration(text).ok_or_else(|| format!("has the max-age {text}, which is no length of time"))?;
    i64::try_from(length.as_secs()).map_err(|_| "has a max-age that is too long".to_owned())
}

fn layout(form: &Signed) -> Result<Layout, String> {
    let Some(label) = &form.label else {
        return Ok(Layout::Prefixed(form.prefix.clone().unwrap_or_default()));
    };
    if form.prefix.is_some() {
        return Err("has a prefix and a label; a list of signatures has labels only".to_owned());
    }
    let mut separator = form.separator.as_deref().unwrap_or(",").chars();
    match (separator.next(), separator.next()) {
        (Some(separator), None) => Ok(Layout::Labelled { separator, label: label.clone() }),
        _ => Err("has a separator that is not one character".to_owned()),
    }
}

fn encoding(word: Option<&str>) -> Result<Encoding, String> {
    match word {
        None | Some("hex") => Ok(Encoding::Hex),
        Some("hex-any-case") => Ok(Encoding::HexAnyCase),
        Some("base64") => Ok(Encoding::Base64),
        Some("base64url") => Ok(Encoding::Base64Url),
        Some(other) => Err(format!("has the encoding {other}; known: hex, hex-any-case, base64, base64url")),
    }
}

fn key_form(word: Option<&str>) -> Result<KeyForm, String> {
    match word {
        None | Some("text") => Ok(KeyForm::Text),
        Some("base64") => Ok(KeyForm::Base64("")),
        Some("whsec") => Ok(KeyForm::Base64("whsec_")),
        Some("hex") => Ok(KeyForm::Hex),
        Some(other) => Err(format!("has a key in the form {other}; known: text, base64, whsec, hex")),
    }
}

//! The scheme that `auth:` becomes, with the values of its secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use declic_actions::secret::Secret;

use super::Around;
use super::auth::{Auth, Field, Items, Named, Oidc, Signed, Sns, Standard, Token};
use super::definition::Method;
use crate::rules::yaml::duration;
use crate::verify::hmac::{self, Algorithm, KeyForm};
use crate::verify::path::Path;
use crate::verify::public_key;
use crate::verify::signature::{Encoding, Layout};
use crate::verify::signed::{Envelope, Parts, Site};
use crate::verify::timestamp::{Place, Rule, Unit};
use crate::verify::{Scheme, credential, items, jwt, sns};

/// Seconds a signed time may differ from ours if nothing else is said.
const TOLERANCE: i64 = 300;

/// Bytes of a shared key of Standard Webhooks.
const STANDARD_KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// Where Google's keys for ID tokens are, at the address of its keys.
const GOOGLE_KEYS: &str = "/oauth2/v3/certs";
const GOOGLE_ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// What the entry's names lead to.
pub struct Building<'b> {
    /// The values of `secrets:`, newest first.
    pub secrets: &'b BTreeMap<String, Vec<Secret>>,
    /// What the whole service has.
    pub around: &'b Around,
    /// The entry's path.
    pub path: &'b str,
    /// Methods that deliveries come by.
    pub methods: &'b [Method],
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
            Auth::Items(items) => Ok(Scheme::Items(items::Scheme::new(items.template()?, self.values(&items.secret)?)?)),
            Auth::Any(ways) if ways.is_empty() => Err("has no way to verify in `any`".to_owned()),
            Auth::Any(ways) => self.scheme(ways),
            Auth::Sns(Sns { topic_arn }) => {
                Ok(Scheme::Sns(sns::Scheme { topics: topic_arn.list(), trust: Arc::clone(&self.around.trust) }))
            }
            Auth::Oidc(oidc) => Ok(Scheme::Token(self.oidc(oidc)?)),
            Auth::Basic(secret) => credential(credential::Place::Basic, &secret),
            Auth::Bearer(secret) => credential(authorization("Bearer "), &secret),
            Auth::Token(Token { header, prefix, secret }) => {
                credential(credential::Place::Header { name: header.to_ascii_lowercase(), prefix }, &secret)
            }
            Auth::Query(Named { name, secret }) => credential(credential::Place::Query(name), &secret),
            Auth::Path(secret) => credential(credential::Place::Path, &secret),
            Auth::Field(Field { path, secret }) => credential(credential::Place::Body(Path::read(&path)?), &secret),
        }
    }

    fn hmac(&self, signed: Signed) -> Result<Scheme, String> {
        let algorithm = algorithm(signed.algorithm.as_deref())?;
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

    fn oidc(&self, oidc: Oidc) -> Result<jwt::Scheme, String> {
        let issuers = if oidc.issuers.is_empty() { GOOGLE_ISSUERS.map(str::to_owned).to_vec() } else { oidc.issuers };
        if oidc.email.is_none() && issuers.iter().any(|issuer| GOOGLE_ISSUERS.contains(&issuer.as_str())) {
            return Err("has no `email`: anybody can get a token of Google's, so the account is the authorisation".to_owned());
        }
        Ok(jwt::Scheme {
            issuers,
            audiences: oidc.audience.list(),
            email: oidc.email,
            keys_url: self.keys_url(oidc.keys_url.as_deref().unwrap_or(GOOGLE_KEYS)),
            trust: Arc::clone(&self.around.trust),
        })
    }

    /// A path is one at the address of Google's keys.
    fn keys_url(&self, written: &str) -> String {
        if written.starts_with('/') { format!("{}{written}", self.around.google_certs_url) } else { written.to_owned() }
    }

    /// Both kinds of key have the same headers; each key is used in its own version only.
    fn standard(&self, standard: &Standard) -> Result<Scheme, String> {
        self.covers(&Parts::body())?;
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

    /// Is all that a delivery says in what is signed?
    fn covers(&self, signed: &Parts) -> Result<(), String> {
        if self.methods.iter().any(|method| *method != Method::Get) && !signed.has_body() {
            return Err("leaves out the body of what is signed, which anybody could then change".to_owned());
        }
        if self.methods.contains(&Method::Get) && !signed.has_query() {
            return Err("leaves out the query of what is signed, which is all that a GET says".to_owned());
        }
        Ok(())
    }

    fn envelope(&self, form: &Signed) -> Result<Envelope, String> {
        let site = match (&form.header, &form.query) {
            (Some(header), None) => Site::Header(header.to_ascii_lowercase()),
            (None, Some(name)) => Site::Query(name.clone()),
            _ => return Err("must say where the signature is: `header` or `query`".to_owned()),
        };
        let place = form.place()?;
        let outside = place.as_ref().is_some_and(|place| !matches!(place, Place::Body(_)));
        let signed = match &form.signed {
            Some(template) => Parts::read(template)?,
            None if outside => Parts::read("{timestamp}.{body}")?,
            None => Parts::body(),
        };
        if outside != signed.has_timestamp() {
            return Err("must sign the time it has: a time that is not signed proves nothing".to_owned());
        }
        self.covers(&signed)?;
        let url = form.public_url.clone().or_else(|| Some(format!("{}{}", self.around.public_url.as_deref()?, self.path)));
        if signed.has_url() && url.is_none() {
            return Err("signs the address: write it down as `public-url`".to_owned());
        }
        Ok(Envelope {
            site,
            layout: layout(form)?,
            encoding: encoding(form.encoding.as_deref())?,
            timestamp: place.map(|place| rule(place, form.timestamp_unit.as_deref(), form.max_age.as_deref())).transpose()?,
            url: url.map(|url| url.split_once('?').map_or(url.clone(), |(url, _)| url.to_owned())),
            signed,
        })
    }
}

impl Signed {
    /// Where the time is; one place at most.
    fn place(&self) -> Result<Option<Place>, String> {
        let places = [
            self.timestamp_header.as_ref().map(|name| Ok(Place::Header(name.to_ascii_lowercase()))),
            self.timestamp_query.clone().map(|name| Ok(Place::Query(name))),
            self.timestamp_label.clone().map(|label| Ok(Place::Label(label))),
            self.timestamp_field.as_deref().map(|path| Path::read(path).map(Place::Body)),
        ];
        let mut places = places.into_iter().flatten();
        let place = places.next().transpose()?;
        if places.next().is_some() { Err("has a time in two places".to_owned()) } else { Ok(place) }
    }
}

impl Items {
    fn template(&self) -> Result<items::Template, String> {
        let time = match &self.timestamp_field {
            Some(field) => {
                let path = Path::read(field)?;
                let rule = rule(Place::Body(path.clone()), self.timestamp_unit.as_deref(), self.max_age.as_deref())?;
                Some((path, rule))
            }
            None => None,
        };
        Ok(items::Template {
            list: self.list.as_deref().map(Path::read).transpose()?,
            item: Path::read(&self.item)?,
            signature: Path::read(&self.signature)?,
            fields: self.signed.iter().map(|path| Path::read(path)).collect::<Result<_, _>>()?,
            join: self.join.clone().unwrap_or_else(|| ":".to_owned()),
            algorithm: algorithm(self.algorithm.as_deref())?,
            encoding: encoding(self.encoding.as_deref().or(Some("base64")))?,
            key: key_form(self.key.as_deref())?,
            time,
        })
    }
}

impl Standard {
    fn envelope(&self, label: &str) -> Result<Envelope, String> {
        let headers = self.headers.as_deref().unwrap_or("webhook");
        Ok(Envelope {
            site: Site::Header(format!("{headers}-signature")),
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

/// A rule for the time at this place.
fn rule(place: Place, unit: Option<&str>, max_age: Option<&str>) -> Result<Rule, String> {
    let unit = match unit {
        None | Some("seconds") => Unit::Seconds,
        Some("milliseconds") => Unit::Milliseconds,
        Some("rfc3339") => Unit::Date,
        Some(other) => return Err(format!("counts time in {other}; known: seconds, milliseconds, rfc3339")),
    };
    Ok(Rule { place, unit, tolerance: tolerance(max_age)? })
}

/// The hash function of a MAC.
pub(super) fn algorithm(word: Option<&str>) -> Result<Algorithm, String> {
    match word {
        None | Some("sha256") => Ok(Algorithm::Sha256),
        Some("sha384") => Ok(Algorithm::Sha384),
        Some("sha512") => Ok(Algorithm::Sha512),
        Some("sha1") => Ok(Algorithm::Sha1),
        Some(other) => Err(format!("has the algorithm {other}; known: sha256, sha384, sha512, sha1")),
    }
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

pub(super) fn encoding(word: Option<&str>) -> Result<Encoding, String> {
    match word {
        None | Some("hex") => Ok(Encoding::Hex),
        Some("hex-any-case") => Ok(Encoding::HexAnyCase),
        Some("base64") => Ok(Encoding::Base64),
        Some("base64url") => Ok(Encoding::Base64Url),
        Some(other) => Err(format!("has the encoding {other}; known: hex, hex-any-case, base64, base64url")),
    }
}

pub(super) fn key_form(word: Option<&str>) -> Result<KeyForm, String> {
    match word {
        None | Some("text") => Ok(KeyForm::Text),
        Some("base64") => Ok(KeyForm::Base64("")),
        Some("whsec") => Ok(KeyForm::Base64("whsec_")),
        Some("hex") => Ok(KeyForm::Hex),
        Some(other) => Err(format!("has a key in the form {other}; known: text, base64, whsec, hex")),
    }
}

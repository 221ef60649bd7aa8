//! Ownership challenges, described as data. What is answered with a MAC is short and of few characters: else whoever asks could have
//! any text signed, and send it back as a delivery.

use std::collections::BTreeMap;

use aws_lc_rs::hmac::Key;
use declic_actions::secret::Secret;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Many;
use super::building::{Building, algorithm, encoding, key_form};
use super::extract::{Conditions, Pattern, Token, View, shows};
use crate::sources::Answer;
use crate::verify::signature::Encoding;
use crate::verify::{Refusal, hmac, sns};

/// Characters of a token that is only repeated.
const LONGEST_ECHO: usize = 2048;
/// Characters of a token that is answered with its MAC.
const LONGEST_SIGNED: usize = 256;

/// A challenge as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Form {
    #[serde(default = "post")]
    method: String,
    /// Answered before anything is proved.
    #[serde(default)]
    unsigned: bool,
    /// Places and what must stand there.
    #[serde(default, rename = "if")]
    conditions: BTreeMap<String, Many<String>>,
    /// A place where nothing may stand.
    unless: Option<String>,
    /// Where the token is.
    token: Option<String>,
    /// Where a secret must be shown, and its name.
    shown: Option<Shown>,
    /// A MAC over the token: how it is written.
    mac: Option<String>,
    /// The hash function of the MAC.
    algorithm: Option<String>,
    /// How the secret becomes the key of the MAC.
    key: Option<String>,
    /// The secret of the MAC.
    secret: Option<String>,
    status: Option<u16>,
    content_type: Option<String>,
    text: Option<String>,
    json: Option<Map<String, Value>>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// An address to get when the answer is due: Amazon's only.
    then_get: Option<String>,
    /// The token is a secret of the operator's: shown once, answered with nothing.
    #[serde(default)]
    reveal: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    at: String,
    secret: String,
}

fn post() -> String {
    "POST".to_owned()
}

/// A challenge that can be answered.
pub struct Challenge {
    /// Its method.
    pub method: String,
    /// Is it answered before anything is proved?
    pub unsigned: bool,
    conditions: Conditions,
    unless: Option<Pattern>,
    token: Option<Pattern>,
    shown: Option<(Pattern, Vec<Secret>)>,
    mac: Option<(Encoding, Vec<Key>)>,
    status: u16,
    content_type: String,
    text: Option<Pattern>,
    json: Option<Vec<(String, Fixed)>>,
    headers: Vec<(String, Pattern)>,
    then_get: Option<Pattern>,
    reveal: bool,
}

enum Fixed {
    Value(Value),
    Pattern(Pattern),
}

impl Form {
    /// How the MAC is written, and its keys, newest first: only one if `proving` is another secret.
    fn mac(&self, building: &Building<'_>, proving: Option<&str>) -> Result<Option<(Encoding, Vec<Key>)>, String> {
        let Some(written) = self.mac.as_deref() else { return Ok(None) };
        let secret = self.secret.as_deref().ok_or("has a challenge with a mac and no secret for it")?;
        let values = building.values(secret)?;
        let mut keys = hmac::keys(algorithm(self.algorithm.as_deref())?, &key_form(self.key.as_deref())?, values)?;
        if proving != Some(secret) {
            keys.truncate(1);
        }
        Ok(Some((encoding(Some(written))?, keys)))
    }
}

impl Challenge {
    /// From what is written. `proving` is the secret that proves the source's requests.
    pub fn new(form: Form, building: &Building<'_>, proving: Option<&str>) -> Result<Self, String> {
        let mac = form.mac(building, proving)?;
        if form.unsigned && form.then_get.is_some() {
            return Err("has a challenge that nobody signs, and would get an address for it".to_owned());
        }
        let json = form.json.map(|fields| fields.into_iter().map(|(name, value)| Ok((name, fixed(value)?))));
        let json: Option<Vec<_>> = json.map(Iterator::collect::<Result<_, String>>).transpose()?;
        let content_type =
            form.content_type.unwrap_or_else(|| (if json.is_some() { "application/json" } else { "text/plain" }).to_owned());
        Ok(Self {
            method: form.method,
            unsigned: form.unsigned,
            conditions: Conditions::read(form.conditions)?,
            unless: form.unless.as_deref().map(|path| Pattern::place(&format!("has:{path}"))).transpose()?,
            token: form.token.as_deref().map(Pattern::place).transpose()?,
            shown: match form.shown {
                Some(Shown { at, secret }) => Some((Pattern::place(&at)?, building.values(&secret)?.to_vec())),
                None => None,
            },
            mac,
            status: form.status.unwrap_or(200),
            content_type,
            text: form.text.as_deref().map(Pattern::read).transpose()?,
            json,
            headers: form
                .headers
                .into_iter()
                .map(|(name, value)| Ok((name, Pattern::read(&value)?)))
                .collect::<Result<_, String>>()?,
            then_get: form.then_get.as_deref().map(Pattern::place).transpose()?,
            reveal: form.reveal,
        })
    }

    /// Does whoever asks get a MAC over a token of their choice?
    pub fn signs_for_anybody(&self) -> bool {
        self.unsigned && self.mac.is_some()
    }

    /// Is this request the challenge, and what is the answer? `None`: it is something else. `delivers`: its method may bring a delivery too.
    /// `proved`: the place of the secret that proved it. While a secret is changed, the answer is made with the one that the provider has.
    pub fn answer(&self, view: &View<'_>, delivers: bool, proved: Option<usize>) -> Option<Result<Answer, Refusal>> {
        if view.inbound.method != self.method {
            return None;
        }
        let nothing = Token::default();
        if !self.conditions.hold(view) || self.unless.as_ref().is_some_and(|unless| unless.render(view, nothing).is_some()) {
            // A method that nothing else has: there is nothing to fall through to.
            return (self.unsigned && !delivers).then(|| Err(forbidden("the request is not the challenge it should be")));
        }
        let token = match &self.token {
            None => String::new(),
            Some(token) => match token.render(view, nothing) {
                Some(token) => token,
                None if delivers => return None,
                None => return Some(Err(Refusal::malformed("the challenge has no token, or two"))),
            },
        };
        Some(self.respond(view, &token, proved))
    }

    fn respond(&self, view: &View<'_>, token: &str, proved: Option<usize>) -> Result<Answer, Refusal> {
        if let Some((at, secrets)) = &self.shown
            && !shows(at, view, secrets)
        {
            return Err(forbidden("the challenge does not show the secret it must"));
        }
        let longest = if self.mac.is_some() { LONGEST_SIGNED } else { LONGEST_ECHO };
        if token.len() > longest || token.chars().any(char::is_control) {
            return Err(Refusal::malformed("the challenge's token is too long or has control characters"));
        }
        let mac = match &self.mac {
            None => String::new(),
            Some(_) if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+/=.".contains(&byte)) => {
                return Err(Refusal::malformed(
                    "the challenge's token has characters that no token has: it may be a forged delivery",
                ));
            }
            Some((encoding, keys)) => {
                let key = proved.and_then(|place| keys.get(place)).or_else(|| keys.first());
                encoding.encode(&key.map(|key| hmac::mac(key, &[token])).unwrap_or_default())
            }
        };
        let given = Token { text: token, mac: &mac };
        let broken = || Refusal::malformed("the challenge lacks a part of its answer");
        let body = match (&self.text, &self.json) {
            (Some(text), _) => text.render(view, given).ok_or_else(broken)?,
            (None, Some(fields)) => {
                let fields = fields.iter().map(|(name, value)| Some((name.clone(), value.render(view, given)?)));
                Value::Object(fields.collect::<Option<Map<_, _>>>().ok_or_else(broken)?).to_string()
            }
            (None, None) => String::new(),
        };
        let headers = self.headers.iter().map(|(name, value)| Some((name.clone(), value.render(view, given)?)));
        let then_get = match &self.then_get {
            None => None,
            Some(at) => Some(confirmation(&at.render(view, given).ok_or_else(broken)?)?),
        };
        Ok(Answer {
            status: self.status,
            content_type: if body.is_empty() { String::new() } else { self.content_type.clone() },
            headers: headers.collect::<Option<_>>().ok_or_else(broken)?,
            body: body.into_bytes(),
            then_get,
            reveal: self.reveal.then(|| Secret::new(token)),
        })
    }
}

impl Fixed {
    fn render(&self, view: &View<'_>, token: Token<'_>) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Pattern(pattern) => pattern.render(view, token).map(Value::String),
        }
    }
}

fn fixed(value: Value) -> Result<Fixed, String> {
    match value {
        Value::String(text) => Ok(Fixed::Pattern(Pattern::read(&text)?)),
        other => Ok(Fixed::Value(other)),
    }
}

fn forbidden(private: &str) -> Refusal {
    Refusal { status: 403, public: "The request could not be verified.", private: private.to_owned() }
}

/// The address that confirms a subscription: Amazon's, and for nothing else.
fn confirmation(address: &str) -> Result<String, Refusal> {
    let url = sns::amazon(address).ok_or_else(|| Refusal::malformed("the address to confirm at is not Amazon's"))?;
    let confirms = url.query_pairs().any(|(name, value)| name == "Action" && value == "ConfirmSubscription");
    if confirms { Ok(address.to_owned()) } else { Err(Refusal::malformed("the address to confirm at does something else")) }
}

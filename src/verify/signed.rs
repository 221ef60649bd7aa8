//! What a signature covers, where it stands and how old it may be: the same for every kind of key.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::Refusal;
use super::signature::{Encoding, Layout};
use super::timestamp::{Place, Rule};
use crate::inbound::Inbound;
use crate::json;
use crate::sources::form;

/// Says whether a signature fits these pieces of signed bytes.
type Judge<'j> = dyn FnMut(&[Cow<'_, [u8]>]) -> bool + 'j;
/// Signs these pieces.
type Sign<'s> = dyn Fn(&[Cow<'_, [u8]>]) -> Result<Vec<u8>, Refusal> + 's;

/// What is signed is these, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The raw body.
    Body,
    /// A fixed text.
    Text(String),
    /// The time as it was written in the request.
    Timestamp,
    /// The value of a header, which must be there once.
    Header(String),
    /// The method in capitals.
    Method,
    /// The address the provider was told, with the query of the request.
    Url,
    /// The path of the request as it came, without the query.
    Path,
    /// The query of the request as it came, without `?`.
    Query,
    /// The names and values of a form, sorted, without separators. A body that is no form must be named by its SHA-256 in the
    /// query (`bodySHA256`), or it would not be signed at all.
    Form,
    /// The JSON of the body, taken out of this field if the body is a form.
    Payload(String),
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// The body and nothing else.
    pub fn body() -> Self {
        Self(vec![Part::Body])
    }

    /// Reads `v0:{timestamp}:{body}`. The names are `body timestamp method url path query form header:NAME payload:FIELD`.
    pub fn read(template: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            let Some((name, after)) = after.split_once('}') else { return Err(format!("`{template}` has a `{{` without `}}`")) };
            parts.push(match name.split_once(':').unwrap_or((name, "")) {
                ("body", "") => Part::Body,
                ("timestamp", "") => Part::Timestamp,
                ("method", "") => Part::Method,
                ("url", "") => Part::Url,
                ("path", "") => Part::Path,
                ("query", "") => Part::Query,
                ("form", "") => Part::Form,
                ("header", name) if !name.is_empty() => Part::Header(name.to_ascii_lowercase()),
                ("payload", field) if !field.is_empty() => Part::Payload(field.to_owned()),
                _ => {
                    let known = "body, timestamp, method, url, path, query, form, header:NAME, payload:FIELD";
                    return Err(format!("`{{{name}}}` cannot be signed; known: {known}"));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.iter().any(|part| matches!(part, Part::Body | Part::Form | Part::Payload(_))) {
            Ok(Self(parts))
        } else {
            Err(format!("`{template}` leaves out the body, which anybody could then change"))
        }
    }

    /// Does it hold the time?
    pub fn has_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// Does it hold the address?
    pub fn has_url(&self) -> bool {
        self.0.contains(&Part::Url)
    }
}

/// A signature in a header: what it covers and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The header it stands in, in lower case.
    pub header: String,
    /// How the header is laid out.
    pub layout: Layout,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What is signed.
    pub signed: Parts,
    /// How old it may be.
    pub timestamp: Option<Rule>,
    /// The address the provider was told, without a query.
    pub url: Option<String>,
}

/// What a request shows for itself.
#[derive(Debug)]
pub struct Presented<'i> {
    /// Decoded signatures; one must be right.
    pub signatures: Vec<Vec<u8>>,
    timestamp: Option<&'i str>,
}

impl Envelope {
    /// Reads the header and checks the time, unless it stands in the body.
    pub fn presented<'i>(&self, inbound: &'i Inbound) -> Result<Presented<'i>, Refusal> {
        let header = &self.header;
        let Some(value) = inbound.header(header) else {
            return Err(Refusal::unverified(format!("the header {header} is missing, occurs twice or is not text")));
        };
        let candidates = self.layout.candidates(value);
        let candidates = candidates.map_err(|what| Refusal::unverified(format!("the header {header} {what}")))?;
        let timestamp = self.timestamp(inbound, value)?;
        let signatures: Vec<Vec<u8>> = candidates.into_iter().filter_map(|text| self.encoding.decode(text)).collect();
        if signatures.is_empty() {
            return Err(Refusal::unverified(format!("the signature in {header} is not written as it must be")));
        }
        Ok(Presented { signatures, timestamp })
    }

    /// The time as written, checked; `None` if there is none outside the body.
    fn timestamp<'i>(&self, inbound: &'i Inbound, value: &'i str) -> Result<Option<&'i str>, Refusal> {
        let Some(rule) = &self.timestamp else { return Ok(None) };
        let text = match &rule.place {
            Place::Header(name) => inbound.header(name),
            Place::Label(label) => self.layout.labelled(value, label),
            Place::Body(_) => return Ok(None),
        };
        let Some(text) = text else { return Err(Refusal::unverified("the time of the request is missing or occurs twice")) };
        rule.check(text, inbound.received_at).map_err(untimely)?;
        Ok(Some(text))
    }

    /// Checks a time that stands in the body: signed with it, and read only after the signature was right.
    pub fn check_body_time(&self, inbound: &Inbound) -> Result<(), Refusal> {
        let Some(rule) = &self.timestamp else { return Ok(()) };
        let Place::Body(field) = &rule.place else { return Ok(()) };
        let body = json::parse(&inbound.body).map_err(|flaw| Refusal::unverified(format!("the body has no time: {flaw}")))?;
        let number = body.get(field).and_then(serde_json::Value::as_i64);
        let number = number.ok_or_else(|| Refusal::unverified("the body has no time where it must be"))?;
        rule.check_number(number, inbound.received_at).map_err(untimely)
    }

    /// Gives what is signed to `judge`, once for each way in which the address may be meant, until it is right.
    pub fn any(&self, inbound: &Inbound, presented: &Presented<'_>, judge: &mut Judge<'_>) -> Result<bool, Refusal> {
        for url in self.urls(inbound) {
            if judge(&self.pieces(inbound, presented.timestamp, &url)?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One address, or all that a provider may mean by it: with the usual port and without, and with some characters unescaped.
    fn urls(&self, inbound: &Inbound) -> Vec<String> {
        if !self.signed.has_url() {
            return vec![String::new()];
        }
        let url = self.address(inbound);
        let mut urls = vec![url.clone()];
        if let Some((scheme, rest)) = url.split_once("://") {
            let port = if scheme == "http" { ":80" } else { ":443" };
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            match authority.strip_suffix(port) {
                Some(bare) => urls.push(format!("{scheme}://{bare}{path}")),
                None if !authority.contains(':') => urls.push(format!("{scheme}://{authority}{port}{path}")),
                None => {}
            }
        }
        let plain = unescaped(&url);
        if plain != url {
            urls.push(plain);
        }
        urls
    }

    /// The address as configured, with the query that came.
    fn address(&self, inbound: &Inbound) -> String {
        let base = self.url.as_deref().unwrap_or_default();
        if inbound.query.is_empty() { base.to_owned() } else { format!("{base}?{}", inbound.query) }
    }

    fn pieces<'i>(
        &'i self,
        inbound: &'i Inbound,
        timestamp: Option<&'i str>,
        url: &'i str,
    ) -> Result<Vec<Cow<'i, [u8]>>, Refusal> {
        let mut pieces = Vec::with_capacity(self.signed.0.len());
        for part in &self.signed.0 {
            pieces.push(match part {
                Part::Body => Cow::Borrowed(inbound.body.as_ref()),
                Part::Text(text) => Cow::Borrowed(text.as_bytes()),
                Part::Method => Cow::Borrowed(inbound.method.as_bytes()),
                Part::Url => Cow::Borrowed(url.as_bytes()),
                Part::Path => Cow::Borrowed(inbound.path.as_bytes()),
                Part::Query => Cow::Borrowed(inbound.query.as_bytes()),
                Part::Timestamp => Cow::Borrowed(timestamp.unwrap_or_default().as_bytes()),
                Part::Header(name) => match inbound.header(name) {
                    Some(value) if !value.is_empty() => Cow::Borrowed(value.as_bytes()),
                    _ => return Err(Refusal::unverified(format!("the header {name} is missing, empty or occurs twice"))),
                },
                Part::Form => Cow::Owned(form_pairs(inbound)?),
                Part::Payload(field) => {
                    form::json_of(&inbound.body, form::is_form(inbound), field).map_err(Refusal::unverified)?
                }
            });
        }
        Ok(pieces)
    }

    /// The headers with which a provider would prove this request; `sign` makes the signature of what is signed.
    pub fn write(&self, inbound: &Inbound, sign: &Sign<'_>) -> Result<Vec<(String, String)>, Refusal> {
        let time = self.timestamp.as_ref().map(|rule| rule.write(inbound.received_at));
        let url = self.address(inbound);
        let signature = self.encoding.encode(&sign(&self.pieces(inbound, time.as_deref(), &url)?)?);
        let place = self.timestamp.as_ref().map(|rule| &rule.place);
        let label = match (place, &time) {
            (Some(Place::Label(label)), Some(time)) => Some((label.as_str(), time.as_str())),
            _ => None,
        };
        let mut headers = vec![(self.header.clone(), self.layout.write(&signature, label))];
        if let (Some(Place::Header(name)), Some(time)) = (place, time) {
            headers.push((name.clone(), time));
        }
        Ok(headers)
    }
}

fn untimely(what: &str) -> Refusal {
    Refusal::unverified(format!("the time of the request {what}: check both clocks"))
}

/// The form as Twilio signs it: names sorted, the values of one name sorted and each once.
fn form_pairs(inbound: &Inbound) -> Result<Vec<u8>, Refusal> {
    if !form::is_form(inbound) {
        return named_by_query(inbound).map(|()| Vec::new());
    }
    let mut pairs = form::fields(&inbound.body).map_err(Refusal::unverified)?;
    pairs.sort();
    pairs.dedup();
    Ok(pairs.into_iter().flat_map(|(name, value)| [name.into_bytes(), value.into_bytes()].concat()).collect())
}

/// Is the body the one whose hash stands in the query, which is a part of the signed address?
fn named_by_query(inbound: &Inbound) -> Result<(), Refusal> {
    let mut named = form_urlencoded::parse(inbound.query.as_bytes()).filter(|(name, _)| name == "bodySHA256");
    match (named.next(), named.next()) {
        (Some((_, hash)), None) if hash.eq_ignore_ascii_case(&hex::encode(Sha256::digest(&inbound.body))) => Ok(()),
        (None, _) if inbound.body.is_empty() => Ok(()),
        _ => Err(Refusal::unverified("the body is not the one that bodySHA256 in the address names")),
    }
}

/// What HubSpot does to an address before it signs it.
fn unescaped(url: &str) -> String {
    const PLAIN: [(&str, &str); 12] = [
        ("%3A", ":"),
        ("%2F", "/"),
        ("%3F", "?"),
        ("%40", "@"),
        ("%21", "!"),
        ("%24", "$"),
        ("%27", "'"),
        ("%28", "("),
        ("%29", ")"),
        ("%2A", "*"),
        ("%2C", ","),
        ("%3B", ";"),
    ];
    PLAIN
        .iter()
        .fold(url.to_owned(), |url, (escaped, plain)| url.replace(escaped, plain).replace(&escaped.to_ascii_lowercase(), plain))
}

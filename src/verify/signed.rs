//! What a signature covers, where it stands and how old it may be: the same for every kind of key.

use std::borrow::Cow;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::Refusal;
use super::signature::{Encoding, Layout};
use super::timestamp::{Place, Rule, untimely};
use crate::inbound::Inbound;
use crate::sources::form;

/// The parameter with the hash of a body that is no form.
const HASH: &str = "bodySHA256";

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
    /// The JSON of the body, taken out of this field if the body is a form, or out of the query if the method has no body.
    Payload(String),
}

/// Where a signature stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// A header, in lower case.
    Header(String),
    /// A parameter of the query. `{url}` and `{query}` are what is signed: the address without it.
    Query(String),
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
        Ok(Self(parts))
    }

    /// Does it hold the body? What is left out, anybody could change.
    pub fn has_body(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Body | Part::Form | Part::Payload(_)))
    }

    /// Does it hold the query?
    pub fn has_query(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Query | Part::Url | Part::Payload(_)))
    }

    /// The field that holds what is signed if the body is a form.
    fn payload(&self) -> Option<&str> {
        self.0.iter().find_map(|part| if let Part::Payload(field) = part { Some(field.as_str()) } else { None })
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

/// A signature: where it stands, what it covers and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where it stands.
    pub site: Site,
    /// How what stands there is laid out.
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
    timestamp: Option<Cow<'i, str>>,
}

impl std::fmt::Display for Site {
    /// For people: where it was looked at.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => formatter.write_str(name),
            Self::Query(name) => write!(formatter, "query parameter {name}"),
        }
    }
}

impl Envelope {
    /// Reads the signatures and checks the time, unless it stands in the body.
    pub fn presented<'i>(&self, inbound: &'i Inbound) -> Result<Presented<'i>, Refusal> {
        let site = &self.site;
        let Some(value) = self.value(inbound) else {
            return Err(Refusal::unverified(format!("the {site} is missing, occurs twice or is not text")));
        };
        let candidates = self.layout.candidates(&value);
        let candidates = candidates.map_err(|what| Refusal::unverified(format!("the {site} {what}")))?;
        let timestamp = self.timestamp(inbound, &value)?;
        let signatures: Vec<Vec<u8>> =
            candidates.into_iter().filter_map(|text| self.encoding.decode(text)).filter(|bytes| !bytes.is_empty()).collect();
        if signatures.is_empty() {
            return Err(Refusal::unverified(format!("the signature in {site} is not written as it must be")));
        }
        Ok(Presented { signatures, timestamp })
    }

    fn value<'i>(&self, inbound: &'i Inbound) -> Option<Cow<'i, str>> {
        match &self.site {
            Site::Header(name) => inbound.header(name).map(Cow::Borrowed),
            Site::Query(name) => form::only(inbound.query.as_bytes(), name).ok().map(Cow::Owned),
        }
    }

    /// The time as written, checked; `None` if there is none outside the body.
    fn timestamp<'i>(&self, inbound: &'i Inbound, value: &str) -> Result<Option<Cow<'i, str>>, Refusal> {
        let Some(rule) = &self.timestamp else { return Ok(None) };
        let text = match &rule.place {
            Place::Header(name) => inbound.header(name).map(Cow::Borrowed),
            Place::Label(label) => self.layout.labelled(value, label).map(|text| Cow::Owned(text.to_owned())),
            Place::Query(name) => form::only(inbound.query.as_bytes(), name).ok().map(Cow::Owned),
            Place::Body(_) => return Ok(None),
        };
        let Some(text) = text else { return Err(Refusal::unverified("the time of the request is missing or occurs twice")) };
        rule.check(&text, inbound.received_at).map_err(untimely)?;
        Ok(Some(text))
    }

    /// Checks a time that stands in the body: signed with it, and read only after the signature was right.
    pub fn check_body_time(&self, inbound: &Inbound) -> Result<(), Refusal> {
        let Some(rule) = &self.timestamp else { return Ok(()) };
        let Place::Body(path) = &rule.place else { return Ok(()) };
        let body = form::document(inbound).map_err(|flaw| Refusal::unverified(format!("the body has no time: {flaw}")))?;
        rule.check_value(path.one(&body), inbound.received_at)
    }

    /// What was signed, as a body of its own, where it came wrapped: what stood beside it in the form or the query is not proved.
    pub fn unwrapped(&self, inbound: &Inbound) -> Option<Bytes> {
        let field = self.signed.payload()?;
        let wrapped = inbound.method == "GET" || form::is_form(inbound);
        wrapped.then(|| payload(inbound, field).ok().map(|text| text.into_owned().into()))?
    }

    /// Gives what is signed to `judge`, once for each way in which the address may be meant, until it is right.
    pub fn any(&self, inbound: &Inbound, presented: &Presented<'_>, judge: &mut Judge<'_>) -> Result<bool, Refusal> {
        for url in self.urls(inbound) {
            if judge(&self.pieces(inbound, presented.timestamp.as_deref(), &url)?) {
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
        let query = self.query(inbound);
        if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }
    }

    /// The query as it came, without the signature that stands in it.
    fn query<'i>(&self, inbound: &'i Inbound) -> Cow<'i, str> {
        let Site::Query(site) = &self.site else { return Cow::Borrowed(&inbound.query) };
        let others = inbound.query.split('&').filter(|pair| pair.split('=').next() != Some(site));
        Cow::Owned(others.collect::<Vec<_>>().join("&"))
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
                Part::Query => match self.query(inbound) {
                    Cow::Borrowed(query) => Cow::Borrowed(query.as_bytes()),
                    Cow::Owned(query) => Cow::Owned(query.into_bytes()),
                },
                Part::Timestamp => Cow::Borrowed(timestamp.unwrap_or_default().as_bytes()),
                Part::Header(name) => match inbound.header(name) {
                    Some(value) if !value.is_empty() => Cow::Borrowed(value.as_bytes()),
                    _ => return Err(Refusal::unverified(format!("the header {name} is missing, empty or occurs twice"))),
                },
                Part::Form => Cow::Owned(form_pairs(inbound)?),
                Part::Payload(field) => payload(inbound, field).map_err(Refusal::unverified)?,
            });
        }
        Ok(pieces)
    }

    /// Proves a request as the provider would; `sign` makes the signature of what is signed.
    pub fn write(&self, inbound: &mut Inbound, sign: &Sign<'_>) -> Result<(), Refusal> {
        self.wrap(inbound);
        let time = self.timestamp.as_ref().map(|rule| rule.write(inbound.received_at));
        let place = self.timestamp.as_ref().map(|rule| &rule.place);
        if let (Some(Place::Query(name)), Some(time)) = (place, &time) {
            append(&mut inbound.query, name, time);
        }
        let url = self.address(inbound);
        let signature = self.encoding.encode(&sign(&self.pieces(inbound, time.as_deref(), &url)?)?);
        let label = match (place, &time) {
            (Some(Place::Label(label)), Some(time)) => Some((label.as_str(), time.as_str())),
            _ => None,
        };
        let value = self.layout.write(&signature, label);
        match &self.site {
            Site::Header(name) => inbound.headers.push((name.clone(), value.into())),
            Site::Query(name) => append(&mut inbound.query, name, &value),
        }
        if let (Some(Place::Header(name)), Some(time)) = (place, time) {
            inbound.headers.push((name.clone(), time.into()));
        }
        Ok(())
    }

    /// JSON as this provider packs it: into the field of a form, or named by its hash in the query.
    fn wrap(&self, inbound: &mut Inbound) {
        if let Some(field) = self.signed.payload() {
            form::pack(inbound, field);
        }
        let by_hash = self.signed.0.contains(&Part::Form) && !form::is_form(inbound) && !inbound.body.is_empty();
        if by_hash && named_by_query(inbound).is_err() {
            let hash = hex::encode(Sha256::digest(&inbound.body));
            append(&mut inbound.query, HASH, &hash);
        }
    }
}

fn append(query: &mut String, name: &str, value: &str) {
    *query = form_urlencoded::Serializer::new(std::mem::take(query)).append_pair(name, value).finish();
}

/// The JSON in the body, in the field of a form, or in the query of a method without a body.
fn payload<'i>(inbound: &'i Inbound, field: &str) -> Result<Cow<'i, [u8]>, &'static str> {
    if inbound.method == "GET" {
        return form::json_of(inbound.query.as_bytes(), true, field);
    }
    form::json_of(&inbound.body, form::is_form(inbound), field)
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
    let mut named = form_urlencoded::parse(inbound.query.as_bytes()).filter(|(name, _)| name == HASH);
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

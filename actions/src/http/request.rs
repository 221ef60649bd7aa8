//! What is sent, as plain data, and what came back.

use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;
use url::Url;

use crate::http::HttpError;
use crate::secret::Secret;

/// Answers of APIs are small; whoever expects more says so.
const DEFAULT_CAP: usize = 4 * 1024 * 1024;

/// Which statuses are an answer and not an error.
#[derive(Debug, Clone)]
pub(super) enum Expect {
    Success,
    These(Vec<u16>),
    Any,
}

/// One request. Faults made while building it surface when it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) deadline: Instant,
    pub(super) cap: usize,
    pub(super) expect: Expect,
    /// Values that must never be seen in an error text, even if the target sends them back.
    pub(super) secrets: Vec<Secret>,
    pub(super) metadata_server: bool,
    pub(super) fault: Option<String>,
}

impl Request {
    /// A request without a body, that must be answered with 2xx before `deadline`.
    pub fn new(method: Method, url: Url, deadline: Instant) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            deadline,
            cap: DEFAULT_CAP,
            expect: Expect::Success,
            secrets: Vec::new(),
            metadata_server: false,
            fault: None,
        }
    }

    /// The same from an address as text; one that cannot be read is an error when it is sent.
    pub fn to(method: Method, address: &str, deadline: Instant) -> Self {
        match Url::parse(address) {
            Ok(url) => Self::new(method, url, deadline),
            Err(error) => {
                let nowhere = Url::parse("http://invalid.invalid/").expect("a constant that is an address");
                let mut request = Self::new(method, nowhere, deadline);
                request.fault = Some(format!("`{}` is not an address: {error}", shown(address)));
                request
            }
        }
    }

    /// The same with another method.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Its body, for signing.
    pub(crate) fn body_bytes(&self) -> &[u8] {
        self.body.as_deref().unwrap_or_default()
    }

    /// A header that was set, as text.
    #[cfg(test)]
    pub(crate) fn header_text(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where it goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its deadline.
    pub(crate) fn until(&self) -> Instant {
        self.deadline
    }

    /// Adds `name=value` to the query, percent-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Sets a header. A value with line breaks or other control characters is an error when the request is sent.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            (Err(_), _) => self.fault = Some(format!("`{}` cannot be the name of a header", shown(name))),
            (_, Err(_)) => self.fault = Some(format!("the header `{name}` holds a character that a header cannot hold")),
        }
        self
    }

    /// `Authorization: Bearer …`.
    pub fn bearer(self, token: &Secret) -> Self {
        self.authorization("Bearer ", token)
    }

    /// `Authorization: Basic …` of a name and a password.
    pub fn basic(self, user: &str, password: &Secret) -> Self {
        let mut pair = format!("{user}:").into_bytes();
        pair.extend_from_slice(password.expose());
        let mut request = self.basic_pair(&Secret::new(pair));
        request.secrets.push(password.clone());
        request
    }

    /// `Authorization: Basic …` of `name:password` in one secret.
    pub fn basic_pair(mut self, pair: &Secret) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair.expose());
        self.secrets.push(pair.clone());
        self.authorization("Basic ", &Secret::new(encoded))
    }

    fn authorization(mut self, scheme: &str, credential: &Secret) -> Self {
        let mut bytes = scheme.as_bytes().to_vec();
        bytes.extend_from_slice(credential.expose());
        match HeaderValue::from_bytes(&bytes) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.headers.insert(AUTHORIZATION, value);
            }
            Err(_) => {
                self.fault = Some("the credential holds a character that a header cannot hold, such as a line break".into())
            }
        }
        self.secrets.push(credential.clone());
        self
    }

    /// The header `Authorization` with a value made elsewhere; `secret` is what it must not give away.
    pub fn signed(self, value: &str, secret: &Secret) -> Self {
        let mut request = self.authorization("", &Secret::new(value));
        request.secrets.push(secret.clone());
        request
    }

    /// A JSON body.
    pub fn json(mut self, value: &Value) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        self.body = Some(Bytes::from(value.to_string()));
        self
    }

    /// A form body.
    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.body = Some(Bytes::from(body));
        self
    }

    /// Bytes as they are; the caller sets `Content-Type`.
    pub fn bytes(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// All headers at once, over those set before.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        for (name, value) in headers {
            if let Some(name) = name {
                self.headers.insert(name, value);
            }
        }
        self
    }

    /// A value that must never be seen in an error text.
    pub fn conceal(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    /// Bytes that the answer's body may have.
    pub fn cap(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    /// The statuses that are an answer, instead of 2xx.
    pub fn expect(mut self, statuses: &[u16]) -> Self {
        self.expect = Expect::These(statuses.to_vec());
        self
    }

    /// Every status is an answer; the caller looks at it.
    pub fn expect_any(mut self) -> Self {
        self.expect = Expect::Any;
        self
    }

    /// An earlier deadline.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = self.deadline.min(deadline);
        self
    }

    /// Lets it reach the metadata server that the operator's settings name. Only the token source asks for that.
    pub(crate) fn metadata_server(mut self) -> Self {
        self.metadata_server = true;
        self
    }
}

/// An answer with an expected status.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body, within the cap.
    pub body: Bytes,
}

impl Response {
    /// The body as JSON; an empty one is `null`.
    pub fn json(&self) -> Result<Value, HttpError> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| HttpError::BadAnswer(format!("is not JSON (line {}, column {})", error.line(), error.column())))
    }

    /// A header as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// An address as people may see it: scheme, host and path. User, query and fragment can hold credentials or personal data.
pub fn shown_url(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    // Addresses that cannot have a user, such as `data:`, have none to take away.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}

/// Something from outside, cut and cleaned for a message.
pub(crate) fn shown(text: &str) -> String {
    let mut cleaned = String::new();
    let mut space = false;
    for character in text.chars() {
        if character.is_whitespace() || character.is_control() {
            space = !cleaned.is_empty();
            continue;
        }
        if space {
            cleaned.push(' ');
            space = false;
        }
        cleaned.push(character);
        if cleaned.chars().count() >= 240 {
            cleaned.push('…');
            break;
        }
    }
    cleaned
}

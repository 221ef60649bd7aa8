//! What can go wrong with a request, and what that means for another attempt.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde_json::Value;

use crate::action::{Failure, Why};
use crate::http::Response;
use crate::http::guard::Refused;
use crate::http::request::shown;
use crate::secret::Secret;

/// A target may ask for patience, but not for more than this.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Why there is no answer that the caller expected. Texts are fit to be shown: no headers, no secrets.
#[derive(Debug, Clone)]
pub enum HttpError {
    /// The egress guard does not let it out.
    Refused(Refused),
    /// The request could not be built.
    Invalid(String),
    /// The deadline passed; the target may or may not have done what was asked.
    Timeout,
    /// No connection came about; the target did nothing.
    Connect(String),
    /// The connection broke; the target may or may not have done what was asked.
    Cut(String),
    /// The answer is longer than this many bytes.
    TooLarge(usize),
    /// The answer does not have the promised form.
    BadAnswer(String),
    /// The target answered with a status that was not expected.
    Status {
        /// The status.
        status: u16,
        /// What it asked for with `Retry-After`.
        retry_after: Option<Duration>,
        /// Its own message, cut, cleaned and without what must stay concealed. Empty if it has none.
        message: String,
        /// The answer as it was, for callers that know its form.
        response: Box<Response>,
    },
    /// No token could be had for the request.
    Token(Failure),
    /// The client sends nothing.
    Unsent,
}

impl HttpError {
    pub(crate) fn status(response: Response, secrets: &[Secret]) -> Self {
        let mut message = excerpt(&response);
        for secret in secrets.iter().filter_map(Secret::expose_text).filter(|text| text.len() >= 4) {
            message = message.replace(secret, "[secret]");
        }
        Self::Status {
            status: response.status,
            retry_after: retry_after(&response.headers),
            message,
            response: Box::new(response),
        }
    }

    /// The unexpected status, if that is what went wrong.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// May another attempt succeed, with nothing changed by anybody?
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout | Self::Connect(_) | Self::Cut(_) => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Token(failure) => matches!(failure, Failure::Retry { .. }),
            Self::Refused(_) | Self::Invalid(_) | Self::TooLarge(_) | Self::BadAnswer(_) | Self::Unsent => false,
        }
    }

    /// What it means for the step. `target` is what the message calls the other side, such as `Cloud Run`.
    pub fn into_failure(self, target: &str) -> Failure {
        if let Self::Token(failure) = self {
            return failure;
        }
        let why = Why::new(self.code(), self.sentence(target));
        match &self {
            Self::Status { retry_after, .. } if self.is_retryable() => Failure::Retry { after: *retry_after, why },
            _ if self.is_retryable() => Failure::Retry { after: None, why },
            _ => Failure::Final { why },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Invalid(_) => "invalid",
            Self::Timeout => "timeout",
            Self::Connect(_) | Self::Cut(_) => "unreachable",
            Self::TooLarge(_) => "too-large",
            Self::BadAnswer(_) => "bad-answer",
            Self::Token(_) => "unauthorized",
            Self::Unsent => "unsent",
            Self::Status { status, .. } => match status {
                300..=399 => "redirect",
                401 => "unauthorized",
                403 => "forbidden",
                404 | 410 => "not-found",
                408 => "timeout",
                409 => "conflict",
                412 => "precondition-failed",
                429 => "rate-limited",
                500..=599 => "unavailable",
                _ => "rejected",
            },
        }
    }

    fn sentence(&self, target: &str) -> String {
        match self {
            Self::Refused(refused) => format!("{target} is not called: {refused}"),
            Self::Invalid(fault) => format!("The request to {target} cannot be made: {fault}"),
            Self::Timeout => format!("{target} did not answer in time"),
            Self::Connect(detail) => format!("{target} cannot be reached: {detail}"),
            Self::Cut(detail) => format!("The connection to {target} broke before the answer was complete: {detail}"),
            Self::TooLarge(cap) => format!("The answer of {target} is longer than {cap} bytes"),
            Self::BadAnswer(fault) => format!("The answer of {target} {fault}"),
            Self::Token(failure) => failure.why().message.clone(),
            Self::Unsent => format!("The request to {target} was written down and not sent"),
            Self::Status { status: 300..=399, .. } => format!("{target} answered with a redirect, which is never followed"),
            Self::Status { status, message, .. } if message.is_empty() => format!("{target} answered {status}"),
            Self::Status { status, message, .. } => format!("{target} answered {status}: {message}"),
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.sentence("the target"))
    }
}

impl Error for HttpError {}

/// Sorts a transport error. The guard's refusal sits deep in the chain, wrapped by the connector.
pub(super) fn classify(error: &reqwest::Error, deadline: Instant) -> HttpError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut deepest = String::new();
    while let Some(current) = cause {
        if let Some(refused) = current.downcast_ref::<Refused>() {
            return HttpError::Refused(refused.clone());
        }
        deepest = current.to_string();
        cause = current.source();
    }
    let detail = shown(&deepest);
    if error.is_builder() {
        HttpError::Invalid(detail)
    } else if error.is_connect() {
        HttpError::Connect(detail)
    } else if error.is_timeout() || Instant::now() >= deadline {
        HttpError::Timeout
    } else {
        HttpError::Cut(detail)
    }
}

/// `Retry-After` in either form. A date counts from the answer's own `Date`, so that no clock is needed and none can be wrong.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
    }
    let until = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    let sent = chrono::DateTime::parse_from_rfc2822(headers.get("date")?.to_str().ok()?).ok()?;
    let seconds = u64::try_from((until - sent).num_seconds()).unwrap_or(0);
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

/// The target's own words: of JSON the usual fields, of plain text the beginning, of anything else nothing.
fn excerpt(response: &Response) -> String {
    if let Ok(value) = serde_json::from_slice::<Value>(&response.body) {
        return ["/error/message", "/message", "/error_description", "/detail", "/title", "/errors/0/message", "/error"]
            .iter()
            .find_map(|path| value.pointer(path).and_then(Value::as_str))
            .map(shown)
            .unwrap_or_default();
    }
    let plain = response.header("content-type").is_some_and(|kind| kind.starts_with("text/plain"));
    if plain { std::str::from_utf8(&response.body).map(shown).unwrap_or_default() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Response { status, headers: map, body: bytes::Bytes::copy_from_slice(body.as_bytes()) }
    }

    #[test]
    fn overload_is_tried_again_and_refusals_are_not() {
        for (status, again) in [(400, false), (401, false), (403, false), (404, false), (408, true), (409, false), (412, false)] {
            assert_eq!(HttpError::status(answer(status, &[], ""), &[]).is_retryable(), again, "{status}");
        }
        for status in [429, 500, 502, 503, 504] {
            assert!(HttpError::status(answer(status, &[], ""), &[]).is_retryable(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let wait = |headers: &[(&str, &str)]| retry_after(&answer(429, headers, "").headers);
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = [("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")];
        assert_eq!(wait(&date), Some(Duration::from_secs(30)));
        let past = [("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT"), ("date", "Wed, 21 Oct 2015 07:28:00 GMT")];
        assert_eq!(wait(&past), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "99999999")]), Some(LONGEST_RETRY_AFTER));
    }

    #[test]
    fn the_message_of_the_target_is_cleaned_and_secrets_are_taken_out() {
        let body = r#"{"error":{"message":"bad token\n abcd1234 \u001b[31mred"}}"#;
        let error = HttpError::status(answer(400, &[], body), &[Secret::new("abcd1234")]);
        let failure = error.into_failure("Cloud Run");
        assert_eq!(failure.why().message, "Cloud Run answered 400: bad token [secret] [31mred");
        assert_eq!(failure.why().code, "rejected");
        let page = HttpError::status(answer(502, &[("content-type", "text/html")], "<html>"), &[]);
        assert_eq!(page.into_failure("It").why().message, "It answered 502");
    }
}

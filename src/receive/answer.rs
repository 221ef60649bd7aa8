//! What senders get back. Refusals are RFC 9457 problem documents with fixed texts: they tell nothing about what is configured.

use poem::Response;
use poem::http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::Readiness;
use crate::sources::Answer;
use crate::sources::replies::Words;
use crate::verify::Refusal;

const PROBLEM: &str = "application/problem+json";

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<poem::Body>) -> Response {
    let mut response = Response::builder().status(status).body(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Some answers repeat what a sender sent: no browser may take them for a page.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn problem(status: StatusCode, detail: &'static str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let document = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    respond(status, PROBLEM, document.to_string())
}

/// The same for everything that is not there, so that nobody learns which paths almost exist.
pub(super) fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "There is nothing here.")
}

pub(super) fn method_not_allowed(allowed: &str) -> Response {
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "This address does not answer to that method.");
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

pub(super) fn refusal(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    if status == StatusCode::NOT_FOUND {
        return not_found();
    }
    let mut response = problem(status, refusal.public);
    match status {
        StatusCode::UNAUTHORIZED => {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Signature"));
        }
        // The rest of the body is not read, so the connection cannot be used again.
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => close(&mut response),
        StatusCode::SERVICE_UNAVAILABLE => {
            close(&mut response);
            retry_after(&mut response, 5);
        }
        _ => {}
    }
    response
}

pub(super) fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

fn retry_after(response: &mut Response, seconds: u32) {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

pub(super) fn busy() -> Response {
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, "Too much at once. Nothing was stored; send it again later.");
    retry_after(&mut response, 2);
    response
}

pub(super) fn store_down() -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "It could not be stored. Send it again later.");
    retry_after(&mut response, 10);
    response
}

/// What a rule says, in the provider's words.
pub(super) fn reply(words: Words, id: &str) -> Response {
    let status = StatusCode::from_u16(words.status).unwrap_or(StatusCode::OK);
    named(respond(status, words.content_type, words.body), id)
}

pub(super) fn accepted(id: &str, duplicate: bool) -> Response {
    let body = if duplicate { json!({ "id": id, "duplicate": true }) } else { json!({ "id": id }) };
    named(respond(StatusCode::ACCEPTED, "application/json", body.to_string()), id)
}

/// With the delivery's id in a header.
pub(super) fn named(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(HeaderName::from_static("x-declic-delivery"), value);
    }
    response
}

/// An answer that the source made.
pub(super) fn made(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = respond(status, "text/plain", answer.body);
    match HeaderValue::from_str(&answer.content_type) {
        Ok(value) if !value.is_empty() => {
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        _ => {
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
    }
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A refusal with the status and the words of a source; what it says of the connection and of when to come again stays.
pub(super) fn reworded(refused: Response, answer: Answer) -> Response {
    let mut response = made(answer);
    for name in [header::CONNECTION, header::RETRY_AFTER] {
        if let (Some(value), false) = (refused.headers().get(&name), response.headers().contains_key(&name)) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

pub(super) fn text(body: &'static str) -> Response {
    respond(StatusCode::OK, "text/plain; charset=utf-8", body)
}

pub(super) fn readiness(readiness: &Readiness, detailed: bool) -> Response {
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut document = json!({ "ready": readiness.ready });
    if detailed {
        document["detail"] = readiness.detail.clone();
    }
    respond(status, "application/json", document.to_string())
}

pub(super) fn metrics(body: String) -> Response {
    respond(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body)
}

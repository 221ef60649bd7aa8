//! Payloads made to break receivers, each properly signed: refused or taken in, never a crash, never half a delivery.

use std::time::{Duration, Instant};

use base64::Engine;
use declic::journal::Journal;
use declic::receive::Limits;
use serde_json::Value;

use crate::support::service::{Answer, Service, exchange, github, github_headers, push};
use crate::support::vectors::{strings, vectors};

/// Time for one payload on a busy machine; the point is that none takes minutes.
const PATIENCE: Duration = Duration::from_secs(20);

fn text<'c>(case: &'c Value, key: &str) -> &'c str {
    case[key].as_str().unwrap_or_default()
}

/// The body that a case describes.
fn body(case: &Value) -> Vec<u8> {
    if let Some(encoded) = case["body_base64"].as_str() {
        return base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    }
    let Some(recipe) = case.get("generate") else { return text(case, "body").as_bytes().to_vec() };
    let mut made = text(recipe, "prefix").to_owned();
    let repeat = text(recipe, "repeat");
    if !repeat.contains("%d") {
        let times = usize::try_from(recipe["count"].as_u64().unwrap()).unwrap();
        return (made + &repeat.repeat(times) + text(recipe, "suffix")).into_bytes();
    }
    for index in 0..recipe["count"].as_u64().unwrap() {
        made.push_str(&repeat.replace("%d", &index.to_string()));
    }
    made.push_str(text(recipe, "suffix"));
    made.into_bytes()
}

/// The headers of a signed delivery, with those of the case in their place.
fn headers(case: &Value, body: &[u8]) -> Vec<(String, String)> {
    let mut headers = github_headers("issues", text(case, "id"), body);
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        headers.extend(strings(value).into_iter().map(|value| (name.clone(), value.to_owned())));
    }
    if let Some(recipe) = case.get("header_generate") {
        let times = usize::try_from(recipe["repeat_value"].as_u64().unwrap_or(1)).unwrap();
        for _ in 0..recipe["count"].as_u64().unwrap_or(1) {
            headers.push((text(recipe, "name").to_owned(), text(recipe, "value").repeat(times)));
        }
    }
    headers
}

/// Sends what no client library would, reading while it writes.
async fn send(service: &Service, headers: &[(String, String)], body: &[u8]) -> Option<Answer> {
    let framed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
    let chunked = body.len() > 25 * 1024 * 1024;
    let mut bytes = b"POST /hooks/github HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if chunked {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(1 << 16) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        if !framed {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
    }
    exchange(service.connect().await, bytes).await
}

/// The status that the `expect` text begins with: `reject 400 …`, `413 before …`.
fn expected(case: &Value) -> Option<u16> {
    let expect = text(case, "expect");
    let expect = expect.strip_prefix("reject ").unwrap_or(expect);
    expect.get(..3)?.parse().ok()
}

#[tokio::test]
async fn hostile_payloads_of_the_vectors_are_survived() {
    let service = Service::start(vec![github()], Limits::default()).await;
    let cases = vectors("_hostile-payloads.json");
    for case in cases.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let id = text(case, "id");
        if case.get("raw").is_some() {
            println!("{id}: a way of sending, not a payload; see receive.rs");
            continue;
        }
        let before = service.stored().await.len();
        let body = body(case);
        let start = Instant::now();
        let sent = tokio::time::timeout(PATIENCE, send(&service, &headers(case, &body), &body)).await;
        let answer = sent.unwrap_or_else(|_| panic!("{id}: no answer within {PATIENCE:?}")).expect(id);
        println!("{id}: {} after {:?}", answer.status, start.elapsed());
        match expected(case) {
            Some(status) => assert_eq!(answer.status, status, "{id}"),
            None => assert!(answer.status < 500, "{id}: {}", answer.status),
        }
        let stored = service.stored().await;
        assert_eq!(stored.len() - before, usize::from(answer.status == 202), "{id}");
        if answer.status == 202 {
            let kept = service.journal.delivery(&stored[0].id).await.unwrap().unwrap();
            assert_eq!(&kept.content.body[..], &body[..], "{id}");
        }
        let valid = service.deliver("push", &format!("valid after {id}"), &push("main")).await;
        assert_eq!(valid.status, 202, "{id}");
    }
}

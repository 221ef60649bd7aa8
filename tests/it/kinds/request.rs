//! `http/request`: what is sent, what stays inside, what is made of the answer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::server::Running;
use declic_actions::action::Failure;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, code};
use crate::support::echo::{self, Echo};

const KIND: &str = "http/request";

/// An API below `/api`, and an actor that may reach it.
async fn caller(more: Value) -> (Running<Echo>, Actor) {
    let echo = echo::start().await;
    let mut actor = Actor::with(None, &[&echo.authority]).await;
    let mut connection = json!({ "type": "http", "base-url": format!("{}/", echo.url) });
    connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    actor.connection = Some(connection);
    (echo, actor)
}

fn params(more: Value) -> Value {
    let mut params = json!({ "connection": "orders", "path": "/v1/orders" });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn the_request_is_what_the_rule_says_with_a_key_that_stays_the_same() {
    let (_echo, actor) = caller(json!({})).await;
    let more = json!({ "method": "PUT", "query": { "a b": "c&d" }, "headers": { "X-Kind": "test" }, "body": { "order": 17 } });
    for _ in 0..2 {
        let outcome = actor.run(KIND, "d1-h-1", params(more.clone())).await.unwrap();
        let body = &outcome.outputs["body"];
        assert_eq!(outcome.outputs["status"], 200);
        assert_eq!((&body["method"], &body["path"]), (&json!("PUT"), &json!("/v1/orders")));
        assert_eq!(body["query"], json!([["a b", "c&d"]]));
        assert_eq!(body["body"], json!({ "order": 17 }));
        assert_eq!((&body["key"], &body["type"]), (&json!("d1-h-1"), &json!("application/json")));
        assert_eq!(body["authorization"], Value::Null);
    }
}

#[tokio::test]
async fn nothing_leaves_the_connection() {
    let (echo, actor) = caller(json!({ "methods": ["GET"] })).await;
    for more in [
        json!({ "path": "/../x" }),
        json!({ "path": "/%2e%2e/x" }),
        json!({ "path": "/a\\..\\b" }),
        json!({ "method": "POST" }),
        json!({ "headers": { "Host": "evil.example" } }),
        json!({ "headers": { "X-A": "b\r\nX-C: d" } }),
        json!({ "headers": { "Content-Length": "0" } }),
        json!({ "headers": { "Transfer-Encoding": "chunked" } }),
    ] {
        assert!(actor.prepare(KIND, "d1-h-1", params(more.clone())).is_err(), "{more}");
    }
    assert!(echo.ledger.requests().is_empty());
    for path in ["http://169.254.169.254/", "//evil.example/x", "@evil.example/", ":80/x"] {
        let outcome = actor.run(KIND, "d1-h-1", params(json!({ "path": path }))).await.unwrap();
        assert_eq!(outcome.outputs["body"]["path"], format!("/{}", path.strip_prefix('/').unwrap_or(path)));
    }
}

#[tokio::test]
async fn an_address_that_is_private_and_not_allowed_is_not_called() {
    let echo = echo::start().await;
    let mut actor = Actor::new().await;
    actor.connection = Some(json!({ "type": "http", "base-url": echo.url }));
    assert_eq!(code(&actor.run(KIND, "d1-h-1", params(json!({}))).await), ("refused", false));
    assert!(echo.ledger.requests().is_empty());
}

#[tokio::test]
async fn credentials_come_from_the_connection_or_from_the_named_secret() {
    let (_echo, mut actor) = caller(json!({ "auth": { "bearer": "orders" } })).await;
    actor.secrets.insert("orders".into(), Secret::new("first"));
    actor.secrets.insert("other".into(), Secret::new("second"));
    let outcome = actor.run(KIND, "d1-h-1", params(json!({}))).await.unwrap();
    assert_eq!(outcome.outputs["body"]["authorization"], "Bearer first");
    let intent = actor.prepare(KIND, "d1-h-1", params(json!({ "token": "other" }))).unwrap();
    assert!(!serde_json::to_string(&intent).unwrap().contains("second"), "what is journaled holds no secret");
    let outcome = actor.run(KIND, "d1-h-1", params(json!({ "token": "other" }))).await.unwrap();
    assert_eq!(outcome.outputs["body"]["authorization"], "Bearer second");
}

#[tokio::test]
async fn a_google_id_token_names_its_audience() {
    let (_echo, actor) = caller(json!({ "auth": { "google-id-token": "https://orders.example" } })).await;
    let outcome = actor.run(KIND, "d1-h-1", params(json!({}))).await.unwrap();
    let token = outcome.outputs["body"]["authorization"].as_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["aud"], &claims["email"]), (&json!("https://orders.example"), &json!(actor.identity())));
}

#[tokio::test]
async fn answers_of_any_form_are_read_within_bounds() {
    let (_echo, actor) = caller(json!({})).await;
    let outcome = actor.run(KIND, "d1-h-1", params(json!({ "path": "/text" }))).await.unwrap();
    assert_eq!(outcome.outputs["body"], "plain");
    for (path, expected) in
        [("/broken", ("bad-answer", false)), ("/large", ("too-large", false)), ("/moved", ("redirect", false))]
    {
        assert_eq!(code(&actor.run(KIND, "d1-h-1", params(json!({ "path": path }))).await), expected, "{path}");
    }
}

#[tokio::test]
async fn each_class_of_failure_is_told_apart_unless_it_was_expected() {
    let (echo, actor) = caller(json!({})).await;
    for (status, retry_after, expected) in [
        (400, None, ("rejected", false)),
        (401, None, ("unauthorized", false)),
        (403, None, ("forbidden", false)),
        (404, None, ("not-found", false)),
        (408, None, ("timeout", true)),
        (409, None, ("conflict", false)),
        (412, None, ("precondition-failed", false)),
        (429, Some(9), ("rate-limited", true)),
        (500, None, ("unavailable", true)),
        (503, Some(2), ("unavailable", true)),
    ] {
        echo.faults.fail_next(1, status, retry_after);
        let result = actor.run(KIND, "d1-h-1", params(json!({}))).await;
        assert_eq!(code(&result), expected, "{status}");
        if let Err(Failure::Retry { after, .. }) = result {
            assert_eq!(after, retry_after.map(|seconds| Duration::from_secs(u64::from(seconds))), "{status}");
        }
        echo.faults.fail_next(1, status, None);
        let outcome = actor.run(KIND, "d1-h-1", params(json!({ "expect": [200, status] }))).await.unwrap();
        assert_eq!(outcome.outputs["status"], status);
    }
    let unexpected = actor.run(KIND, "d1-h-1", params(json!({ "expect": [204] }))).await;
    assert_eq!(code(&unexpected), ("rejected", false));
    echo.faults.next(1, Fault::Cut);
    assert_eq!(code(&actor.run(KIND, "d1-h-1", params(json!({}))).await), ("unreachable", true));
}

#[tokio::test]
async fn a_target_that_is_slow_or_away_can_be_tried_again() {
    let (echo, mut actor) = caller(json!({})).await;
    actor.patience = Duration::from_millis(200);
    echo.faults.slow(5_000);
    assert_eq!(code(&actor.run(KIND, "d1-h-1", params(json!({}))).await), ("timeout", true));
    drop(echo);
    actor.patience = Duration::from_secs(5);
    assert_eq!(code(&actor.run(KIND, "d1-h-1", params(json!({}))).await), ("unreachable", true));
}

#[tokio::test]
async fn a_request_is_signed_as_standard_webhooks_has_it_on_every_attempt() {
    let (_echo, mut actor) = caller(json!({ "auth": { "standard-webhooks": "key" } })).await;
    actor.secrets.insert("key".into(), Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    let outcome = actor.run(KIND, "d1-h-1", params(json!({ "body": { "order": 17 } }))).await.unwrap();
    let headers = outcome.outputs["body"]["headers"].as_array().unwrap().clone();
    let header = |name: &str| {
        let found = headers.iter().find(|pair| pair[0] == name);
        found.and_then(|pair| pair[1].as_str()).unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(header("webhook-id"), "d1-h-1");
    let key = base64::engine::general_purpose::STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(&key).unwrap();
    hmac::Mac::update(&mut mac, format!("d1-h-1.{}.{{\"order\":17}}", header("webhook-timestamp")).as_bytes());
    let expected = base64::engine::general_purpose::STANDARD.encode(hmac::Mac::finalize(mac).into_bytes());
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
    actor.secrets.insert("key".into(), Secret::new("too short"));
    assert_eq!(code(&actor.run(KIND, "d1-h-2", params(json!({}))).await), ("invalid", false));
}

#[tokio::test]
async fn a_name_and_a_password_go_as_basic_authentication() {
    let (_echo, mut actor) = caller(json!({ "auth": { "basic": "pair" } })).await;
    actor.secrets.insert("pair".into(), Secret::new("declic:s3cret"));
    let outcome = actor.run(KIND, "d1-h-1", params(json!({}))).await.unwrap();
    assert_eq!(outcome.outputs["body"]["authorization"], "Basic ZGVjbGljOnMzY3JldA==");
}

#[tokio::test]
async fn every_request_out_carries_the_trace_of_the_delivery() {
    let (echo, mut actor) = caller(json!({ "auth": { "google-id-token": "https://orders.example" } })).await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let run = declic_actions::http::traced(Some(id), async {
        actor.run(KIND, "d1-h-1", params(json!({}))).await.unwrap();
        actor.run("github/comment", "d1-c-1", json!({ "body": "x" })).await.unwrap();
    });
    run.await;
    for ledger in [&echo.ledger, &actor.world.identity.ledger, &actor.world.github.ledger] {
        let requests = ledger.requests();
        assert!(!requests.is_empty());
        for asked in requests {
            let parent = asked.headers.iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value.clone());
            assert!(parent.as_deref().is_some_and(|parent| parent.starts_with(&format!("00-{id}-"))), "{asked:?}");
        }
    }
    actor.forget_limits();
    actor.run("github/comment", "d1-c-2", json!({ "body": "x" })).await.unwrap();
    let last = actor.world.github.ledger.requests().pop().unwrap();
    assert!(last.headers.iter().all(|(name, _)| name != "traceparent"), "no trace, no header");
}

#[tokio::test]
async fn a_request_carries_the_count_of_hops_and_the_sixth_in_a_row_is_refused() {
    let (_echo, mut actor) = caller(json!({})).await;
    for (hops, carried) in [(0, "1"), (4, "5")] {
        actor.origin.hops = hops;
        let forged = json!({ "headers": { "Declic-Hops": "0" } });
        let outcome = actor.run(KIND, "d1-h-1", params(forged)).await.unwrap();
        let headers = outcome.outputs["body"]["headers"].as_array().unwrap().clone();
        let sent: Vec<&Value> = headers.iter().filter(|pair| pair[0] == "declic-hops").map(|pair| &pair[1]).collect();
        assert_eq!(sent, [carried], "what the rule writes there does not count");
    }
    for hops in [5, u32::MAX] {
        actor.origin.hops = hops;
        assert_eq!(actor.prepare(KIND, "d1-h-2", params(json!({}))).unwrap_err().code, "loop");
    }
}

//! `http/request` against a server that writes down what it is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use declic_actions::action::{Call, Clients, Context, Failure, Outcome, Progress};
use declic_actions::github::{GitHub, GitHubSettings};
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::kinds;
use declic_actions::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

struct Silent;

#[async_trait]
impl Progress for Silent {
    fn stage(&self, _name: &'static str, _line: &str) {}
    async fn save(&self, _saved: Value) -> Result<(), Failure> {
        Ok(())
    }
}

/// Sends one request to a server that answers this, once; gives what came of it and what the server read.
async fn exchange(more: Value, auth: Value, answer: &str) -> (Result<Outcome, Failure>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let answer = answer.to_owned();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while let Ok(Ok(length)) = tokio::time::timeout(Duration::from_millis(100), socket.read_buf(&mut read)).await {
            if length == 0 {
                break;
            }
        }
        let _ = socket.write_all(answer.as_bytes()).await;
        String::from_utf8_lossy(&read).into_owned()
    });
    let http = Http::new(HttpSettings { allow: vec![authority.clone()], user_agent: "declic-test".into() }).unwrap();
    let clients = Clients {
        google: Google::new(http.clone(), GoogleSettings::default(), || 0).unwrap(),
        github: GitHub::new(http.clone(), GitHubSettings { api_url: "https://api.github.com".into(), token: None }).unwrap(),
        http,
    };
    let mut params = json!({ "connection": "orders", "path": "/orders/7" });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let call = Call {
        key: "key-1".into(),
        params: params.as_object().unwrap().clone(),
        target: None,
        connection: Some(json!({ "type": "http", "base-url": format!("http://{authority}/v1"), "auth": auth })),
        origin: Default::default(),
    };
    let action = kinds::find("http/request").unwrap();
    let intent = action.prepare(call).unwrap();
    assert!(!serde_json::to_string(&intent).unwrap().contains("s3cret"), "an intent is journaled and must hold no secret");
    let secrets =
        BTreeMap::from([("token".to_owned(), Secret::new("s3cret-token")), ("pair".to_owned(), Secret::new("user:s3cret-pass"))]);
    let deadline = Instant::now() + Duration::from_secs(5);
    let context = Context { clients: &clients, deadline, attempt: 1, saved: None, progress: &Silent, secrets: &secrets };
    let outcome = action.run(&context, &intent).await;
    (outcome, server.await.unwrap())
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_body_is_sent_as_json_with_key_and_token() {
    let json = answer("201 Created", "content-type: application/json\r\nset-cookie: a=b\r\nx-id: 9\r\n", "{\"score\":0.5}");
    let more = json!({ "body": { "order": 7 }, "query": { "a": "x y" }, "headers": { "X-Shop": "acme" }, "token": "token" });
    let (outcome, sent) = exchange(more, Value::Null, &json).await;
    let outputs = outcome.unwrap().outputs;
    assert_eq!((&outputs["status"], &outputs["body"]), (&json!(201), &json!({ "score": 0.5 })));
    assert_eq!((&outputs["headers"]["x-id"], &outputs["headers"]["set-cookie"]), (&json!("9"), &Value::Null));
    let lines: Vec<&str> = sent.lines().collect();
    assert_eq!(lines.first(), Some(&"POST /v1/orders/7?a=x+y HTTP/1.1"));
    for line in ["content-type: application/json", "x-shop: acme", "idempotency-key: key-1", "authorization: Bearer s3cret-token"]
    {
        assert!(lines.contains(&line), "{line} is not in\n{sent}");
    }
    assert_eq!(lines.last(), Some(&"{\"order\":7}"));
}

#[tokio::test]
async fn the_connections_own_authentication_is_used() {
    let (outcome, sent) = exchange(json!({}), json!({ "basic": "pair" }), &answer("200 OK", "", "plain")).await;
    assert_eq!(outcome.unwrap().outputs["body"], "plain");
    assert!(sent.starts_with("GET /v1/orders/7 HTTP/1.1\r\n"));
    assert!(sent.contains("authorization: Basic dXNlcjpzM2NyZXQtcGFzcw=="), "{sent}");
}

#[tokio::test]
async fn only_expected_statuses_are_an_answer() {
    let missing = answer("404 Not Found", "content-type: application/json\r\n", "{\"message\":\"no such order\"}");
    let (outcome, _) = exchange(json!({ "expect": [200, 404] }), Value::Null, &missing).await;
    assert_eq!(outcome.unwrap().outputs["status"], 404);
    let (outcome, _) = exchange(json!({}), Value::Null, &missing).await;
    let failure = outcome.unwrap_err();
    assert!(
        matches!(&failure, Failure::Final { why } if why.code == "not-found" && why.message.contains("no such order")),
        "{failure:?}"
    );
}

#[tokio::test]
async fn overload_is_tried_again_when_the_target_says() {
    for (status, code) in [("429 Too Many Requests", "rate-limited"), ("503 Service Unavailable", "unavailable")] {
        let (outcome, _) = exchange(json!({}), Value::Null, &answer(status, "retry-after: 3\r\n", "")).await;
        let failure = outcome.unwrap_err();
        assert_eq!(failure.why().code, code);
        assert!(matches!(failure, Failure::Retry { after: Some(after), .. } if after == Duration::from_secs(3)));
    }
}

#[tokio::test]
async fn json_that_is_not_json_is_an_error_and_not_tried_again() {
    let (outcome, _) = exchange(json!({}), Value::Null, &answer("200 OK", "content-type: application/json\r\n", "{oops")).await;
    assert!(matches!(outcome.unwrap_err(), Failure::Final { why } if why.code == "bad-answer"));
}

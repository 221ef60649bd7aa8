//! `dialogflow/fulfill`, ES and CX.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::faults::Fault;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, code};

const KIND: &str = "dialogflow/fulfill";

async fn asker(flavor: &str, auth: Value) -> Actor {
    let mut actor = Actor::new().await;
    let mut connection =
        json!({ "type": "dialogflow-fulfillment", "url": format!("{}/{flavor}", actor.world.dialogflow.url), "flavor": flavor });
    if !auth.is_null() {
        connection["auth"] = auth;
    }
    actor.connection = Some(connection);
    actor
}

fn params() -> Value {
    json!({ "connection": "bot", "session": "deploy-17", "intent": "deploy.finished", "params": { "service": "web", "count": 2 } })
}

#[tokio::test]
async fn both_flavors_are_asked_in_their_own_form_and_answer_the_same() {
    for flavor in ["es", "cx"] {
        let actor = asker(flavor, Value::Null).await;
        let outcome = actor.run(KIND, "d1-f-1", params()).await.unwrap_or_else(|why| panic!("{flavor}: {why:?}"));
        assert_eq!(outcome.outputs["text"], "Noted: deploy.finished.", "{flavor}");
        assert_eq!(outcome.outputs["texts"], json!(["Noted: deploy.finished.", "Parameters: service, count."]), "{flavor}");
        assert_eq!(outcome.outputs["params"], json!({ "service": "web", "count": 2, "noted": true }), "{flavor}");
        assert_eq!(outcome.outputs["payload"], json!({ "intent": "deploy.finished" }), "{flavor}");
        let effects = actor.world.dialogflow.ledger.effects();
        assert_eq!(effects[0].details["response"], "d1-f-1", "the endpoint can tell a repeated call");
        assert!(effects[0].details["session"].as_str().unwrap().ends_with("/sessions/deploy-17"));
        actor.assert_nothing_refused();
    }
}

#[tokio::test]
async fn odd_sessions_queries_and_parameters_still_make_valid_requests() {
    for flavor in ["es", "cx"] {
        let actor = asker(flavor, Value::Null).await;
        for (key, value) in [
            ("session", json!("ö/../".repeat(30))),
            ("session", json!(" ")),
            ("intent", json!("Deploy / finished!")),
            ("query", json!({ "nested": [1, null] })),
            ("query", json!("")),
            ("params", json!({})),
            ("params", json!({ "a": null, "b": [1, { "c": false }] })),
        ] {
            let mut params = params();
            params[key] = value.clone();
            actor.run(KIND, "d1-f-1", params).await.unwrap_or_else(|why| panic!("{flavor} {key} {value}: {why:?}"));
        }
    }
}

#[tokio::test]
async fn credentials_of_the_connection_are_sent() {
    let basic = format!("Basic {}", STANDARD.encode("user:pass:word"));
    for (auth, secret, header) in
        [(json!({ "bearer": "bot" }), "token", "Bearer token".to_owned()), (json!({ "basic": "bot" }), "user:pass:word", basic)]
    {
        let mut actor = asker("es", auth).await;
        actor.world.dialogflow.require_authorization(&header);
        actor.secrets.insert("bot".into(), Secret::new("wrong:wrong"));
        let result = actor.run(KIND, "d1-f-1", params()).await;
        assert_eq!(code(&result), ("unauthorized", false));
        assert!(!result.unwrap_err().why().message.contains("wrong"));
        actor.secrets.insert("bot".into(), Secret::new(secret));
        actor.run(KIND, "d1-f-1", params()).await.unwrap();
        actor.secrets.clear();
        assert_eq!(code(&actor.run(KIND, "d1-f-1", params()).await), ("invalid", false));
    }
}

#[tokio::test]
async fn each_class_of_failure_is_told_apart() {
    let actor = asker("es", Value::Null).await;
    for (fault, expected) in [
        (Fault::Fail { status: 400, retry_after: None }, ("rejected", false)),
        (Fault::Fail { status: 403, retry_after: None }, ("forbidden", false)),
        (Fault::Fail { status: 404, retry_after: None }, ("not-found", false)),
        (Fault::Fail { status: 429, retry_after: Some(1) }, ("rate-limited", true)),
        (Fault::Fail { status: 500, retry_after: None }, ("unavailable", true)),
        (Fault::Cut, ("unreachable", true)),
        (Fault::BadBody, ("bad-answer", false)),
    ] {
        actor.world.dialogflow.faults.next(1, fault.clone());
        let result = actor.run(KIND, "d1-f-1", params()).await;
        assert_eq!(code(&result), expected, "{fault:?}: {result:?}");
    }
    for (answer, expected) in [
        (json!([]), ("bad-answer", false)),
        (json!({ "fulfillmentText": 7 }), ("bad-answer", false)),
        (json!({ "payload": { "x": "y".repeat(70_000) } }), ("too-large", false)),
    ] {
        actor.world.dialogflow.answer_with(answer);
        let result = actor.run(KIND, "d1-f-1", params()).await;
        assert_eq!(code(&result), expected, "{result:?}");
    }
}

#[tokio::test]
async fn an_empty_answer_has_no_text() {
    let actor = asker("es", Value::Null).await;
    actor.world.dialogflow.answer_with(json!({}));
    let outcome = actor.run(KIND, "d1-f-1", params()).await.unwrap();
    assert_eq!(outcome.outputs, json!({ "text": "", "texts": [], "params": {}, "payload": null }));
}

#[tokio::test]
async fn a_slow_endpoint_meets_the_deadline() {
    let mut actor = asker("cx", Value::Null).await;
    actor.patience = Duration::from_millis(200);
    actor.world.dialogflow.faults.slow(5_000);
    assert_eq!(code(&actor.run(KIND, "d1-f-1", params()).await), ("timeout", true));
}

#[tokio::test]
async fn what_a_dry_run_shows_holds_neither_user_nor_query_of_the_address() {
    let mut actor = asker("es", Value::Null).await;
    actor.connection.as_mut().unwrap()["url"] = "https://u5er:pa55@bot.example:8443/hook?key=s3cr3t#part".into();
    let intent = actor.prepare(KIND, "d1-f-1", params()).unwrap();
    assert_eq!(intent.summary, "ask https://bot.example:8443/hook about deploy.finished");
}

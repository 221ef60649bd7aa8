//! `pubsub/publish`, `bigquery/insert`, `fcm/send`: held to the discovery documents by stand-ins with state.

use declic::demo::stand_ins::faults::Fault;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};
use crate::support::google_apis::GONE;
use crate::support::service::source;

const PUBLISH: &str = "pubsub/publish";
const INSERT: &str = "bigquery/insert";
const SEND: &str = "fcm/send";
const TOPIC: &str = "projects/acme-ops/topics/orders-new";

async fn bus() -> Actor {
    let mut actor = Actor::new().await;
    actor.apis.add_topic(TOPIC);
    actor.connection = Some(json!({ "type": "pubsub", "project": "acme-ops", "topics": ["orders-new", "gone"] }));
    actor
}

async fn warehouse() -> Actor {
    let mut actor = Actor::new().await;
    actor.apis.add_table("orders", &["order_id", "total", "coupon", "items"]);
    actor.connection =
        Some(json!({ "type": "bigquery", "project": "acme-data", "dataset": "events", "tables": ["orders", "gone"] }));
    actor
}

async fn mobile() -> Actor {
    let mut actor = Actor::new().await;
    actor.connection = Some(json!({ "type": "fcm", "project": "acme-mobile" }));
    actor
}

fn message(more: Value) -> Value {
    let mut params = json!({ "connection": "bus", "topic": "orders-new", "data": { "id": 17, "ok": true } });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn a_published_message_is_json_with_its_order_and_the_key_of_its_call() {
    let actor = bus().await;
    let more = json!({ "attributes": { "service": "api", "count": 3 }, "ordering-key": 17 });
    let outcome = actor.run(PUBLISH, "d1-p-1", message(more)).await.unwrap();
    actor.run(PUBLISH, "d1-p-2", message(json!({ "data": "plain text" }))).await.unwrap();
    let messages = actor.apis.messages(TOPIC);
    assert_eq!(outcome.outputs, json!({ "message_id": "1" }));
    assert_eq!(serde_json::from_str::<Value>(&messages[0].data).unwrap(), json!({ "id": 17, "ok": true }));
    assert_eq!(messages[0].attributes, json!({ "service": "api", "count": "3", "declic-key": "d1-p-1", "declic-hops": "1" }));
    assert_eq!(messages[0].ordering_key.as_deref(), Some("17"));
    assert_eq!((messages[1].data.as_str(), &messages[1].ordering_key), ("plain text", &None));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_message_published_twice_after_a_lost_answer_carries_the_same_key() {
    let actor = bus().await;
    let intent = actor.prepare(PUBLISH, "d1-p-1", message(json!({}))).unwrap();
    actor.apis.faults.next(1, Fault::Cut);
    actor.see_through(PUBLISH, &intent, &Recorder::default(), 1).await.unwrap();
    let keys: Vec<Value> = actor.apis.messages(TOPIC).iter().map(|message| message.attributes["declic-key"].clone()).collect();
    assert_eq!(keys, ["d1-p-1", "d1-p-1"]);
}

#[tokio::test]
async fn what_pubsub_would_not_take_or_the_operator_does_not_offer_is_never_sent() {
    let actor = bus().await;
    for more in [
        json!({ "topic": "secrets" }),
        json!({ "topic": "../x" }),
        json!({ "attributes": { "googclient": "x" } }),
        json!({ "attributes": { "a": "x".repeat(1025) } }),
        json!({ "attributes": (0..99).map(|number| (number.to_string(), Value::from(1))).collect::<serde_json::Map<_, _>>() }),
        json!({ "ordering-key": "x".repeat(1025) }),
        json!({ "data": "" }),
    ] {
        assert!(actor.prepare(PUBLISH, "d1-p-1", message(more.clone())).is_err(), "{more}");
    }
    assert!(actor.apis.ledger.requests().is_empty());
}

fn row(more: Value) -> Value {
    let mut params = json!({
        "connection": "warehouse", "table": "orders",
        "row": { "order_id": 9_007_199_254_740_993_u64, "total": 612.5, "coupon": null, "items": [{ "sku": "A1" }] },
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn a_row_keeps_its_values_and_is_one_row_however_often_it_is_sent() {
    let actor = warehouse().await;
    let intent = actor.prepare(INSERT, "d1-i-1", row(json!({ "insert-id": 7001 }))).unwrap();
    actor.apis.faults.next(1, Fault::Cut);
    let outcome = actor.see_through(INSERT, &intent, &Recorder::default(), 1).await.unwrap();
    assert_eq!(outcome.outputs, json!({ "inserted": 1 }));
    actor.run(INSERT, "d2-i-1", row(json!({ "insert-id": "x".repeat(200) }))).await.unwrap();
    let rows = actor.apis.rows("orders");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows["7001"], row(json!({}))["row"]);
    assert!(rows.keys().all(|id| id.len() <= 128));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_row_that_bigquery_refuses_inside_a_200_is_a_failure() {
    let actor = warehouse().await;
    let result = actor.run(INSERT, "d1-i-1", row(json!({ "row": { "order_id": 1, "typo": 2 } }))).await;
    assert_eq!(code(&result), ("rejected", false));
    assert!(result.unwrap_err().why().message.contains("no such field: typo"));
    for (reason, expected) in [("invalid", ("rejected", false)), ("backendError", ("unavailable", true))] {
        actor.apis.fail_row(reason);
        let result = actor.run(INSERT, "d1-i-1", row(json!({}))).await;
        assert_eq!(code(&result), expected, "{reason}");
    }
    assert!(actor.apis.rows("orders").is_empty());
    for more in [json!({ "table": "salaries" }), json!({ "row": {} }), json!({ "table": "a/b" })] {
        assert!(actor.prepare(INSERT, "d1-i-1", row(more.clone())).is_err(), "{more}");
    }
}

fn push(more: Value) -> Value {
    let mut params = json!({ "connection": "mobile", "topic": "user-c9", "title": "Thank you!", "body": "Order 17 is in." });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn a_push_message_has_texts_as_data_and_a_priority_for_each_platform() {
    let actor = mobile().await;
    let more = json!({ "data": { "order_id": 17, "screen": "order" }, "priority": "high" });
    let outcome = actor.run(SEND, "d1-f-1", push(more)).await.unwrap();
    assert_eq!(outcome.outputs, json!({ "message_id": "projects/acme-mobile/messages/1" }));
    let sent = &actor.apis.pushed()[0];
    assert_eq!(sent["data"], json!({ "order_id": "17", "screen": "order", "declic_key": "d1-f-1" }));
    assert_eq!(sent["notification"], json!({ "title": "Thank you!", "body": "Order 17 is in." }));
    assert_eq!((&sent["android"]["priority"], &sent["apns"]["headers"]["apns-priority"]), (&json!("HIGH"), &json!("10")));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_device_that_is_gone_is_told_apart_and_no_message_has_two_receivers() {
    let actor = mobile().await;
    let to = |token: &str| json!({ "connection": "mobile", "token": token, "title": "x", "body": "y" });
    assert_eq!(code(&actor.run(SEND, "d1-f-1", to(GONE)).await), ("unregistered", false));
    actor.run(SEND, "d1-f-2", to("device")).await.unwrap();
    assert_eq!(actor.apis.pushed()[0]["token"], "device");
    for more in [
        json!({ "token": "both" }),
        json!({ "topic": "a b" }),
        json!({ "topic": null }),
        json!({ "data": { "from": "x" } }),
        json!({ "data": { "google.x": "x" } }),
        json!({ "body": "x".repeat(5000) }),
        json!({ "priority": "urgent" }),
    ] {
        assert!(actor.prepare(SEND, "d1-f-3", push(more.clone())).is_err(), "{more}");
    }
}

#[tokio::test]
async fn each_class_of_failure_of_the_data_services_is_told_apart() {
    let calls = [
        (bus().await, PUBLISH, message(json!({}))),
        (warehouse().await, INSERT, row(json!({}))),
        (mobile().await, SEND, push(json!({}))),
    ];
    for (actor, kind, params) in calls {
        for (status, retry_after, expected) in [
            (400, None, ("rejected", false)),
            (403, None, ("forbidden", false)),
            (404, None, ("not-found", false)),
            (409, None, ("conflict", false)),
            (412, None, ("precondition-failed", false)),
            (429, Some(7), ("rate-limited", true)),
            (500, None, ("unavailable", true)),
            (503, None, ("unavailable", true)),
        ] {
            actor.apis.faults.fail_next(1, status, retry_after);
            let result = actor.run(kind, "d1-x-1", params.clone()).await;
            assert_eq!(code(&result), expected, "{kind} {status}: {result:?}");
        }
        // A token that was revoked is fetched again, once.
        actor.world.tokens.revoke_all();
        actor.run(kind, "d1-x-2", params.clone()).await.unwrap();
        actor.apis.faults.fail_next(2, 401, None);
        assert_eq!(code(&actor.run(kind, "d1-x-3", params.clone()).await), ("unauthorized", false), "{kind}");
        let mut hurried = actor;
        hurried.patience = std::time::Duration::from_millis(200);
        hurried.apis.faults.slow(5_000);
        assert_eq!(code(&hurried.run(kind, "d1-x-4", params).await), ("timeout", true), "{kind}");
    }
}

#[tokio::test]
async fn a_row_can_be_held_against_the_columns_of_its_table_before_it_is_sent() {
    use declic_actions::kinds::bigquery_insert::{columns, misfits};
    let actor = warehouse().await;
    let until = || std::time::Instant::now() + std::time::Duration::from_secs(5);
    let connection = actor.connection.clone().unwrap();
    let found = columns(&actor.clients.google, &connection, "orders", until()).await.unwrap();
    assert_eq!(found.len(), 4);
    assert!(misfits(&found, ["Order_ID", "total"]).is_empty());
    assert_eq!(misfits(&found, ["typo"]), ["the table has no column `typo`", "the table requires `order_id`"]);
    let gone = columns(&actor.clients.google, &connection, "gone", until()).await.unwrap_err();
    assert_eq!(gone.why().code, "not-found");
    assert!(columns(&actor.clients.google, &connection, "a/b", until()).await.is_err());
    actor.apis.ledger.requests().iter().for_each(|asked| assert_ne!(asked.status, 400, "{asked:?}"));
}

/// What a message or a task carries is read again by the source that it comes back to, until nothing more is sent.
#[tokio::test]
async fn messages_and_tasks_that_come_back_end_at_the_fifth_hop() {
    use declic::clock::Timestamp;
    use declic::event::Event;
    use declic::journal::record::{Delivery, NewDelivery};
    use declic::sources::Source;

    let back = |source: &dyn Source, headers: Vec<(String, String)>, body: Value| -> Event {
        let content = NewDelivery {
            share: "back".to_owned(),
            source: "back".to_owned(),
            delivery_id: "1".to_owned(),
            event_type: "any".to_owned(),
            headers,
            body: body.to_string().into_bytes().into(),
            received_at: Timestamp(1_764_000_000_000),
            trace: String::new(),
            verified: String::new(),
        };
        let delivery = Delivery { id: "d1".to_owned(), content, replay: false, learned: None };
        source.decode(&delivery, false).unwrap().expect("an event")
    };
    let auth = json!({ "auth": { "token": { "header": "x-token", "secret": "hook" } } });
    let push = source("back", "pubsub-push", auth.clone(), &["s"]);
    let tasks = source("back", "google-cloud-tasks", auth, &["s"]);

    let mut bus = bus().await;
    let mut sent = 0;
    while let Ok(intent) = bus.prepare(PUBLISH, "d1-p-1", message(json!({ "attributes": { "declic-hops": "0" } }))) {
        bus.attempt(PUBLISH, &intent, 1, &Recorder::default()).await.unwrap();
        sent += 1;
        let message = bus.apis.messages(TOPIC).pop().unwrap();
        let pushed = json!({ "subscription": "projects/acme-ops/subscriptions/back",
            "message": { "messageId": "1", "publishTime": "2026-11-24T14:00:00Z", "attributes": message.attributes } });
        let event = back(push.as_ref(), vec![("content-type".into(), "application/json".into())], pushed);
        assert_eq!(event.hops(), sent, "what a rule writes there does not count");
        bus.origin.hops = event.hops();
    }
    assert_eq!(sent, 5);

    let mut later = Actor::new().await;
    later.apis.add_queue("projects/acme-ops/locations/europe-west1/queues/later");
    later.connection =
        Some(json!({ "type": "cloud-tasks", "project": "acme-ops", "location": "europe-west1", "queues": ["later"],
        "base-url": "https://api.example.dev" }));
    let mut made = 0;
    let with = json!({ "queue": "later", "path": "/x", "body": {}, "headers": { "Declic-Hops": "0" } });
    while let Ok(intent) = later.prepare("cloud-tasks/create", &format!("d{made}-t-1"), with.clone()) {
        let name = later.attempt("cloud-tasks/create", &intent, 1, &Recorder::default()).await.unwrap().outputs["name"].clone();
        made += 1;
        let tasks_now = later.apis.tasks("projects/acme-ops/locations/europe-west1/queues/later");
        let task = tasks_now.iter().find(|task| task["name"] == name).expect("it was made");
        let headers = task["httpRequest"]["headers"].as_object().unwrap();
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        later.origin.hops = back(tasks.as_ref(), headers, json!({})).hops();
        assert_eq!(later.origin.hops, made);
    }
    assert_eq!(made, 5);
}

//! `dialogflow/detect-intent`, `dialogflow/send-event` and `cloud-tasks/create`, held to their discovery documents.

use declic::demo::stand_ins::faults::Fault;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};

const ASK: &str = "dialogflow/detect-intent";
const SEND: &str = "dialogflow/send-event";
const TASK: &str = "cloud-tasks/create";
const QUEUE: &str = "projects/acme-ops/locations/europe-west1/queues/reminders";

async fn agent(more: Value) -> Actor {
    let mut actor = Actor::new().await;
    let mut connection = json!({ "type": "dialogflow", "project": "acme-bot" });
    connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    actor.connection = Some(connection);
    actor
}

#[tokio::test]
async fn an_agent_of_either_flavor_answers_with_intent_texts_parameters_and_payload() {
    for (more, session) in [
        (json!({}), "projects/acme-bot/agent/sessions/order-17"),
        (json!({ "location": "europe-west1" }), "projects/acme-bot/locations/europe-west1/agent/sessions/order-17"),
        (json!({ "environment": "live" }), "projects/acme-bot/agent/environments/live/users/-/sessions/order-17"),
        (json!({ "flavor": "cx", "agent": "a-1" }), "projects/acme-bot/locations/global/agents/a-1/sessions/order-17"),
        (
            json!({ "flavor": "cx", "agent": "a-1", "environment": "live", "location": "eu" }),
            "projects/acme-bot/locations/eu/agents/a-1/environments/live/sessions/order-17",
        ),
    ] {
        let actor = agent(more.clone()).await;
        let asked = json!({ "session": "order-17", "query": "where is it?", "payload": { "source": "declic" } });
        let outcome = actor.run(ASK, "d1-a-1", asked).await.unwrap_or_else(|failure| panic!("{more}: {failure:?}"));
        assert_eq!(outcome.outputs["intent"], "where is it?");
        assert_eq!(outcome.outputs["text"], "You said where is it?.");
        assert_eq!(outcome.outputs["texts"].as_array().unwrap().len(), 2);
        assert_eq!(outcome.outputs["confidence"], 0.75);
        let sent = json!({ "session": "order-17", "event": "order-shipped", "params": { "carrier": "dhl", "parcels": 2 } });
        let outcome = actor.run(SEND, "d1-a-2", sent).await.unwrap();
        assert_eq!(outcome.outputs["intent"], "order-shipped");
        assert_eq!(outcome.outputs["params"], json!({ "carrier": "dhl", "parcels": 2 }));
        assert_eq!(outcome.outputs["payload"], json!({ "intent": "order-shipped" }));
        assert_eq!(actor.apis.asked()[0].0, session);
        actor.assert_nothing_refused();
    }
}

#[tokio::test]
async fn what_is_no_agent_or_no_event_is_never_asked() {
    let actor = agent(json!({ "flavor": "cx" })).await;
    assert!(actor.prepare(ASK, "d1", json!({ "session": "s", "query": "x" })).is_err(), "CX needs an agent");
    let actor = agent(json!({})).await;
    for (kind, with) in [
        (ASK, json!({ "session": "s", "query": "" })),
        (ASK, json!({ "query": "x" })),
        (SEND, json!({ "session": "s", "event": "a b" })),
        (SEND, json!({ "session": "s", "event": "" })),
    ] {
        assert!(actor.prepare(kind, "d1", with.clone()).is_err(), "{with}");
    }
    // A session of any form is one segment.
    actor.run(ASK, "d1", json!({ "session": "../x/y", "query": "x" })).await.unwrap();
    assert_eq!(actor.apis.asked()[0].0.matches('/').count(), 4);
}

async fn later() -> Actor {
    let mut actor = Actor::new().await;
    actor.apis.add_queue(QUEUE);
    actor.connection = Some(json!({
        "type": "cloud-tasks", "project": "acme-ops", "location": "europe-west1", "queues": ["reminders", "gone"],
        "base-url": "https://orders.example.com/api/", "oidc-account": "caller@acme-ops.iam.gserviceaccount.com",
        "audience": "https://orders.example.com",
    }));
    actor
}

fn task(more: Value) -> Value {
    let mut params = json!({ "queue": "reminders", "path": "/v1/remind", "body": { "order": 17 } });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn a_task_is_a_request_below_the_base_with_its_time_and_its_token() {
    let actor = later().await;
    let more = json!({ "delay": "1h", "deadline": "30s", "headers": { "X-Kind": "reminder" } });
    let outcome = actor.run(TASK, "d1-t-1", task(more)).await.unwrap();
    let task = &actor.apis.tasks(QUEUE)[0];
    assert_eq!(outcome.outputs, json!({ "name": task["name"], "created": true }));
    let request = &task["httpRequest"];
    assert_eq!((&request["url"], &request["httpMethod"]), (&json!("https://orders.example.com/api/v1/remind"), &json!("POST")));
    assert_eq!(request["body"], "eyJvcmRlciI6MTd9");
    assert_eq!(request["headers"], json!({ "x-kind": "reminder", "content-type": "application/json", "declic-hops": "1" }));
    assert_eq!(
        request["oidcToken"],
        json!({
            "serviceAccountEmail": "caller@acme-ops.iam.gserviceaccount.com", "audience": "https://orders.example.com",
        })
    );
    assert_eq!(task["dispatchDeadline"], "30s");
    let at = chrono::DateTime::parse_from_rfc3339(task["scheduleTime"].as_str().unwrap()).unwrap().timestamp();
    assert!((3_590..=3_610).contains(&(at - declic::clock::Timestamp::now().seconds())));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_task_of_a_name_is_created_once_also_when_an_answer_is_lost() {
    let actor = later().await;
    let intent = actor.prepare(TASK, "d1-t-1", task(json!({ "name": "remind-17" }))).unwrap();
    actor.apis.faults.next(1, Fault::Cut);
    actor.see_through(TASK, &intent, &Recorder::default(), 1).await.unwrap();
    let again = actor.run(TASK, "d2-t-1", task(json!({ "name": "remind-17" }))).await.unwrap();
    assert_eq!(again.outputs["created"], false);
    actor.run(TASK, "d3-t-1", task(json!({}))).await.unwrap();
    assert_eq!(actor.apis.tasks(QUEUE).len(), 2);
    assert_eq!(code(&actor.run(TASK, "d4-t-1", task(json!({ "queue": "gone" }))).await), ("not-found", false));
}

#[tokio::test]
async fn what_the_operator_or_cloud_tasks_does_not_take_is_never_sent() {
    let actor = later().await;
    for more in [
        json!({ "queue": "other" }),
        json!({ "path": "/../admin" }),
        json!({ "delay": "31d" }),
        json!({ "delay": "1h", "at": "2026-12-01T00:00:00Z" }),
        json!({ "at": "tomorrow" }),
        json!({ "deadline": "1s" }),
        json!({ "method": "GET" }),
        json!({ "headers": { "Authorization": "x" } }),
        json!({ "body": "x".repeat(100_001) }),
    ] {
        assert!(actor.prepare(TASK, "d1-t-1", task(more.clone())).is_err(), "{more}");
    }
    assert!(actor.apis.ledger.requests().is_empty());
}

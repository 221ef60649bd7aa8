//! The fulfillment endpoint takes what Dialogflow sends, and nothing else.

use declic::demo::stand_ins::World;
use declic::demo::stand_ins::faults::Fault;
use serde_json::{Value, json};

use crate::support::client::Client;

fn es() -> Value {
    json!({
        "responseId": "r-1", "session": "projects/acme/agent/sessions/s-1",
        "queryResult": {
            "queryText": "is it live?", "parameters": { "service": "web" }, "languageCode": "en",
            "intent": { "name": "projects/acme/agent/intents/1", "displayName": "deploy.status" },
        },
        "originalDetectIntentRequest": { "source": "declic", "payload": {} },
    })
}

fn cx() -> Value {
    json!({
        "detectIntentResponseId": "r-1", "text": "is it live?", "languageCode": "en",
        "fulfillmentInfo": { "tag": "deploy.status" }, "intentInfo": { "displayName": "deploy.status" },
        "sessionInfo": { "session": "projects/acme/locations/eu/agents/a/sessions/s-1", "parameters": { "service": "web" } },
    })
}

/// The request with the value at a pointer replaced, or removed.
fn with(request: Value, parent: &str, name: &str, value: Option<Value>) -> Value {
    let mut changed = request;
    let object = changed.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    match value {
        Some(value) => object.insert(name.to_owned(), value),
        None => object.remove(name),
    };
    changed
}

#[tokio::test]
async fn both_flavors_are_answered_in_their_own_form() {
    let world = World::start().await.unwrap();
    let client = Client::anonymous();
    let reply = client.json("POST", &format!("{}/es", world.dialogflow.url), &es()).await;
    assert_eq!((reply.status, reply.text("/fulfillmentText")), (200, "Noted: deploy.status."), "{}", reply.body);
    assert_eq!(reply.text("/fulfillmentMessages/1/text/text/0"), "Parameters: service.");
    let reply = client.json("POST", &format!("{}/cx", world.dialogflow.url), &cx()).await;
    assert_eq!(reply.text("/fulfillmentResponse/messages/0/text/text/0"), "Noted: deploy.status.", "{}", reply.body);
    assert_eq!(reply.body["sessionInfo"]["parameters"]["service"], "web");
    assert_eq!(world.dialogflow.ledger.effects_of("intent.fulfilled"), ["deploy.status", "deploy.status"]);
}

#[tokio::test]
async fn requests_of_another_shape_are_refused() {
    let world = World::start().await.unwrap();
    let client = Client::anonymous();
    for (path, body) in [
        ("es", cx()),
        ("cx", es()),
        ("es", with(es(), "", "responseId", None)),
        ("es", with(es(), "", "session", Some("s-1".into()))),
        ("es", with(es(), "/queryResult", "parameters", Some("web".into()))),
        ("es", with(es(), "/queryResult", "intent", None)),
        ("es", with(es(), "/queryResult", "lang", Some("en".into()))),
        ("cx", with(cx(), "", "triggerEvent", Some("deploy".into()))),
        ("cx", with(cx(), "", "text", None)),
        ("cx", with(cx(), "/sessionInfo", "session", Some("projects/acme/agent/sessions/s-1".into()))),
        ("cx", with(cx(), "/fulfillmentInfo", "tag", None)),
    ] {
        let reply = client.json("POST", &format!("{}/{path}", world.dialogflow.url), &body).await;
        assert_eq!(reply.status, 400, "{path} {body}: {}", reply.body);
    }
    let url = format!("{}/es", world.dialogflow.url);
    let plain = client.send("POST", &url, &[("content-type", "text/plain")], es().to_string().into_bytes()).await;
    assert_eq!(plain.status, 415);
    assert_eq!(client.get(&url).await.status, 405);
    assert!(world.dialogflow.ledger.effects().is_empty());
}

#[tokio::test]
async fn it_can_want_credentials_and_break() {
    let world = World::start().await.unwrap();
    let url = format!("{}/es", world.dialogflow.url);
    world.dialogflow.require_authorization("Bearer right");
    assert_eq!(Client::bearer("wrong").json("POST", &url, &es()).await.status, 401);
    let client = Client::bearer("right");
    world.dialogflow.faults.fail_next(1, 500, None);
    assert_eq!(client.json("POST", &url, &es()).await.status, 500);
    world.dialogflow.faults.next(1, Fault::BadBody);
    assert!(client.json("POST", &url, &es()).await.body.is_string());
    assert_eq!(client.json("POST", &url, &es()).await.status, 200);
}

//! Payloads as providers send them, held against the types that rules are checked with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Decode, alert, cloudevents, dialogflow, image, kept, pubsub, slack, webhook};
use crate::clock::Timestamp;
use crate::inbound::Inbound;
use crate::journal::record::NewDelivery;
use crate::rules::registry::{self, Declares};
use crate::rules::shapes;
use crate::rules::types::Type;

fn stored(headers: &[(&str, &str)], body: &[u8]) -> NewDelivery {
    NewDelivery {
        share: "here".to_owned(),
        source: "here".to_owned(),
        delivery_id: "d1".to_owned(),
        event_type: "thing.happened".to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Bytes::copy_from_slice(body),
        received_at: Timestamp(1_760_000_000_000),
        trace: String::new(),
        verified: String::new(),
    }
}

fn json_of(body: &Value) -> NewDelivery {
    stored(&[("content-type", "application/json; charset=utf-8")], body.to_string().as_bytes())
}

fn pushed(data: &Value) -> NewDelivery {
    json_of(&json!({
        "message": { "data": STANDARD.encode(data.to_string()), "messageId": "77", "publishTime": "2025-10-09T08:53:20Z" },
        "subscription": "projects/p/subscriptions/s"
    }))
}

/// What is read has the types that rules were checked with.
fn read(decode: Decode, content: &NewDelivery) -> Map<String, Value> {
    let decoded = decode(content, true).expect("it can be read").expect("rules can ask for it");
    let spec = registry::event(decoded.kind).expect("the registry has the kind");
    let fields = Value::Object(decoded.fields.clone());
    Type::Object(shapes::object(spec.fields)).fits(&fields).unwrap_or_else(|mismatch| panic!("{mismatch}\n{fields}"));
    let known = |name: &String| {
        spec.fields.iter().any(|field| field.name == name)
            || spec.declares != Declares::Nothing && spec.declares.key() == Some(name)
    };
    assert!(decoded.fields.keys().all(known), "{fields}");
    decoded.fields
}

fn refused(decode: Decode, content: &NewDelivery, part: &str) {
    let why = decode(content, false).expect_err("it must be refused");
    assert!(why.contains(part), "{why}");
}

#[test]
fn an_intent_of_es_brings_its_query_parameters_and_contexts() {
    let event = read(
        dialogflow::es,
        &json_of(&json!({
            "responseId": "r1", "session": "projects/p/agent/sessions/s", "unheard-of": [1],
            "queryResult": {
                "queryText": "redeploy api", "action": "redeploy", "parameters": { "service": "api", "count": 2 },
                "outputContexts": [{ "name": "projects/p/agent/sessions/s/contexts/deploying", "lifespanCount": 5 }],
                "intent": { "name": "projects/p/agent/intents/i", "displayName": "ops.deploy" },
                "intentDetectionConfidence": 1, "languageCode": "en"
            },
            "originalDetectIntentRequest": {}
        })),
    );
    assert_eq!(event["flavor"], "es");
    assert_eq!(event["intent"], "ops.deploy");
    assert_eq!(event["confidence"], json!(1.0));
    assert_eq!(event["query"], "redeploy api");
    assert_eq!(event["contexts"], json!(["deploying"]));
    assert_eq!(event["params"], json!({ "service": "api", "count": 2 }));
    assert_eq!(event["payload"]["responseId"], "r1");
}

#[test]
fn a_call_of_cx_is_known_by_its_tag() {
    let mut request = json!({
        "detectIntentResponseId": "r2", "text": "where is it", "languageCode": "en", "fulfillmentInfo": { "tag": "order.status" },
        "intentInfo": { "displayName": "Order status", "confidence": 0.75,
            "parameters": { "order_id": { "originalValue": "one two", "resolvedValue": "12" }, "colour": { "resolvedValue": "red" } } },
        "pageInfo": { "currentPage": "projects/p/locations/l/agents/a/flows/f/pages/9", "formInfo": { "parameterInfo": [
            { "displayName": "email", "state": "FILLED", "value": "a@example.com" }, { "displayName": "phone", "state": "EMPTY" }] } },
        "sessionInfo": { "session": "projects/p/sessions/s", "parameters": { "order_id": "12345" } }
    });
    let event = read(dialogflow::cx, &json_of(&request));
    assert_eq!(event["intent"], "order.status");
    assert_eq!(event["confidence"], json!(0.75));
    assert_eq!(event["page"], "9");
    assert_eq!(event["params"], json!({ "order_id": "12345", "colour": "red", "email": "a@example.com" }));
    request["fulfillmentInfo"] = Value::Null;
    assert_eq!(read(dialogflow::cx, &json_of(&request))["intent"], "Order status");
    request["intentInfo"] = Value::Null;
    assert_eq!(read(dialogflow::cx, &json_of(&request))["confidence"], json!(1.0));
}

#[test]
fn an_agent_of_the_other_edition_is_refused() {
    refused(dialogflow::es, &json_of(&json!({ "sessionInfo": {} })), "Dialogflow CX");
    refused(dialogflow::cx, &json_of(&json!({ "queryResult": {} })), "Dialogflow ES");
    refused(dialogflow::es, &stored(&[], b"[]"), "not a JSON object");
    refused(dialogflow::es, &stored(&[], br#"{"queryResult":{},"queryResult":{}}"#), "JSON");
}

const COMMAND: &[u8] = b"token=x&team_id=T1&team_domain=acme&channel_id=C1&channel_name=deploys&user_id=U1&user_name=mona\
    &command=%2Fdeploy&text=api++v1.4&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1%2F2%2Fabc&trigger_id=1.2";

#[test]
fn a_slash_command_brings_its_words_and_not_the_address_for_answers() {
    let content = stored(&[("content-type", "application/x-www-form-urlencoded")], COMMAND);
    let event = read(slack::decode, &content);
    assert_eq!(event["command"], "deploy");
    assert_eq!(event["text"], "api  v1.4");
    assert_eq!(event["args"], json!(["api", "v1.4"]));
    assert_eq!(event["user"], json!({ "id": "U1", "name": "mona" }));
    assert_eq!(event["channel"], json!({ "id": "C1", "name": "deploys" }));
    assert!(!Value::Object(event).to_string().contains("hooks.slack.com"));
    let secret = slack::respond_to(&content).expect("an address");
    assert_eq!(secret.expose_text(), Some("https://hooks.slack.com/commands/T1/2/abc"));
}

#[test]
fn what_else_a_slack_app_sends_starts_nothing() {
    let form = ("content-type", "application/x-www-form-urlencoded");
    for body in ["payload=%7B%7D", "payload=%7B%22type%22%3A%22block_suggestion%22%7D", "other=1"] {
        assert_eq!(slack::decode(&stored(&[form], body.as_bytes()), false), Ok(None), "{body}");
    }
    assert_eq!(slack::decode(&json_of(&json!({ "type": "app_rate_limited", "command": "/x" })), false), Ok(None));
    refused(slack::decode, &stored(&[form], b"command=%2Fa&command=%2Fb&team_id=T"), "twice");
    refused(slack::decode, &stored(&[form], b"command=%2Fa&team_id=T&user_id=U"), "channel_id");
    refused(slack::decode, &stored(&[form], b"payload=%7B"), "JSON");
}

/// As Slack sends interactivity.
fn interaction(payload: &Value) -> NewDelivery {
    let body = crate::sources::form::encode("payload", &payload.to_string());
    stored(&[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())
}

#[test]
fn a_button_brings_who_pressed_it_where_and_what_was_chosen() {
    let payload = json!({
        "type": "block_actions", "token": "s3cret", "trigger_id": "s3cret", "response_url": "https://hooks.slack.com/actions/s3cret",
        "team": { "id": "T1" }, "user": { "id": "U1", "username": "mona", "team_id": "T1" }, "channel": { "id": "C1", "name": "deploys" },
        "message": { "ts": "1.2", "text": "Deploy?" },
        "actions": [{ "type": "button", "action_id": "deploy", "block_id": "b", "value": "api" }],
        "state": { "values": { "b1": { "when": { "type": "datepicker", "selected_date": "2026-11-24" } },
            "b2": { "who": { "type": "multi_static_select", "selected_options": [{ "value": "a" }, { "value": "b" }] } },
            "b3": { "where": { "type": "static_select", "selected_option": null } } } }
    });
    let content = interaction(&payload);
    let decoded = slack::decode(&content, true).unwrap().unwrap();
    assert_eq!((decoded.kind, decoded.own), ("slack.action", false));
    let event = Value::Object(decoded.fields);
    assert_eq!((&event["type"], &event["action"], &event["value"]), (&json!("block_actions"), &json!("deploy"), &json!("api")));
    assert_eq!(event["values"], json!({ "when": "2026-11-24", "who": ["a", "b"], "where": null }));
    assert_eq!(event["user"], json!({ "id": "U1", "name": "mona" }));
    assert_eq!(event["channel"], json!({ "id": "C1", "name": "deploys" }));
    assert_eq!(event["message"], json!({ "ts": "1.2", "text": "Deploy?" }));
    assert_eq!(event["payload"]["team"]["id"], "T1");
    assert!(!event.to_string().contains("s3cret"), "{event}");
    assert_eq!(slack::respond_to(&content).unwrap().expose_text(), Some("https://hooks.slack.com/actions/s3cret"));
}

#[test]
fn the_buttons_of_an_approval_are_no_event_of_rules() {
    let payload = json!({ "type": "block_actions", "actions": [{ "action_id": "declic-approve", "value": "run" }], "user": { "id": "U1" } });
    assert_eq!(slack::decode(&interaction(&payload), false), Ok(None));
    assert_eq!(slack::answered(&interaction(&payload)).unwrap().0, "run");
}

#[test]
fn a_modal_brings_its_inputs_and_a_shortcut_its_name() {
    let modal = json!({
        "type": "view_submission", "team": { "id": "T1" }, "user": { "id": "U1", "name": "mona" },
        "response_urls": [{ "response_url": "https://hooks.slack.com/app/s3cret", "channel_id": "C1" }],
        "view": { "callback_id": "ask", "state": { "values": { "b1": { "title": { "type": "plain_text_input", "value": "Hello" } } } } }
    });
    let event = read(slack::decode, &interaction(&modal));
    assert_eq!((&event["type"], &event["callback"], &event["action"]), (&json!("view_submission"), &json!("ask"), &Value::Null));
    assert_eq!(event["values"], json!({ "title": "Hello" }));
    assert_eq!(slack::respond_to(&interaction(&modal)).unwrap().expose_text(), Some("https://hooks.slack.com/app/s3cret"));
    let shortcut =
        json!({ "type": "shortcut", "callback_id": "new", "user": { "id": "U1", "username": "mona", "team_id": "T1" } });
    let event = read(slack::decode, &interaction(&shortcut));
    assert_eq!((&event["callback"], &event["team"], &event["channel"]), (&json!("new"), &json!("T1"), &Value::Null));
    assert!(slack::respond_to(&interaction(&shortcut)).is_none());
}

#[test]
fn an_event_of_slack_brings_its_message_and_knows_our_own() {
    let mut body = json!({
        "token": "s3cret", "team_id": "T1", "api_app_id": "A1", "type": "event_callback", "event_id": "Ev1",
        "event": { "type": "app_mention", "user": "U1", "text": "<@U0> deploy", "ts": "1.2", "thread_ts": "1.1", "channel": "C1" }
    });
    let event = read(slack::decode, &json_of(&body));
    assert_eq!((&event["type"], &event["text"], &event["bot"]), (&json!("app_mention"), &json!("<@U0> deploy"), &json!(false)));
    assert_eq!((&event["user"], &event["channel"]), (&json!({ "id": "U1" }), &json!({ "id": "C1" })));
    assert_eq!((&event["ts"], &event["thread"], &event["team"]), (&json!("1.2"), &json!("1.1"), &json!("T1")));
    let whole = slack::decode(&json_of(&body), true).unwrap().unwrap();
    assert_eq!((whole.own, &whole.fields["payload"]["event_id"]), (false, &json!("Ev1")));
    assert!(whole.fields["payload"].get("token").is_none());
    body["event"]["bot_id"] = "B1".into();
    body["event"]["app_id"] = "A2".into();
    let other = slack::decode(&json_of(&body), false).unwrap().unwrap();
    assert_eq!((other.own, &other.fields["bot"]), (false, &json!(true)));
    body["event"]["app_id"] = "A1".into();
    let delivery =
        crate::journal::record::Delivery { id: "d1".to_owned(), content: json_of(&body), replay: false, learned: None };
    assert!(super::event(slack::decode, &delivery, false).unwrap().unwrap().is_own());
    let reaction = json!({ "type": "event_callback", "event": { "type": "reaction_added", "user": "U1", "item": { "channel": "C1", "ts": "1.2" } } });
    let event = read(slack::decode, &json_of(&reaction));
    assert_eq!((&event["channel"], &event["ts"], &event["text"]), (&json!({ "id": "C1" }), &json!("1.2"), &Value::Null));
}

#[test]
fn a_push_is_opened_whether_it_is_wrapped_or_not() {
    let wrapped = json_of(&json!({
        "message": { "attributes": { "kind": "a" }, "data": STANDARD.encode(r#"{"n":1}"#), "message_id": "77", "orderingKey": "k",
            "publish_time": "2025-10-09T08:53:20Z" },
        "subscription": "projects/p/subscriptions/s", "deliveryAttempt": 5
    }));
    let event = read(pubsub::decode, &wrapped);
    assert_eq!(event["id"], "77");
    assert_eq!(event["body"], json!({ "n": 1 }));
    assert_eq!(event["attributes"], json!({ "kind": "a" }));
    assert_eq!(event["ordering_key"], "k");
    let headers = [
        ("content-type", "application/json"),
        ("x-goog-pubsub-message-id", "78"),
        ("x-goog-pubsub-subscription-name", "projects/p/subscriptions/s"),
        ("x-goog-pubsub-publish-time", "2025-10-09T08:53:20Z"),
        ("kind", "b"),
    ];
    let event = read(pubsub::decode, &stored(&headers, br#"{"subscription":"forged","message":{}}"#));
    assert_eq!(event["id"], "78");
    assert_eq!(event["attributes"], json!({ "kind": "b" }));
    assert_eq!(event["body"]["subscription"], "forged");
    let event = read(pubsub::decode, &stored(&[], b"plain words"));
    assert_eq!((event["id"].as_str(), &event["body"]), (Some("d1"), &json!("plain words")));
}

#[test]
fn a_push_that_is_not_one_is_refused() {
    let with = |message: Value| json_of(&json!({ "message": message, "subscription": "s" }));
    refused(pubsub::decode, &with(json!({ "data": "!!", "messageId": "1" })), "base64");
    refused(pubsub::decode, &with(json!({ "data": "" })), "no id");
    refused(pubsub::decode, &with(json!({ "messageId": "1", "attributes": { "a": 1 } })), "texts");
    refused(pubsub::decode, &with(json!({ "messageId": "1", "publishTime": "yesterday" })), "RFC 3339");
    refused(pubsub::decode, &with(json!("x")), "no message");
}

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn a_notice_of_the_registry_names_image_tag_and_digest() {
    let image = "europe-docker.pkg.dev/acme-build/api/api";
    let event = read(
        image::decode,
        &pushed(&json!({ "action": "INSERT", "digest": format!("{image}@{DIGEST}"), "tag": format!("{image}:main") })),
    );
    assert_eq!(event["image"], image);
    assert_eq!(event["tag"], "main");
    assert_eq!(event["digest"], DIGEST);
    assert_eq!(event["ref"], format!("{image}@{DIGEST}"));
    let event = read(image::decode, &pushed(&json!({ "action": "DELETE", "tag": format!("{image}:main") })));
    assert_eq!((event["ref"].as_str(), &event["digest"]), (Some("europe-docker.pkg.dev/acme-build/api/api:main"), &Value::Null));
}

#[test]
fn a_notice_with_a_name_no_registry_would_take_is_refused() {
    let digest = |name: &str| json!({ "action": "INSERT", "digest": name });
    for name in ["api@sha256:aa", "a.dev/x@sha256:aa11", "a.dev/x y", "a.dev/../x", "a.dev/x$(id)", "/x", "a.dev/X"] {
        let name = if name.contains('@') { name.to_owned() } else { format!("{name}@{DIGEST}") };
        refused(image::decode, &pushed(&digest(&name)), "`digest`");
    }
    refused(image::decode, &pushed(&json!({ "action": "INSERT", "tag": "a.dev/x:main" })), "no `digest`");
    refused(image::decode, &pushed(&json!({ "action": "PUSH", "tag": "a.dev/x:main" })), "INSERT nor DELETE");
    let two = json!({ "action": "INSERT", "tag": "a.dev/x:main", "digest": format!("a.dev/y@{DIGEST}") });
    refused(image::decode, &pushed(&two), "different images");
}

fn incident() -> Value {
    json!({ "version": "1.2", "incident": {
        "incident_id": "0.abc", "scoping_project_number": 12345, "url": "https://console.cloud.google.com/x", "started_at": 1_760_000_000, "ended_at": null,
        "state": "open", "severity": "Critical", "summary": "5xx above 5 %", "policy_name": "staging error rate > 5%", "condition_name": "5xx",
        "resource": { "type": "cloud_run_revision", "labels": { "service_name": "web", "n": 1 } }, "policy_user_labels": { "team": "web" },
        "documentation": "a text in the test message" } })
}

#[test]
fn an_incident_reads_the_same_by_either_way() {
    let direct = read(alert::direct, &json_of(&incident()));
    assert_eq!(direct, read(alert::by_pubsub, &pushed(&incident())));
    assert_eq!(direct["severity"], "CRITICAL");
    assert_eq!(direct["started_at"], "2025-10-09T08:53:20.000Z");
    assert_eq!(direct["resource"], json!({ "type": "cloud_run_revision", "labels": { "service_name": "web", "n": "1" } }));
    assert_eq!(direct["user_labels"], json!({ "team": "web" }));
}

#[test]
fn a_test_message_of_monitoring_is_no_alert() {
    let mut test = json!({ "version": "test", "incident": { "incident_id": "12345", "state": "OPEN", "started_at": "0", "summary": "Test Incident",
        "scoping_project_number": "12345", "condition_name": "Test condition", "documentation": "Test", "ended_at": "null" } });
    assert_eq!(alert::direct(&json_of(&test), false), Ok(None));
    test["version"] = "1.2".into();
    let event = read(alert::direct, &json_of(&test));
    assert_eq!(event["state"], "open");
    assert_eq!(event["severity"], "NO_SEVERITY");
    refused(alert::direct, &json_of(&json!({ "incident": { "state": "acknowledged" } })), "neither open nor closed");
    refused(alert::direct, &json_of(&json!({ "version": "1.2" })), "no incident");
}

fn inbound(query: &str, headers: &[(&str, &str)]) -> Inbound {
    Inbound {
        method: "POST".to_owned(),
        path: "/hooks/shop".to_owned(),
        query: query.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes()))).collect(),
        body: Bytes::new(),
        received_at: Timestamp(0),
    }
}

#[test]
fn what_is_kept_of_a_request_holds_no_credentials() {
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Bearer s3cret"),
        ("x-shop-signature", "s3cret"),
        ("x-gitlab-token", "s3cret"),
        ("x-pass-phrase", "s3cret"),
        ("cookie", "s3cret"),
        ("x-shop-event", "paid"),
        ("host", "example.com"),
    ];
    let kept = kept::whole(&inbound("a=1&auth_token=s3cret&code=s3cret&b=%26", &headers), &["code", "x-pass-phrase"]);
    assert!(!format!("{kept:?}").contains("s3cret"), "{kept:?}");
    let mut content = stored(&[], br#"{"paid":true}"#);
    content.headers = kept;
    let event = read(webhook::decode, &content);
    assert_eq!(event["method"], "POST");
    assert_eq!(event["path"], "/hooks/shop");
    assert_eq!(event["query"], json!({ "a": "1", "b": "&" }));
    assert_eq!(event["headers"], json!({ "content-type": "application/json", "x-shop-event": "paid" }));
    assert_eq!(event["body"], json!({ "paid": true }));
    assert_eq!(event["type"], "thing.happened");
}

#[test]
fn a_body_is_read_by_its_media_type() {
    let read = |kind: &str, body: &[u8]| read(webhook::decode, &stored(&[("content-type", kind)], body))["body"].clone();
    assert_eq!(read("application/vnd.acme+json", b"[1]"), json!([1]));
    assert_eq!(read("application/x-www-form-urlencoded", b"a=1&b=x+y"), json!({ "a": "1", "b": "x y" }));
    assert_eq!(read("text/plain", b"hello"), json!("hello"));
    assert_eq!(read("text/plain", b""), Value::Null);
    refused(webhook::decode, &stored(&[("content-type", "application/json")], b"{\"a\":1,\"a\":2}"), "JSON");
    refused(webhook::decode, &stored(&[("content-type", "image/png")], b"\x89PNG\xff"), "neither JSON nor text");
}

#[test]
fn a_cloud_event_reads_the_same_in_every_mode() {
    let binary = [
        ("content-type", "application/json"),
        ("ce-id", "A1"),
        ("ce-source", "/me"),
        ("ce-type", "t"),
        ("ce-specversion", "1.0"),
    ];
    let binary = read(cloudevents::decode, &stored(&binary, br#"{"a":1}"#));
    let envelope = json!({ "specversion": "1.0", "id": "A1", "source": "/me", "type": "t", "data": { "a": 1 } });
    let content_type = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let structured = read(cloudevents::decode, &stored(&content_type, envelope.to_string().as_bytes()));
    assert_eq!(binary["body"], structured["body"]);
    for name in ["ce-id", "ce-source", "ce-type"] {
        assert_eq!(binary["headers"][name], structured["headers"][name]);
    }
    let encoded =
        json!({ "specversion": "1.0", "id": "A1", "source": "/me", "type": "t", "data_base64": STANDARD.encode("{\"a\":1}") });
    assert_eq!(read(cloudevents::decode, &stored(&content_type, encoded.to_string().as_bytes()))["body"], json!({ "a": 1 }));
    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(read(cloudevents::decode, &stored(&batch, json!([envelope]).to_string().as_bytes()))["body"][0]["id"], "A1");
    refused(cloudevents::decode, &stored(&content_type, br#"{"id":"A1"}"#), "`source`");
}

#[test]
fn a_webhook_brings_the_count_of_hops_outside_what_rules_can_name() {
    let hops = |header: &str| {
        let content = stored(&[("content-type", "application/json"), ("declic-hops", header)], b"{}");
        let delivery = crate::journal::record::Delivery { id: "d1".to_owned(), content, replay: false, learned: None };
        super::event(webhook::decode, &delivery, false).expect("it is read").expect("it is an event").hops()
    };
    assert_eq!([hops("4"), hops("0"), hops("-1"), hops("many"), hops("99999999999")], [4, 0, 0, 0, 0]);
    assert!(!registry::DELIVERY.iter().any(|field| [crate::event::HOPS, crate::event::OWN].contains(&field.name)));
}

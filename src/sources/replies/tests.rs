//! Answers as the providers' documents describe them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Conversation, Form, Said};
use crate::settings::SourceSettings;

fn said(form: Form, fields: &Value, request: &Value) -> (u16, Value) {
    let words = form.words(&Said::Fields(fields.clone()), request.to_string().as_bytes()).expect("there are words");
    assert!(words.content_type.starts_with("application/"), "{words:?}");
    (words.status, serde_json::from_slice(&words.body).expect("JSON"))
}

#[test]
fn es_hears_texts_payload_and_a_context_of_parameters() {
    let request = json!({ "session": "projects/p/agent/sessions/s" });
    assert_eq!(
        said(Form::DialogflowEs, &json!({ "text": "Hi" }), &request),
        (200, json!({ "fulfillmentText": "Hi", "fulfillmentMessages": [{ "text": { "text": ["Hi"] } }] }))
    );
    let (_, answer) = said(
        Form::DialogflowEs,
        &json!({ "texts": ["One", "Two"], "payload": { "k": 1 }, "set-params": { "n": 3 }, "end-session": true }),
        &request,
    );
    assert_eq!(answer["fulfillmentText"], "One");
    assert_eq!(answer["fulfillmentMessages"][1], json!({ "text": { "text": ["Two"] } }));
    assert_eq!(answer["payload"], json!({ "k": 1, "google": { "expectUserResponse": false } }));
    let context =
        json!([{ "name": "projects/p/agent/sessions/s/contexts/declic", "lifespanCount": 50, "parameters": { "n": 3 } }]);
    assert_eq!(answer["outputContexts"], context);
}

#[test]
fn cx_hears_messages_parameters_and_the_last_page() {
    let flow = "projects/p/locations/l/agents/a/flows/f";
    let request = json!({ "pageInfo": { "currentPage": format!("{flow}/pages/9") } });
    let fields =
        json!({ "texts": ["One", "Two"], "payload": { "k": 1 }, "set-params": { "n": 3, "gone": null }, "end-session": true });
    assert_eq!(
        said(Form::DialogflowCx, &fields, &request),
        (
            200,
            json!({
                "fulfillmentResponse": { "messages": [{ "text": { "text": ["One"] } }, { "text": { "text": ["Two"] } }, { "payload": { "k": 1 } }] },
                "sessionInfo": { "parameters": { "n": 3, "gone": null } },
                "targetPage": format!("{flow}/pages/END_SESSION"),
            })
        )
    );
    assert_eq!(said(Form::DialogflowCx, &json!({ "set-params": null, "end-session": false }), &request), (200, json!({})));
}

#[test]
fn slack_and_chat_hear_messages() {
    let nothing = Value::Null;
    assert_eq!(
        said(Form::Slack, &json!({ "text": "On it", "visible-to": "channel" }), &nothing),
        (200, json!({ "response_type": "in_channel", "text": "On it" }))
    );
    assert_eq!(said(Form::Slack, &json!({ "text": "x", "visible-to": null }), &nothing).1["response_type"], "ephemeral");
    assert_eq!(said(Form::Chat, &json!({ "body": "Hi" }), &nothing), (200, json!({ "text": "Hi" })));
    assert_eq!(said(Form::Chat, &json!({ "body": { "cardsV2": [] } }), &nothing), (200, json!({ "cardsV2": [] })));
}

#[test]
fn twilio_hears_text_and_never_markup() {
    let words = |body: Value| {
        let words = Form::Twilio.words(&Said::Fields(json!({ "body": body })), b"").expect("words");
        assert_eq!((words.status, words.content_type), (200, "text/xml; charset=utf-8"));
        String::from_utf8(words.body).expect("text")
    };
    assert!(
        words(json!("a </Message><Dial>+1</Dial>\u{0} & b"))
            .ends_with("<Response><Message>a &lt;/Message&gt;&lt;Dial&gt;+1&lt;/Dial&gt; &amp; b</Message></Response>")
    );
    assert!(words(json!({ "say": "Hello" })).ends_with("<Response><Say>Hello</Say></Response>"));
    assert!(words(Value::Null).ends_with("<Response></Response>"));
}

#[test]
fn http_hears_a_status_that_is_no_redirect() {
    let nothing = Value::Null;
    assert_eq!(
        said(Form::Http, &json!({ "status": 422, "body": { "fault": "items" } }), &nothing),
        (422, json!({ "fault": "items" }))
    );
    assert_eq!(said(Form::Http, &json!({ "body": "ok" }), &nothing), (200, json!("ok")));
    for status in [json!(302), json!(0), json!(1000), json!(-1), json!("200"), json!(101)] {
        assert_eq!(said(Form::Http, &json!({ "status": status }), &nothing).0, 500);
    }
    let words = Form::Http.words(&Said::Fields(json!({ "status": 204, "body": 1 })), b"").expect("words");
    assert_eq!((words.status, words.body.len()), (204, 0));
}

#[test]
fn nothing_said_is_what_the_provider_takes_for_nothing() {
    for (form, body) in [(Form::DialogflowEs, "{}"), (Form::DialogflowCx, "{}"), (Form::Chat, "{}"), (Form::Slack, "")] {
        for said in [Said::Nothing, Said::Failed] {
            let words = form.words(&said, b"{}").expect("words");
            assert_eq!((words.status, words.body.as_slice()), (200, body.as_bytes()));
        }
    }
    assert_eq!(Form::Http.words(&Said::Nothing, b""), None);
    assert_eq!(Form::Http.words(&Said::Failed, b"").map(|words| words.status), Some(500));
}

#[test]
fn the_source_says_how_long_its_sender_waits() {
    let settings = |kind: &str, fields: Value| SourceSettings {
        name: "s".to_owned(),
        kind: kind.to_owned(),
        path: "/hooks/s".to_owned(),
        fields: fields.as_object().cloned().unwrap_or_default(),
    };
    let budget = |kind: &str, fields: Value| {
        Conversation::of(&settings(kind, fields)).map(|conversation| conversation.budget().as_millis())
    };
    assert_eq!(budget("slack", json!({})), Some(2750));
    assert_eq!(budget("dialogflow-cx", json!({ "deadline": "20s" })), Some(19_750));
    assert_eq!(budget("webhook", json!({ "deadline": "1s" })), Some(900));
    assert_eq!(budget("github", json!({})), None);
}

#[test]
fn whoever_waits_waits_as_long_as_the_settings_say() {
    for kind in ["slack", "twilio", "google-chat", "dialogflow-es", "dialogflow-cx", "webhook"] {
        let settings = |fields: Value| SourceSettings {
            name: "s".to_owned(),
            kind: kind.to_owned(),
            path: "/s".to_owned(),
            fields: fields.as_object().cloned().unwrap_or_default(),
        };
        let told = Conversation::of(&settings(json!({ "deadline": "1500ms" }))).expect(kind);
        assert_eq!(told.deadline, Duration::from_millis(1500), "{kind}");
        assert!(Conversation::of(&settings(json!({}))).expect(kind).deadline > told.deadline, "{kind}");
        let declared = crate::sources::KINDS.iter().find(|known| known.name == kind).expect(kind);
        assert!(declared.fields.iter().any(|field| field.name == "deadline"), "{kind} cannot be told");
    }
}

//! Google at the door of the whole service: ID tokens signed with keys made here, published by a stand-in at the address in the settings.

use std::sync::Mutex;

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use declic::journal::record::DeliveryState;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::rsa::Rsa;
use crate::support::whole::{Whole, body, json_type, now};

const CERTS: &str = "/oauth2/v3/certs";
const CHAT_CERTS: &str = "/service_accounts/v1/jwk/chat@system.gserviceaccount.com";
const CHAT: &str = "chat@system.gserviceaccount.com";
const PUSHER: &str = "push@acme-ops.iam.gserviceaccount.com";

/// Google's two key sets.
struct Keys(Mutex<[Value; 2]>);

#[async_trait]
impl Api for Keys {
    async fn answer(&self, request: &Request) -> Answer {
        let keys = self.0.lock().unwrap();
        match request.path.as_str() {
            CERTS => Answer::json(200, &json!({ "keys": [keys[0]] })).with_header("cache-control", "public, max-age=600"),
            CHAT_CERTS => Answer::json(200, &json!({ "keys": [keys[1]] })).with_header("cache-control", "public, max-age=600"),
            _ => Answer::empty(404),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::text(status, message)
    }
}

struct World {
    google: Rsa,
    chat: Rsa,
    keys: Running<Keys>,
    service: Whole,
}

const RULES: &str = "version: 1
rules:
  hello:
    on: { http.webhook: { source: chat, types: [MESSAGE], body: { message: { text: string, name: string } } } }
    reply: { body: \"You said: ${{ event.body.message.text }}\" }
  old-hello:
    on: { http.webhook: { source: chat_project } }
    reply: { body: { text: \"hello\" } }
  message:
    on: { pubsub.message: { source: push, body: { order: int } } }
    if: event.body.order > 0
    steps: [{ uses: log, with: { message: \"order ${{ event.body.order }} ${{ event.attributes.kind ?? '' }}\" } }]
  nightly:
    on: { http.webhook: { source: cron, types: [nightly] } }
    steps: [{ uses: log, with: { message: \"it is night\" } }]
";

impl World {
    async fn start() -> Self {
        let (google, chat) = (Rsa::new(), Rsa::new());
        let keys = server::start(|_, _| Keys(Mutex::new([google.published("g1"), chat.published("c1")]))).await.unwrap();
        let settings = format!(
            "version: 1
listen: \"127.0.0.1:0\"
store: {{ sqlite: declic.db }}
google: {{ certs-url: \"{}\" }}
sources:
  chat: {{ type: google-chat, audience: \"https://declic.example.dev/hooks/chat\" }}
  chat_project: {{ type: google-chat, mode: project-number, audience: \"1234567890\" }}
  push: {{ type: pubsub-push, auth: {{ oidc: {{ audience: declic, email: {PUSHER} }} }} }}
  cron: {{ type: google-cloud-scheduler, auth: {{ oidc: {{ audience: declic, email: {PUSHER} }} }} }}
rules: rules.yaml
",
            keys.url
        );
        let service = Whole::start(&settings, &[("rules.yaml", RULES)], []).await;
        Self { google, chat, keys, service }
    }

    async fn send(&self, path: &str, token: String, document: &Value) -> Reply {
        self.service.post(path, &[json_type(), ("authorization", token)], body(document)).await
    }

    fn asked(&self, path: &str) -> usize {
        self.keys.ledger.requests().iter().filter(|request| request.path == path).count()
    }
}

fn claims(audience: &str, email: &str) -> Value {
    let now = now();
    json!({ "iss": "https://accounts.google.com", "aud": audience, "email": email, "email_verified": true, "iat": now - 5, "exp": now + 3600 })
}

fn chat_claims() -> Value {
    claims("https://declic.example.dev/hooks/chat", CHAT)
}

fn said(text: &str) -> Value {
    json!({ "type": "MESSAGE", "message": { "name": format!("spaces/A/messages/{text}"), "text": text } })
}

#[tokio::test(flavor = "multi_thread")]
async fn google_chat_is_answered_by_a_rule_in_either_of_its_modes() {
    let world = World::start().await;
    let reply = world.send("/hooks/chat", world.google.token("g1", &chat_claims()), &said("hello")).await;
    assert_eq!((reply.status, reply.body.clone()), (200, json!({ "text": "You said: hello" })));
    assert_eq!(world.service.settled(&reply).await, DeliveryState::Completed);
    let mut old = claims("1234567890", CHAT);
    old["iss"] = CHAT.into();
    let reply = world.send("/hooks/chat_project", world.chat.token("c1", &old), &said("hello")).await;
    assert_eq!((reply.status, reply.body), (200, json!({ "text": "hello" })));
    assert_eq!((world.asked(CERTS), world.asked(CHAT_CERTS)), (1, 1));
    // The keys of one are not the keys of the other.
    let crossed = world.send("/hooks/chat", world.chat.token("c1", &chat_claims()), &said("x")).await;
    assert_eq!(crossed.status, 401);
    let crossed = world.send("/hooks/chat_project", world.google.token("g1", &old), &said("x")).await;
    assert_eq!(crossed.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_message_is_matched_wrapped_and_unwrapped() {
    let world = World::start().await;
    let token = || world.google.token("g1", &claims("declic", PUSHER));
    let data = "eyJvcmRlciI6N30=";
    let wrapped = json!({ "subscription": "projects/p/subscriptions/s",
        "message": { "messageId": "1", "data": data, "attributes": { "kind": "new" }, "publishTime": "2026-11-24T08:00:00Z" } });
    let reply = world.send("/hooks/push", token(), &wrapped).await;
    assert_eq!((reply.status, world.service.started(&reply).await), (204, vec!["message".to_owned()]));
    let unwrapped = [
        json_type(),
        ("authorization", token()),
        ("x-goog-pubsub-message-id", "2".to_owned()),
        ("x-goog-pubsub-subscription-name", "projects/p/subscriptions/s".to_owned()),
        ("x-goog-pubsub-publish-time", "2026-11-24T08:00:00Z".to_owned()),
        ("kind", "new".to_owned()),
    ];
    let reply = world.service.post("/hooks/push", &unwrapped, r#"{"order":8}"#).await;
    assert_eq!((reply.status, world.service.started(&reply).await), (204, vec!["message".to_owned()]));
    let nothing = world.service.post("/hooks/push", &[json_type(), ("authorization", token())], r#"{"order":0}"#).await;
    assert_eq!((nothing.status, world.service.started(&nothing).await), (204, Vec::new()));
    assert_eq!(world.asked(CERTS), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_scheduler_is_known_by_its_name_and_taken_in_once() {
    let world = World::start().await;
    let headers = [
        ("authorization", world.google.token("g1", &claims("declic", PUSHER))),
        ("content-type", "application/octet-stream".to_owned()),
        ("x-cloudscheduler", "true".to_owned()),
        ("x-cloudscheduler-jobname", "nightly".to_owned()),
        ("x-cloudscheduler-scheduletime", "2026-11-24T01:00:00Z".to_owned()),
    ];
    let reply = world.service.post("/hooks/cron", &headers, Vec::new()).await;
    assert_eq!(world.service.started(&reply).await, ["nightly"]);
    let again = world.service.post("/hooks/cron", &headers, Vec::new()).await;
    assert_eq!(again.header("x-declic-delivery"), reply.header("x-declic-delivery"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_others_are_refused_and_an_unknown_key_is_not_asked_for_again_and_again() {
    let world = World::start().await;
    let message = json!({ "type": "MESSAGE" });
    let sent = |token: String| world.send("/hooks/chat", token, &message);
    assert_eq!(sent(world.google.token("g1", &chat_claims())).await.status, 200);
    let stranger = Rsa::new();
    assert_eq!(sent(stranger.token("g1", &chat_claims())).await.status, 401, "a known id and another key");
    for (name, value) in [
        ("iss", json!("https://evil.example")),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://declic.example.dev/hooks/chat"])),
        ("email", json!("mallory@example.com")),
        ("email_verified", json!(false)),
        ("exp", json!(now() - 60)),
        ("iat", json!(now() + 60)),
        ("exp", Value::Null),
    ] {
        let mut forged = chat_claims();
        forged[name] = value;
        assert_eq!(sent(world.google.token("g1", &forged)).await.status, 401, "{forged}");
    }
    for number in 0..10 {
        assert_eq!(sent(world.google.token(&format!("unknown{number}"), &chat_claims())).await.status, 401);
    }
    assert_eq!(world.asked(CERTS), 1, "whoever sends us tokens decides nothing about how often we ask");
    assert_eq!(world.service.stored().await, 1);
}

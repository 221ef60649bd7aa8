//! What each provider gets back, by outcome, as the design's table of answers has it: over real sockets, from one service with every source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::receive::Limits;
use declic::sources::{Around, KINDS, Source};
use declic::verify::trust::Want;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::senders::{another_private, another_secret, private, signing};
use crate::support::rsa::Rsa;
use crate::support::service::{Answer, Service, source, source_in};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:t";

/// What a provider reads when a delivery is stored: status, media type, body. The others get 202 and our id.
const WORDS: &[(&str, (u16, &str, &str))] = &[
    ("adyen", (200, "text/plain", "[accepted]")),
    ("aws-sns", (200, "", "")),
    ("cloudevents", (202, "", "")),
    ("dialogflow-cx", (200, JSON, "{}")),
    ("dialogflow-es", (200, JSON, "{}")),
    ("discord", (200, JSON, r#"{"type":5}"#)),
    ("dropbox", (200, "", "")),
    ("google-chat", (200, JSON, "{}")),
    ("line", (200, "", "")),
    ("linear", (200, "", "")),
    ("meta", (200, "", "")),
    ("microsoft-graph", (202, "", "")),
    ("ms-teams", (200, JSON, r#"{"type":"message","text":""}"#)),
    ("notion", (200, "", "")),
    ("paddle", (200, "", "")),
    ("pubsub-push", (204, "", "")),
    ("razorpay", (200, "", "")),
    ("sendgrid", (200, "", "")),
    ("sentry", (200, "", "")),
    ("shopify", (200, "", "")),
    ("slack", (200, "text/plain; charset=utf-8", "")),
    ("square", (200, "", "")),
    ("stripe", (200, "", "")),
    ("telegram", (200, "", "")),
    ("twilio", (200, "text/xml; charset=utf-8", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>")),
    ("vercel", (200, "", "")),
    ("x", (200, "", "")),
    ("zoom", (200, "", "")),
];

/// Types whose proof is in the body: what cannot be read cannot be proved.
const PROVED_IN_THE_BODY: &[&str] = &["adyen", "aws-sns", "linear", "microsoft-graph"];

/// A source and what is sent to it.
struct Sender {
    kind: &'static str,
    source: Arc<dyn Source>,
    /// The same with another secret: what it signs is forged.
    other: Arc<dyn Source>,
    key: Option<Secret>,
    other_key: Option<Secret>,
    body: String,
}

/// Types that show a secret, or a token of Google's in place of which a bearer's secret will do here.
fn showing() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let bearer = || json!({ "auth": { "bearer": "hook" } });
    vec![
        ("alertmanager", bearer(), "s", r#"{"status":"firing","alerts":[],"groupKey":"g"}"#),
        ("azure-devops", bearer(), "s", r#"{"eventType":"git.push","id":"1"}"#),
        (
            "cloudevents",
            json!({ "secret": "hook" }),
            "s",
            r#"{"specversion":"1.0","type":"a.b","source":"/s","id":"1","data":{}}"#,
        ),
        (
            "dialogflow-es",
            bearer(),
            "s",
            r#"{"responseId":"1","session":"projects/p/agent/sessions/s","queryResult":{"action":"a","intent":{"displayName":"i"},"languageCode":"en"}}"#,
        ),
        (
            "dialogflow-cx",
            bearer(),
            "s",
            r#"{"detectIntentResponseId":"1","fulfillmentInfo":{"tag":"t"},"sessionInfo":{"session":"s"},"languageCode":"en"}"#,
        ),
        (
            "dockerhub",
            json!({ "secret": "hook" }),
            "s",
            r#"{"push_data":{"tag":"1","pushed_at":1},"repository":{"repo_name":"a/b"}}"#,
        ),
        (
            "google-cloud-monitoring",
            bearer(),
            "s",
            r#"{"version":"1.2","incident":{"state":"open","incident_id":"1","policy_name":"p"}}"#,
        ),
        ("google-cloud-scheduler", bearer(), "s", "{}"),
        ("google-cloud-tasks", bearer(), "s", "{}"),
        ("microsoft-graph", json!({ "secret": "hook" }), "s", r#"{"value":[{"changeType":"updated","id":"1"}]}"#),
        (
            "pubsub-push",
            bearer(),
            "s",
            r#"{"message":{"messageId":"1","data":"e30=","publishTime":"2026-11-24T08:00:00Z"},"subscription":"projects/p/subscriptions/s"}"#,
        ),
        ("telegram", json!({ "secret": "hook" }), "s", r#"{"update_id":1,"message":{}}"#),
    ]
}

fn senders() -> Vec<Sender> {
    let now = Timestamp::now().0;
    let mut senders = Vec::new();
    let shown = showing().into_iter().map(|(kind, fields, secret, body)| (kind, fields, secret, body.to_owned()));
    for (kind, fields, secret, body) in signing().into_iter().chain(shown) {
        let body = if kind == "linear" { format!(r#"{{"type":"Issue","webhookTimestamp":{now}}}"#) } else { body };
        senders.push(Sender {
            kind,
            source: source(kind, kind, fields.clone(), &[secret]),
            other: source(kind, kind, fields, &[&another_secret(kind)]),
            key: private(kind).cloned(),
            other_key: another_private(kind),
            body,
        });
    }
    senders.push(published("aws-sns", json!({ "topic-arn": [TOPIC] }), r#"{"Type":"Notification","Message":"m"}"#));
    let chat = json!({ "audience": "https://declic.example.dev" });
    senders.push(published("google-chat", chat, r#"{"type":"MESSAGE","message":{"name":"spaces/A/messages/B","text":"hi"}}"#));
    senders
}

/// A sender whose key the source knows from where it is published.
fn published(kind: &'static str, fields: Value, body: &str) -> Sender {
    let (key, foreign) = (Rsa::new(), Rsa::new());
    let around = Around::default();
    let source = source_in(kind, kind, fields, &[], &around);
    let mut asked = inbound(kind, body, JSON);
    source.sign(&mut asked, "e", "1", Some(&Secret::new(key.private()))).unwrap();
    let want: Want = source.wants(&asked).expect("its keys are not known yet");
    let document = if kind == "aws-sns" { key.certificate() } else { json!({ "keys": [key.published("test")] }).to_string() };
    around.trust.put(&want, document.as_bytes(), None, Timestamp::now()).unwrap();
    Sender {
        kind,
        other: Arc::clone(&source),
        source,
        key: Some(Secret::new(key.private())),
        other_key: Some(Secret::new(foreign.private())),
        body: body.to_owned(),
    }
}

fn inbound(kind: &str, body: &str, content_type: &str) -> Inbound {
    Inbound {
        method: "POST".to_owned(),
        path: format!("/hooks/{kind}"),
        query: String::new(),
        headers: vec![("content-type".to_owned(), content_type.to_owned().into())],
        body: body.to_owned().into(),
        received_at: Timestamp::now(),
    }
}

impl Sender {
    fn signed(&self, by: &dyn Source, key: Option<&Secret>, body: &str, id: &str) -> Inbound {
        let content_type = if body.starts_with(['{', '[']) { JSON } else { FORM };
        let mut inbound = inbound(self.kind, body, content_type);
        let event = if self.kind.starts_with("github") { "push" } else { "an.event" };
        by.sign(&mut inbound, event, id, key).unwrap_or_else(|refusal| panic!("{}: {}", self.kind, refusal.private));
        inbound
    }

    fn delivery(&self, id: &str) -> Inbound {
        self.signed(self.source.as_ref(), self.key.as_ref(), &self.body, id)
    }
}

async fn send(service: &Service, inbound: &Inbound) -> Answer {
    let path = if inbound.query.is_empty() { inbound.path.clone() } else { format!("{}?{}", inbound.path, inbound.query) };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let headers: Vec<(String, String)> = inbound.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    service.send(&inbound.method, &path, &headers, &inbound.body).await
}

/// What differs from the words that the provider wants, if anything.
fn misworded(kind: &str, answer: &Answer) -> Option<String> {
    let body = String::from_utf8_lossy(&answer.body);
    let content_type = answer.header("content-type").unwrap_or_default();
    let named = answer.header("x-declic-delivery").is_some();
    let right = match WORDS.iter().find(|(known, _)| *known == kind) {
        Some((_, (status, wanted, words))) => answer.status == *status && content_type == *wanted && body == *words,
        None => answer.status == 202 && content_type == JSON && answer.json()["id"].is_string(),
    };
    (!right || !named).then(|| format!("{} {content_type} {body}", answer.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_gets_what_it_wants_to_read_for_every_outcome() {
    let senders = senders();
    let here: Vec<&str> = senders.iter().map(|sender| sender.kind).collect();
    let forgotten: Vec<&str> =
        KINDS.iter().map(|kind| kind.name).filter(|name| !here.contains(name) && *name != "github-app").collect();
    assert!(forgotten.is_empty(), "nobody looks at {forgotten:?}");
    let sources = senders.iter().map(|sender| Arc::clone(&sender.source)).collect();
    let service = Service::start(sources, Limits::default()).await;
    let mut wrong = Vec::new();
    let mut note =
        |kind: &str, outcome: &str, fault: Option<String>| wrong.extend(fault.map(|fault| format!("{kind}, {outcome}: {fault}")));
    service.faults.fail(true);
    for sender in &senders {
        let down = send(&service, &sender.delivery("msg_1")).await;
        note(sender.kind, "store down", problem(&down, 503));
        let again = down.header("retry-after").and_then(|value| value.parse::<u32>().ok());
        note(sender.kind, "store down", again.is_none_or(|seconds| seconds == 0).then(|| "no Retry-After".to_owned()));
    }
    service.faults.fail(false);
    assert!(service.stored().await.is_empty(), "nothing is stored while the store is down");
    let first = senders.first().expect("there are senders").delivery("msg_0");
    let recovered = async {
        while send(&service, &first).await.status == 503 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recovered).await.expect("it takes deliveries again");
    for sender in &senders {
        let kind = sender.kind;
        let delivery = sender.delivery("msg_1");
        note(kind, "accepted", misworded(kind, &send(&service, &delivery).await));
        note(kind, "duplicate", misworded(kind, &send(&service, &delivery).await));
        let forged = sender.signed(sender.other.as_ref(), sender.other_key.as_ref(), &sender.body, "msg_2");
        let refused = send(&service, &forged).await;
        // A wrong secret in the path is a path that is not there.
        let wanted = if kind == "dockerhub" { 404 } else { 401 };
        note(kind, "forged", problem(&refused, wanted));
        // An unwrapped message of Pub/Sub can be any bytes.
        if !PROVED_IN_THE_BODY.contains(&kind) && kind != "pubsub-push" {
            let body = if kind == "discord" { r#"{"type":2,"type":2}"# } else { r#"{"type":"a","type":"a"}"# };
            let malformed = sender.signed(sender.source.as_ref(), sender.key.as_ref(), body, "msg_3");
            note(kind, "malformed", problem(&send(&service, &malformed).await, 400));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What differs from a problem document of this status, if anything.
fn problem(answer: &Answer, status: u16) -> Option<String> {
    let content_type = answer.header("content-type").unwrap_or_default();
    let body = String::from_utf8_lossy(&answer.body);
    let right =
        answer.status == status && content_type == "application/problem+json" && answer.header("x-declic-delivery").is_none();
    (!right).then(|| format!("{} {content_type} {body}", answer.status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_described_sender_reads_its_own_words_for_every_outcome() {
    let fields = json!({
        "auth": { "hmac": { "secret": "hook", "header": "X-Sig" } },
        "answers": [
            { "outcome": ["accepted"], "if": { "body:type": ["quiet", "silent"] }, "status": 204 },
            { "outcome": ["accepted"], "status": 200, "json": { "ok": true }, "headers": { "X-Seen": "yes" } },
            { "outcome": ["duplicate"], "status": 208, "text": "again" },
            { "outcome": ["unverified"], "status": 403, "text": "no" },
            { "outcome": ["malformed"], "status": 422, "text": "what?" },
            { "outcome": ["down", "busy"], "status": 500, "text": "later" },
        ],
    });
    let ours = source("ours", "webhook", fields, &["s"]);
    let service = Service::start(vec![Arc::clone(&ours)], Limits::default()).await;
    let sent = |body: &str, id: &str| {
        let mut inbound = inbound("ours", body, JSON);
        inbound.headers.push(("webhook-id".to_owned(), id.to_owned().into()));
        ours.sign(&mut inbound, "", "", None).unwrap();
        inbound
    };
    let said = |answer: &Answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned());
    let first = send(&service, &sent(r#"{"type":"a"}"#, "1")).await;
    assert_eq!((said(&first), first.header("x-seen")), ((200, r#"{"ok":true}"#.to_owned()), Some("yes")));
    assert!(first.header("x-declic-delivery").is_some());
    assert_eq!(said(&send(&service, &sent(r#"{"type":"a"}"#, "1")).await), (208, "again".to_owned()));
    assert_eq!(said(&send(&service, &sent(r#"{"type":"quiet"}"#, "2")).await), (204, String::new()));
    assert_eq!(said(&send(&service, &sent(r#"{"type":1,"type":2}"#, "3")).await), (422, "what?".to_owned()));
    let mut forged = sent(r#"{"type":"a"}"#, "4");
    forged.body = r#"{"type":"b"}"#.into();
    assert_eq!(said(&send(&service, &forged).await), (403, "no".to_owned()));
    service.faults.fail(true);
    let down = send(&service, &sent(r#"{"type":"c"}"#, "5")).await;
    assert_eq!((said(&down), down.header("retry-after")), ((500, "later".to_owned()), Some("10")));
}

#[test]
fn an_answer_of_the_wrong_class_does_not_start() {
    for (outcome, status) in
        [("down", 400), ("busy", 404), ("accepted", 500), ("duplicate", 409), ("unverified", 200), ("malformed", 202)]
    {
        let fields = json!({ "auth": { "bearer": "hook" }, "answer": { "outcome": [outcome], "status": status } });
        let settings = declic::settings::SourceSettings {
            name: "x".to_owned(),
            kind: "webhook".to_owned(),
            path: "/x".to_owned(),
            fields: fields.as_object().unwrap().clone(),
        };
        let secrets = BTreeMap::from([("hook".to_owned(), vec![Secret::new("s")])]);
        let why = declic::sources::build(&settings, &secrets, &Around::default()).map(|_| ()).unwrap_err();
        assert!(why.contains(outcome) && why.contains(&status.to_string()), "{why}");
    }
}

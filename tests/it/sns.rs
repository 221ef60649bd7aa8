//! Amazon SNS at the door of the whole service: certificates and confirmations are fetched from a stand-in, and only where Amazon's own
//! addresses are named.

use async_trait::async_trait;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::rsa::Rsa;
use crate::support::whole::{Whole, body};

const TOPIC: &str = "arn:aws:sns:us-east-2:123456789012:alarms";
const AMAZON: &str = "https://sns.us-east-2.amazonaws.com";
const CERTIFICATE: &str = "/SimpleNotificationService-0123.pem";

const RULES: &str = "version: 1
rules:
  alarm:
    on: { http.webhook: { source: alarms, types: [Notification], body: { Message: string } } }
    steps: [{ uses: log, with: { message: \"${{ event.body.Message }}\" } }]
";

/// What stands at Amazon's addresses.
struct Amazon {
    certificate: String,
}

#[async_trait]
impl Api for Amazon {
    async fn answer(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            CERTIFICATE => Answer::of_type(200, "application/x-pem-file", self.certificate.clone()),
            "/" if request.parameter("Token") == Some("t-1") => {
                Answer::of_type(200, "text/xml", "<ConfirmSubscriptionResponse/>")
            }
            _ => Answer::empty(404),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::text(status, message)
    }
}

struct World {
    key: Rsa,
    amazon: Running<Amazon>,
    service: Whole,
}

impl World {
    async fn start() -> Self {
        let key = Rsa::new();
        let certificate = key.certificate();
        let amazon = server::start(|_, _| Amazon { certificate }).await.unwrap();
        let settings = format!(
            "version: 1
listen: \"127.0.0.1:0\"
store: {{ sqlite: declic.db }}
aws: {{ sns-url: \"{}\" }}
sources:
  alarms: {{ type: aws-sns, topic-arn: [\"{TOPIC}\"] }}
rules: rules.yaml
",
            amazon.url
        );
        let service = Whole::start(&settings, &[("rules.yaml", RULES)], []).await;
        Self { key, amazon, service }
    }

    /// Signs a message as Amazon does: names and values of its fields in order, a line each.
    fn signed(&self, mut message: Value) -> Value {
        let fields: &[&str] = if message["Type"] == "Notification" {
            &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        } else {
            &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        };
        let lines = fields.iter().filter_map(|name| Some(format!("{name}\n{}\n", message.get(*name)?.as_str()?)));
        let signature = self.key.sign(&RSA_PKCS1_SHA256, lines.collect::<String>().as_bytes());
        message["Signature"] = STANDARD.encode(signature).into();
        message
    }

    /// As Amazon would send it: JSON that calls itself text.
    async fn send(&self, message: &Value) -> Reply {
        let kind = message["Type"].as_str().unwrap_or_default().to_owned();
        let headers = [("content-type", "text/plain; charset=UTF-8".to_owned()), ("x-amz-sns-message-type", kind)];
        self.service.post("/hooks/alarms", &headers, body(message)).await
    }

    fn asked(&self, path: &str) -> usize {
        self.amazon.ledger.requests().iter().filter(|request| request.path == path).count()
    }
}

fn timestamp() -> String {
    declic::clock::Timestamp::now().rfc3339()
}

fn notification(id: &str) -> Value {
    json!({ "Type": "Notification", "MessageId": id, "TopicArn": TOPIC, "Subject": "Alarm", "Message": "disk full", "Timestamp": timestamp(),
        "SignatureVersion": "2", "SigningCertURL": format!("{AMAZON}{CERTIFICATE}") })
}

fn confirmation(subscribe_url: &str) -> Value {
    json!({ "Type": "SubscriptionConfirmation", "MessageId": "c-1", "TopicArn": TOPIC, "Message": "You have chosen to subscribe",
        "Token": "t-1", "SubscribeURL": subscribe_url, "Timestamp": timestamp(),
        "SignatureVersion": "2", "SigningCertURL": format!("{AMAZON}{CERTIFICATE}") })
}

fn subscribe_url() -> String {
    format!("{AMAZON}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t-1")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_verified_with_a_certificate_that_is_fetched_once() {
    let world = World::start().await;
    for id in ["n-1", "n-2"] {
        let reply = world.send(&world.signed(notification(id))).await;
        assert_eq!((reply.status, world.service.started(&reply).await), (200, vec!["alarm".to_owned()]));
    }
    let mut forged = world.signed(notification("n-3"));
    forged["Message"] = "all is well".into();
    assert_eq!(world.send(&forged).await.status, 401);
    assert_eq!(world.asked(CERTIFICATE), 1);
    assert_eq!(world.service.stored().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_confirmed_once_and_is_no_delivery() {
    let world = World::start().await;
    let message = world.signed(confirmation(&subscribe_url()));
    assert_eq!(world.send(&world.signed(notification("n-1"))).await.status, 200, "the certificate is there");
    world.amazon.faults.next_matching(
        1,
        "GET",
        "/",
        declic::demo::stand_ins::faults::Fault::Fail { status: 500, retry_after: None },
    );
    assert_eq!(world.send(&message).await.status, 503, "Amazon sends it again");
    for _ in 0..3 {
        let reply = world.send(&message).await;
        assert_eq!((reply.status, &reply.body), (200, &Value::Null));
    }
    assert_eq!(world.asked("/"), 2, "once in vain, and once");
    let got = world.amazon.ledger.requests();
    let confirmed = got.iter().rfind(|request| request.path == "/").unwrap();
    assert!(confirmed.query.iter().any(|(name, value)| name == "Action" && value == "ConfirmSubscription"), "{confirmed:?}");
    assert_eq!(world.service.stored().await, 1, "the notification");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_for_other_topics_and_from_other_hosts() {
    let world = World::start().await;
    let mut other = notification("n-1");
    other["TopicArn"] = "arn:aws:sns:us-east-2:999999999999:alarms".into();
    assert_eq!(world.send(&world.signed(other)).await.status, 401);
    let hosts = [
        format!("https://sns.us-east-2.amazonaws.com.evil.example{CERTIFICATE}"),
        format!("http://sns.us-east-2.amazonaws.com{CERTIFICATE}"),
        format!("https://sns.us-east-2.amazonaws.com@evil.example{CERTIFICATE}"),
        format!("{}{CERTIFICATE}", world.amazon.url),
        format!("{AMAZON}/SimpleNotificationService.txt"),
    ];
    for address in hosts {
        let mut forged = notification("n-1");
        forged["SigningCertURL"] = address.into();
        assert_eq!(world.send(&world.signed(forged)).await.status, 401);
    }
    assert!(world.amazon.ledger.requests().is_empty(), "{:?}", world.amazon.ledger.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_opens_no_other_address_and_does_nothing_but_confirm() {
    let world = World::start().await;
    for address in [
        format!("https://evil.example/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t-1"),
        format!("{}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=t-1", world.amazon.url),
        format!("{AMAZON}/?Action=DeleteTopic&TopicArn={TOPIC}&Token=t-1"),
        format!("{AMAZON}:8443/?Action=ConfirmSubscription&Token=t-1"),
    ] {
        let reply = world.send(&world.signed(confirmation(&address))).await;
        assert_eq!(reply.status, 400, "{address}");
    }
    let mut unsigned = confirmation(&subscribe_url());
    unsigned["Signature"] = STANDARD.encode([0; 256]).into();
    assert_eq!(world.send(&unsigned).await.status, 401);
    let mut foreign = world.signed(confirmation(&subscribe_url()));
    foreign["Token"] = "t-2".into();
    assert_eq!(world.send(&foreign).await.status, 401);
    assert_eq!((world.asked("/"), world.asked(CERTIFICATE)), (0, 1));
}

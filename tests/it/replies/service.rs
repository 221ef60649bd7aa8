//! The whole service from its settings, its sources signed as their providers sign, and an API for it to ask.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use declic::app;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use declic::journal::Journal;
use declic::journal::record::{DeliveryState, RunRecord};
use declic::settings::{self, Environment, Mode};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::client::{Client, Reply};
use crate::support::whole;

const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const SHOP_SECRET: &str = "the shop's secret";
const PHONE_SECRET: &str = "12345";
const PHONE_URL: &str = "https://declic.example.dev/hooks/phone";
const BASIC: &str = "dialogflow:a password";

/// What the rules ask: takes as long and answers what it was told.
#[derive(Default)]
pub struct Target {
    takes: Mutex<Duration>,
    answers: Mutex<Option<(u16, Value)>>,
}

impl Target {
    pub fn takes(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    pub fn answers(&self, status: u16, body: Value) {
        *self.answers.lock().unwrap() = Some((status, body));
    }
}

#[async_trait]
impl Api for Target {
    async fn answer(&self, _request: &Request) -> Answer {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let (status, body) = self.answers.lock().unwrap().clone().unwrap_or((200, json!({ "state": "sent", "items": 3 })));
        let answer = Answer::json(status, &body);
        // Later than anybody waits.
        if status == 503 { answer.with_header("retry-after", "3") } else { answer }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "message": message }))
    }
}

/// A service that serves until it is dropped.
pub struct Service {
    pub target: Running<Target>,
    pub journal: std::sync::Arc<dyn Journal>,
    address: String,
    folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// `more` can hold lines `# slack …`, a connection, and `# egress …`, an address that may be reached.
fn declic_yaml(target: &str, more: &str) -> String {
    let marked = |mark: &str| more.lines().find_map(|line| line.strip_prefix(mark)).unwrap_or_default().trim();
    let (slack, egress) = (marked("# slack"), marked("# egress"));
    let egress = if egress.is_empty() { target } else { egress };
    format!(
        r#"version: 1
listen: "127.0.0.1:0"
store: {{ sqlite: declic.db }}
secrets:
  signing: {{ from: env, name: SIGNING }}
  shop_hook: {{ from: env, name: SHOP }}
  basic: {{ from: env, name: BASIC }}
  orders_token: {{ from: env, name: SHOP }}
  phone_token: {{ from: env, name: PHONE }}
  bot: {{ from: env, name: BOT }}
sources:
  support_es: {{ type: dialogflow-es, path: /fulfill/es, auth: {{ basic: basic }}, deadline: 2s }}
  support_cx: {{ type: dialogflow-cx, path: /fulfill/cx, auth: {{ basic: basic }}, deadline: 2s }}
  slack_acme: {{ type: slack, path: /hooks/slack, signing-secret: signing }}
  phone: {{ type: twilio, path: /hooks/phone, secret: phone_token, public-url: "{PHONE_URL}" }}
  shop: {{ type: webhook, path: /hooks/shop, auth: {{ hmac: {{ secret: shop_hook, header: X-Shop-Signature, algorithm: sha256 }} }}, deadline: 2s }}
connections:
  orders_api: {{ type: http, base-url: "http://{target}", methods: [GET, POST] }}
  legacy_bot: {{ type: dialogflow-fulfillment, url: "http://{target}/bot" }}
  {slack}
egress: {{ allow: ["{target}", "{egress}"] }}
rules: rules.yaml
workers: 1
{more}"#
    )
}

impl Service {
    /// With these rules, as they would stand under `rules:`.
    pub async fn start(rules: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("rules.yaml"), format!("version: 1\nrules:\n{rules}")).expect("a written file");
        let target = server::start(|_, _| Target::default()).await.expect("a free port");
        Self::serve(folder, target, "").await
    }

    /// The same with a Slack workspace that can be written to.
    pub async fn with_slack(rules: &str, api: &str, authority: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("rules.yaml"), format!("version: 1\nrules:\n{rules}")).expect("a written file");
        let target = server::start(|_, _| Target::default()).await.expect("a free port");
        let slack = format!(r##"slack_eng: {{ type: slack, token: bot, channels: ["#deploys"], api-url: "{api}" }}"##);
        Self::serve(folder, target, &format!("# slack {slack}\n# egress {authority}\n")).await
    }

    async fn serve(folder: tempfile::TempDir, target: Running<Target>, more: &str) -> Self {
        let file = folder.path().join("declic.yaml");
        std::fs::write(&file, declic_yaml(&target.authority, more)).expect("a written file");
        let environment = Environment::given([
            ("SIGNING", SLACK_SECRET),
            ("SHOP", SHOP_SECRET),
            ("BASIC", BASIC),
            ("PHONE", PHONE_SECRET),
            ("BOT", crate::support::slack::TOKEN),
        ]);
        let loaded =
            settings::load(&file, Mode::Resolved, &environment).unwrap_or_else(|unusable| panic!("{}", unusable.render(false)));
        let service = app::assemble(loaded.settings).await.unwrap_or_else(|why| panic!("{why}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let journal = service.journal();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(service.serve(listener, async {
            let _: Result<(), _> = stopped.await;
        }));
        Self { target, journal, address, folder, stop: Some(stop), served }
    }

    /// Stops as on SIGTERM and starts again on the same store.
    pub async fn restart(mut self) -> Self {
        drop(self.stop.take());
        self.served.await.expect("it ends").expect("it ends well");
        drop(self.journal);
        Self::serve(self.folder, self.target, "").await
    }

    /// As Dialogflow ES would ask.
    pub async fn es(&self, id: &str, intent: &str, params: Value) -> Reply {
        let body = json!({
            "responseId": id, "session": "projects/p/agent/sessions/s",
            "queryResult": { "queryText": "how?", "parameters": params, "intent": { "name": "i", "displayName": intent },
                "intentDetectionConfidence": 0.9, "languageCode": "en" },
            "originalDetectIntentRequest": {}
        });
        self.post("/fulfill/es", &[("authorization", basic()), ("content-type", "application/json".to_owned())], body.to_string())
            .await
    }

    /// As Dialogflow CX would ask.
    pub async fn cx(&self, id: &str, tag: &str, params: Value) -> Reply {
        let body = json!({
            "detectIntentResponseId": id, "text": "where?", "languageCode": "en", "fulfillmentInfo": { "tag": tag },
            "intentInfo": { "displayName": "x", "confidence": 0.9 },
            "pageInfo": { "currentPage": "projects/p/locations/l/agents/a/flows/f/pages/1" },
            "sessionInfo": { "session": "projects/p/locations/l/agents/a/sessions/s", "parameters": params }
        });
        self.post("/fulfill/cx", &[("authorization", basic()), ("content-type", "application/json".to_owned())], body.to_string())
            .await
    }

    /// As Slack would send a slash command.
    pub async fn slash(&self, command: &str, text: &str, response_url: &str) -> Reply {
        let form: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("team_id", "T1"),
                ("channel_id", "C1"),
                ("channel_name", "deploys"),
                ("user_id", "U1"),
                ("user_name", "mona"),
                ("command", command),
                ("text", text),
                ("response_url", response_url),
                ("trigger_id", &ulid::Ulid::new().to_string()),
            ])
            .finish();
        self.slack(form).await
    }

    /// As Slack would send a press of one of our buttons.
    pub async fn button(&self, user: &str, action: &str, value: &str) -> Reply {
        let payload = json!({
            "type": "block_actions", "trigger_id": ulid::Ulid::new().to_string(), "user": { "id": user },
            "actions": [{ "action_id": action, "value": value }],
        });
        self.interaction(&payload).await
    }

    /// As Slack would send interactivity.
    pub async fn interaction(&self, payload: &Value) -> Reply {
        self.slack(url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish())
            .await
    }

    async fn slack(&self, form: String) -> Reply {
        self.signed_by_slack("application/x-www-form-urlencoded", form).await
    }

    /// As the Events API would send.
    pub async fn slack_event(&self, body: &Value) -> Reply {
        self.signed_by_slack("application/json", body.to_string()).await
    }

    async fn signed_by_slack(&self, content_type: &str, form: String) -> Reply {
        let now = declic::clock::Timestamp::now().seconds().to_string();
        let signature = format!("v0={}", mac(SLACK_SECRET, format!("v0:{now}:{form}").as_bytes()));
        let headers =
            [("content-type", content_type.to_owned()), ("x-slack-request-timestamp", now), ("x-slack-signature", signature)];
        self.post("/hooks/slack", &headers, form).await
    }

    /// As Twilio would send a message: its signature is over the address it was told, and the fields in order.
    pub async fn text_message(&self, from: &str, body: &str) -> Reply {
        let id = ulid::Ulid::new().to_string();
        let fields = [("Body", body), ("From", from), ("MessageSid", id.as_str())];
        let signed: String = fields.iter().fold(PHONE_URL.to_owned(), |signed, (name, value)| format!("{signed}{name}{value}"));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PHONE_SECRET.as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded".to_owned()), ("x-twilio-signature", signature)];
        self.post("/hooks/phone", &headers, form).await
    }

    /// As the shop would.
    pub async fn shop(&self, body: &Value) -> Reply {
        let body = body.to_string();
        let headers = [("content-type", "application/json".to_owned()), ("x-shop-signature", mac(SHOP_SECRET, body.as_bytes()))];
        self.post("/hooks/shop", &headers, body).await
    }

    async fn post(&self, path: &str, headers: &[(&str, String)], body: String) -> Reply {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Client::anonymous().send("POST", &format!("{}{path}", self.address), &headers, body.into_bytes()).await
    }

    /// Until the delivery that was answered with this reply is final.
    pub async fn settled(&self, reply: &Reply) -> DeliveryState {
        whole::settled(self.journal.as_ref(), reply.header("x-declic-delivery")).await
    }

    /// The runs of the delivery that was answered with this reply.
    pub async fn runs(&self, reply: &Reply) -> Vec<RunRecord> {
        self.journal.runs_of(reply.header("x-declic-delivery")).await.unwrap()
    }

    /// How often the API was asked for this path.
    pub fn asked(&self, path: &str) -> usize {
        self.target.ledger.requests().iter().filter(|request| request.path == path).count()
    }
}

fn basic() -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(BASIC))
}

fn mac(secret: &str, signed: &[u8]) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).expect("any length of key will do");
    mac.update(signed);
    hex::encode(mac.finalize().into_bytes())
}

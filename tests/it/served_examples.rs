//! The example rule files, served: `rules/examples/declic.yaml` with the addresses of stand-ins in it, and requests signed as their senders sign.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use declic::demo::stand_ins::{IMAGE_REPOSITORY, SERVICE_NAME, World};
use declic::journal::record::DeliveryState;
use declic::rules::yaml::{self, Limits};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::google_apis::{self, GoogleApis};
use crate::support::rsa::Rsa;
use crate::support::slack::{self, Slack};
use crate::support::whole::{Whole, body, json_type, now};
use crate::support::x::{self, X};

const API: &str = "projects/acme-staging/locations/europe-west1/services/api";
const API_REPOSITORY: &str = "acme-build/api/api";
const PUSHER: &str = "pubsub-push@acme-ops.iam.gserviceaccount.com";
const AGENT: &str = "service-1234@gcp-sa-dialogflow.iam.gserviceaccount.com";
const SIGNING: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const SHOP: &str = "the shop's secret";
const BASIC: &str = "dialogflow:a password";
const ORDERS_TOKEN: &str = "token-of-the-order-system";

/// The order system, the other bot, and Google's keys.
struct Partners {
    keys: Value,
    /// The order system answers this instead.
    orders: Mutex<Option<u16>>,
}

#[async_trait]
impl Api for Partners {
    async fn answer(&self, request: &Request) -> Answer {
        let orders = *self.orders.lock().unwrap();
        match (request.method.as_str(), request.path.as_str(), orders) {
            ("GET", "/oauth2/v3/certs", _) => Answer::json(200, &self.keys),
            ("POST", "/webhook", _) => Answer::json(200, &json!({ "fulfillmentText": "Like this." })),
            (_, path, _) if path.starts_with("/v1/") && request.bearer() != Some(ORDERS_TOKEN) => Answer::empty(401),
            (_, _, Some(404)) => Answer::json(404, &json!({ "state": "open", "items": 0 })),
            (_, _, Some(status)) => Answer::empty(status),
            ("GET", "/v1/orders/12345", _) => Answer::json(200, &json!({ "state": "sent", "items": 3 })),
            ("POST", "/v1/risk", _) => Answer::json(200, &json!({ "score": 0.25 })),
            _ => Answer::empty(404),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::text(status, message)
    }
}

struct Scene {
    world: World,
    apis: Running<GoogleApis>,
    slack: Running<Slack>,
    x: Running<X>,
    partners: Running<Partners>,
    google: Rsa,
    service: Whole,
}

fn example(name: &str) -> String {
    let path = format!("{}/rules/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Scene {
    async fn start() -> Self {
        let world = World::start().await.unwrap();
        world.cloud_run.operations_take(Duration::from_millis(10), 1);
        let digest = world.registry.push(API_REPOSITORY, "main", "first");
        world.registry.push(IMAGE_REPOSITORY, "v2", "second");
        let container = json!({ "name": "api", "image": format!("europe-docker.pkg.dev/{API_REPOSITORY}@{digest}") });
        let api = json!({ "name": API, "template": { "revision": "api-00001-abc", "containers": [container] },
            "traffic": [{ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100 }] });
        world.cloud_run.seed(&api).unwrap();
        let apis = google_apis::start(world.tokens.clone()).await;
        apis.add_topic("projects/acme-ops/topics/orders-new");
        apis.add_topic("projects/acme-ops/topics/deploy-finished");
        apis.add_table("orders", &["order_id", "total", "currency", "coupon", "items", "big", "risk", "version"]);
        let slack = slack::start().await;
        slack.deployers(&["U1"]);
        let x = x::start().await;
        let google = Rsa::new();
        let keys = json!({ "keys": [google.published("g1")] });
        let partners = server::start(|_, _| Partners { keys, orders: Mutex::default() }).await.unwrap();
        let settings = settings(&world, [&apis.url, &slack.url, &x.url, &partners.url]);
        let names = ["alerts", "chat", "images", "orders"];
        let files = names.map(|name| (format!("rules/{name}.yaml"), example(&format!("rules/{name}.yaml"))));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let variables = [
            ("SLACK_SIGNING", SIGNING),
            ("SLACK_BOT", slack::TOKEN),
            ("X_OAUTH", x::KEYS),
            ("SHOP_HOOK", SHOP),
            ("DIALOGFLOW_BASIC", BASIC),
            ("ORDERS_TOKEN", ORDERS_TOKEN),
        ];
        let service = Whole::start(&settings, &files, variables).await;
        Self { world, apis, slack, x, partners, google, service }
    }

    /// As Dialogflow ES asks.
    async fn es(&self, id: &str, intent: &str, params: Value) -> Reply {
        let request = json!({
            "responseId": id, "session": "projects/p/agent/sessions/s",
            "queryResult": { "queryText": "how?", "parameters": params, "intent": { "name": "i", "displayName": intent },
                "intentDetectionConfidence": 0.9, "languageCode": "en" },
        });
        let basic = format!("Basic {}", STANDARD.encode(BASIC));
        self.service.post("/fulfill/es", &[json_type(), ("authorization", basic)], body(&request)).await
    }

    /// As Dialogflow CX asks.
    async fn cx(&self, id: &str, order: &str) -> Reply {
        let request = json!({
            "detectIntentResponseId": id, "text": "where?", "languageCode": "en", "fulfillmentInfo": { "tag": "order.status" },
            "intentInfo": { "displayName": "x", "confidence": 0.9 },
            "pageInfo": { "currentPage": "projects/p/locations/l/agents/a/flows/f/pages/1" },
            "sessionInfo": { "session": "projects/p/locations/l/agents/a/sessions/s", "parameters": { "order_id": order } },
        });
        self.service.post("/fulfill/cx", &[json_type(), ("authorization", self.token(AGENT))], body(&request)).await
    }

    /// As somebody in Slack writes `/deploy`.
    async fn deploy(&self, user: &str, text: &str) -> Reply {
        let response_url = format!("{}/commands/T1/2/abc", self.slack.url);
        let id = ulid::Ulid::new().to_string();
        let pairs = [
            ("team_id", "T1"),
            ("channel_id", "C1"),
            ("channel_name", "deploys"),
            ("user_id", user),
            ("user_name", "mona"),
            ("command", "/deploy"),
            ("text", text),
            ("response_url", &response_url),
            ("trigger_id", &id),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let time = now().to_string();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("x-slack-request-timestamp", time.clone()),
            ("x-slack-signature", format!("v0={}", mac(SIGNING, &format!("v0:{time}:{form}")))),
        ];
        self.service.post("/hooks/slack", &headers, form).await
    }

    /// As Pub/Sub pushes.
    async fn push(&self, path: &str, document: &Value) -> Reply {
        let id = ulid::Ulid::new().to_string();
        let data = STANDARD.encode(document.to_string());
        let push = json!({ "subscription": "projects/acme-ops/subscriptions/s",
            "message": { "messageId": id, "data": data, "publishTime": "2026-11-24T08:00:00Z" } });
        self.service.post(path, &[json_type(), ("authorization", self.token(PUSHER))], body(&push)).await
    }

    /// As the shop sends.
    async fn order(&self, order: &Value) -> Reply {
        let time = now().to_string();
        let signature = mac(SHOP, &format!("{time}.{order}"));
        self.service
            .post("/hooks/shop", &[json_type(), ("x-shop-time", time), ("x-shop-signature", signature)], body(order))
            .await
    }

    fn token(&self, email: &str) -> String {
        let now = now();
        let claims = json!({ "iss": "https://accounts.google.com", "aud": "https://declic.example.dev", "email": email,
            "email_verified": true, "iat": now - 5, "exp": now + 3600 });
        self.google.token("g1", &claims)
    }

    fn said_in_slack(&self) -> Vec<String> {
        self.slack.messages().iter().map(|message| message["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The revision that has all the traffic.
    fn serving(&self, service: &str) -> String {
        self.world.cloud_run.allocation(service).first().map(|(revision, _)| revision.clone()).unwrap_or_default()
    }
}

/// The operator's file of the examples: secrets from the environment, partners at the addresses of the stand-ins, without GitHub, which
/// these rules do not hear.
fn settings(world: &World, [apis, slack, x, partners]: [&String; 4]) -> String {
    let (node, faults) = yaml::read("declic.yaml", &example("declic.yaml"), Limits::OPERATOR);
    let mut settings = node.unwrap_or_else(|| panic!("{faults:?}")).to_json();
    settings["listen"] = "127.0.0.1:0".into();
    settings["store"] = json!({ "sqlite": "declic.db" });
    settings["rules"] = "rules/*.yaml".into();
    let fields = settings.as_object_mut().unwrap();
    fields.remove("repositories");
    fields["sources"].as_object_mut().unwrap().remove("github");
    let secrets = fields["secrets"].as_object_mut().unwrap();
    secrets.retain(|name, _| !name.starts_with("github"));
    for (name, secret) in secrets {
        *secret = json!({ "from": "env", "name": name.to_uppercase() });
    }
    let connections = &mut fields["connections"];
    connections["slack_eng"]["api-url"] = format!("{slack}/api").into();
    connections["x_acme"]["api-url"] = x.as_str().into();
    connections["orders_api"]["base-url"] = partners.as_str().into();
    connections["legacy_bot"]["url"] = format!("{partners}/webhook").into();
    let outside = [slack, x, partners].map(|url| url.trim_start_matches("http://").to_owned());
    let allow: Vec<String> = world.authorities().into_iter().chain(outside).collect();
    settings["egress"] = json!({ "allow": allow });
    settings["google"] = json!({
        "run-url": world.cloud_run.url, "iam-credentials-url": world.identity.url, "metadata-host": world.identity.authority,
        "registry-url": world.registry.url, "pubsub-url": apis, "bigquery-url": apis, "fcm-url": apis, "certs-url": partners,
    });
    settings.to_string()
}

fn mac(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn spoken(text: &str) -> Value {
    json!({ "messages": [{ "text": { "text": [text] } }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chatbot_of_the_examples_answers() {
    let scene = Scene::start().await;
    let reply = scene.es("r1", "opening.hours", json!({})).await;
    assert_eq!(reply.text("/fulfillmentText"), "We are open Monday to Friday, 9 to 17 o'clock.");
    let reply = scene.cx("r2", "12345").await;
    assert_eq!(reply.body["fulfillmentResponse"], spoken("Order 12345 is sent, expected soon."));
    assert_eq!(reply.body["sessionInfo"], json!({ "parameters": { "order_items": 3 } }));
    assert_eq!(scene.cx("r3", "../admin").await.body, json!({}));
    *scene.partners.orders.lock().unwrap() = Some(404);
    assert_eq!(scene.cx("r4", "99999").await.body["fulfillmentResponse"], spoken("I cannot find order 99999."));
    *scene.partners.orders.lock().unwrap() = Some(403);
    let fallback = "I cannot reach the order system right now. Please try again in a minute.";
    assert_eq!(scene.cx("r5", "12345").await.body["fulfillmentResponse"], spoken(fallback));
    let reply = scene.es("r6", "legacy.question", json!({ "topic": "returns" })).await;
    assert_eq!(reply.text("/fulfillmentText"), "Like this.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_is_asked_for_in_the_chat_and_in_slack() {
    let scene = Scene::start().await;
    let first = scene.serving(API);
    let asked = Instant::now();
    let reply = scene.es("r1", "ops.deploy", json!({ "service": "api" })).await;
    assert_eq!(reply.text("/fulfillmentText"), "Deploying api to staging. I will tell you in Slack.");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Completed);
    let second = scene.serving(API);
    assert_ne!(first, second);
    assert_eq!(scene.said_in_slack(), [format!("api on staging: {second} (asked for by voice)")]);
    let reply = scene.deploy("U1", "web V2").await;
    assert_eq!(reply.body, json!({ "response_type": "in_channel", "text": "On it: *web* at `V2`." }));
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Completed);
    let web = scene.serving(SERVICE_NAME);
    assert_eq!(scene.slack.answers().last().unwrap()["text"], format!(":white_check_mark: {web} is live."));
    // Whoever is not in the group deploys nothing, and is told nothing.
    let reply = scene.deploy("U2", "web V2").await;
    assert_eq!((reply.body.clone(), scene.service.settled(&reply).await), (Value::Null, DeliveryState::Ignored));
    assert_eq!(scene.serving(SERVICE_NAME), web);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_is_deployed_and_told_of() {
    let scene = Scene::start().await;
    let first = scene.serving(API);
    let digest = scene.world.registry.push(API_REPOSITORY, "main", "second");
    let name = format!("europe-docker.pkg.dev/{API_REPOSITORY}");
    let notice = |tag: &str| json!({ "action": "INSERT", "digest": format!("{name}@{digest}"), "tag": format!("{name}:{tag}") });
    let reply = scene.push("/hooks/images", &notice("main")).await;
    assert_eq!((reply.status, scene.service.settled(&reply).await), (204, DeliveryState::Completed));
    let second = scene.serving(API);
    assert_ne!(first, second);
    let told = scene.apis.messages("projects/acme-ops/topics/deploy-finished");
    let data: Value =
        serde_json::from_slice(&STANDARD.decode(&told[0].data).unwrap_or_else(|_| told[0].data.clone().into_bytes())).unwrap();
    assert_eq!(
        (told.len(), &data["service"], &data["revision"], &data["rolled_back"]),
        (1, &json!("api"), &json!(second), &json!(false))
    );
    let reply = scene.push("/hooks/images", &notice("dev")).await;
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Ignored);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_rolls_back_and_tells_people() {
    let scene = Scene::start().await;
    let first = scene.serving(SERVICE_NAME);
    let reply = scene.deploy("U1", "web V2").await;
    scene.service.settled(&reply).await;
    assert_ne!(scene.serving(SERVICE_NAME), first);
    let incident = |id: &str, state: &str, severity: &str| {
        json!({ "version": "1.2", "incident": { "incident_id": id, "url": "https://console.cloud.google.com/x", "started_at": 1_760_000_000,
            "state": state, "severity": severity, "summary": "5xx above <5 %>", "policy_name": "staging error rate > 5%", "condition_name": "5xx",
            "resource": { "type": "cloud_run_revision", "labels": { "service_name": "web" } }, "policy_user_labels": {} } })
    };
    let reply = scene.push("/hooks/alerts", &incident("1", "open", "Warning")).await;
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Completed);
    assert_ne!(scene.serving(SERVICE_NAME), first, "a warning rolls nothing back");
    let reply = scene.push("/hooks/alerts", &incident("2", "open", "Critical")).await;
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!(scene.serving(SERVICE_NAME), first);
    let reply = scene.push("/hooks/alerts", &incident("2", "closed", "Critical")).await;
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Completed);
    let said = scene.said_in_slack();
    let alert = ":rotating_light: *staging error rate &gt; 5%* (CRITICAL)\n5xx above &lt;5 %&gt;\n<https://console.cloud.google.com/x|open the incident>";
    assert_eq!(said[1], "Not rolled back (only CRITICAL alerts are).");
    assert_eq!((said[2].as_str(), said[3].as_str()), (alert, "Rolled back."));
    assert_eq!(said[4], ":large_green_circle: staging error rate &gt; 5% is closed.");
    let messages = scene.slack.messages();
    assert_eq!(messages[3]["thread_ts"], messages[2]["ts"], "the outcome is told in the alert's thread");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_becomes_a_row_a_push_message_an_event_and_a_thank_you() {
    let scene = Scene::start().await;
    let order = |id: i64, total: f64| {
        json!({ "kind": "order.placed", "order_id": id, "total": total, "currency": "EUR", "coupon": null,
            "customer": { "id": "c9", "device_topic": "user c9", "handle": "mona" }, "items": [{ "sku": "A1", "quantity": 2 }] })
    };
    let reply = scene.order(&order(7001, 612.5)).await;
    assert_eq!((reply.status, scene.service.settled(&reply).await), (202, DeliveryState::Completed));
    let rows = scene.apis.rows("orders");
    let expected = json!({ "order_id": 7001, "total": 612.5, "currency": "EUR", "coupon": null, "items": [{ "sku": "A1", "quantity": 2 }],
        "big": true, "risk": 0.25, "version": "1.20" });
    assert_eq!(rows.values().collect::<Vec<_>>(), [&expected]);
    assert_eq!(scene.apis.messages("projects/acme-ops/topics/orders-new").len(), 1);
    assert_eq!(scene.apis.pushed().len(), 1);
    assert_eq!(scene.x.posts()[0]["text"], "Thank you @mona for your order!");
    // The risk service is down, and the order still arrives; the same bytes again are the same delivery.
    *scene.partners.orders.lock().unwrap() = Some(400);
    let small = order(7002, 10.0);
    let reply = scene.order(&small).await;
    assert_eq!(scene.service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!(scene.order(&small).await.header("x-declic-delivery"), reply.header("x-declic-delivery"));
    let rows = scene.apis.rows("orders");
    assert_eq!(rows.len(), 2);
    assert!(rows.values().any(|row| row["order_id"] == 7002 && row["risk"].is_null() && row["big"] == false), "{rows:?}");
    assert_eq!(scene.x.posts().len(), 1, "a small order is thanked for in private");
    let forged = scene
        .service
        .post(
            "/hooks/shop",
            &[json_type(), ("x-shop-time", now().to_string()), ("x-shop-signature", "0".repeat(64))],
            body(&small),
        )
        .await;
    assert_eq!(forged.status, 401);
}

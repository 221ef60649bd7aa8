//! What each provider sends, as a rule reads it: signed as the provider signs, through HTTP, to a rule that declares the body's shape or has
//! typed fields, and to one whose conditions do not hold.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::settings::{self, Environment, Mode};
use declic::sources::{self, Around, Source};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::whole::Whole;

const SECRET: &str = "the provider's secret";

/// A source, what its rule hears and asks, and two requests: one that starts it and one that does not.
struct Case {
    /// Type and further settings.
    source: &'static str,
    /// Event, with filters and the shape of its body.
    on: &'static str,
    condition: &'static str,
    /// The provider's word for the event, if it stands in a header.
    event: &'static str,
    body: Value,
    /// A place in the body, and what stands there in the request that starts nothing.
    otherwise: (&'static str, Value),
}

fn git(project: &Value) -> Value {
    json!({ "object_kind": "push", "ref": "refs/heads/main", "after": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "user_username": "jsmith",
        "project": project, "repository": project, "commits": [{ "id": "da15", "message": "Fix", "added": ["a"], "modified": [], "removed": [] }] })
}

fn cases() -> Vec<Case> {
    let project = json!({ "path_with_namespace": "acme/web", "full_name": "acme/web" });
    let main_of_gitea = "event.body.ref == 'refs/heads/main' && event.body.repository.full_name == 'acme/web'";
    let gitea = "http.webhook: { types: [push], body: { ref: string, after: string, repository: { full_name: string }, commits: [{ id: string }] } }";
    let elsewhere = ("/ref", json!("refs/heads/other"));
    let mut cases = vec![
        Case {
            source: "type: gitlab, secret: hook",
            on: "http.webhook: { types: [\"Push Hook\"], body: { ref: string, project: { path_with_namespace: string }, \
                 commits: [{ id: string, message: string, added: [string] }] } }",
            condition: "event.body.ref == 'refs/heads/main' && event.body.project.path_with_namespace == 'acme/web' && event.body.commits.exists(c, c.id == 'da15')",
            event: "Push Hook",
            body: git(&project),
            otherwise: elsewhere.clone(),
        },
        Case {
            source: "type: bitbucket, secret: hook",
            on: "http.webhook: { types: [\"repo:push\"], body: { repository: { full_name: string }, push: { changes: [\"{ new: { name: string, target: { hash: string } }? }\"] } } }",
            condition: "event.body.push.changes.exists(c, c.new.name ?? '' == 'main')",
            event: "repo:push",
            body: json!({ "repository": { "full_name": "acme/web" }, "push": { "changes": [{ "new": null }, { "new": { "name": "main", "target": { "hash": "709d" } } }] } }),
            otherwise: ("/push/changes/1/new/name", json!("other")),
        },
        Case {
            source: "type: stripe, secret: hook",
            on: "http.webhook: { types: [invoice.paid], body: { id: string, livemode: bool, data: { object: { id: string, amount_paid: int, currency: eur|usd } } } }",
            condition: "event.body.data.object.amount_paid > 1000",
            event: "",
            body: json!({ "id": "evt_1", "object": "event", "type": "invoice.paid", "livemode": false,
                "data": { "object": { "id": "in_1", "amount_paid": 1500, "currency": "eur" } } }),
            otherwise: ("/data/object/amount_paid", json!(500)),
        },
        Case {
            source: "type: shopify, secret: hook",
            on: "http.webhook: { types: [orders/create], body: { id: int, total_price: string, line_items: [{ sku: string?, quantity: int }] } }",
            condition: "double(event.body.total_price) > 100.0 && event.headers[\"x-shopify-topic\"] == 'orders/create'",
            event: "orders/create",
            body: json!({ "id": 820_982_911, "total_price": "254.98", "line_items": [{ "sku": null, "quantity": 1 }] }),
            otherwise: ("/total_price", json!("54.98")),
        },
        Case {
            source: "type: google-cloud-monitoring, auth: { query: { name: auth_token, secret: hook } }",
            on: "gcp.alert: { policies: [\"staging *\"], states: [open], severities: [CRITICAL] }",
            condition: "event.resource.labels.service_name == 'web'",
            event: "",
            body: incident(),
            otherwise: ("/incident/policy_name", json!("production errors")),
        },
        Case {
            source: "type: alertmanager, auth: { bearer: hook }",
            on: "http.webhook: { types: [firing], body: { groupKey: string, commonLabels: { \"*\": string }, alerts: [{ status: firing|resolved, labels: { \"*\": string } }] } }",
            condition: "event.body.alerts.exists(a, a.labels.alertname == 'Down')",
            event: "",
            body: json!({ "status": "firing", "groupKey": "g", "commonLabels": {}, "alerts": [{ "status": "firing", "labels": { "alertname": "Down" } }] }),
            otherwise: ("/alerts/0/labels/alertname", json!("Up")),
        },
        Case {
            source: "type: cloudevents, secret: hook",
            on: "http.webhook: { types: [com.acme.made], body: { a: int } }",
            condition: "event.body.a == 1 && event.headers[\"ce-source\"] == '/acme'",
            event: "com.acme.made",
            body: json!({ "specversion": "1.0", "id": "1", "source": "/acme", "type": "com.acme.made", "data": { "a": 1 } }),
            otherwise: ("/data/a", json!(2)),
        },
    ];
    for kind in ["type: gitea, secret: hook", "type: forgejo, secret: hook", "type: gogs, secret: hook"] {
        let body = git(&project);
        cases.push(Case { source: kind, on: gitea, condition: main_of_gitea, event: "push", body, otherwise: elsewhere.clone() });
    }
    cases
}

fn incident() -> Value {
    json!({ "version": "1.2", "incident": { "incident_id": "0.abc", "url": "https://console.cloud.google.com/x", "started_at": 1_760_000_000,
        "state": "open", "severity": "Critical", "summary": "5xx", "policy_name": "staging errors", "condition_name": "5xx",
        "resource": { "type": "cloud_run_revision", "labels": { "service_name": "web" } }, "policy_user_labels": {} } })
}

fn settings_of(sources: &str) -> String {
    format!(
        "version: 1\nlisten: \"127.0.0.1:0\"\npublic-url: https://declic.example.dev\nstore: {{ sqlite: declic.db }}\n\
         secrets:\n  hook: {{ from: env, name: HOOK }}\nsources:\n{sources}rules: rules.yaml\n"
    )
}

/// A service with these sources, and the same sources to sign with.
async fn world(sources: &str, rules: &str) -> (Whole, BTreeMap<String, Arc<dyn Source>>) {
    let settings = settings_of(sources);
    let rules = format!("version: 1\nrules:\n{rules}");
    let service = Whole::start(&settings, &[("rules.yaml", &rules)], [("HOOK", SECRET)]).await;
    let (read, faults) = settings::read(Path::new("declic.yaml"), &settings, Mode::Names, &Environment::given([]));
    let secrets = BTreeMap::from([("hook".to_owned(), vec![Secret::new(SECRET)])]);
    let around = Around { public_url: Some("https://declic.example.dev".to_owned()), ..Around::default() };
    let built = read.unwrap_or_else(|| panic!("{faults:?}")).sources.into_iter().map(|source| {
        let built = sources::build(&source, &secrets, &around).unwrap();
        (source.name, built)
    });
    (service, built.collect())
}

/// Signs as the provider would, and sends. The rules that it started.
async fn sent(service: &Whole, source: &dyn Source, event: &str, kind: &str, body: &[u8], more: &[(&str, &str)]) -> Vec<String> {
    let header = |(name, value): &(&str, &str)| ((*name).to_owned(), bytes::Bytes::copy_from_slice(value.as_bytes()));
    let mut inbound = Inbound {
        method: "POST".to_owned(),
        path: source.entry().path.clone(),
        query: String::new(),
        headers: [("content-type", kind)].iter().chain(more).map(header).collect(),
        body: body.to_vec().into(),
        received_at: Timestamp::now(),
    };
    source.sign(&mut inbound, event, &ulid::Ulid::new().to_string(), None).unwrap();
    let query = if inbound.query.is_empty() { String::new() } else { format!("?{}", inbound.query) };
    let path = format!("{}{query}", inbound.path);
    let headers: Vec<(&str, String)> =
        inbound.headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8(value.to_vec()).unwrap())).collect();
    let reply = service.post(&path, &headers, inbound.body.to_vec()).await;
    assert!((200..300).contains(&reply.status), "{}: {reply:?}", source.name());
    service.started(&reply).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_reads_what_each_provider_sends() {
    let cases = cases();
    let (mut sources, mut rules) = (String::new(), String::new());
    let name = |case: &Case| case.source.split([' ', ',']).nth(1).unwrap_or_default().to_owned();
    for case in &cases {
        let name = name(case);
        let _ = writeln!(sources, "  {name}: {{ {} }}", case.source);
        let on = case.on.replacen("{ ", &format!("{{ source: {name}, "), 1);
        let _ = writeln!(
            rules,
            "  {name}:\n    on: {{ {on} }}\n    if: {}\n    steps: [{{ uses: log, with: {{ message: seen }} }}]",
            json!(case.condition)
        );
    }
    let (service, sources) = world(&sources, &rules).await;
    for case in &cases {
        let name = name(case);
        let source = sources[&name].as_ref();
        let kind = if name == "cloudevents" { "application/cloudevents+json" } else { "application/json" };
        let body = case.body.to_string();
        assert_eq!(sent(&service, source, case.event, kind, body.as_bytes(), &[]).await, std::slice::from_ref(&name), "{body}");
        let mut other = case.body.clone();
        *other.pointer_mut(case.otherwise.0).unwrap() = case.otherwise.1.clone();
        // Another delivery, not a repetition.
        for place in ["/id", "/incident/incident_id"] {
            if let Some(id) = other.pointer_mut(place).filter(|id| id.is_string()) {
                *id = "other".into();
            }
        }
        let nothing = sent(&service, source, case.event, kind, other.to_string().as_bytes(), &[]).await;
        assert!(nothing.is_empty(), "{name}: {nothing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_event_starts_the_rule_in_every_mode() {
    let rules = "  one:
    on: { http.webhook: { source: events, types: [com.acme.made], body: { a: int } } }
    steps: [{ uses: log, with: { message: \"${{ event.body.a }}\" } }]
  several:
    on: { http.webhook: { source: events, body: [{ id: string, type: string, data: { a: int } }] } }
    if: event.body.all(e, e.type == 'com.acme.made')
    steps: [{ uses: log, with: { message: seen } }]
";
    let (service, sources) = world("  events: { type: cloudevents, secret: hook }\n", rules).await;
    let source = sources["events"].as_ref();
    let structured =
        |id: &str| json!({ "specversion": "1.0", "id": id, "source": "/acme", "type": "com.acme.made", "data": { "a": 1 } });
    let attributes = [("ce-specversion", "1.0"), ("ce-time", "2026-11-24T08:00:00Z")];
    let binary = sent(&service, source, "com.acme.made", "application/json", br#"{"a":1}"#, &attributes).await;
    assert_eq!(binary, ["one"]);
    let body = structured("s-1").to_string();
    assert_eq!(sent(&service, source, "", "application/cloudevents+json; charset=utf-8", body.as_bytes(), &[]).await, ["one"]);
    let batch = json!([structured("b-1"), structured("b-2")]).to_string();
    assert_eq!(sent(&service, source, "", "application/cloudevents-batch+json", batch.as_bytes(), &[]).await, ["several"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_of_google_cloud_come_by_pubsub_too() {
    let sources = "  images: { type: pubsub-push, format: artifact-registry, auth: { bearer: hook } }
  incidents: { type: pubsub-push, format: monitoring, auth: { bearer: hook } }
";
    let rules = "  image:
    on: { gcp.image: { source: images, actions: [INSERT], images: [\"europe-docker.pkg.dev/acme-build/**\"], tags: [main] } }
    steps: [{ uses: log, with: { message: \"${{ event.ref }}\" } }]
  alert:
    on: { gcp.alert: { source: incidents, states: [open], policies: [\"staging *\"] } }
    steps: [{ uses: log, with: { message: \"${{ event.summary }}\" } }]
";
    let (service, built) = world(sources, rules).await;
    let pushed = |document: &Value| {
        let id = ulid::Ulid::new().to_string();
        json!({ "subscription": "projects/p/subscriptions/s",
            "message": { "messageId": id, "publishTime": "2026-11-24T08:00:00Z", "data": STANDARD.encode(document.to_string()) } })
        .to_string()
    };
    let image = "europe-docker.pkg.dev/acme-build/web/web";
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let notice =
        |tag: &str| json!({ "action": "INSERT", "digest": format!("{image}@{digest}"), "tag": format!("{image}:{tag}") });
    let images = built["images"].as_ref();
    assert_eq!(sent(&service, images, "", "application/json", pushed(&notice("main")).as_bytes(), &[]).await, ["image"]);
    assert!(sent(&service, images, "", "application/json", pushed(&notice("dev")).as_bytes(), &[]).await.is_empty());
    let incidents = built["incidents"].as_ref();
    assert_eq!(sent(&service, incidents, "", "application/json", pushed(&incident()).as_bytes(), &[]).await, ["alert"]);
    let mut closed = incident();
    closed["incident"]["state"] = "closed".into();
    assert!(sent(&service, incidents, "", "application/json", pushed(&closed).as_bytes(), &[]).await.is_empty());
}

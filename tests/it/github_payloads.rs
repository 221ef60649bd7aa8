//! GitHub's published payloads, signed by us and by Octokit's own signer, through the front door.

use std::io::Write;
use std::process::{Command, Stdio};

use declic::clock::Timestamp;
use declic::journal::Journal;
use declic::journal::record::{Delivery, NewDelivery};
use declic::receive::Limits;
use declic::rules::github_payloads::{self, Presence};
use declic::rules::types::Type;
use declic::rules::{registry, shapes};
use serde_json::Value;

use crate::support::packages;
use crate::support::service::{SECRET, Service, github, signature};

/// Reads one JSON text a line and writes its signature a line.
const SIGNER: &str = r#"
import { createInterface } from "node:readline";
import { sign } from "@octokit/webhooks-methods";
for await (const line of createInterface({ input: process.stdin })) console.log(await sign(process.argv[1], line));
"#;

/// The published payloads of one event, each as one line.
fn examples(event: &str) -> Vec<String> {
    let index = packages::json(&packages::npm("@octokit/webhooks-examples/api.github.com/index.json"));
    let entry = index.as_array().into_iter().flatten().find(|entry| entry["name"] == event).expect(event);
    entry["examples"].as_array().unwrap().iter().map(Value::to_string).collect()
}

/// Signatures by the real package.
fn octokit(bodies: &[String]) -> Vec<String> {
    let mut node = Command::new("node")
        .args(["--input-type=module", "-e", SIGNER, SECRET])
        .current_dir(packages::npm("").parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let mut input = node.stdin.take().unwrap();
    let text = bodies.join("\n") + "\n";
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn deliver(service: &Service, event: &str, id: &str, body: &[u8], signature: &str, form: bool) -> u16 {
    let media_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    let headers =
        [("Content-Type", media_type), ("X-GitHub-Event", event), ("X-GitHub-Delivery", id), ("X-Hub-Signature-256", signature)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    service.send("POST", "/hooks/github", &headers, body).await.status
}

#[tokio::test]
async fn all_published_payloads_are_taken_in_and_decoded() {
    let service = Service::start(vec![github()], Limits::default()).await;
    for (event, kind, least) in [
        ("push", Some("github.push"), 7),
        ("ping", None, 4),
        ("pull_request", Some("github.pull_request"), 29),
        ("issue_comment", Some("github.issue_comment"), 9),
        ("workflow_run", Some("github.workflow_run"), 5),
        ("issues", Some("github.issues"), 29),
    ] {
        let bodies = examples(event);
        assert!(bodies.len() >= least, "{event}: {}", bodies.len());
        for ((number, body), theirs) in bodies.iter().enumerate().zip(octokit(&bodies)) {
            assert_eq!(theirs, signature(SECRET, body.as_bytes()), "{event} {number}");
            let status = deliver(&service, event, &format!("{event}-{number}"), body.as_bytes(), &theirs, false).await;
            assert_eq!(status, if event == "ping" { 200 } else { 202 }, "{event} {number}");
            let form = declic::sources::form::encode("payload", body);
            let signed = signature(SECRET, form.as_bytes());
            let status = deliver(&service, event, &format!("{event}-{number}-form"), form.as_bytes(), &signed, true).await;
            assert_eq!(status, if event == "ping" { 200 } else { 202 }, "{event} {number} as a form");
        }
        for record in service.stored().await.iter().filter(|record| record.event_type == event) {
            let delivery = service.journal.delivery(&record.id).await.unwrap().unwrap();
            let decoded = github().decode(&delivery, true).unwrap_or_else(|why| panic!("{}: {why}", record.delivery_id));
            // Not every action of a pull request is an event; a push always is one.
            assert!(
                event == "ping" || event == "pull_request" || event == "workflow_run" || decoded.is_some(),
                "{}",
                record.delivery_id
            );
            if let Some(decoded) = decoded {
                assert_eq!(Some(decoded.kind.as_str()), kind);
                assert!(decoded.event["payload"]["repository"]["id"].is_u64());
            }
        }
    }
}

/// Every published payload: (type, payload).
fn published() -> Vec<(String, Value)> {
    let index = packages::json(&packages::npm("@octokit/webhooks-examples/api.github.com/index.json"));
    let entries = index.as_array().into_iter().flatten();
    let of = |entry: &Value| {
        let name = entry["name"].as_str().unwrap_or_default().to_owned();
        let examples = entry["examples"].as_array().cloned().unwrap_or_default();
        examples.into_iter().map(|example| (name.clone(), example)).collect::<Vec<_>>()
    };
    entries.flat_map(of).collect()
}

#[test]
fn what_github_really_sends_has_the_types_that_rules_are_checked_with() {
    let published = published();
    assert!(published.len() >= 329, "{}", published.len());
    let mut misfits = Vec::new();
    for (event_type, payload) in &published {
        let known = github_payloads::payload_type(event_type, None).unwrap_or_else(|| panic!("{event_type} is not known"));
        if let Err(misfit) = known.fits(payload) {
            misfits.push(format!("{event_type} {}: {misfit}", payload["action"]));
        }
    }
    misfits.sort();
    misfits.dedup();
    assert!(misfits.is_empty(), "{} of {}:\n{}", misfits.len(), published.len(), misfits.join("\n"));
}

#[test]
fn every_published_payload_is_an_event_with_the_fields_of_its_kind() {
    let source = github();
    for (event_type, payload) in published() {
        let name = format!("{event_type} {}", payload["action"]);
        let content = NewDelivery {
            share: "github".to_owned(),
            source: "github".to_owned(),
            delivery_id: "1".to_owned(),
            event_type: event_type.clone(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: payload.to_string().into_bytes().into(),
            received_at: Timestamp(1_800_000_000_000),
            trace: String::new(),
            verified: String::new(),
        };
        let delivery = Delivery { id: "d1".to_owned(), content, replay: false, learned: None };
        let decoded = source.decode(&delivery, true).unwrap_or_else(|why| panic!("{name}: {why}"));
        let Some(event) = decoded else {
            assert!(["pull_request", "workflow_run"].contains(&event_type.as_str()), "{name} is no event");
            continue;
        };
        for kind in std::iter::once(event.kind.as_str()).chain(registry::also(&event.kind)) {
            let spec = registry::event(kind).unwrap_or_else(|| panic!("{name}: {kind} is not in the registry"));
            let fields = Type::Object(shapes::object(spec.fields));
            fields.fits(&event.event).unwrap_or_else(|misfit| panic!("{name}: {misfit}"));
            let expected = registry::repository_of(spec);
            assert!(expected != Presence::Always || event.repo.is_object(), "{name}: no repository");
            assert!(expected != Presence::Never || event.repo.is_null(), "{name}: a repository that rules cannot see");
            assert!(!registry::names_actor(spec) || event.actor.is_object(), "{name}: nobody did it");
        }
    }
}

#[test]
fn the_generated_payload_types_are_up_to_date() {
    let folder = packages::npm("@octokit/openapi-webhooks");
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/generate-github-payloads"))
        .args(["--check", "--packages"])
        .arg(folder.ancestors().nth(2).expect("node_modules"))
        .output()
        .expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

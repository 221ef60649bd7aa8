//! GitHub's published payloads, signed by us and by Octokit's own signer, through the front door.

use std::io::Write;
use std::process::{Command, Stdio};

use declic::journal::Journal;
use declic::receive::Limits;
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
        ("issue_comment", Some("github.command"), 9),
        ("workflow_run", Some("github.workflow_run"), 5),
        ("issues", None, 29),
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
            // Not every comment is a command and not every action an event; a push always is one.
            assert!(event != "push" || decoded.is_some(), "{}", record.delivery_id);
            if let Some(decoded) = decoded {
                assert_eq!(Some(decoded.kind.as_str()), kind);
                assert!(decoded.event["payload"]["repository"]["id"].is_u64());
            }
        }
    }
}

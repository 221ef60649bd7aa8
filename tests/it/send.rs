//! `declic send` as a person uses it, against a front door that listens.

use std::fs;
use std::process::Output;

use declic::journal::Journal;
use declic::receive::Limits;
use serde_json::json;

use crate::support::binary::command;
use crate::support::service::{SECRET, Service, github, push, source};

const SETTINGS: &str = "version: 1
listen: 127.0.0.1:9
secrets:
  hook: { from: env, name: HOOK }
sources:
  github: { type: github, secret: hook }
rules: rules/*.yaml
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("declic.yaml"), SETTINGS).unwrap();
    fs::write(folder.path().join("push.json"), push("main")).unwrap();
    folder
}

async fn send(folder: &tempfile::TempDir, arguments: &[&str]) -> Output {
    let mut command = command(folder.path(), arguments);
    command.env("HOOK", SECRET);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_push_is_taken_in_and_the_same_id_again_is_a_duplicate() {
    let service = Service::start(vec![github()], Limits::default()).await;
    let folder = folder();
    let to = format!("http://{}", service.address);
    let arguments = ["send", "github", "--event", "push", "--payload", "push.json", "--id", "abc", "--to", &to];
    let first = send(&folder, &arguments).await;
    assert!(first.status.success() && said(&first).starts_with("202\n"), "{}", said(&first));
    let again = send(&folder, &arguments).await;
    assert!(said(&again).contains("\"duplicate\":true"), "{}", said(&again));
    let ping = send(&folder, &["send", "github", "--event", "ping", "--payload", "push.json", "--to", &to]).await;
    assert!(said(&ping).starts_with("200\n"), "{}", said(&ping));
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_2xx_is_a_failure() {
    let service = Service::start(vec![github()], Limits::default()).await;
    let folder = folder();
    let to = format!("http://{}/hooks/elsewhere", service.address);
    let output = send(&folder, &["send", "github", "--event", "push", "--payload", "push.json", "--to", &to]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).starts_with("404\n"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unclear_is_refused_with_the_reason() {
    let folder = folder();
    fs::write(folder.path().join("twice.json"), r#"{"ref":1,"ref":2}"#).unwrap();
    fs::write(folder.path().join("half.json"), r#"{"ref":"refs/heads/main"}"#).unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["send", "gitlab", "--event", "push", "--payload", "push.json"], "has no source `gitlab`: it has github"),
        (&["send", "github", "--event", "push", "--payload", "none.json"], "none.json: "),
        (&["send", "github", "--event", "push", "--payload", "twice.json"], "a key occurs twice"),
        (&["send", "github", "--event", "push", "--payload", "half.json"], "missing field `before`"),
        (&["send", "github", "--event", "Push!", "--payload", "push.json"], "not the name of an event"),
        (&["send", "github", "--event", "push", "--payload", "push.json", "--to", "ftp://x"], "only http and https"),
    ];
    for (arguments, reason) in cases {
        let output = send(&folder, arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(reason), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).contains(SECRET));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_only_the_service_can_have_is_said_to_be_why_nothing_is_sent() {
    let folder = folder();
    let path = folder.path().join("declic.yaml");
    fs::write(&path, SETTINGS.replace("from: env, name: HOOK", "from: gcp-secret, name: projects/p/secrets/hook")).unwrap();
    let output = send(&folder, &["send", "github", "--event", "push", "--payload", "push.json"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    assert!(said.contains("the secret `hook`, and that is in Secret Manager") && said.contains("--config"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_packed_as_the_provider_packs_it() {
    let twilio = json!({ "secret": "hook", "public-url": "https://declic.example.dev/hooks/twilio" });
    let secret = || json!({ "secret": "hook" });
    let kinds = [("twilio", twilio.clone()), ("gitea", secret()), ("slack", json!({ "signing-secret": "hook" }))];
    let mut sources: Vec<_> = kinds.into_iter().map(|(kind, fields)| source(kind, kind, fields, &[SECRET])).collect();
    sources.push(github());
    let service = Service::start(sources, Limits::default()).await;
    let folder = folder();
    let settings = format!(
        "{SETTINGS}public-url: https://declic.example.dev\n",
    )
    .replace("sources:\n", "sources:\n  twilio: { type: twilio, secret: hook }\n  gitea: { type: gitea, secret: hook }\n  slack: { type: slack, signing-secret: hook }\n");
    fs::write(folder.path().join("declic.yaml"), settings).unwrap();
    fs::write(folder.path().join("seen.json"), r#"{"a":"\u00e4 & b"}"#).unwrap();
    fs::write(folder.path().join("action.json"), r#"{"type":"block_actions","trigger_id":"1","user":{"id":"U1"},"actions":[]}"#)
        .unwrap();
    let to = format!("http://{}", service.address);
    let form = "application/x-www-form-urlencoded";
    let sent: [(&str, &str, &str, &str); 4] = [
        ("twilio", "seen.json", "application/json", ""),
        ("gitea", "push.json", form, "push"),
        ("github", "push.json", form, "push"),
        ("slack", "action.json", form, ""),
    ];
    for (name, file, content_type, event) in sent {
        let arguments =
            ["send", name, "--payload", file, "--content-type", content_type, "--event", event, "--id", "x-1", "--to", &to];
        let output = send(&folder, &arguments).await;
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
    let stored = service.stored().await;
    assert_eq!(stored.len(), 4);
    let gitea = stored.iter().find(|record| record.source == "gitea").expect("it was taken in");
    let body = service.journal.delivery(&gitea.id).await.unwrap().expect("it is there").content.body;
    assert_eq!(body, push("main"), "what was signed goes on without the form around it");
}

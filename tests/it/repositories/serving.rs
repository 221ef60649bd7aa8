//! The real service: a push comes in, the repository's own rule comments on the commit, as the App.

use std::fs;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::World;
use serde_json::{Value, json};

use super::acme::{APP, ID, PERMISSIONS, RULES, WEB, commit, keys};
use crate::support::binary::{Binary, WEBHOOK_SECRET, declic};
use crate::support::client::Client;
use crate::support::openapi;
use crate::support::service::signature;

async fn until<T>(what: &str, service: &Binary, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < end, "not within 60 s: {what}\n{}", service.log());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

async fn push(service: &Binary, guid: &str, sha: &str, repository: (&str, i64)) -> String {
    let mut payload: Value = serde_json::from_str(include_str!("../../../src/cli/init/push.json")).expect("the sample is JSON");
    payload["after"] = json!(sha);
    payload["head_commit"]["id"] = json!(sha);
    payload["repository"]["full_name"] = json!(repository.0);
    payload["repository"]["id"] = json!(repository.1);
    let body = payload.to_string().into_bytes();
    let signature = signature(WEBHOOK_SECRET, &body);
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-github-delivery", guid),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let reply = Client::anonymous().send("POST", &format!("http://{}/hooks/github", service.address), &headers, body).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
    reply.text("/id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repositorys_own_rule_acts_beside_the_operators() {
    let world = World::start().await.expect("the stand-ins start");
    world.github.hold_to(openapi::github());
    let (key, public) = keys();
    world.github.add_app(APP, &public);
    world.github.install(APP, "acme", PERMISSIONS);
    world.github.set_repository_id(WEB, u64::try_from(ID).unwrap());
    world.github.commit_files(WEB, "main", &commit(1), &[], &[(".declic/web.yaml", Some(RULES))]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    fs::write(folder.join("app.pem"), key.expose()).expect("written");
    let settings = format!(
        "version: 1\nsecrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  app_key: {{ from: file, path: app.pem }}\n\
         sources:\n  github: {{ type: github-app, app-id: {APP}, key: app_key, secret: hook }}\n\
         repositories:\n  - {{ name: {WEB}, id: {ID}, grant: {{ events: [github.push], actions: [github/comment] }} }}\n\
         github: {{ api-url: \"{}\" }}\negress: {{ allow: [\"{}\"] }}\n",
        world.github.url, world.github.authority
    );
    fs::write(folder.join("declic.yaml"), settings).expect("written");
    fs::create_dir(folder.join("rules")).expect("made");
    let operators = "version: 1\nrules:\n  operators:\n    on: { github.push: { branches: [main] } }\n    steps: [{ uses: log, with: { message: seen } }]\n";
    fs::write(folder.join("rules/all.yaml"), operators).expect("written");
    let service = Binary::start(folder, |_| {});
    let api = format!("http://{}/api/v1", service.address);
    let client = Client::anonymous();

    let delivery = push(&service, "guid-1", &commit(1), (WEB, ID)).await;
    let runs = until("two runs that succeeded", &service, async || {
        let shown = client.get(&format!("{api}/deliveries/{delivery}")).await;
        let runs = shown.body["runs"].as_array().cloned().unwrap_or_default();
        (runs.len() == 2 && runs.iter().all(|run| run["state"] == "succeeded")).then_some(runs)
    })
    .await;
    let of = |rule: &str| runs.iter().find(|run| run["rule"] == rule).unwrap_or_else(|| panic!("{runs:?}"));
    assert!(of("greet")["revision"].as_str().unwrap_or_default().starts_with(&format!("{ID}@{}.", commit(1))), "{runs:?}");
    assert!(!of("operators")["revision"].as_str().unwrap_or_default().contains('@'));
    assert_eq!(world.github.commit_comments(WEB, &commit(1)).len(), 1);

    let listed = client.get(&format!("{api}/repositories")).await;
    assert_eq!(listed.body["items"][0]["commit"], json!(commit(1)), "{}", listed.body);
    assert_eq!((listed.body["items"][0]["rules"].as_u64(), listed.body["items"][0]["name"].as_str()), (Some(1), Some(WEB)));

    // Files that are wrong, and a GitHub that cannot be asked: both are told with the decision, and the operator's rule goes on.
    world.github.commit_files(WEB, "main", &commit(2), &[], &[(".declic/web.yaml", Some("version: 1\nrules: {}\nruls: 1\n"))]);
    let delivery = push(&service, "guid-2", &commit(2), (WEB, ID)).await;
    until("a second greeting", &service, async || (world.github.commit_comments(WEB, &commit(2)).len() == 1).then_some(())).await;
    let shown = client.get(&format!("{api}/deliveries/{delivery}/decisions")).await;
    assert!(shown.body.to_string().contains("are wrong: those of"), "{}", shown.body);

    // Another repository that says it is called the same starts nothing of this one's.
    let delivery = push(&service, "guid-3", &commit(2), (WEB, 99)).await;
    let runs = until("one run", &service, async || {
        let shown = client.get(&format!("{api}/deliveries/{delivery}")).await;
        shown.body["runs"].as_array().cloned().filter(|runs| !runs.is_empty())
    })
    .await;
    assert_eq!(runs.iter().map(|run| run["rule"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ["operators"]);
}

#[test]
fn a_repositorys_files_are_checked_offline_against_what_it_may_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let settings = format!(
        "version: 1\nconnections: {{ chat: {{ type: http, base-url: \"https://chat.example.com\" }} }}\n\
         repositories:\n  - {{ name: {WEB}, id: {ID}, grant: {{ events: [github.push], actions: [github/*] }}, limits: {{ rules: 1 }} }}\n"
    );
    fs::write(folder.join("declic.yaml"), settings).expect("written");
    fs::create_dir(folder.join(".declic")).expect("made");
    let file = folder.join(".declic/web.yaml");
    fs::write(&file, RULES).expect("written");
    let check = |arguments: &[&str]| {
        let output = declic(folder, &[&["check", "--repository", &ID.to_string(), ".declic"], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, said) = check(&[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("granted     action github/comment") && said.contains("granted     event github.push"), "{said}");

    let more = "  call:\n    on: { github.pull_request: { types: [opened] } }\n    steps: [{ uses: http/request, with: { connection: chat, method: POST, path: /x } }]\n";
    fs::write(&file, format!("{RULES}{more}")).expect("written");
    let (status, said) = check(&["--format", "json"]);
    assert_eq!(status, Some(1), "{said}");
    let document: Value = serde_json::from_str(&said).expect("one document");
    let faults: Vec<String> = document["diagnostics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| format!("{} {}", fault["line"], fault["message"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        faults,
        [
            "7 rules of this repository may not use the event `github.pull_request`",
            "8 this repository may not use the action `http/request`",
            "8 this repository may not use the connection `chat`",
            "6 2 rules are more than the 1 that this repository may have",
        ]
    );
    let requests: Vec<String> = document["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one["what"].as_str().unwrap_or_default(),
                one["name"].as_str().unwrap_or_default(),
                one["granted"]
            )
        })
        .collect();
    assert_eq!(
        requests,
        [
            "action github/comment true",
            "action http/request false",
            "connection chat false",
            "event github.pull_request false",
            "event github.push true",
        ]
    );
    let output = declic(folder, &["check", "--repository", "7", ".declic"]);
    assert_eq!(output.status.code(), Some(2));
}

//! Rules that change while a run is under way: it ends with the rule it began with, and says which that was.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::binary::{Binary, declic, keep_to_this_machine};

const RULES: &str = "version: 1
rules:
  announce:
    on: { github.push: { branches: [main] } }
    steps:
      - { uses: http/request, with: { connection: api, method: POST, path: /first }, timeout: 60s }
      - { uses: http/request, with: { connection: api, method: POST, path: /old } }
";

/// Answers `/first` only when told to, and keeps what was asked of it.
struct Holding {
    paths: Mutex<Vec<String>>,
    answers: Semaphore,
}

#[async_trait]
impl Api for Holding {
    async fn answer(&self, request: &Request) -> Answer {
        self.paths.lock().unwrap().push(request.path.clone());
        if request.path == "/first" {
            self.answers.acquire().await.unwrap().forget();
        }
        Answer::json(200, &json!({}))
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "message": message }))
    }
}

fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = declic(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_under_way_keeps_the_rule_it_started_with_and_every_run_names_its_revision() {
    let api = server::start(|_, _| Holding { paths: Mutex::default(), answers: Semaphore::new(0) }).await.expect("a port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    said(folder, &["init"]);
    keep_to_this_machine(folder);
    let settings = folder.join("declic.yaml");
    let connections = format!(
        "connections:\n  api: {{ type: http, base-url: \"{}\", methods: [POST] }}\negress: {{ allow: [\"{}\"] }}\n",
        api.url, api.authority
    );
    fs::write(&settings, fs::read_to_string(&settings).expect("settings") + &connections).expect("settings");
    let rules = folder.join("rules/staging.yaml");
    fs::write(&rules, RULES).expect("rules");

    let service = Binary::start(folder, |_| {});
    let address = format!("http://{}", service.address);
    let revision = || -> Option<String> {
        let (_, body) = crate::serve::get(&service.address, "/readyz");
        let body: Value = serde_json::from_str(&body).ok()?;
        body.pointer("/detail/rules/revision").or(body.pointer("/rules/revision"))?.as_str().map(str::to_owned)
    };
    let send = |id: &str| {
        said(folder, &["send", "github", "--event", "push", "--payload", "payloads/push.json", "--id", id, "--to", &address])
    };
    let asked = || api.paths.lock().unwrap().clone();
    let ended = |count: usize| {
        let listed: Value = serde_json::from_str(&said(folder, &["runs", "--format", "json"])).expect("JSON");
        let runs = listed.as_array().cloned().unwrap_or_default();
        (runs.len() == count && runs.iter().all(|run| run["state"] == "succeeded")).then_some(runs)
    };

    let before = until("the revision is told", revision).await;
    send("one");
    until("the first step is under way", || (asked() == ["/first"]).then_some(())).await;
    fs::write(&rules, RULES.replace("path: /old", "path: /new")).expect("rules");
    let after = until("the new rules are in force", || revision().filter(|now| *now != before)).await;
    api.answers.add_permits(2);
    until("the first run has ended", || ended(1)).await;
    assert_eq!(asked(), ["/first", "/old"], "it keeps the rule it started with\n{}", service.log());

    send("two");
    let runs = until("the second run has ended", || ended(2)).await;
    assert_eq!(asked(), ["/first", "/old", "/first", "/new"]);
    let revisions: Vec<&str> = runs.iter().rev().filter_map(|run| run["revision"].as_str()).collect();
    assert_eq!(revisions, [before, after], "oldest first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rules_beside_the_store_are_reloaded_however_they_are_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    said(folder, &["init"]);
    keep_to_this_machine(folder);
    let settings = folder.join("declic.yaml");
    let text = fs::read_to_string(&settings).expect("settings");
    fs::write(&settings, format!("{}\nrules: '*.rules.yaml'\n", without(&text, "rules:"))).expect("settings");
    let rule = "version: 1\nrules:\n  NAME:\n    on: { github.push: {} }\n    steps: [{ uses: log, with: { message: hello } }]\n";
    let rules = |name: &str| rule.replace("NAME", name);
    fs::write(folder.join("one.rules.yaml"), rules("first")).expect("rules");
    let service = Binary::start(folder, |_| {});
    let revision = || -> Option<String> {
        let (_, body) = crate::serve::get(&service.address, "/readyz");
        let body: Value = serde_json::from_str(&body).ok()?;
        body.pointer("/detail/rules/revision").or(body.pointer("/rules/revision"))?.as_str().map(str::to_owned)
    };
    let mut known = vec![until("the revision is told", revision).await];
    // In place, under another name and then renamed as editors do, once more in place, and as a new file.
    for (number, way) in ["in place", "renamed", "renamed again", "in place again", "new"].into_iter().enumerate() {
        let (part, whole) = (folder.join("one.rules.yaml.part"), folder.join("one.rules.yaml"));
        let text = rules(&format!("rule-{number}"));
        match way {
            "renamed" | "renamed again" => {
                fs::write(&part, text).expect("rules");
                fs::rename(&part, &whole).expect("renamed");
            }
            "new" => fs::write(folder.join("two.rules.yaml"), text).expect("rules"),
            _ => fs::write(&whole, text).expect("rules"),
        }
        known.push(until(way, || revision().filter(|now| !known.contains(now))).await);
    }
    drop(service);
}

/// Settings without a line.
fn without(text: &str, key: &str) -> String {
    text.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n")
}

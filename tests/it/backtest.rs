//! `declic backtest` and `declic explain --delivery`: other rules against what a real service took in and did.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::binary::{Binary, declic, keep_to_this_machine};

const RULES: &str = "version: 1
rules:
  announce:
    on: { github.push: { branches: [main] } }
    steps:
      - id: call
        uses: http/request
        with: { connection: api, method: POST, path: /announce, body: { sha: \"${{ event.sha }}\", text: \"pushed\" } }
    on-failure:
      - { id: sorry, uses: http/request, with: { connection: api, path: /sorry, query: { why: \"${{ failure.code }}\" } } }
  tags:
    on: { github.push: { tags: [\"v*\"] } }
    steps: [{ uses: http/request, with: { connection: api, path: /tags } }]
";

fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = declic(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// A folder whose store holds one push to main; its one run failed, because nobody listened. Answers the delivery's id.
fn served(folder: &Path) -> String {
    assert!(declic(folder, &["init"]).status.success());
    keep_to_this_machine(folder);
    let path = folder.join("declic.yaml");
    let connections = "connections:\n  api: { type: http, base-url: \"http://127.0.0.1:9\", methods: [GET, POST] }\negress: { allow: [\"127.0.0.1:9\"] }\n";
    fs::write(&path, fs::read_to_string(&path).expect("settings") + connections).expect("settings");
    fs::write(folder.join("rules/staging.yaml"), RULES).expect("rules");
    let service = Binary::start(folder, |_| {});
    let to = format!("http://{}", service.address);
    said(folder, &["send", "github", "--event", "push", "--payload", "payloads/push.json", "--to", &to]);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let listed: Value = serde_json::from_str(&said(folder, &["deliveries", "--format", "json"])).expect("JSON");
        if listed[0]["finished_at"].is_string() {
            return listed[0]["id"].as_str().expect("an id").to_owned();
        }
        assert!(Instant::now() < until, "{listed}\n{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn edited_rules_are_held_against_what_happened() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let id = served(folder);
    let edited = |from: &str, to: &str| {
        assert!(RULES.contains(from), "{from}");
        fs::write(folder.join("edited.yaml"), RULES.replace(from, to)).expect("rules");
    };
    let backtest = || said(folder, &["backtest", "edited.yaml"]);

    edited("tags:", "tags:");
    assert_eq!(
        backtest(),
        "1 delivery: 0 would now fire, 0 would no longer fire, 0 would fire with other inputs, 0 would fail\n"
    );
    edited("branches: [main]", "branches: [next]");
    let text = backtest();
    assert!(text.contains("- announce would no longer fire") && text.contains("✘ branches: [next]"), "{text}");
    assert!(text.contains("1 would no longer fire"), "{text}");
    edited("tags: [\"v*\"]", "branches: [\"**\"]");
    let text = backtest();
    assert!(
        text.contains("+ tags would now fire\n      would run http/request {\"connection\":\"api\",\"path\":\"/tags\"}"),
        "{text}"
    );
    edited("text: \"pushed\"", "text: \"${{ event.branch ?? '' }}\"");
    let text = backtest();
    assert!(
        text.contains("~ announce would fire with other inputs\n      call, with.body.text: \"pushed\" -> \"main\"\n"),
        "{text}"
    );
    // The step gives what it gave then: it failed, so `on-failure` is compared too.
    edited("failure.code", "failure.step");
    let text = backtest();
    assert!(text.contains("sorry, with.query.why: ") && text.contains(" -> \"call\"\n"), "{text}");

    edited("  tags:", "  labels:");
    let document: Value = serde_json::from_str(&said(folder, &["backtest", "edited.yaml", "--format", "json"])).expect("JSON");
    assert_eq!(document["looked_at"], 1);
    assert_eq!(document["would_fire"], 0);
    fs::write(folder.join("edited.yaml"), RULES.replace("announce:", "proclaim:")).expect("rules");
    let document: Value = serde_json::from_str(&said(folder, &["backtest", "edited.yaml", "--format", "json"])).expect("JSON");
    let differences = &document["deliveries"][0]["differences"];
    assert_eq!(document["deliveries"][0]["delivery"]["id"], json!(id));
    assert_eq!((&differences[0]["rule"], &differences[0]["change"]), (&json!("announce"), &json!("would-not-fire")));
    assert_eq!((&differences[1]["rule"], &differences[1]["change"]), (&json!("proclaim"), &json!("would-fire")));
    assert!(declic(folder, &["backtest", "edited.yaml", "--since", "yesterday"]).status.code() == Some(2));
}

#[test]
fn a_recorded_delivery_is_explained_by_the_rules_of_now() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let id = served(folder);
    let text = said(folder, &["explain", "--delivery", &id]);
    assert!(text.contains("MATCH    announce") && text.contains("would run http/request"), "{text}");
    assert!(text.contains("no match tags") && text.contains("only tags are asked for"), "{text}");
    let near = RULES.replace("branches: [main] } }", "repos: [\"**\"] } }\n    if: event.ref == \"refs/heads/Main\"");
    fs::write(folder.join("near.yaml"), near).expect("rules");
    let text = said(folder, &["explain", "--delivery", &id, "near.yaml"]);
    assert!(text.contains("✘ event.ref == \"refs/heads/Main\"") && text.contains("<- "), "{text}");
    let unknown = declic(folder, &["explain", "--delivery", "0000000000000"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert_eq!(declic(folder, &["explain"]).status.code(), Some(2));
    assert_eq!(declic(folder, &["explain", "--event", "github.push"]).status.code(), Some(2));
}

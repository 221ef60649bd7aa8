//! Alerts by the hundred, through the real command: one message that counts them, and states told only when they change.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::World;
use declic::demo::stand_ins::server::Running;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::binary::{Binary, command, declic};
use crate::support::client::Client;
use crate::support::slack::{self, Slack};

const RULES: &str = r##"
version: 1
rules:
  tell:
    on: { gcp.alert: { source: monitoring, policies: [disk] } }
    collapse: { key: "${{ event.policy }} ${{ event.resource.labels.host ?? '' }}", state: "${{ event.state }}" }
    steps:
      - uses: slack/post
        with: { connection: slack_eng, channel: "#deploys", text: "Disk is ${{ event.state }}: ${{ event.summary }}" }
        retry: { attempts: 5, wait: 100ms }
  page:
    on: { gcp.alert: { source: monitoring, policies: [login] } }
    collapse: { key: "${{ event.policy }}", state: "${{ event.state }}", repeats: drop }
    steps:
      - uses: slack/post
        with: { connection: slack_eng, channel: "#deploys", text: "Login is ${{ event.state }}" }
"##;

fn serve(folder: &Path) -> Binary {
    Binary::start(folder, |command| {
        command.env("MONITORING", "a token of this test").env("BOT", slack::TOKEN);
    })
}

async fn scene() -> (World, Running<Slack>, tempfile::TempDir) {
    let (world, slack) = (World::start().await.unwrap(), slack::start().await);
    let folder = tempfile::tempdir().unwrap();
    let around = world.settings("bot").replace("allow: [", &format!("allow: [\"{}\", ", slack.authority));
    let settings = format!(
        "version: 1\nstore: {{ sqlite: declic.db }}\nrules: rules.yaml\nworkers: 4\n\
         secrets:\n  token: {{ from: env, name: MONITORING }}\n  bot: {{ from: env, name: BOT }}\n\
         sources:\n  monitoring: {{ type: google-cloud-monitoring, path: /hooks/monitoring, auth: {{ query: {{ name: auth_token, secret: token }} }} }}\n\
         connections:\n  slack_eng: {{ type: slack, token: bot, channels: [\"#deploys\"], api-url: \"{}/api\" }}\n{around}",
        slack.url,
    );
    fs::write(folder.path().join("declic.yaml"), settings).unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    (world, slack, folder)
}

async fn alert(service: &Binary, policy: &str, state: &str, number: usize) {
    let body = json!({ "version": "1.2", "incident": {
        "incident_id": format!("i{number}"), "policy_name": policy, "state": state, "summary": format!("{number} % used"),
        "started_at": 1_764_000_000 + number, "resource": { "type": "gce_instance", "labels": {} },
    } });
    let url = format!("http://{}/hooks/monitoring?auth_token=a%20token%20of%20this%20test", service.address);
    let reply =
        Client::anonymous().send("POST", &url, &[("content-type", "application/json")], body.to_string().into_bytes()).await;
    assert_eq!(reply.status, 202, "{}", reply.body);
}

fn until(what: &str, service: &Binary, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}\n{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn texts(slack: &Running<Slack>) -> Vec<String> {
    slack.messages().iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

/// Runs by the word for their state.
fn runs(folder: &Path) -> Vec<Value> {
    let output = command(folder, &["runs", "list", "--limit", "500", "--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_a_hundred_alerts_is_one_message_with_the_right_count_also_over_a_restart() {
    let (_world, slack, folder) = scene().await;
    slack.faults.slow(20);
    let mut service = serve(folder.path());
    for number in 1..=50 {
        alert(&service, "disk", "open", number).await;
    }
    // In the middle of it, with messages under way.
    service.signal(Signal::SIGKILL);
    service.wait(Duration::from_secs(10));
    let service = serve(folder.path());
    for number in 51..=100 {
        alert(&service, "disk", "open", number).await;
    }
    let expected = "Disk is open: 100 % used\n\n_100 times since ";
    until("the count of all", &service, || texts(&slack).last().is_some_and(|text| text.starts_with(expected)));
    assert_eq!(slack.messages().len(), 1, "{:?}", texts(&slack));
    let edits = slack.ledger.requests().iter().filter(|asked| asked.path.ends_with("/chat.update")).count();
    assert!((1..100).contains(&edits), "{edits} edits for a hundred alerts");
    // The message is there a moment before its run is over.
    until("a run of each alert, to be looked at", &service, || {
        let all = runs(folder.path());
        let of = |state: &str| all.iter().filter(|run| run["state"] == state).count();
        all.len() == 100 && of("succeeded") > 0 && of("succeeded") + of("superseded") == 100
    });
    alert(&service, "disk", "closed", 101).await;
    until("the recovery", &service, || slack.messages().len() == 2);
    assert_eq!(texts(&slack)[1], "Disk is closed: 101 % used");
    assert!(texts(&slack)[0].contains("100 times"), "the storm stays as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changes_of_state_are_told_also_over_a_restart() {
    let (_world, slack, folder) = scene().await;
    let mut service = serve(folder.path());
    for number in 1..=20 {
        alert(&service, "login", "open", number).await;
    }
    until("all are decided", &service, || runs(folder.path()).iter().filter(|run| run["state"] == "skipped").count() == 19);
    service.signal(Signal::SIGTERM);
    service.wait(Duration::from_secs(20));
    let service = serve(folder.path());
    alert(&service, "login", "open", 21).await;
    until("the one after the restart", &service, || runs(folder.path()).len() == 21);
    for (number, state) in [(22, "closed"), (23, "closed"), (24, "open")] {
        alert(&service, "login", state, number).await;
    }
    until("what changed", &service, || slack.messages().len() == 3);
    until("all are over", &service, || runs(folder.path()).iter().filter(|run| run["state"] == "skipped").count() == 21);
    assert_eq!(texts(&slack), ["Login is open", "Login is closed", "Login is open"]);
    let all = runs(folder.path());
    let last =
        all.iter().find(|run| run["state"] == "skipped" && run["note"].as_str().is_some_and(|note| note.contains("number 21")));
    assert!(last.is_some(), "{all:#?}");
}

#[test]
fn what_a_repeat_would_do_again_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |collapse: &str, more: &str| {
        format!(
            "version: 1\nrules:\n  tell:\n    on: {{ github.push: {{ }} }}\n    collapse: {collapse}\n    {more}\n    steps:\n\
             \x20     - uses: github/comment\n        with: {{ body: hello }}\n      - uses: github/react\n        with: {{ reaction: eyes }}\n"
        )
    };
    let check = |text: &str| {
        fs::write(folder.path().join("rules.yaml"), text).unwrap();
        let output = declic(folder.path(), &["check", "rules.yaml"]);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for (collapse, more, expected) in [
        ("{ key: x }", "", "every repeat would do `github/react` again"),
        ("{ state: x }", "", "`collapse` needs `key`"),
        ("{ key: x, repeats: twice }", "", "`repeats` cannot be `twice`"),
        ("{ key: x, window: 1h }", "", "write `quiet:`"),
        ("{ key: x }", "concurrency: { group: x }", "does not go with `concurrency`"),
        ("{ key: x }", "environment: { name: x }", "does not go with `environment`"),
        ("{ key: \"${{ event.nothing }}\" }", "", "nothing"),
    ] {
        let (status, said) = check(&rule(collapse, more));
        assert!(status == Some(1) && said.contains(expected), "{collapse} {more}: {said}");
    }
    let (status, said) = check(&rule("{ key: x, repeats: drop }", "concurrency: { group: x }"));
    assert_eq!(status, Some(0), "{said}");
}

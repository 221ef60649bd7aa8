//! The five modes of a concurrency group, at the real command: over the death of a process, and over two processes on one store.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::binary::{Binary, WEBHOOK_SECRET, declic};
use crate::support::client::Client;
use crate::support::held;
use crate::support::postgres;
use crate::support::service::push;

const MODES: [&str; 5] = ["queue-all", "queue-latest", "supersede", "skip", "parallel"];

fn written(folder: &Path, store: &str, target: &str, authority: &str) {
    let connections: String =
        MODES.iter().map(|mode| format!("  {mode}: {{ type: http, base-url: \"{target}\", methods: [POST] }}\n")).collect();
    let settings = format!(
        "version: 1\n{store}workers: 32\nsecrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n\
         sources:\n  github: {{ type: github, secret: hook }}\nconnections:\n{connections}egress: {{ allow: [\"{authority}\"] }}\n",
    );
    let rules: String = MODES
        .iter()
        .map(|mode| {
            format!(
                "  {mode}:\n    on: {{ github.push: {{ branches: [main] }} }}\n    \
                 concurrency: {{ group: \"{mode} ${{{{ event.ref }}}}\", mode: {mode} }}\n    steps:\n      \
                 - {{ uses: http/request, with: {{ connection: {mode}, method: POST, path: /held-{mode}, \
                 body: {{ sha: \"${{{{ event.sha }}}}\" }} }}, timeout: 5m }}\n      \
                 - {{ uses: http/request, with: {{ connection: {mode}, method: POST, path: /after-{mode} }} }}\n"
            )
        })
        .collect();
    std::fs::write(folder.join("declic.yaml"), settings).expect("settings");
    std::fs::create_dir(folder.join("rules")).expect("a folder");
    std::fs::write(folder.join("rules/all.yaml"), format!("version: 1\nrules:\n{rules}")).expect("rules");
}

fn sha(number: usize) -> String {
    format!("{number:040x}")
}

/// One push after the other on `main`. Answers our id of the delivery.
async fn send(to: &Binary, number: usize) -> String {
    let mut payload: Value = serde_json::from_slice(&push("main")).expect("a push");
    payload["before"] = json!(sha(number - 1));
    payload["after"] = json!(sha(number));
    Client::anonymous().deliver(&to.address, WEBHOOK_SECRET, "push", &format!("d{number}"), &payload).await
}

/// The runs of a delivery, in the order of the rules; none before it is decided.
fn runs(folder: &Path, delivery: &str) -> Vec<Value> {
    let output = declic(folder, &["deliveries", "show", delivery, "--format", "json"]);
    assert!(output.status.success(), "{output:?}");
    let shown: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let runs = shown["runs"].as_array().into_iter().flatten();
    runs.map(|run| run["run"].clone()).collect()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Three commits, one after the other; while the first is under way, whoever does it dies.
async fn three_commits(folder: &Path, store: &str, replica: bool) {
    let (target, open) = held::start().await;
    written(folder, store, &target.url, &target.authority);
    let lease = |command: &mut std::process::Command| {
        command.env("DECLIC_LEASE", "2000");
    };
    let first = Binary::start(folder, lease);
    let second = replica.then(|| Binary::start(folder, lease));
    let mut ids = vec![send(&first, 1).await];
    until("every mode has begun", || target.ledger.count("POST", "/held-") >= 5);
    for number in [2, 3] {
        ids.push(send(second.as_ref().unwrap_or(&first), number).await);
        until("it is decided", || runs(folder, &ids[number - 1]).len() == 5);
    }
    until("those in parallel are all under way", || target.most("/held-parallel") == 3);
    for mode in ["queue-all", "queue-latest", "skip"] {
        assert_eq!(target.most(&format!("/held-{mode}")), 1, "{mode}: one at a time");
    }
    first.signal(Signal::SIGKILL);
    drop(first);
    let _second = second.unwrap_or_else(|| Binary::start(folder, lease));
    open.send_replace(true);
    until("all is over", || ids.iter().all(|id| runs(folder, id).iter().all(|run| !run["finished_at"].is_null())));

    let all: Vec<Vec<Value>> = ids.iter().map(|id| runs(folder, id)).collect();
    let of = |mode: &str| -> Vec<(String, Option<usize>)> {
        let place = MODES.iter().position(|known| *known == mode).expect("a mode");
        let number = |run: &Value| all.iter().position(|runs| runs[place]["id"] == run["covered_by"]).map(|at| at + 1);
        all.iter().map(|runs| (runs[place]["state"].as_str().unwrap_or_default().to_owned(), number(&runs[place]))).collect()
    };
    let word = |state: &str, by: Option<usize>| (state.to_owned(), by);
    let done = || word("succeeded", None);
    assert_eq!(of("queue-all"), [done(), done(), done()]);
    assert_eq!(of("queue-latest"), [done(), word("superseded", Some(3)), done()]);
    let superseded = of("supersede");
    assert_eq!(superseded.iter().map(|(state, _)| state.as_str()).collect::<Vec<_>>(), ["superseded", "superseded", "succeeded"]);
    assert!(matches!(superseded[0].1, Some(2 | 3)) && superseded[1].1 == Some(3), "{superseded:?}");
    assert_eq!(of("skip"), [done(), word("skipped", Some(1)), word("skipped", Some(1))]);
    assert_eq!(of("parallel"), [done(), done(), done()]);

    // What was asked for, in its order. A request whose answer died with the process is repeated.
    let asked = |mode: &str| -> Vec<String> {
        let path = format!("/held-{mode}");
        let requests = target.ledger.requests().into_iter().filter(|request| request.path == path);
        let mut commits: Vec<String> = requests.filter_map(|request| Some(request.body["sha"].as_str()?.to_owned())).collect();
        commits.dedup();
        commits
    };
    assert_eq!(asked("queue-all"), [sha(1), sha(2), sha(3)]);
    assert_eq!(asked("queue-latest"), [sha(1), sha(3)]);
    assert_eq!(asked("supersede").last(), Some(&sha(3)));
    assert_eq!(asked("skip"), [sha(1)]);
    // What is no longer wanted ends between two steps.
    let after = |mode: &str| target.ledger.count("POST", &format!("/after-{mode}"));
    assert_eq!(MODES.map(after), [3, 2, 1, 1, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_mode_holds_over_the_death_of_a_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    three_commits(folder.path(), "", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_mode_holds_over_two_processes_of_which_one_dies() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let schema = tokio::task::spawn_blocking(|| postgres::shared().new_schema()).await.expect("a server");
    let store = format!("store: {{ postgres: \"{}\", schema: {schema} }}\n", postgres::shared().url());
    three_commits(folder.path(), &store, true).await;
}

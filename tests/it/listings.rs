//! `declic deliveries` and `declic runs`: what an operator sees of the store, also while it is served from.

use bytes::Bytes;
use declic::clock::Timestamp;
use declic::journal::Journal;
use declic::journal::record::{
    Appended, Change, Claim, Decision, NewDelivery, NewRun, Phase, Place, RunFailure, RunState, StepEnd, StepLabel, Verdict,
};
use declic::journal::sqlite::{Options, Sqlite};
use declic_actions::action::{Call, Intent, Origin, Why};
use serde_json::{Value, json};

use crate::support::binary::declic;

/// A store with one failed run, whose texts try to steer the terminal. Answers the ids of delivery and run.
async fn written(folder: &std::path::Path) -> (Sqlite, String, String) {
    let journal = Sqlite::open(&folder.join("declic.db"), Options::default()).unwrap();
    let delivery = NewDelivery {
        share: "github".to_owned(),
        source: "github".to_owned(),
        delivery_id: "72d3162e\u{1b}[2J".to_owned(),
        event_type: "push".to_owned(),
        headers: vec![("x-github-event".to_owned(), "push".to_owned())],
        body: Bytes::from_static(b"{\"ref\":\"x\"}"),
        received_at: Timestamp(1_800_000_000_000),
        trace: "00-trace".to_owned(),
        verified: "X-Hub-Signature-256, secret 1 of 2".to_owned(),
    };
    let Ok(Appended::New { id }) = journal.append(delivery).await else { panic!("it is new") };
    let claim = || Claim {
        worker: "w".to_owned(),
        lease: std::time::Duration::from_secs(30),
        deliveries: 1.into(),
        runs: 1.into(),
        only: None,
    };
    let lease = journal.claim(claim()).await.unwrap().deliveries.remove(0).lease;
    let check =
        |holds, text: &str, found: &str| json!({"holds": holds, "text": text, "found": found, "reason": null, "hint": null});
    let traces = json!([{ "rule": "deploy", "place": "rules/web.yaml:3", "verdict": "not-matched", "checks": [
        check(true, "event github.push", ""), check(false, "branches: [main]", "event.branch = \"next\"") ] }]);
    let run = NewRun {
        rule: "notify".to_owned(),
        owner: None,
        place: "rules/web.yaml:9".to_owned(),
        revision: "r1".to_owned(),
        share: "acme/web".to_owned(),
        group: None,
        dry: false,
        collapse: None,
        failure: None,
    };
    let runs = journal
        .decide(
            lease,
            Decision {
                traces,
                verdict: Verdict::Runs(vec![run]),
                line: None,
                may_ask: false,
                about: Default::default(),
                learned: None,
            },
        )
        .await
        .unwrap();
    let lease = journal.claim(claim()).await.unwrap().runs.remove(0).lease;
    let place = Place { phase: Phase::Steps, index: 0, round: 0 };
    let label = StepLabel { id: Some("post".to_owned()), name: None, uses: "http/request".to_owned() };
    let call =
        Call { key: "d-1".to_owned(), params: serde_json::Map::new(), target: None, connection: None, origin: Origin::default() };
    let intent = Box::new(Intent { call, plan: Value::Null, summary: "POST /".to_owned() });
    let why = Why::new("refused", "403: no\u{202e}way");
    let failure = RunFailure {
        step: "post".to_owned(),
        action: "http/request".to_owned(),
        code: why.code.clone(),
        message: why.message.clone(),
        attempts: 1,
        rolled_back: false,
    };
    let changes = vec![
        Change::Began { place, label: label.clone(), intent, exclusive: None },
        Change::Ended { place, label, end: StepEnd::Failed { why } },
        Change::Finished { state: RunState::Failed, failure: Some(failure) },
    ];
    journal.write(lease, changes).await.unwrap();
    let run = runs.into_iter().next().expect("one run");
    (journal, id, run)
}

fn text(folder: &std::path::Path, arguments: &[&str]) -> String {
    let output = declic(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn document(folder: &std::path::Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(folder, &[arguments, &["--format", "json"]].concat())).expect("one JSON document")
}

#[tokio::test]
async fn deliveries_and_runs_are_listed_and_shown_while_the_store_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    assert!(declic(folder.path(), &["init"]).status.success());
    let (_in_use, delivery, run) = written(folder.path()).await;

    let list = text(folder.path(), &["deliveries"]);
    assert!(list.contains(&delivery) && list.contains("failed") && list.contains("72d3162e\\u{1b}[2J"), "{list}");
    let shown = text(folder.path(), &["deliveries", "show", &delivery]);
    for part in [
        "X-Hub-Signature-256, secret 1 of 2",
        "no match deploy",
        "✔ event github.push",
        "✘ branches: [main]",
        "event.branch = \"next\"",
        "no\\u{202e}way",
    ] {
        assert!(shown.contains(part), "{part} is missing:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "no colours and no steering: {shown:?}");
    assert_eq!(text(folder.path(), &["deliveries", "show", &delivery, "--body"]), "{\"ref\":\"x\"}");
    let shown = text(folder.path(), &["runs", "show", &run]);
    assert!(shown.contains("post  http/request  failed") && shown.contains("attempt 1  failed"), "{shown}");

    assert_eq!(document(folder.path(), &["deliveries", "list", "--state", "failed"])[0]["id"], delivery);
    assert_eq!(document(folder.path(), &["deliveries", "list", "--state", "completed"]), json!([]));
    assert_eq!(document(folder.path(), &["deliveries", "show", &delivery])["decisions"][0]["verdict"], "not-matched");
    assert_eq!(document(folder.path(), &["runs"])[0]["failure"]["code"], "refused");
    assert_eq!(document(folder.path(), &["runs", "show", &run])["steps"][0]["attempts"][0]["state"], "failed");
}

#[test]
fn what_is_not_there_is_said_plainly() {
    let folder = tempfile::tempdir().unwrap();
    assert!(declic(folder.path(), &["init"]).status.success());
    let output = declic(folder.path(), &["deliveries"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("has `declic serve` run"), "{output:?}");
    drop(Sqlite::open(&folder.path().join("declic.db"), Options::default()).unwrap());
    assert_eq!(text(folder.path(), &["deliveries"]), "no deliveries\n");
    assert_eq!(text(folder.path(), &["runs"]), "no runs\n");
    assert_eq!(document(folder.path(), &["runs"]), json!([]));
    for arguments in [["deliveries", "show", "0123456789abc"], ["runs", "show", "nonsense"]] {
        assert_eq!(declic(folder.path(), &arguments).status.code(), Some(1));
    }
    assert_eq!(declic(folder.path(), &["runs", "list", "--state", "nonsense"]).status.code(), Some(2));
}

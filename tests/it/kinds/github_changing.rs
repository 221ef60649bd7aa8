//! `github/label`, `github/check-run`, `github/workflow-dispatch`, `github/repository-dispatch`.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};

async fn actor() -> Actor {
    let mut actor = Actor::new().await;
    actor.world.github.add_issue(REPOSITORY, 7, Some(FIRST_COMMIT));
    actor.world.github.add_workflow(REPOSITORY, "release.yml", &["environment", "declic", "count"]);
    actor.origin.number = Some(7);
    actor
}

#[tokio::test]
async fn labels_are_added_removed_and_set() {
    let actor = actor().await;
    let labels = || actor.world.github.labels(REPOSITORY, 7);
    let run = async |with: Value| actor.run("github/label", "d1-l-1", with).await.unwrap().outputs["labels"].clone();
    assert_eq!(run(json!({ "add": ["area: web", "deploying"] })).await, json!(["area: web", "deploying"]));
    assert_eq!(run(json!({ "add": ["deployed"], "remove": ["deploying"] })).await, json!(["area: web", "deployed"]));
    assert_eq!(run(json!({ "remove": ["area: web"] })).await, json!(["deployed"]));
    assert_eq!(run(json!({ "set": ["a", "b"] })).await, json!(["a", "b"]));
    assert_eq!(run(json!({ "set": [] })).await, json!([]));
    assert!(labels().is_empty());
    actor.assert_nothing_refused();
    assert_eq!(run(json!({ "remove": ["never there"] })).await, json!([]), "gone is gone");
    for with in [json!({}), json!({ "set": ["a"], "add": ["b"] }), json!({ "add": ["a,b"] }), json!({ "add": ["x".repeat(51)] })]
    {
        assert!(actor.prepare("github/label", "d1-l-2", with.clone()).is_err(), "{with}");
    }
    let gone = actor.run("github/label", "d1-l-3", json!({ "remove": ["x"], "number": 99 })).await;
    assert_eq!(code(&gone), ("not-found", false));
}

fn annotations(count: usize) -> Value {
    let one =
        |line: usize| json!({ "path": "src/lib.rs", "line": line, "level": "warning", "message": format!("remark {line}") });
    (1..=count).map(one).collect()
}

fn lines(actor: &Actor) -> Vec<u64> {
    let runs = actor.world.github.check_runs(REPOSITORY, FIRST_COMMIT);
    assert_eq!(runs.len(), 1);
    let annotations = runs[0]["output"]["annotations"].as_array().cloned().unwrap_or_default();
    annotations.iter().map(|annotation| annotation["start_line"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn one_run_has_one_check_run_of_a_name_with_its_annotations_in_batches() {
    let mut actor = actor().await;
    actor.origin.run_url = Some("https://declic.example.dev/runs/r1".into());
    let begin = actor.run("github/check-run", "d1-c-1", json!({ "name": "rules" })).await.unwrap();
    assert_eq!(actor.world.github.check_runs(REPOSITORY, FIRST_COMMIT)[0]["status"], "in_progress");
    let done = json!({ "name": "rules", "conclusion": "failure", "summary": "It is *wrong*.", "annotations": annotations(120) });
    let end = actor.run("github/check-run", "d1-c-2", done).await.unwrap();
    assert_eq!(begin.outputs["id"], end.outputs["id"]);
    assert_eq!(end.outputs["annotations"], 120);
    assert_eq!(lines(&actor), (1..=120).collect::<Vec<u64>>());
    let run = &actor.world.github.check_runs(REPOSITORY, FIRST_COMMIT)[0];
    assert_eq!((&run["status"], &run["conclusion"]), (&json!("completed"), &json!("failure")));
    assert_eq!((&run["output"]["title"], &run["output"]["summary"]), (&json!("rules"), &json!("It is *wrong*.")));
    assert_eq!(run["details_url"], "https://declic.example.dev/runs/r1");
    actor.assert_nothing_refused();
    for with in [
        json!({ "name": "x", "status": "completed" }),
        json!({ "name": "x", "status": "queued", "conclusion": "success" }),
        json!({ "name": "x", "annotations": [{ "path": "a", "line": 0, "message": "m" }] }),
        json!({ "name": "x", "annotations": [{ "path": "/etc/passwd", "line": 1, "message": "m" }] }),
        json!({ "name": "x", "annotations": [{ "path": "a", "line": 1, "message": "m", "level": "fatal" }] }),
    ] {
        assert!(actor.prepare("github/check-run", "d1-c-3", with.clone()).is_err(), "{with}");
    }
}

#[tokio::test]
async fn annotations_whose_answer_is_lost_at_any_request_are_there_once() {
    for number in 0..8 {
        let actor = actor().await;
        actor.world.github.faults.after(number, Fault::Cut);
        let with = json!({ "name": "rules", "conclusion": "neutral", "annotations": annotations(120) });
        let intent = actor.prepare("github/check-run", "d1-c-1", with).unwrap();
        actor.see_through("github/check-run", &intent, &Recorder::default(), 1).await.unwrap();
        assert_eq!(lines(&actor), (1..=120).collect::<Vec<u64>>(), "request {number}");
        if actor.world.github.ledger.requests().iter().all(|asked| asked.status != 0) {
            assert!(number >= 4);
            return;
        }
    }
    panic!("it never got through");
}

#[tokio::test]
async fn a_workflow_is_started_once_and_its_run_is_told() {
    let actor = actor().await;
    let with = json!({
        "workflow": "release.yml", "ref": "main", "inputs": { "environment": "staging", "count": 3 }, "key-input": "declic",
    });
    let intent = actor.prepare("github/workflow-dispatch", "d1-w-1", with).unwrap();
    actor.world.github.faults.next(1, Fault::Cut);
    let outcome = actor.see_through("github/workflow-dispatch", &intent, &Recorder::default(), 1).await.unwrap();
    let runs = actor.world.github.workflow_runs(REPOSITORY, "release.yml");
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["inputs"], json!({ "environment": "staging", "count": "3", "declic": "d1-w-1" }));
    assert_eq!((&outcome.outputs["run_id"], &outcome.outputs["url"]), (&runs[0]["id"], &runs[0]["html_url"]));
    let plain = json!({ "workflow": "release.yml", "ref": "main" });
    let outcome = actor.run("github/workflow-dispatch", "d2-w-1", plain).await.unwrap();
    assert_eq!(outcome.outputs["run_id"], actor.world.github.workflow_runs(REPOSITORY, "release.yml")[1]["id"]);
    actor.assert_nothing_refused();
    for (with, expected) in [
        (json!({ "workflow": "gone.yml", "ref": "main" }), ("not-found", false)),
        (json!({ "workflow": "release.yml", "ref": "gone" }), ("rejected", false)),
        (json!({ "workflow": "release.yml", "ref": "main", "inputs": { "typo": 1 } }), ("rejected", false)),
    ] {
        assert_eq!(code(&actor.run("github/workflow-dispatch", "d3-w-1", with).await), expected);
    }
    assert!(actor.prepare("github/workflow-dispatch", "d4", json!({ "workflow": "../x", "ref": "main" })).is_err());
    let counted = json!({ "workflow": "release.yml", "ref": "main", "count-hops": true });
    assert_eq!(actor.prepare("github/workflow-dispatch", "d5", counted).unwrap().plan["inputs"], json!({ "declic_hops": "1" }));
}

#[tokio::test]
async fn an_event_for_workflows_carries_the_calls_key() {
    let actor = actor().await;
    let with = json!({ "event-type": "staging-deployed", "payload": { "service": "api", "declic_key": "forged" } });
    actor.run("github/repository-dispatch", "d1-r-1", with).await.unwrap();
    let sent = &actor.world.github.dispatches(REPOSITORY)[0];
    assert_eq!(sent["event_type"], "staging-deployed");
    assert_eq!(sent["client_payload"], json!({ "service": "api", "declic_key": "d1-r-1", "declic_hops": 1 }));
    let many: serde_json::Map<String, Value> = (0..10).map(|number| (number.to_string(), json!(1))).collect();
    for with in [json!({ "event-type": "x".repeat(101) }), json!({ "event-type": "x", "payload": many })] {
        assert!(actor.prepare("github/repository-dispatch", "d1-r-2", with).is_err());
    }
    actor.assert_nothing_refused();
}

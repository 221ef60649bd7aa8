//! `cloud-run/run-job`, and jobs as targets of `cloud-run/deploy`.

use std::collections::BTreeMap;
use std::time::Duration;

use declic::demo::stand_ins::cloud_run::JobCourse;
use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{IMAGE, IMAGE_REPOSITORY, PROJECT, REGION};
use declic_actions::action::Stop;
use serde_json::{Value, json};

use crate::support::actor::{Actor, LAST_ATTEMPT, Recorder, code};

const RUN: &str = "cloud-run/run-job";
const DEPLOY: &str = "cloud-run/deploy";
const JOB: &str = "projects/acme-staging/locations/europe-west1/jobs/migrate";

fn target(more: &Value) -> Value {
    let mut target = json!({
        "type": "cloud-run-job", "project": PROJECT, "region": REGION, "job": "migrate",
        "images": ["europe-docker.pkg.dev/acme-build/**"], "overrides": ["args", "tasks", "timeout"], "env": ["MODE", "TOKEN"],
        "secrets": ["token"],
    });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    target
}

async fn operator() -> Actor {
    let mut actor = Actor::new().await;
    let digest = actor.world.registry.push(IMAGE_REPOSITORY, "v1", "v1");
    actor.world.registry.push(IMAGE_REPOSITORY, "v2", "v2");
    let job = json!({
        "name": JOB, "labels": { "team": "shop" },
        "template": { "taskCount": 2, "template": {
            "maxRetries": 1, "timeout": "600s", "serviceAccount": "migrate@acme-staging.iam.gserviceaccount.com",
            "containers": [{ "image": format!("{IMAGE}@{digest}"), "args": ["--all"], "env": [{ "name": "MODE", "value": "safe" }] }],
        } },
    });
    actor.world.cloud_run.seed_job(&job).unwrap();
    actor.target = Some(target(&json!({})));
    actor
}

fn job(actor: &Actor) -> Value {
    actor.world.cloud_run.job(JOB).unwrap()
}

fn executions(actor: &Actor) -> Vec<Value> {
    actor.world.cloud_run.executions(JOB)
}

fn go(actor: &Actor, milliseconds: u64, failing: &[(usize, i64)]) {
    let failing: BTreeMap<usize, i64> = failing.iter().copied().collect();
    actor.world.cloud_run.executions_go(JobCourse { duration: Duration::from_millis(milliseconds), failing });
}

#[tokio::test]
async fn a_job_runs_with_what_the_rule_overrides_and_is_waited_for() {
    let actor = operator().await;
    go(&actor, 150, &[]);
    let with = json!({
        "target": "db", "args": ["--to", "42"], "env": { "MODE": "fast", "TOKEN": { "secret": "token", "version": "3" } },
        "tasks": 3, "task-timeout": "90s",
    });
    let outcome = actor.run(RUN, "d1-j-1", with).await.unwrap();
    let execution = &executions(&actor)[0];
    assert_eq!(outcome.outputs["succeeded"], 3);
    assert_eq!(outcome.outputs["log_url"], execution["logUri"]);
    let container = &execution["template"]["containers"][0];
    assert_eq!(container["args"], json!(["--to", "42"]));
    assert_eq!(
        container["env"],
        json!([
            { "name": "MODE", "value": "fast" },
            { "name": "TOKEN", "valueSource": { "secretKeyRef": { "secret": "token", "version": "3" } } },
            { "name": "DECLIC_CALL", "value": "d1-j-1" },
        ])
    );
    assert_eq!(execution["template"]["timeout"], "90s");
    assert_eq!(job(&actor)["template"]["template"]["containers"][0]["args"], json!(["--all"]), "the job itself stays as it is");
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_task_that_fails_is_named_with_its_exit_code_and_its_log() {
    let actor = operator().await;
    go(&actor, 0, &[(1, 137)]);
    let result = actor.run(RUN, "d1-j-1", json!({ "target": "db" })).await;
    assert_eq!(code(&result), ("job-failed", false));
    let message = result.unwrap_err().why().message.clone();
    assert!(message.contains("Task 2 of 2") && message.contains("exit code 137") && message.contains("task=1"), "{message}");
}

#[tokio::test]
async fn an_execution_whose_answer_is_lost_at_any_request_is_not_started_twice() {
    for number in 0..10 {
        let actor = operator().await;
        go(&actor, 50, &[]);
        actor.world.cloud_run.faults.after(number, Fault::Cut);
        let intent = actor.prepare(RUN, "d1-j-1", json!({ "target": "db" })).unwrap();
        actor.see_through(RUN, &intent, &Recorder::default(), 1).await.unwrap();
        assert_eq!(executions(&actor).len(), 1, "request {number}");
        if actor.world.cloud_run.ledger.requests().iter().all(|asked| asked.status != 0) {
            assert!(number >= 3);
            return;
        }
    }
    panic!("it never got through");
}

#[tokio::test]
async fn a_job_that_takes_longer_than_the_step_is_waited_for_by_the_next_attempt() {
    let mut actor = operator().await;
    go(&actor, 600, &[]);
    actor.patience = Duration::from_millis(250);
    let intent = actor.prepare(RUN, "d1-j-1", json!({ "target": "db" })).unwrap();
    let progress = Recorder::default();
    assert_eq!(code(&actor.attempt(RUN, &intent, 1, &progress).await), ("timeout", true));
    actor.patience = Duration::from_secs(5);
    actor.see_through(RUN, &intent, &progress, 2).await.unwrap();
    assert_eq!(executions(&actor).len(), 1);
    let unwatched = actor.run(RUN, "d2-j-1", json!({ "target": "db", "wait": false })).await.unwrap();
    assert_eq!(unwatched.outputs["succeeded"], 0);
}

#[tokio::test]
async fn a_run_that_is_no_longer_wanted_cancels_its_execution() {
    let mut actor = operator().await;
    go(&actor, 5_000, &[]);
    let (stopping, stop) = Stop::new();
    actor.stop = stop;
    let intent = actor.prepare(RUN, "d1-j-1", json!({ "target": "db" })).unwrap();
    let progress = Recorder::default();
    let ask = async {
        progress.until_told("execution started").await;
        stopping.send_replace(true);
    };
    let (result, ()) = tokio::join!(actor.attempt(RUN, &intent, 1, &progress), ask);
    assert_eq!(code(&result), ("stopped", false));
    assert_eq!(executions(&actor)[0]["cancelledCount"], 2);
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_not_overridden() {
    let mut actor = operator().await;
    actor.target = Some(target(&json!({ "overrides": [], "env": [] })));
    for with in [
        json!({ "target": "db", "args": ["x"] }),
        json!({ "target": "db", "tasks": 1 }),
        json!({ "target": "db", "task-timeout": "1s" }),
        json!({ "target": "db", "env": { "MODE": "x" } }),
    ] {
        assert!(actor.prepare(RUN, "d1-j-1", with.clone()).is_err(), "{with}");
    }
    assert_eq!(code(&actor.run(RUN, "d1-j-1", json!({ "target": "db", "container": "x" })).await), ("invalid", false));
}

#[tokio::test]
async fn a_deploy_to_a_job_changes_its_image_and_nothing_else() {
    let actor = operator().await;
    let before = job(&actor);
    let with = json!({ "target": "db", "image": format!("{IMAGE}:v2"), "env": { "MODE": "fast" } });
    let outcome = actor.run(DEPLOY, "d1-d-1", with).await.unwrap();
    let mut after = job(&actor);
    let digest = actor.world.registry.resolve(&format!("{IMAGE}:v2")).unwrap();
    assert_eq!(outcome.outputs["digest"], digest);
    assert_eq!(outcome.outputs["revision"], "migrate@2");
    let container = &mut after["template"]["template"]["containers"][0];
    assert_eq!(container["image"], format!("{IMAGE}@{digest}"));
    assert_eq!(container["env"][0]["value"], "fast");
    container["image"] = before["template"]["template"]["containers"][0]["image"].clone();
    container["env"] = before["template"]["template"]["containers"][0]["env"].clone();
    assert_eq!(after["template"], before["template"]);
    assert_eq!(after["labels"]["team"], "shop");
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_deploy_to_a_job_whose_answer_is_lost_at_any_request_is_made_once() {
    for number in 0..12 {
        let actor = operator().await;
        actor.world.cloud_run.faults.after(number, Fault::Cut);
        let intent = actor.prepare(DEPLOY, "d1-d-1", json!({ "target": "db", "image": format!("{IMAGE}:v2") })).unwrap();
        actor.see_through(DEPLOY, &intent, &Recorder::default(), 1).await.unwrap();
        assert_eq!(actor.world.cloud_run.ledger.effects_of("job.changed").len(), 1, "request {number}");
        if actor.world.cloud_run.ledger.requests().iter().all(|asked| asked.status != 0) {
            assert!(number >= 3);
            return;
        }
    }
    panic!("it never got through");
}

#[tokio::test]
async fn a_job_that_does_not_get_ready_is_put_back() {
    let actor = operator().await;
    let before = job(&actor)["template"].clone();
    // Known to the registry that is asked, but not to the platform.
    let digest = format!("sha256:{}", "ab".repeat(32));
    let with = json!({
        "target": "db", "image": format!("{IMAGE}@{digest}"), "rollback": true, "env": { "MODE": "fast", "TOKEN": "x" },
    });
    let intent = actor.prepare(DEPLOY, "d1-d-1", with).unwrap();
    let progress = Recorder::default();
    declic_actions::action::Progress::save(&progress, json!({ "digest": digest })).await.unwrap();
    let result = actor.attempt(DEPLOY, &intent, LAST_ATTEMPT, &progress).await;
    assert_eq!(code(&result), ("image-missing", false));
    assert!(result.unwrap_err().why().rolled_back);
    assert_eq!(job(&actor)["template"], before);
    assert!(job(&actor)["labels"].get("declic-call").is_none());
}

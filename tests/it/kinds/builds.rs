//! `build:` of `cloud-run/deploy`: a trigger or a build from source, waited for, its image taken by digest.

use std::time::Duration;

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{FIRST_COMMIT, IMAGE, SERVICE_NAME};
use declic_actions::action::Stop;
use serde_json::{Value, json};

use super::deploy::{KIND, allocation, created, deployer, only, params, target};
use crate::support::actor::{Actor, Recorder, code};

const REPOSITORY: &str = "projects/acme-staging/locations/europe-west1/connections/github/repositories/web";

async fn builder() -> Actor {
    let mut actor = deployer().await;
    actor.world.cloud_build.add_trigger("web-staging", &format!("{IMAGE}:built"));
    actor.target = Some(target(&json!({ "builds": {
        "triggers": ["web-staging", "gone"], "source": REPOSITORY, "service-account": "builder@acme-staging.iam.gserviceaccount.com",
    } })));
    actor
}

fn built(build: &Value) -> Value {
    params(&json!({ "image": IMAGE, "build": build }))
}

fn builds(actor: &Actor) -> Vec<Value> {
    actor.world.cloud_build.builds()
}

#[tokio::test]
async fn a_trigger_is_run_at_the_commit_and_what_it_pushed_is_deployed_by_digest() {
    let actor = builder().await;
    actor.world.cloud_build.builds_take(Duration::from_millis(250));
    let with = built(&json!({ "trigger": "web-staging", "substitutions": { "_ENVIRONMENT": "staging" } }));
    let intent = actor.prepare(KIND, "d1", with).unwrap();
    let progress = Recorder::default();
    let outcome = actor.attempt(KIND, &intent, 1, &progress).await.unwrap();
    let builds = builds(&actor);
    assert_eq!(builds.len(), 1);
    assert_eq!(builds[0]["substitutions"]["COMMIT_SHA"], FIRST_COMMIT);
    assert_eq!(builds[0]["substitutions"]["_ENVIRONMENT"], "staging");
    assert_eq!(outcome.outputs["digest"], builds[0]["results"]["images"][0]["digest"]);
    let revisions = actor.world.cloud_run.revisions(SERVICE_NAME);
    let image = revisions[1]["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image, format!("{IMAGE}@{}", outcome.outputs["digest"].as_str().unwrap()));
    assert_eq!(allocation(&actor), only(outcome.outputs["revision"].as_str().unwrap()));
    assert_eq!(progress.stages()[..2], ["build started", "building"]);
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_build_from_source_takes_the_operators_repository_and_account() {
    let actor = builder().await;
    let with = built(&json!({ "dir": "services/web", "dockerfile": "docker/Dockerfile" }));
    actor.run(KIND, "d1", with).await.unwrap();
    let build = &builds(&actor)[0];
    let place = json!({ "repository": REPOSITORY, "revision": FIRST_COMMIT, "dir": "services/web" });
    assert_eq!(build["source"]["connectedRepository"], place);
    assert_eq!(build["images"], json!([format!("{IMAGE}:{FIRST_COMMIT}")]));
    assert_eq!(build["steps"][0]["args"][4], "docker/Dockerfile");
    assert!(build["serviceAccount"].as_str().unwrap().ends_with("/serviceAccounts/builder@acme-staging.iam.gserviceaccount.com"));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_build_whose_answer_is_lost_at_any_request_is_started_once() {
    for build in [json!({ "trigger": "web-staging" }), json!({})] {
        for number in 0..3 {
            let actor = builder().await;
            actor.world.cloud_build.faults.after(number, Fault::Cut);
            let intent = actor.prepare(KIND, "d1", built(&build)).unwrap();
            actor.see_through(KIND, &intent, &Recorder::default(), 1).await.unwrap();
            assert_eq!(builds(&actor).len(), 1, "{build} request {number}");
            assert_eq!(created(&actor).len(), 1);
        }
    }
}

#[tokio::test]
async fn a_build_that_fails_says_why_and_where_and_changes_nothing() {
    let actor = builder().await;
    actor.world.cloud_build.builds_end("FAILURE", "step 3: exit status 1");
    let result = actor.run(KIND, "d1", built(&json!({ "trigger": "web-staging" }))).await;
    assert_eq!(code(&result), ("build-failed", false));
    let message = result.unwrap_err().why().message.clone();
    assert!(message.contains("exit status 1") && message.contains("https://console.cloud.google.com/cloud-build/"), "{message}");
    assert!(created(&actor).is_empty());
    let gone = actor.run(KIND, "d2", built(&json!({ "trigger": "gone" }))).await;
    assert_eq!(code(&gone), ("not-found", false));
}

#[tokio::test]
async fn a_trigger_that_pushes_something_else_is_told_apart() {
    let actor = builder().await;
    actor.world.cloud_build.add_trigger("web-staging", "europe-docker.pkg.dev/acme-build/other:1");
    let result = actor.run(KIND, "d1", built(&json!({ "trigger": "web-staging" }))).await;
    assert_eq!(code(&result), ("image-missing", false));
    assert!(created(&actor).is_empty());
}

#[tokio::test]
async fn what_the_operator_does_not_offer_is_not_built() {
    let actor = builder().await;
    for build in [
        json!({ "trigger": "production" }),
        json!({ "trigger": "../x" }),
        json!({ "dir": "../x" }),
        json!({ "dockerfile": "-x" }),
        json!({ "substitutions": { "_A": "b" } }),
        json!({ "trigger": "web-staging", "substitutions": { "COMMIT_SHA": "b" } }),
    ] {
        assert!(actor.prepare(KIND, "d1", built(&build)).is_err(), "{build}");
    }
    assert!(builds(&actor).is_empty());
}

#[tokio::test]
async fn a_run_that_is_no_longer_wanted_cancels_the_build_that_it_started() {
    for with in [json!({}), json!({ "trigger": "web-staging" })] {
        let mut actor = builder().await;
        actor.world.cloud_build.builds_take(Duration::from_secs(60));
        let (stopping, stop) = Stop::new();
        actor.stop = stop;
        let intent = actor.prepare(KIND, "d1", built(&with)).unwrap();
        let progress = Recorder::default();
        let ask = async {
            progress.until_told("build started").await;
            stopping.send_replace(true);
        };
        let (result, ()) = tokio::join!(actor.attempt(KIND, &intent, 1, &progress), ask);
        assert_eq!(code(&result), ("stopped", false));
        assert_eq!(builds(&actor)[0]["status"], "CANCELLED", "{with}");
        assert_eq!(actor.world.cloud_run.revisions(SERVICE_NAME).len(), 1, "and nothing is deployed");
        actor.assert_nothing_refused();
    }
}

#[tokio::test]
async fn a_build_that_may_be_anothers_is_not_cancelled_and_none_is_started_for_nobody() {
    let mut actor = builder().await;
    actor.world.cloud_build.builds_take(Duration::from_secs(60));
    let intent = actor.prepare(KIND, "d1", built(&json!({ "trigger": "web-staging" }))).unwrap();
    let progress = Recorder::default();
    // The answer to its start was lost: what is found may be of a push to the same commit.
    actor.world.cloud_build.faults.next(1, Fault::Cut);
    assert_eq!(code(&actor.attempt(KIND, &intent, 1, &progress).await), ("unreachable", true));
    let (stopping, stop) = Stop::new();
    actor.stop = stop;
    stopping.send_replace(true);
    assert_eq!(code(&actor.attempt(KIND, &intent, 2, &progress).await), ("stopped", false));
    assert_eq!(builds(&actor)[0]["status"], "WORKING");
    let unwanted = actor.run(KIND, "d2", built(&json!({}))).await;
    assert_eq!((code(&unwanted), builds(&actor).len()), (("stopped", false), 1));
}

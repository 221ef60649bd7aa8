//! `cloud-run/traffic`, `rollback`, `tag` and `remove-tag`: what moves, what stays, and what a crash or another writer leaves.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{IMAGE, IMAGE_REPOSITORY, SERVICE_NAME};
use serde_json::{Value, json};

use super::deploy::{KIND, OLD, allocation, deployer, only, params, service, tags, target};
use crate::support::actor::{Actor, Recorder, code};

const ROLLBACK: &str = "cloud-run/rollback";
const TRAFFIC: &str = "cloud-run/traffic";
const TAG: &str = "cloud-run/tag";
const REMOVE: &str = "cloud-run/remove-tag";

/// Deploys and gives the revision's name.
async fn deployed(actor: &Actor, key: &str, more: &Value) -> String {
    let outcome = actor.run(KIND, key, params(more)).await.unwrap();
    outcome.outputs["revision"].as_str().unwrap().to_owned()
}

fn preview(tag: &str) -> Value {
    json!({ "traffic": 0, "tag": tag })
}

fn remove(tag: &str) -> Value {
    json!({ "target": "web_preview", "tag": tag })
}

#[tokio::test]
async fn a_rollback_goes_to_the_release_before_and_past_previews() {
    let actor = deployer().await;
    let first = deployed(&actor, "d1", &json!({})).await;
    deployed(&actor, "d2", &preview("pr-1")).await;
    let second = deployed(&actor, "d3", &json!({})).await;
    // Its tag is gone, so that only its label says what it was made for.
    actor.run(REMOVE, "d4", remove("pr-1")).await.unwrap();
    let outcome = actor.run(ROLLBACK, "d5", json!({ "target": "web_staging" })).await.unwrap();
    assert_eq!(outcome.outputs["revision"], first);
    assert_eq!(outcome.outputs["from_revision"], second);
    assert_eq!(outcome.outputs["url"], service(&actor)["uri"]);
    assert_eq!(allocation(&actor), only(&first));
    let further = actor.run(ROLLBACK, "d6", json!({ "target": "web_staging" })).await.unwrap();
    assert_eq!(further.outputs["revision"], OLD);
    let end = actor.run(ROLLBACK, "d7", json!({ "target": "web_staging" })).await;
    assert_eq!(code(&end), ("not-found", false));
    assert_eq!(allocation(&actor), only(OLD));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_rollback_to_a_named_revision_goes_there_or_nowhere() {
    let actor = deployer().await;
    let first = deployed(&actor, "d1", &json!({})).await;
    let second = deployed(&actor, "d2", &json!({})).await;
    actor.run(ROLLBACK, "d3", json!({ "target": "web_staging", "to": OLD })).await.unwrap();
    assert_eq!(allocation(&actor), only(OLD));
    let forth = actor.run(ROLLBACK, "d4", json!({ "target": "web_staging", "to": second })).await.unwrap();
    assert_eq!(forth.outputs["from_revision"], OLD);
    let gone = actor.run(ROLLBACK, "d5", json!({ "target": "web_staging", "to": "web-gone" })).await;
    assert_eq!(code(&gone), ("not-found", false));
    assert_eq!(allocation(&actor), only(&second));
    assert!(actor.prepare(ROLLBACK, "d6", json!({ "target": "x", "to": format!("../{first}") })).is_err());
}

#[tokio::test]
async fn a_broken_release_is_no_place_to_go_back_to() {
    let actor = deployer().await;
    let first = deployed(&actor, "d1", &json!({})).await;
    actor.world.cloud_run.operation_fails("HEALTH_CHECK_CONTAINER_ERROR");
    actor.run(KIND, "d2", params(&json!({}))).await.unwrap_err();
    actor.world.cloud_run.well();
    deployed(&actor, "d3", &json!({})).await;
    actor.run(ROLLBACK, "d4", json!({ "target": "web_staging" })).await.unwrap();
    assert_eq!(allocation(&actor), only(&first));
}

#[tokio::test]
async fn a_rollback_whose_answer_is_lost_at_any_request_goes_back_one_step_only() {
    for number in 0..30 {
        let actor = deployer().await;
        let first = deployed(&actor, "d1", &json!({})).await;
        deployed(&actor, "d2", &json!({})).await;
        actor.world.cloud_run.faults.after(number, Fault::Cut);
        let intent = actor.prepare(ROLLBACK, "d3", json!({ "target": "web_staging" })).unwrap();
        actor.see_through(ROLLBACK, &intent, &Recorder::default(), 1).await.unwrap();
        assert_eq!(allocation(&actor), only(&first), "request {number}");
        if actor.world.cloud_run.ledger.requests().iter().all(|asked| asked.status != 0) {
            assert!(number >= 5);
            return;
        }
    }
    panic!("it never got through");
}

#[tokio::test]
async fn a_rollback_that_wakes_up_late_does_not_undo_a_newer_deploy() {
    let actor = deployer().await;
    deployed(&actor, "d1", &json!({})).await;
    let intent = actor.prepare(ROLLBACK, "d2", json!({ "target": "web_staging" })).unwrap();
    let progress = Recorder::default();
    // It has decided, and its write never arrives.
    actor.world.cloud_run.faults.next_matching(1, "PATCH", "", Fault::Fail { status: 503, retry_after: None });
    let result = actor.attempt(ROLLBACK, &intent, 1, &progress).await;
    assert_eq!(code(&result), ("unavailable", true));
    let newer = deployed(&actor, "d3", &json!({})).await;
    let late = actor.attempt(ROLLBACK, &intent, 2, &progress).await;
    assert_eq!(code(&late), ("superseded", false));
    assert_eq!(allocation(&actor), only(&newer));
}

#[tokio::test]
async fn a_canary_grows_step_by_step_and_others_keep_their_tags() {
    let actor = deployer().await;
    let first = deployed(&actor, "d1", &json!({})).await;
    let second = deployed(&actor, "d2", &preview("candidate")).await;
    for percent in [10, 50, 100] {
        let with = json!({ "target": "web_staging", "revision": second, "percent": percent });
        let outcome = actor.run(TRAFFIC, &format!("d3-{percent}"), with).await.unwrap();
        assert_eq!(outcome.outputs["url"], service(&actor)["uri"]);
        let mut shares = allocation(&actor);
        shares.sort();
        let mut expected = vec![(first.clone(), 100 - percent), (second.clone(), percent)];
        expected.retain(|(_, share)| *share > 0);
        expected.sort();
        assert_eq!(shares, expected);
        assert_eq!(tags(&actor), ["candidate"]);
    }
    // Nobody is left to take the rest.
    let none = actor.run(TRAFFIC, "d4", json!({ "target": "web_staging", "revision": second, "percent": 40 })).await;
    assert_eq!(code(&none), ("invalid", false));
    let unknown = actor.run(TRAFFIC, "d5", json!({ "target": "web_staging", "revision": "web-gone", "percent": 5 })).await;
    assert_eq!(code(&unknown), ("not-found", false));
    for percent in [-1, 101] {
        let with = json!({ "target": "web_staging", "revision": second, "percent": percent });
        assert!(actor.prepare(TRAFFIC, "d6", with).is_err());
    }
    actor.world.cloud_run.conflict_once();
    actor.run(TRAFFIC, "d7", json!({ "target": "web_staging", "revision": first, "percent": 100 })).await.unwrap();
    assert_eq!(allocation(&actor), only(&first));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn previews_come_with_their_pull_request_and_go_with_it() {
    let mut actor = deployer().await;
    actor.target = Some(target(&json!({ "tags-only": true, "max-tags": 2 })));
    let first = deployed(&actor, "d1", &preview("pr-1")).await;
    deployed(&actor, "d2", &preview("pr-2")).await;
    let full = actor.run(KIND, "d3", params(&preview("pr-3"))).await;
    assert_eq!(code(&full), ("too-many-tags", false));
    // A push to a pull request that has its tag already is not one tag more.
    actor.world.registry.push(IMAGE_REPOSITORY, "v3", "v3");
    let again = deployed(&actor, "d4", &json!({ "traffic": 0, "tag": "pr-1", "image": format!("{IMAGE}:v3") })).await;
    assert_ne!(again, first);

    let closed = actor.run(REMOVE, "d5", remove("pr-2")).await.unwrap();
    assert_eq!(closed.outputs, json!({ "removed": true }));
    assert_eq!(tags(&actor), ["pr-1"]);
    let twice = actor.run(REMOVE, "d6", remove("pr-2")).await.unwrap();
    assert_eq!(twice.outputs, json!({ "removed": false }));
    deployed(&actor, "d7", &preview("pr-3")).await;
    assert_eq!(allocation(&actor), only(OLD), "no preview ever had traffic");
    for kind in [ROLLBACK, TRAFFIC] {
        let with = json!({ "target": "web_preview", "revision": again, "percent": 10 });
        assert!(actor.prepare(kind, "d8", with).is_err(), "{kind}");
    }
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_removed_tag_is_reported_as_removed_even_if_the_answer_was_lost() {
    let actor = deployer().await;
    deployed(&actor, "d1", &preview("pr-1")).await;
    let intent = actor.prepare(REMOVE, "d2", remove("pr-1")).unwrap();
    let progress = Recorder::default();
    actor.world.cloud_run.faults.next_matching(1, "PATCH", "", Fault::Cut);
    let outcome = actor.see_through(REMOVE, &intent, &progress, 1).await.unwrap();
    assert_eq!(outcome.outputs, json!({ "removed": true }));
    assert!(tags(&actor).is_empty());
}

#[tokio::test]
async fn a_tag_is_given_to_a_revision_that_exists() {
    let mut actor = deployer().await;
    let with = |revision: &str, tag: &str| json!({ "target": "web_staging", "revision": revision, "tag": tag });
    let outcome = actor.run(TAG, "d1", with(OLD, "stable")).await.unwrap();
    assert!(outcome.outputs["url"].as_str().unwrap().contains("stable---web"), "{outcome:?}");
    let missing = actor.run(TAG, "d2", with("web-gone", "x")).await;
    assert_eq!(code(&missing), ("not-found", false));
    actor.target = Some(target(&json!({ "max-tags": 1 })));
    actor.run(TAG, "d3", with(OLD, "stable")).await.unwrap();
    let full = actor.run(TAG, "d4", with(OLD, "another")).await;
    assert_eq!(code(&full), ("too-many-tags", false));
    assert!(actor.prepare(TAG, "d5", with(OLD, "Not A Tag")).is_err());
    assert_eq!(actor.world.cloud_run.allocation(SERVICE_NAME), only(OLD));
}

#[tokio::test]
async fn each_class_of_failure_of_cloud_run_is_told_apart() {
    for (status, retry_after, expected) in [
        (401, None, ("unauthorized", false)),
        (403, None, ("forbidden", false)),
        (404, None, ("not-found", false)),
        (429, Some(7), ("rate-limited", true)),
        (503, None, ("unavailable", true)),
    ] {
        let actor = deployer().await;
        deployed(&actor, "d1", &preview("pr-1")).await;
        let fault = Fault::Fail { status, retry_after };
        actor.world.cloud_run.faults.next_matching(20, "PATCH", "", fault);
        let result = actor.run(REMOVE, "d2", remove("pr-1")).await;
        assert_eq!(code(&result), expected, "{status}: {result:?}");
        assert_eq!(tags(&actor), ["pr-1"], "{status}");
    }
}

#[tokio::test]
async fn a_health_check_of_a_private_service_carries_an_id_token_for_its_address() {
    let mut actor = deployer().await;
    actor.world.cloud_run.require_id_token();
    let without = actor.run(KIND, "d1", params(&json!({}))).await;
    assert_eq!(code(&without), ("unhealthy", false));
    actor.target = Some(target(&json!({ "health-auth": "id-token" })));
    let revision = deployed(&actor, "d2", &json!({})).await;
    assert_eq!(allocation(&actor), only(&revision));
    let deployer = "web-deployer@acme-staging.iam.gserviceaccount.com";
    actor.target = Some(target(&json!({ "health-auth": "id-token", "deploy-as": deployer })));
    deployed(&actor, "d3", &json!({})).await;
    assert!(actor.world.identity.ledger.effects_of("id-token.issued").contains(&deployer.to_owned()));
}

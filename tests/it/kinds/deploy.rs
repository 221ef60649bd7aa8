//! `cloud-run/deploy` when all goes well: what it changes, and what it leaves alone.

use std::time::Duration;

use declic::demo::stand_ins::{FIRST_COMMIT, IMAGE, IMAGE_REPOSITORY, PROJECT, REGION, SERVICE, SERVICE_NAME};
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};

pub const KIND: &str = "cloud-run/deploy";
/// The revision that serves at the start.
pub const OLD: &str = "web-00001-kuz";

/// An actor with the seeded service as its target, and an image tagged `v2`.
pub async fn deployer() -> Actor {
    let mut actor = Actor::new().await;
    actor.world.registry.push(IMAGE_REPOSITORY, "v2", "v2");
    actor.target = Some(target(&json!({})));
    actor
}

pub fn target(more: &Value) -> Value {
    let mut target = json!({
        "type": "cloud-run", "project": PROJECT, "region": REGION, "service": SERVICE, "images": ["europe-docker.pkg.dev/acme-build/**"],
    });
    target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    target
}

pub fn params(more: &Value) -> Value {
    let mut params = json!({
        "target": "web_staging", "image": format!("{IMAGE}:v2"), "rollback": true,
        "health": { "path": "/readyz", "attempts": 3, "every": "20ms" },
    });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

pub fn service(actor: &Actor) -> Value {
    actor.world.cloud_run.service(SERVICE_NAME).unwrap()
}

pub fn allocation(actor: &Actor) -> Vec<(String, i64)> {
    actor.world.cloud_run.allocation(SERVICE_NAME)
}

pub fn only(revision: &str) -> Vec<(String, i64)> {
    vec![(revision.to_owned(), 100)]
}

pub fn created(actor: &Actor) -> Vec<String> {
    actor.world.cloud_run.ledger.effects_of("revision.created")
}

/// Tags of the service's traffic, as written.
pub fn tags(actor: &Actor) -> Vec<String> {
    let traffic = service(actor)["traffic"].as_array().cloned().unwrap_or_default();
    traffic.iter().filter_map(|target| target["tag"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_deploy_ends_with_all_traffic_on_a_healthy_revision_of_the_resolved_image() {
    let actor = deployer().await;
    let digest = actor.world.registry.resolve(&format!("{IMAGE}:v2")).unwrap();
    let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
    let progress = Recorder::default();
    let outcome = actor.attempt(KIND, &intent, 1, &progress).await.unwrap();

    let revision = outcome.outputs["revision"].as_str().unwrap();
    assert_eq!(created(&actor), [revision]);
    assert_eq!(allocation(&actor), only(revision));
    assert_eq!(outcome.outputs["digest"], digest);
    assert_eq!(outcome.outputs["previous_revision"], OLD);
    assert_eq!(outcome.outputs["url"], service(&actor)["uri"]);
    assert_eq!(progress.stages(), ["image resolved", "revision created", "ready", "healthy", "traffic shifted"]);
    let container = &actor.world.cloud_run.revisions(SERVICE_NAME)[1]["containers"][0];
    assert_eq!(container["image"], format!("{IMAGE}@{digest}"));
    assert_eq!(actor.world.cloud_run.ledger.count("GET", &format!("---{SERVICE}/readyz")), 1, "asked at its own address");
    assert!(tags(&actor).is_empty(), "a tag that nobody asked for goes away");
    actor.assert_nothing_refused();
}

/// Everything of a service that a deploy has no business with.
fn untouched(service: &Value) -> Value {
    let mut service = service.clone();
    for output in ["etag", "generation", "observedGeneration", "updateTime", "lastModifier", "latestCreatedRevision"] {
        service.as_object_mut().unwrap().remove(output);
    }
    for changed in ["latestReadyRevision", "trafficStatuses", "traffic", "conditions", "terminalCondition"] {
        service.as_object_mut().unwrap().remove(changed);
    }
    for holder in ["", "/template"] {
        let holder = service.pointer_mut(holder).and_then(Value::as_object_mut).unwrap();
        for changed in ["labels", "client", "clientVersion", "revision"] {
            holder.remove(changed);
        }
    }
    service["template"]["containers"][0].as_object_mut().unwrap().remove("image");
    service
}

#[tokio::test]
async fn sidecars_secrets_scaling_and_all_else_survive_byte_for_byte() {
    let actor = deployer().await;
    let before = service(&actor);
    actor.run(KIND, "d1-deploy-1", params(&json!({ "labels": { "pushed-by": "declic" } }))).await.unwrap();
    let after = service(&actor);
    assert_eq!(untouched(&after).to_string(), untouched(&before).to_string());
    let mut expected = json!({ "team": "shop", "commit-sha": FIRST_COMMIT, "managed-by": "declic", "pushed-by": "declic" });
    assert_eq!(after["labels"], expected);
    // Of a revision only: what a rollback looks for.
    expected["declic-purpose"] = json!("release");
    assert_eq!(after["template"]["labels"], expected);
    assert_eq!(after["client"], "declic");
}

#[tokio::test]
async fn another_writers_edit_in_between_survives() {
    let actor = deployer().await;
    actor.world.cloud_run.conflict_once();
    let outcome = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    assert_eq!(service(&actor)["annotations"]["example.com/edited-by"], "another-writer");
    assert_eq!(created(&actor).len(), 1);
    assert_eq!(allocation(&actor), only(outcome.outputs["revision"].as_str().unwrap()));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn every_update_carries_the_etag_and_the_traffic_update_nothing_else() {
    let actor = deployer().await;
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    let requests = actor.world.cloud_run.ledger.requests();
    let patches: Vec<_> = requests.iter().filter(|asked| asked.method == "PATCH").collect();
    assert_eq!(patches.len(), 2);
    assert!(patches.iter().all(|patch| patch.body["etag"].as_str().is_some_and(|etag| !etag.is_empty())));
    assert!(patches[1].body.get("template").is_none());
    assert_eq!(patches[1].query, [("updateMask".to_owned(), "traffic".to_owned())]);
}

#[tokio::test]
async fn an_image_that_is_still_being_built_is_waited_for() {
    let actor = deployer().await;
    actor.world.registry.appears_after(IMAGE_REPOSITORY, "late", "late", Duration::from_millis(300));
    let late = json!({ "image": format!("{IMAGE}:late"), "wait-for-image": "5s" });
    let outcome = actor.run(KIND, "d1-deploy-1", params(&late)).await.unwrap();
    assert_eq!(allocation(&actor), only(outcome.outputs["revision"].as_str().unwrap()));
}

#[tokio::test]
async fn whoever_waits_for_an_image_is_told_at_once() {
    let actor = deployer().await;
    actor.world.registry.appears_after(IMAGE_REPOSITORY, "late", "late", Duration::from_millis(300));
    let late = json!({ "image": format!("{IMAGE}:late"), "wait-for-image": "5s" });
    let intent = actor.prepare(KIND, "d1-deploy-1", params(&late)).unwrap();
    let progress = Recorder::default();
    actor.attempt(KIND, &intent, 1, &progress).await.unwrap();
    assert_eq!(progress.stages()[..2], ["waiting for image", "image resolved"], "told once, not at every look");
}

#[tokio::test]
async fn a_registry_that_stumbles_is_borne_and_one_that_is_down_ends_the_wait() {
    let wait = params(&json!({ "wait-for-image": "60s" }));
    for (failures, lasts) in [(3, true), (4, false)] {
        let actor = deployer().await;
        actor.world.registry.faults.fail_next(failures, 503, None);
        let intent = actor.prepare(KIND, "d1-deploy-1", wait.clone()).unwrap();
        let progress = Recorder::default();
        let result = actor.attempt(KIND, &intent, 1, &progress).await;
        let told: Vec<String> = progress.lines("waiting for image");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().all(|line| line.contains("answered 503")), "{told:?}");
        if lasts {
            result.unwrap();
        } else {
            assert_eq!(code(&result), ("unavailable", true));
        }
    }
}

#[tokio::test]
async fn no_wait_for_an_image_hides_that_the_registry_refuses_us() {
    for status in [401, 403] {
        let actor = deployer().await;
        actor.world.registry.faults.fail_next(10, status, None);
        let begun = std::time::Instant::now();
        let result = actor.run(KIND, "d1-deploy-1", params(&json!({ "wait-for-image": "60s" }))).await;
        assert!(!code(&result).1, "{result:?}");
        assert!(result.unwrap_err().why().message.contains(&status.to_string()));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn no_wait_for_an_image_hides_that_there_are_no_credentials() {
    let mut actor = deployer().await;
    actor.leave_google_cloud();
    let begun = std::time::Instant::now();
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({ "wait-for-image": "60s" }))).await;
    assert_eq!(code(&result), ("unauthorized", false));
    let message = result.unwrap_err().why().message.clone();
    assert!(message.starts_with("No Google credentials: ") && message.contains("google.credentials"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn an_image_that_does_not_exist_changes_nothing() {
    let actor = deployer().await;
    for (more, least) in [(json!({}), 0), (json!({ "wait-for-image": "200ms" }), 200)] {
        let begun = std::time::Instant::now();
        let mut more = more;
        more["image"] = format!("{IMAGE}:never").into();
        let result = actor.run(KIND, "d1-deploy-1", params(&more)).await;
        assert_eq!(code(&result), ("image-missing", false));
        assert!(begun.elapsed() >= Duration::from_millis(least));
    }
    assert_eq!(actor.world.cloud_run.ledger.count("PATCH", ""), 0);
}

#[tokio::test]
async fn a_preview_gets_an_address_of_its_own_and_no_traffic() {
    let actor = deployer().await;
    let outcome = actor.run(KIND, "d1-deploy-1", params(&json!({ "tag": "pr-7", "traffic": 0 }))).await.unwrap();
    assert_eq!(allocation(&actor), only(OLD));
    assert_eq!(tags(&actor), ["pr-7"]);
    assert!(outcome.outputs["url"].as_str().unwrap().contains("pr-7---web"), "{outcome:?}");

    actor.world.registry.push(IMAGE_REPOSITORY, "v2", "v3");
    let next = actor.run(KIND, "d2-deploy-1", params(&json!({ "tag": "pr-7", "traffic": 0 }))).await.unwrap();
    assert_eq!(tags(&actor), ["pr-7"], "the tag moves on");
    let tagged = service(&actor)["trafficStatuses"].as_array().unwrap().iter().find(|status| status["tag"] == "pr-7").cloned();
    assert_eq!(tagged.unwrap()["revision"], next.outputs["revision"]);
    assert_eq!(allocation(&actor), only(OLD));
}

#[tokio::test]
async fn a_share_of_the_traffic_leaves_the_rest_where_it_was() {
    let actor = deployer().await;
    let outcome = actor.run(KIND, "d1-deploy-1", params(&json!({ "traffic": 10 }))).await.unwrap();
    let mut shares = allocation(&actor);
    shares.sort_by_key(|(_, percent)| *percent);
    assert_eq!(shares, [(outcome.outputs["revision"].as_str().unwrap().to_owned(), 10), (OLD.to_owned(), 90)]);
}

#[tokio::test]
async fn a_target_for_previews_takes_only_so_many_tags() {
    let mut actor = deployer().await;
    actor.target = Some(target(&json!({ "tags-only": true, "max-tags": 1 })));
    actor.run(KIND, "d1-deploy-1", params(&json!({ "tag": "pr-1" }))).await.unwrap();
    let result = actor.run(KIND, "d2-deploy-1", params(&json!({ "tag": "pr-2" }))).await;
    assert_eq!(code(&result), ("too-many-tags", false));
    assert_eq!(created(&actor).len(), 1);
    assert_eq!(allocation(&actor), only(OLD));
}

#[tokio::test]
async fn the_named_container_gets_the_image_and_the_others_keep_theirs() {
    let mut actor = deployer().await;
    let before = service(&actor);
    actor.target = Some(target(&json!({ "container": "collector" })));
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    let after = service(&actor);
    assert_eq!(after["template"]["containers"][0], before["template"]["containers"][0]);
    assert!(after["template"]["containers"][1]["image"].as_str().unwrap().starts_with(IMAGE));
}

#[tokio::test]
async fn a_second_deploy_of_the_same_image_is_a_revision_of_its_own() {
    let actor = deployer().await;
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    let second = actor.run(KIND, "d2-deploy-1", params(&json!({}))).await.unwrap();
    assert_eq!(created(&actor).len(), 2);
    assert_eq!(allocation(&actor), only(second.outputs["revision"].as_str().unwrap()));
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_deploy_as_another_account_is_made_by_that_account() {
    let mut actor = deployer().await;
    let deployer = "web-deployer@acme-staging.iam.gserviceaccount.com";
    actor.world.cloud_run.allow_only(&[deployer]);
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_eq!(code(&result), ("forbidden", false));
    actor.target = Some(target(&json!({ "deploy-as": deployer })));
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    assert_eq!(service(&actor)["lastModifier"], deployer);
}

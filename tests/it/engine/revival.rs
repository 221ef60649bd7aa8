//! A failed run that is taken up again, with the real deploy: what was decided is another call, what is unknown stays the same call.

use std::time::Duration;

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{IMAGE, IMAGE_REPOSITORY, SERVICE_NAME};
use declic::journal::record::{DeliveryState, RunState};
use declic::rules::model::{Offer, Rule, Step};
use declic::rules::template::Template;
use serde_json::json;

use super::action::Act;
use super::world::{World, retrying, rule, step};
use crate::support::actor::Actor;

fn deploy() -> Rule {
    let with = [
        ("target", json!("web_staging")),
        ("image", json!(format!("{IMAGE}:v2"))),
        ("rollback", json!(true)),
        ("health", json!({ "path": "/readyz", "attempts": 2, "every": "20ms" })),
    ];
    let with = with.map(|(name, value)| (name.to_owned(), Template::literal(value))).into();
    let deploy = Step {
        uses: "cloud-run/deploy".to_owned(),
        with: Template::Object(with),
        timeout: Duration::from_secs(10),
        ..step("deploy")
    };
    Rule { on_failure: vec![step("sorry")], ..rule("deploy", vec![step("before"), deploy, step("after")]) }
}

async fn world() -> (Actor, World) {
    let actor = Actor::new().await;
    actor.world.registry.push(IMAGE_REPOSITORY, "v2", "v2");
    let mut world = World::new(vec![deploy()]).await;
    world.clients = actor.clients.clone();
    let target = json!({
        "type": "cloud-run", "project": "acme-staging", "region": "europe-west1", "service": "web", "images": [IMAGE],
    });
    world.offer = Offer { targets: [("web_staging".to_owned(), target)].into(), ..Offer::default() };
    (actor, world)
}

fn created(actor: &Actor) -> usize {
    actor.world.cloud_run.ledger.effects_of("revision.created").len()
}

#[tokio::test]
async fn a_redelivery_of_a_failed_deploy_makes_a_new_revision_and_repeats_nothing_else() {
    let (actor, world) = world().await;
    let engine = world.start();
    actor.world.cloud_run.operation_fails("HEALTH_CHECK_CONTAINER_ERROR");
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!((run.state, run.failure.map(|failure| failure.rolled_back)), (RunState::Failed, Some(true)));
    assert_eq!(created(&actor), 1);

    actor.world.cloud_run.well();
    world.deliver(&engine, "d1", json!({})).await;
    assert_eq!(world.settled(&id).await, DeliveryState::Completed, "{:?}", world.only_run(&id).await);
    let (_, steps) = world.only_run(&id).await;
    let deploy = steps.iter().find(|step| step.label.uses == "cloud-run/deploy").expect("it was reached");
    let revision = deploy.outcome.as_ref().expect("it succeeded").outputs["revision"].as_str().expect("a name");
    assert_eq!(actor.world.cloud_run.allocation(SERVICE_NAME), [(revision.to_owned(), 100)]);
    assert_eq!((created(&actor), deploy.attempts.len()), (2, 2));
    assert_eq!(world.action.effects(), ["before", "sorry", "after"]);
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_redelivery_of_a_deploy_that_was_given_up_goes_on_with_its_revision() {
    let (actor, world) = world().await;
    let engine = world.start();
    // The revision is made, the answer to that is lost, and there is no other attempt.
    actor.world.cloud_run.faults.next_matching(1, "PATCH", "/services/web", Fault::Cut);
    let id = world.deliver(&engine, "d1", json!({})).await;
    assert_eq!(world.ended(&id).await.0.state, RunState::Dead);
    world.deliver(&engine, "d1", json!({})).await;
    assert_eq!(world.settled(&id).await, DeliveryState::Completed, "{:?}", world.only_run(&id).await);
    assert_eq!(created(&actor), 1);
}

#[tokio::test]
async fn the_key_changes_only_when_a_failure_was_decided() {
    let world = World::new(vec![rule("deploy", vec![retrying("a", 2)])]).await;
    world.action.script("a", [Act::Later(None), Act::Later(None), Act::Later(None), Act::Never, Act::EffectButFailed, Act::Well]);
    let engine = world.start();
    let mut keys = Vec::new();
    for state in [RunState::Dead, RunState::Failed, RunState::Succeeded] {
        let id = world.deliver(&engine, "d1", json!({})).await;
        let (run, steps) = world.ended(&id).await;
        assert_eq!(run.state, state);
        keys.push(steps[0].intent.as_ref().expect("it was tried").call.key.clone());
    }
    assert_eq!(keys[0], keys[1], "given up: the same call");
    assert_ne!(keys[1], keys[2], "refused: another call");
    assert_eq!(world.action.made("a"), 1, "within a round the effect is found again");
}

#[tokio::test]
async fn a_run_that_ran_out_of_time_has_all_of_its_time_again() {
    let hour = Act::NotYet(Duration::from_secs(3600));
    let world = World::new(vec![Rule { timeout: Some(Duration::from_millis(300)), ..rule("slow", vec![step("a")]) }]).await;
    world.action.script("a", [hour, Act::Takes(Duration::from_millis(50))]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    assert_eq!(world.ended(&id).await.0.state, RunState::Dead);
    world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded, "{:?}", run.failure);
}

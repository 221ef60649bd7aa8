//! The process dies in the middle: nothing is lost, nothing is done twice. (`crash.rs` does it to the real process.)

use std::time::Duration;

use declic::journal::record::{AttemptState, DeliveryState, Lease, RunState, StepState, Subject};
use declic::rules::model::Rule;
use serde_json::json;

use super::action::Act;
use super::world::{World, noting, rule, step};

#[tokio::test]
async fn an_effect_that_was_made_but_not_recorded_is_found_after_a_crash() {
    let world = World::new(vec![rule("deploy", vec![step("a"), step("b")])]).await;
    world.action.script("a", [Act::EffectButHangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the effect is made", |record| record.effects.len() == 1).await;
    let world = world.crash(engine).await;
    let engine = world.start();
    let (run, steps) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(world.action.effects(), ["a", "b"], "once each");
    let attempts: Vec<_> = steps[0].attempts.iter().map(|attempt| attempt.state).collect();
    assert_eq!(attempts, [AttemptState::Interrupted, AttemptState::Found]);
    assert_eq!(world.action.record().sought, ["a"], "nobody looks for what was never tried");
    drop(engine);
}

#[tokio::test]
async fn a_step_that_did_not_get_to_its_effect_is_made_with_the_same_intent_and_its_progress() {
    let world = World::new(vec![rule("deploy", vec![noting("a", "event.word")])]).await;
    world.action.script("a", [Act::SavesAndHangs]);
    let engine = world.start();
    let mut stages = world.observer.listen();
    let id = world.deliver(&engine, "d1", json!({"word": "x"})).await;
    while stages.recv().await.expect("stages").name != "saved" {}
    let world = world.crash(engine).await;
    let _engine = world.start();
    let (run, steps) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded, "an attempt that was cut off does not count: {:?}", run.failure);
    let calls = world.action.record().calls.clone();
    assert_eq!((calls[0].1, &calls[0].2), (1, &None));
    assert_eq!((calls[1].1, &calls[1].2), (2, &Some(json!({"operation": "op-1"}))));
    assert_eq!(calls[0].3, calls[1].3);
    assert_eq!((steps[0].state, world.action.made("a")), (StepState::Succeeded, 1));
}

#[tokio::test]
async fn what_follows_a_failure_survives_a_crash_too() {
    let tidy = Rule { on_failure: vec![step("sorry")], finally: vec![step("end")], ..rule("deploy", vec![step("a")]) };
    let world = World::new(vec![tidy]).await;
    world.action.script("a", [Act::Never]);
    world.action.script("sorry", [Act::EffectButHangs]);
    world.action.script("end", [Act::EffectButHangs]);
    let mut engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let mut world = world;
    for effects in [1, 2] {
        world.until("the effect is made", |record| record.effects.len() == effects).await;
        world = world.crash(engine).await;
        engine = world.start();
    }
    let (run, _) = world.ended(&id).await;
    assert_eq!((run.state, run.failure.expect("a reason").step.as_str()), (RunState::Failed, "a"));
    assert_eq!(world.action.effects(), ["sorry", "end"], "once each");
}

#[tokio::test]
async fn a_run_that_waits_for_its_next_attempt_survives_a_crash() {
    let world = World::new(vec![rule("deploy", vec![super::world::retrying("a", 2)])]).await;
    world.action.script("a", [Act::Later(Some(Duration::from_millis(300)))]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until_run(&id, RunState::Waiting).await;
    let world = world.crash(engine).await;
    let _engine = world.start();
    assert_eq!(world.settled(&id).await, DeliveryState::Completed);
    assert_eq!(world.action.record().calls.len(), 2);
}

#[tokio::test]
async fn a_run_ends_with_the_rules_it_began_with() {
    let world = World::new(vec![rule("deploy", vec![step("a"), step("b")])]).await;
    world.action.script("a", [Act::EffectButHangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the effect is made", |record| record.effects.len() == 1).await;
    let world = world.crash(engine).await;
    world.reload("r2", vec![rule("deploy", vec![step("other")])]);
    let _engine = world.start();
    assert_eq!(world.settled(&id).await, DeliveryState::Completed);
    assert_eq!(world.action.effects(), ["a", "b"]);
}

#[tokio::test]
async fn a_run_whose_rules_are_gone_fails_and_says_so() {
    let world = World::new(vec![]).await;
    world.reload("r2", vec![rule("deploy", vec![step("a")])]);
    world.action.script("a", [Act::Hangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the step began", |record| record.calls.len() == 1).await;
    let world = world.crash(engine).await;
    world.reload("r3", vec![]);
    let _engine = world.start();
    let (run, _) = world.ended(&id).await;
    let failure = run.failure.expect("a reason");
    assert_eq!((run.state, failure.code.as_str()), (RunState::Failed, "rule"));
    assert!(failure.message.contains("r2"), "{}", failure.message);
}

#[tokio::test]
async fn a_step_that_brings_down_every_worker_is_given_up_and_the_rest_is_tidied() {
    let world = World::new(vec![Rule { on_failure: vec![step("sorry")], ..rule("deploy", vec![step("a"), step("b")]) }]).await;
    world.action.script("a", vec![Act::Hangs; 50]);
    let mut engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let mut world = world;
    let mut calls = 0;
    while calls < 10 {
        calls += 1;
        world.until("the step began again", |record| record.calls.len() == calls).await;
        world = world.crash(engine).await;
        engine = world.start();
    }
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, run.failure.expect("a reason").code.as_str()), (RunState::Dead, "poison"));
    assert_eq!(steps[0].attempts.len(), 10);
    assert_eq!(world.action.effects(), ["sorry"]);
}

/// Two engines on one store, as two replicas would be: one whose lease was taken over stops and writes nothing.
#[tokio::test]
async fn a_worker_that_lost_its_lease_stops_and_its_successor_finishes() {
    let world = World::new(vec![rule("deploy", vec![step("a"), step("b")])]).await;
    world.action.script("a", [Act::Takes(Duration::from_secs(30))]);
    let quick = declic::run::Policy { lease: Duration::from_millis(300), ..super::world::policy() };
    let engine = world.start_with(quick);
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the step began", |record| record.running.len() == 1).await;
    let (run, _) = world.only_run(&id).await;
    // Somebody else takes the run on: the fencing token of the first is too old from then on.
    let stolen = Lease { subject: Subject::Run(run.id.clone()), token: 1 };
    world.journal.release(stolen).await.expect("given back under its feet");
    world.until("the first stops and the second makes the effects", |record| record.effects.len() == 2).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(world.action.effects(), ["a", "b"]);
    assert_eq!(steps[0].attempts[0].state, AttemptState::Interrupted);
}

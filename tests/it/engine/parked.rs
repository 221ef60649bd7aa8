//! A step that waits: its run is parked and comes again, whatever happens to the process meanwhile.

use std::time::Duration;

use declic::journal::record::{RunState, StepState};
use declic::rules::model::Rule;
use declic::run::Policy;
use serde_json::json;

use super::action::Act;
use super::world::{World, policy, rule, step};

const SHORTLY: Act = Act::NotYet(Duration::from_millis(60));
const AN_HOUR: Act = Act::NotYet(Duration::from_secs(3600));

#[tokio::test]
async fn looks_that_come_too_early_count_as_no_attempts_and_what_was_saved_stays() {
    let world = World::new(vec![rule("wait", vec![step("a"), step("b")])]).await;
    world.action.script("a", [SHORTLY, SHORTLY, SHORTLY, Act::Well]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, world.action.effects()), (RunState::Succeeded, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(steps[0].attempts.len(), 1, "one attempt, although `retry` allows no second");
    assert_eq!((steps[0].saved.clone(), steps[0].why.clone()), (Some(json!(3)), None));
    let waited = world.action.record().waited.clone();
    assert!(waited[0] < waited[1] && waited[1] < waited[2], "{waited:?}");
    assert!(waited[2] >= Duration::from_millis(100), "{waited:?}");
    assert!(world.action.record().sought.is_empty(), "nothing is unknown that would have to be looked for");
}

#[tokio::test]
async fn a_parked_run_holds_no_worker() {
    let world = World::new(vec![rule("wait", vec![step("a")])]).await;
    world.action.script("a", vec![AN_HOUR; 6]);
    let engine = world.start_with(Policy { workers: 1, ..policy() });
    for number in 0..6 {
        let id = world.deliver(&engine, &format!("d{number}"), json!({})).await;
        world.until_run(&id, RunState::Waiting).await;
    }
    let id = world.deliver(&engine, "d7", json!({})).await;
    assert_eq!(world.ended(&id).await.0.state, RunState::Succeeded);
}

#[tokio::test]
async fn waiting_goes_on_in_the_next_process_from_where_it_began() {
    let world = World::new(vec![rule("wait", vec![step("a")])]).await;
    world.action.script("a", [Act::NotYet(Duration::from_millis(400)), SHORTLY, Act::Well]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until_run(&id, RunState::Waiting).await;
    let (_, steps) = world.only_run(&id).await;
    assert_eq!((steps[0].state, steps[0].why.as_ref().unwrap().message.as_str()), (StepState::Waiting, "look 1: not yet"));
    assert!(steps[0].attempts.is_empty());
    let world = world.crash(engine).await;
    let _engine = world.start();
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, steps[0].saved.clone()), (RunState::Succeeded, Some(json!(2))));
    assert!(world.action.record().waited[1] >= Duration::from_millis(300), "{:?}", world.action.record().waited);
}

#[tokio::test]
async fn the_timeout_of_a_run_ends_its_waiting_and_so_does_a_person() {
    let slow = Rule { timeout: Some(Duration::from_millis(300)), ..rule("slow", vec![step("a")]) };
    let world = World::new(vec![slow]).await;
    world.action.script("a", [AN_HOUR]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!((run.state, run.failure.unwrap().code.as_str()), (RunState::Dead, "run-timeout"));

    let world = World::new(vec![rule("wait", vec![step("a")])]).await;
    world.action.script("a", [AN_HOUR]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until_run(&id, RunState::Waiting).await;
    let (run, _) = world.only_run(&id).await;
    assert!(!world.journal.cancel(&run.id).await.unwrap());
    engine.wake();
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, steps[0].state), (RunState::Cancelled, StepState::Skipped));
}

//! How the engine stops, and what it tells while it works.

use std::time::{Duration, Instant};

use declic::journal::record::{DeliveryState, RunState};
use serde_json::json;

use super::action::Act;
use super::world::{World, rule, step};

#[tokio::test]
async fn draining_lets_a_running_step_end_and_begins_no_other() {
    let world = World::new(vec![rule("deploy", vec![step("a"), step("b")])]).await;
    world.action.script("a", [Act::Takes(Duration::from_millis(100))]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the step runs", |record| record.running.len() == 1).await;
    engine.drain().await;
    assert_eq!(world.action.effects(), ["a"]);
    let (run, steps) = world.only_run(&id).await;
    assert_eq!((run.state, run.claims, steps.len()), (RunState::Waiting, 0, 1), "given back, and no claim is held against it");
    let _engine = world.start();
    assert_eq!(world.settled(&id).await, DeliveryState::Completed);
    assert_eq!(world.action.effects(), ["a", "b"]);
}

#[tokio::test]
async fn draining_ends_in_time_and_gives_back_what_does_not() {
    let world = World::new(vec![rule("deploy", vec![step("a")])]).await;
    world.action.script("a", [Act::Hangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the step runs", |record| record.running.len() == 1).await;
    let began = Instant::now();
    engine.drain().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let (run, _) = world.only_run(&id).await;
    assert_eq!(run.state, RunState::Waiting, "its lease is not left to run out");
    let _engine = world.start();
    assert_eq!(world.settled(&id).await, DeliveryState::Completed);
    assert_eq!(world.action.made("a"), 1);
}

#[tokio::test]
async fn what_is_delivered_while_nobody_works_is_done_later() {
    let world = World::new(vec![rule("deploy", vec![step("a")])]).await;
    let engine = world.start();
    engine.drain().await;
    let idle = world.start();
    idle.drain().await;
    let other = World::new(vec![]).await;
    let elsewhere = other.start();
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(world.deliver(&elsewhere, &format!("d{number}"), json!({})).await);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.delivery_state(&ids[0]).await, DeliveryState::Accepted);
    let _engine = world.start();
    for id in &ids {
        assert_eq!(world.settled(id).await, DeliveryState::Completed);
    }
    assert_eq!(world.action.made("a"), 3);
}

#[tokio::test]
async fn every_stage_is_told_as_it_happens() {
    let world = World::new(vec![rule("deploy", vec![step("a")])]).await;
    let mut stages = world.observer.listen();
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.settled(&id).await;
    let mut told = Vec::new();
    while told.last() != Some(&"finished".to_owned()) {
        let stage = stages.recv().await.expect("a stage");
        assert_eq!(stage.delivery, id);
        told.push(stage.name);
    }
    assert_eq!(told, ["matched", "started", "succeeded", "finished"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_deliveries_at_once_are_each_done_once() {
    let world = World::new(vec![rule("one", vec![step("a")]), rule("two", vec![step("b")])]).await;
    let engine = world.start();
    let mut ids = Vec::new();
    for number in 0..100 {
        ids.push(world.deliver(&engine, &format!("d{number}"), json!({})).await);
    }
    for id in &ids {
        assert_eq!(world.settled(id).await, DeliveryState::Completed);
    }
    assert_eq!((world.action.made("a"), world.action.made("b")), (100, 100));
    assert!(world.action.record().most <= 4, "no more at a time than there are workers");
}

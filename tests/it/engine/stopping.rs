//! How the engine stops, and what it tells while it works.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use declic::journal::record::{DeliveryState, RunState};
use declic::rules::model::Step;
use declic::run::Policy;
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt;

use super::action::Act;
use super::world::{World, retrying, rule, step};

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
async fn a_step_that_was_stopped_before_its_outcome_was_known_is_looked_up_when_its_run_is_wanted_again() {
    let slow = Step { timeout: Duration::from_millis(900), ..retrying("a", 3) };
    let world = World::new(vec![rule("deploy", vec![slow])]).await;
    world.action.script("a", [Act::EffectButHangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the effect is made", |record| record.effects.len() == 1).await;
    let run = world.only_run(&id).await.0.id;
    world.journal.cancel(&run).await.expect("it can be cancelled");
    assert_eq!(world.ended(&id).await.0.state, RunState::Cancelled);
    world.journal.retry(&run).await.expect("it can be retried");
    engine.wake();
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, world.action.made("a")), (RunState::Succeeded, 1), "{:?}", steps[0].attempts);
}

#[tokio::test]
async fn a_step_that_outlives_the_drain_is_given_back_within_ten_seconds() {
    let slow = Step { timeout: Duration::from_secs(60), ..step("a") };
    let world = World::new(vec![rule("deploy", vec![slow])]).await;
    world.action.script("a", [Act::Takes(Duration::from_secs(30))]);
    let engine = world.start_with(Policy::default());
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.until("the step runs", |record| record.running.len() == 1).await;
    let began = Instant::now();
    engine.drain().await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(world.only_run(&id).await.0.state, RunState::Waiting);
}

#[tokio::test]
async fn what_is_old_is_forgotten_soon_after_the_start() {
    let world = World::new(vec![]).await;
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.settled(&id).await;
    engine.drain().await;
    let _engine = world.start_with(Policy { keep: Some(Duration::ZERO), ..super::world::policy() });
    let end = Instant::now() + Duration::from_secs(10);
    while world.journal.delivery(&id).await.unwrap().is_some() {
        assert!(Instant::now() < end, "it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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

/// The level and stage of every line that tells of one.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<(String, String)>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Levels {
    fn on_event(&self, event: &tracing::Event<'_>, _context: tracing_subscriber::layer::Context<'_, S>) {
        let mut stage = None;
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if field.name() == "stage" {
                stage = Some(format!("{value:?}"));
            }
        });
        if let Some(stage) = stage {
            self.0.lock().unwrap().push((event.metadata().level().to_string(), stage));
        }
    }
}

#[tokio::test]
async fn what_fails_is_an_error_in_the_log_and_what_is_tried_again_a_warning() {
    let levels = Levels::default();
    let _kept = tracing::subscriber::set_default(tracing_subscriber::registry().with(levels.clone()));
    let world = World::new(vec![rule("deploy", vec![retrying("a", 2)])]).await;
    world.action.script("a", [Act::Later(None), Act::Never]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.settled(&id).await;
    let unreadable = world.deliver(&engine, "d2", json!("unreadable")).await;
    world.settled(&unreadable).await;
    engine.drain().await;
    let told = levels.0.lock().unwrap().clone();
    let told: Vec<(&str, &str)> = told.iter().map(|(level, stage)| (level.as_str(), stage.as_str())).collect();
    let expected = [
        ("INFO", "matched"),
        ("INFO", "started"),
        ("WARN", "retrying"),
        ("INFO", "started"),
        ("ERROR", "failed"),
        ("ERROR", "finished"),
        ("WARN", "rejected"),
    ];
    assert_eq!(told, expected);
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

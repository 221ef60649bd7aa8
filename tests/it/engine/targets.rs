//! A target that is slow or down holds up its own runs and nobody else's, and costs them no attempts.

use std::time::{Duration, Instant};

use declic::journal::record::{DeliveryState, RunState, StepState};
use declic::rules::model::{Rule, Step};
use declic::rules::template::Template;
use serde_json::{Value, json};

use super::action::Act;
use super::world::{World, expression_of, retrying, rule};

/// A rule that makes an effect through a connection of the same name, for events that ask for it.
fn through(connection: &str, attempts: u32) -> Rule {
    let literal = |text: &str| Template::literal(json!(text));
    let with = vec![("effect".to_owned(), literal(connection)), ("connection".to_owned(), literal(connection))];
    let step = Step { with: Template::Object(with), ..retrying(connection, attempts) };
    Rule { condition: Some(expression_of(&format!("event.to == \"{connection}\""))), ..rule(connection, vec![step]) }
}

async fn world(connections: &[(&str, Value, u32)]) -> World {
    let rules = connections.iter().map(|(name, _, attempts)| through(name, *attempts)).collect();
    let mut world = World::new(rules).await;
    for (name, limit, _) in connections {
        world.offer.connections.insert((*name).to_owned(), json!({ "type": "http", "limit": limit }));
    }
    world
}

#[tokio::test]
async fn one_slow_target_does_not_hold_up_the_others() {
    let world = world(&[("slow", json!({}), 1), ("fast", json!({}), 1)]).await;
    world.action.script("slow", vec![Act::Takes(Duration::from_millis(400)); 12]);
    let engine = world.start();
    let mut slow = Vec::new();
    for number in 0..12 {
        slow.push(world.deliver(&engine, &format!("s{number}"), json!({"to": "slow"})).await);
    }
    world.until("the slow ones are under way", |record| record.running.len() == 2).await;
    let mut fast = Vec::new();
    for number in 0..4 {
        fast.push(world.deliver(&engine, &format!("f{number}"), json!({"to": "fast"})).await);
    }
    for id in &fast {
        assert_eq!(world.settled(id).await, DeliveryState::Completed);
    }
    // Two at a time and 400 ms each: twelve take 2.4 s, and most of them are still to come.
    assert!(world.action.made("slow") <= 6, "{} slow ones came first", world.action.made("slow"));
    let state = engine.gates().states().into_iter().find(|state| state.target == "connection slow").expect("it was asked");
    assert!(state.waiting > 0 && state.in_hand <= 2, "{state:?}");
    for id in &slow {
        assert_eq!(world.settled(id).await, DeliveryState::Completed, "whoever waited is called when there is room");
    }
    assert_eq!(world.action.made("slow"), 12);
    assert!(world.action.record().most <= 4);
}

#[tokio::test]
async fn an_outage_is_told_once_and_costs_those_who_wait_no_attempt() {
    let world = world(&[("down", json!({ "at-once": 1, "failures": 3, "pause": "200ms" }), 10)]).await;
    // Three open it, the first probe fails too, the second one gets through.
    world.action.script("down", vec![Act::Later(None); 4]);
    let engine = world.start();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(world.deliver(&engine, &format!("d{number}"), json!({"to": "down"})).await);
    }
    let mut attempts = 0;
    for id in &ids {
        let (run, steps) = world.ended(id).await;
        assert_eq!((run.state, steps[0].state), (RunState::Succeeded, StepState::Succeeded));
        attempts += steps[0].attempts.len();
    }
    assert_eq!((attempts, world.action.made("down")), (24, 20), "every attempt is one of the twenty or of the four that failed");
    let metrics = world.metrics.render();
    assert!(metrics.contains("declic_breaker_openings_total{target=\"connection down\"} 1"), "{metrics}");
    assert!(metrics.contains("declic_breaker_open{target=\"connection down\"} 0"), "{metrics}");
    assert!(metrics.contains("declic_holds_total{target=\"connection down\",why=\"breaker\"}"), "{metrics}");
}

#[tokio::test]
async fn who_waits_for_a_target_says_so_and_goes_on_after_a_restart() {
    let limit = json!({ "failures": 1, "pause": "1h" });
    let world = world(&[("down", limit, 2)]).await;
    world.action.script("down", [Act::Later(Some(Duration::from_secs(3600)))]);
    let engine = world.start();
    let first = world.deliver(&engine, "d1", json!({"to": "down"})).await;
    world.until_run(&first, RunState::Waiting).await;
    let second = world.deliver(&engine, "d2", json!({"to": "down"})).await;
    world.until_run(&second, RunState::Waiting).await;
    let (run, steps) = world.only_run(&second).await;
    assert_eq!((run.waits_for.as_deref(), steps.len()), (Some("connection down"), 0));
    let state = engine.gates().states().into_iter().find(|state| state.target == "connection down").expect("it was asked");
    assert_eq!((state.breaker, state.waiting, state.reason.as_deref()), ("open", 1, Some("503 of the target")));
    assert!(state.tries_in.is_some_and(|seconds| seconds > 3500), "{state:?}");

    // A new process knows of no outage, and finds out for itself.
    let world = world.crash(engine).await;
    let engine = world.start();
    let (run, steps) = world.ended(&second).await;
    assert_eq!((run.state, run.waits_for, steps[0].attempts.len()), (RunState::Succeeded, None, 1));
    drop(engine);
}

#[tokio::test]
async fn a_run_that_waits_for_a_target_can_be_cancelled_and_runs_out_of_time() {
    let mut timed = through("down", 2);
    timed.timeout = Some(Duration::from_millis(600));
    let mut world = World::new(vec![timed]).await;
    let limit = json!({ "type": "http", "limit": { "failures": 1, "pause": "1h" } });
    world.offer.connections.insert("down".to_owned(), limit);
    world.action.script("down", [Act::Later(Some(Duration::from_secs(3600)))]);
    let engine = world.start();
    let first = world.deliver(&engine, "d1", json!({"to": "down"})).await;
    world.ended(&first).await;
    let asked = Instant::now();
    let late = world.deliver(&engine, "d2", json!({"to": "down"})).await;
    let cancelled = world.deliver(&engine, "d3", json!({"to": "down"})).await;
    world.until_run(&cancelled, RunState::Waiting).await;
    let run = world.only_run(&cancelled).await.0.id;
    world.journal.cancel(&run).await.expect("it can be cancelled");
    assert_eq!(world.ended(&cancelled).await.0.state, RunState::Cancelled);
    let (run, _) = world.ended(&late).await;
    let code = run.failure.map(|failure| failure.code);
    assert_eq!((run.state, code.as_deref()), (RunState::Dead, Some("run-timeout")), "given up before its step began");
    assert!(asked.elapsed() < Duration::from_secs(10), "it does not sleep through its own end");
    assert_eq!(world.action.record().calls.len(), 1);
}

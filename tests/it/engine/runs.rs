//! What a run does, and how it ends.

use std::time::Duration;

use declic::journal::record::{AttemptState, DeliveryState, Listing, Phase, RunState, StepState};
use declic::rules::model::{Concurrency, Environment, Mode, Rule, Step};
use declic::rules::template::Template;
use serde_json::{Value, json};

use super::action::Act;
use super::world::{World, expression_of, noting, only_if, retrying, rule, step};

/// (phase, step, state) of all that was reached.
fn states(steps: &[declic::journal::record::StepRecord]) -> Vec<(Phase, &str, StepState)> {
    steps.iter().map(|step| (step.place.phase, step.label.id.as_deref().unwrap_or("-"), step.state)).collect()
}

#[tokio::test]
async fn steps_run_in_order_and_later_ones_read_the_outputs_of_earlier_ones() {
    let world = World::new(vec![rule("deploy", vec![step("a"), noting("b", "steps.a.outputs.made + \"!\" + event.word")])]).await;
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({"word": "x"})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, world.settled(&id).await), (RunState::Succeeded, DeliveryState::Completed));
    assert_eq!(states(&steps), [(Phase::Steps, "a", StepState::Succeeded), (Phase::Steps, "b", StepState::Succeeded)]);
    assert_eq!(world.action.effects(), ["a", "b"]);
    assert_eq!(world.action.record().calls[1].3["note"], "a!x");
    let intent = steps[1].intent.as_ref().expect("kept");
    assert_eq!(intent.call.origin.run_url.as_deref(), Some(format!("https://declic.example/runs/{}", run.id).as_str()));
    assert!(
        world.metrics.render().contains("declic_runs_total{rule=\"deploy\",state=\"succeeded\"} 1"),
        "{}",
        world.metrics.render()
    );
}

#[tokio::test]
async fn keys_of_calls_are_good_names_and_all_different() {
    let world = World::new(vec![rule("one", vec![step("a"), step("b")]), rule("two", vec![step("a")])]).await;
    let engine = world.start();
    for id in ["d1", "d2"] {
        let id = world.deliver(&engine, id, json!({})).await;
        world.settled(&id).await;
    }
    let mut keys: Vec<String> = world.action.record().effects.iter().map(|(_, key)| key.clone()).collect();
    assert_eq!(keys.len(), 6);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6, "{keys:?}");
    for key in keys {
        assert!(key.len() <= 63 && key.starts_with(|first: char| first.is_ascii_lowercase()), "{key}");
        assert!(
            key.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-'),
            "{key}"
        );
    }
}

#[tokio::test]
async fn a_temporary_failure_is_tried_again_and_every_attempt_keeps_its_reason() {
    let world = World::new(vec![rule("deploy", vec![retrying("a", 4)])]).await;
    world.action.script("a", [Act::Later(None), Act::Later(Some(Duration::from_millis(40))), Act::Well]);
    let engine = world.start();
    let started = std::time::Instant::now();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded);
    let attempts: Vec<_> = steps[0]
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.state, attempt.why.as_ref().map(|why| why.code.as_str())))
        .collect();
    let later = Some("unavailable");
    assert_eq!(attempts, [(1, AttemptState::Retry, later), (2, AttemptState::Retry, later), (3, AttemptState::Succeeded, None)]);
    assert_eq!(world.action.made("a"), 1);
    assert!(started.elapsed() >= Duration::from_millis(40), "Retry-After was waited for");
}

#[tokio::test]
async fn a_run_whose_retries_are_used_up_is_listed_as_dead_with_the_reason_of_every_attempt() {
    let world = World::new(vec![rule("deploy", vec![retrying("a", 3), step("b")])]).await;
    world.action.script("a", vec![Act::Later(None); 9]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, world.settled(&id).await), (RunState::Dead, DeliveryState::Failed));
    let failure = run.failure.expect("a reason");
    assert_eq!((failure.step.as_str(), failure.code.as_str(), failure.attempts), ("a", "unavailable", 3));
    assert!(failure.message.contains("after 3 attempts"), "{}", failure.message);
    let reasons = steps[0].attempts.iter().filter(|attempt| attempt.why.as_ref().is_some_and(|why| why.code == "unavailable"));
    assert_eq!(reasons.count(), 3);
    for (state, count) in [(RunState::Dead, 1), (RunState::Failed, 0)] {
        let listing = Listing { limit: 10, states: vec![state.word().to_owned()], ..Listing::default() };
        assert_eq!(world.journal.runs(listing).await.unwrap().len(), count, "{}", state.word());
    }
    assert_eq!(steps.len(), 1, "b was not reached");
    assert!(world.action.effects().is_empty());
}

#[tokio::test]
async fn a_failure_starts_what_follows_a_failure_and_always_what_comes_finally() {
    let on_failure = || vec![noting("sorry", "failure.step + \" \" + failure.code + \" \" + string(failure.rolled_back)")];
    let finally = || vec![noting("end", "result")];
    let make = |name: &str| Rule { on_failure: on_failure(), finally: finally(), ..rule(name, vec![step("a"), step("b")]) };
    let world = World::new(vec![make("deploy")]).await;
    world.action.script("a", [Act::RolledBack, Act::Well]);
    let engine = world.start();
    let failed = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&failed).await;
    assert_eq!(run.state, RunState::Failed);
    assert!(run.failure.expect("a reason").rolled_back);
    let expected = [
        (Phase::Steps, "a", StepState::Failed),
        (Phase::OnFailure, "sorry", StepState::Succeeded),
        (Phase::Finally, "end", StepState::Succeeded),
    ];
    assert_eq!(states(&steps), expected);
    let notes: Vec<Value> = world.action.record().calls.iter().map(|call| call.3["note"].clone()).collect();
    assert_eq!(notes, [Value::Null, json!("a unhealthy true"), json!("failure")]);
    let well = world.deliver(&engine, "d2", json!({})).await;
    let (run, steps) = world.ended(&well).await;
    assert_eq!((run.state, steps.len()), (RunState::Succeeded, 3));
    assert_eq!(world.action.record().calls.last().expect("called").3["note"], "success");
}

#[tokio::test]
async fn finally_runs_to_its_end_even_if_one_of_its_steps_fails() {
    let world = World::new(vec![Rule { finally: vec![step("x"), step("y")], ..rule("deploy", vec![step("a")]) }]).await;
    world.action.script("x", [Act::Never]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!(world.action.effects(), ["a", "y"]);
    assert_eq!((run.state, run.failure.expect("a reason").step.as_str()), (RunState::Failed, "x"));
}

#[tokio::test]
async fn a_step_whose_error_is_tolerated_does_not_stop_the_run() {
    let tolerated = Step { continue_on_error: true, ..step("a") };
    let world = World::new(vec![rule("deploy", vec![tolerated, noting("b", "steps.a.result")])]).await;
    world.action.script("a", [Act::Never]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, run.failure), (RunState::Succeeded, None));
    assert_eq!(steps[0].state, StepState::Failed);
    assert_eq!(world.action.record().calls[1].3["note"], "failure");
}

#[tokio::test]
async fn a_step_whose_condition_does_not_hold_is_skipped() {
    let world = World::new(vec![rule("deploy", vec![only_if("event.go", step("a")), noting("b", "steps.a.result")])]).await;
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({"go": false})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!(steps[0].state, StepState::Skipped);
    assert_eq!(steps[0].why.as_ref().expect("a reason").message, "if: event.go");
    assert_eq!(world.action.effects(), ["b"]);
    assert_eq!(world.action.record().calls[0].3["note"], "skipped");
}

#[tokio::test]
async fn what_cannot_be_evaluated_is_red_and_never_counts_as_false() {
    let condition = World::new(vec![rule("deploy", vec![only_if("event.number / 0 == 1", step("a")), step("b")])]).await;
    let parameter = World::new(vec![rule("deploy", vec![noting("a", "event.number / 0"), step("b")])]).await;
    let unpreparable = World::new(vec![rule("deploy", vec![step("unpreparable"), step("b")])]).await;
    for (world, code) in [(condition, "evaluation"), (parameter, "evaluation"), (unpreparable, "invalid")] {
        let engine = world.start();
        let id = world.deliver(&engine, "d1", json!({"number": 1})).await;
        let (run, _) = world.ended(&id).await;
        assert_eq!((run.state, run.failure.expect("a reason").code.as_str()), (RunState::Failed, code));
        assert!(world.action.effects().is_empty());
    }
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_is_a_failed_run() {
    let broken = Rule { condition: Some(expression_of("event.number / 0 == 1")), ..rule("broken", vec![step("a")]) };
    let world = World::new(vec![broken, rule("fine", vec![step("b")])]).await;
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({"number": 1})).await;
    assert_eq!(world.settled(&id).await, DeliveryState::Failed);
    let mut runs: Vec<_> = world.journal.runs_of(&id).await.unwrap().into_iter().map(|run| (run.rule, run.state)).collect();
    runs.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(runs, [("broken".to_owned(), RunState::Failed), ("fine".to_owned(), RunState::Succeeded)]);
    assert_eq!(world.action.effects(), ["b"]);
}

#[tokio::test]
async fn a_redelivery_meets_the_better_rules_of_what_could_not_be_evaluated_and_repeats_nothing() {
    let broken = Rule { condition: Some(expression_of("event.number / 0 == 1")), ..rule("broken", vec![step("a")]) };
    let world = World::new(vec![broken, rule("fine", vec![step("b")])]).await;
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({"number": 1})).await;
    assert_eq!(world.settled(&id).await, DeliveryState::Failed);
    let mended = Rule { condition: Some(expression_of("event.number == 1")), ..rule("broken", vec![step("a")]) };
    world.reload("r2", vec![mended, rule("fine", vec![step("b")])]);
    assert_eq!(world.deliver(&engine, "d1", json!({"number": 1})).await, id);
    assert_eq!(world.settled(&id).await, DeliveryState::Completed);
    assert_eq!(world.action.effects(), ["b", "a"]);
    let runs = world.journal.runs_of(&id).await.unwrap();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().any(|run| run.rule == "broken" && run.revision == "r2"), "{runs:?}");
}

#[tokio::test]
async fn deliveries_that_no_rule_wants_or_that_cannot_be_read_end_and_say_why() {
    let world =
        World::new(vec![Rule { condition: Some(expression_of("event.go == true")), ..rule("deploy", vec![step("a")]) }]).await;
    let engine = world.start();
    for (id, event, state) in [
        ("d1", json!({"go": false}), DeliveryState::Ignored),
        ("d2", json!("unknown"), DeliveryState::Ignored),
        ("d3", json!("unreadable"), DeliveryState::Rejected),
        ("d4", json!("panic"), DeliveryState::Failed),
    ] {
        let id = world.deliver(&engine, id, event).await;
        assert_eq!(world.settled(&id).await, state);
        let (record, traces) = world.journal.delivery_record(&id).await.unwrap().unwrap();
        assert!(traces.is_some());
        assert_eq!(record.reason.is_some(), matches!(state, DeliveryState::Rejected | DeliveryState::Failed));
    }
    assert!(world.action.effects().is_empty());
}

#[tokio::test]
async fn a_step_that_takes_longer_than_its_timeout_is_given_up() {
    let slow = Step { timeout: Duration::from_millis(50), ..step("a") };
    let world = World::new(vec![rule("deploy", vec![slow])]).await;
    world.action.script("a", [Act::Hangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!((run.state, run.failure.expect("a reason").code.as_str()), (RunState::Dead, "timeout"));
}

#[tokio::test]
async fn an_effect_whose_answer_was_lost_is_found_and_not_made_again() {
    let lost = Step { timeout: Duration::from_millis(50), ..retrying("b", 2) };
    let world = World::new(vec![rule("deploy", vec![retrying("a", 2), lost])]).await;
    world.action.script("a", [Act::EffectButFailed]);
    world.action.script("b", [Act::EffectButHangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Succeeded);
    assert_eq!((world.action.made("a"), world.action.made("b")), (1, 1));
    for step in &steps {
        assert_eq!(step.attempts.last().expect("attempts").state, AttemptState::Found);
    }
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_given_up_but_its_end_is_still_done() {
    let limited = Rule {
        timeout: Some(Duration::from_millis(700)),
        finally: vec![step("end")],
        ..rule("deploy", vec![step("a"), step("b"), step("c")])
    };
    let world = World::new(vec![limited]).await;
    world.action.script("a", [Act::Takes(Duration::from_millis(100))]);
    world.action.script("b", [Act::Hangs]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!(run.state, RunState::Dead);
    assert_eq!(run.failure.expect("a reason").step, "b");
    assert_eq!(world.action.effects(), ["a", "end"]);
}

#[tokio::test]
async fn an_action_that_falls_over_fails_its_step_and_nothing_else() {
    let world = World::new(vec![rule("deploy", vec![step("a")])]).await;
    world.action.script("a", [Act::Panics]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, _) = world.ended(&id).await;
    assert_eq!((run.state, run.failure.expect("a reason").code.as_str()), (RunState::Failed, "internal"));
    let next = world.deliver(&engine, "d2", json!({})).await;
    assert_eq!(world.settled(&next).await, DeliveryState::Completed);
}

fn with_environment(steps: Vec<Step>) -> Rule {
    let name = |text: &str| Template::literal(json!(text));
    let environment =
        Environment { name: name("staging"), url: Some(name("https://staging.example")), sha: None, transient: false };
    Rule { environment: Some(Box::new(environment)), ..rule("deploy", steps) }
}

#[tokio::test]
async fn an_environment_reports_the_beginning_and_the_end() {
    let world = World::new(vec![with_environment(vec![step("a")])]).await;
    world.action.script("a", [Act::Well, Act::Never]);
    let engine = world.start();
    let well = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&well).await;
    assert_eq!(run.state, RunState::Succeeded);
    let phases: Vec<Phase> = steps.iter().map(|step| step.place.phase).collect();
    assert_eq!(phases, [Phase::Begin, Phase::Steps, Phase::End]);
    assert_eq!(world.report.record().calls[1].3["environment-url"], "https://staging.example");
    let failed = world.deliver(&engine, "d2", json!({})).await;
    world.ended(&failed).await;
    assert_eq!(world.report.effects(), ["in_progress", "success", "in_progress", "failure"]);
    assert_eq!(world.report.record().calls[3].3["description"], "403 of the target");
}

#[tokio::test]
async fn a_report_that_fails_is_seen_but_never_fails_the_run() {
    let world = World::new(vec![with_environment(vec![step("a")])]).await;
    world.report.script("in_progress", [Act::Never]);
    world.report.script("success", [Act::Never]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    let (run, steps) = world.ended(&id).await;
    assert_eq!((run.state, run.failure), (RunState::Succeeded, None));
    assert_eq!(steps.iter().filter(|step| step.state == StepState::Failed).count(), 2);
    assert_eq!(world.action.made("a"), 1);
}

fn grouped(mode: Mode) -> Rule {
    Rule {
        concurrency: Some(Box::new(Concurrency { group: Template::literal(json!("staging")), mode })),
        ..rule("deploy", vec![step("a")])
    }
}

#[tokio::test]
async fn runs_of_a_queue_never_overlap_and_none_is_left_out() {
    let world = World::new(vec![grouped(Mode::QueueAll)]).await;
    world.action.script("a", vec![Act::Takes(Duration::from_millis(10)); 5]);
    let engine = world.start();
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(world.deliver(&engine, &format!("d{number}"), json!({})).await);
    }
    for id in &ids {
        assert_eq!(world.settled(id).await, DeliveryState::Completed);
    }
    assert_eq!((world.action.made("a"), world.action.record().most), (5, 1));
}

#[tokio::test]
async fn the_latest_covers_those_that_waited() {
    let world = World::new(vec![grouped(Mode::QueueLatest)]).await;
    world.action.script("a", [Act::Takes(Duration::from_millis(200))]);
    let engine = world.start();
    let first = world.deliver(&engine, "d1", json!({})).await;
    world.until("the first runs", |record| record.running.len() == 1).await;
    let second = world.deliver(&engine, "d2", json!({})).await;
    world.until_run(&second, RunState::Queued).await;
    let third = world.deliver(&engine, "d3", json!({})).await;
    assert_eq!(world.ended(&first).await.0.state, RunState::Succeeded);
    let covered = world.ended(&second).await.0;
    let latest = world.ended(&third).await.0;
    assert_eq!((covered.state, covered.covered_by), (RunState::Superseded, Some(latest.id)));
    assert_eq!(latest.state, RunState::Succeeded);
    assert_eq!(world.action.made("a"), 2);
}

#[tokio::test]
async fn a_superseded_run_stops_between_two_steps_and_tidies_up() {
    let superseding = Rule {
        concurrency: Some(Box::new(Concurrency { group: Template::literal(json!("preview")), mode: Mode::Supersede })),
        finally: vec![noting("end", "result")],
        ..rule("preview", vec![step("a"), step("b")])
    };
    let world = World::new(vec![superseding]).await;
    world.action.script("a", [Act::Takes(Duration::from_millis(200))]);
    let engine = world.start();
    let first = world.deliver(&engine, "d1", json!({})).await;
    world.until("the first runs", |record| record.running.len() == 1).await;
    let second = world.deliver(&engine, "d2", json!({})).await;
    let stopped = world.ended(&first).await.0;
    let newer = world.ended(&second).await.0;
    assert_eq!((stopped.state, stopped.covered_by), (RunState::Superseded, Some(newer.id)));
    assert_eq!(world.action.effects(), ["a", "end", "a", "b", "end"]);
    let notes: Vec<Value> =
        world.action.record().calls.iter().filter(|call| call.0 == "end").map(|call| call.3["note"].clone()).collect();
    assert_eq!(notes, [json!("cancelled"), json!("success")]);
}

#[tokio::test]
async fn a_redelivery_of_a_failed_delivery_repeats_only_what_failed_and_what_follows_it() {
    let world =
        World::new(vec![Rule { finally: vec![step("end")], ..rule("deploy", vec![step("a"), step("b"), step("c")]) }]).await;
    world.action.script("b", [Act::Never, Act::Well]);
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    assert_eq!(world.settled(&id).await, DeliveryState::Failed);
    let again = world.deliver(&engine, "d1", json!({})).await;
    assert_eq!(again, id);
    assert_eq!(world.settled(&id).await, DeliveryState::Completed);
    assert_eq!(world.action.effects(), ["a", "end", "b", "c", "end"]);
    let keys = world.action.record().effects.clone();
    assert_ne!(keys[1].1, keys[4].1, "what follows a failure is another call in another round");
}

//! Runs that do nothing: what they record, and what they leave alone.

use declic::journal::record::{GroupMode, RunState, StepState};
use declic::rules::model::{Concurrency, Environment, Mode, Rule};
use declic::rules::template::Template;
use declic::run::Policy;
use serde_json::json;

use super::world::{World, noting, policy, rule, step};

fn text(text: &str) -> Template {
    Template::literal(json!(text))
}

fn grouped(rule: Rule) -> Rule {
    Rule { concurrency: Some(Box::new(Concurrency { group: text("staging"), mode: Mode::Supersede })), ..rule }
}

#[tokio::test]
async fn a_shadow_rule_records_its_calls_and_does_nothing_beside_one_that_does() {
    let environment = Some(Box::new(Environment { name: text("staging"), url: None, sha: None, transient: false }));
    let steps = || vec![step("a"), noting("b", "steps.a.outputs.made")];
    let shadow = grouped(Rule { dry_run: true, environment, finally: vec![step("f")], ..rule("shadow", steps()) });
    let world = World::new(vec![shadow, grouped(rule("real", steps()))]).await;
    let engine = world.start();
    let id = world.deliver(&engine, "d1", json!({})).await;
    world.settled(&id).await;
    let runs = world.journal.runs_of(&id).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| (run.rule.as_str(), run.dry, run.state)).collect::<Vec<_>>(),
        [("shadow", true, RunState::Succeeded), ("real", false, RunState::Succeeded)]
    );
    let group = runs[0].group.as_ref().unwrap();
    assert_eq!((group.key.as_str(), group.mode), ("dry run: staging", GroupMode::Supersede));
    assert_eq!(world.action.effects(), ["a", "b"], "only those of the real one");
    assert!(world.report.effects().is_empty(), "no deployment is reported");
    let (_, steps) = world.journal.run(&runs[0].id).await.unwrap().unwrap();
    assert!(steps.iter().all(|step| step.state == StepState::Succeeded) && steps.len() >= 5, "{steps:?}");
    let second = steps.iter().find(|step| step.label.id.as_deref() == Some("b")).unwrap();
    assert_eq!(second.intent.as_ref().unwrap().call.params["note"], "made", "rendered with outputs of the right type");
    assert_eq!(second.outcome.as_ref().unwrap().summary, "dry run, nothing was done: make it");
}

#[tokio::test]
async fn a_run_that_began_dry_stays_dry_and_one_that_began_in_earnest_goes_on() {
    let world = World::new(vec![rule("deploy", vec![step("a"), step("b")])]).await;
    world.action.script("b", [super::action::Act::NotYet(std::time::Duration::from_millis(300))]);
    let engine = world.start();
    let earnest = world.deliver(&engine, "d1", json!({})).await;
    world.until_run(&earnest, RunState::Waiting).await;
    let world = world.crash(engine).await;
    let dry = world.start_with(Policy { dry_run: true, ..policy() });
    let shadow = world.deliver(&dry, "d2", json!({})).await;
    assert_eq!(world.ended(&shadow).await.0.state, RunState::Succeeded);
    assert_eq!(world.ended(&earnest).await.0.state, RunState::Succeeded);
    assert_eq!(world.action.effects(), ["a", "b"]);
}

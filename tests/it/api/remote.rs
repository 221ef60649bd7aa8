//! The command line as a client of the API.

use std::process::Output;

use serde_json::Value;

use super::ASKING;
use super::world::{More, World};
use crate::support::binary::command;

fn run(world: &World, arguments: &[&str], token: Option<&str>) -> (Option<i32>, String, String) {
    // In a folder without settings and without a store: only the service can know.
    let empty = tempfile::tempdir().unwrap();
    let mut command = command(empty.path(), arguments);
    command.args(["--remote", &world.url("")]);
    if let Some(token) = token {
        command.env("DECLIC_TOKEN", token);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test]
async fn deliveries_and_runs_of_another_machine_are_listed_shown_and_acted_upon() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let (status, listed, wrong) = run(&world, &["deliveries"], None);
    assert_eq!(status, Some(0), "{wrong}");
    assert!(listed.contains(&id) && listed.contains("github") && listed.contains("failed"), "{listed}");
    let (_, shown, _) = run(&world, &["deliveries", "show", &id], None);
    assert!(shown.contains("secret 1 of 1"), "{shown}");
    let (_, body, _) = run(&world, &["deliveries", "show", &id, "--body"], None);
    assert!(body.starts_with('{') && body.contains("refs/heads/main"), "{body}");
    let (_, dead, _) = run(&world, &["runs", "list", "--dead"], None);
    assert!(dead.contains(&format!("{id}-2")) && !dead.contains(&format!("{id}-1")), "{dead}");
    let (status, said, wrong) = run(&world, &["runs", "retry", &format!("{id}-2")], None);
    assert_eq!((status, said.trim()), (Some(0), format!("{id}-2 is queued again").as_str()), "{wrong}");
    world.until(&format!("/runs/{id}-2"), |run| run.body["run"]["round"] == 1 && run.text("/run/state") == "failed").await;
    let (_, redriven, _) = run(&world, &["runs", "redrive", "--dead", "--since", "1h", "--dry-run"], None);
    assert!(redriven.contains("1 would be queued again"), "{redriven}");
    let narrow =
        ["runs", "redrive", "--dead", "--dry-run", "--repository", "acme/web", "--event", "github.push", "--text", "break"];
    assert!(run(&world, &narrow, None).1.contains("1 would be queued again"));
    let (_, none, _) = run(&world, &["runs", "redrive", "--dead", "--source", "another"], None);
    assert!(none.contains("0 queued again"), "{none}");
    let (status, _, wrong) = run(&world, &["runs", "retry", &format!("{id}-1")], None);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("answered 409") && wrong.contains("it succeeded"), "{wrong}");
    let (status, _, wrong) = run(&world, &["runs", "approve", &format!("{id}-1")], None);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("waits for no answer"), "{wrong}");
    let (status, again, wrong) = run(&world, &["deliveries", "replay", &id], None);
    assert_eq!(status, Some(0), "{wrong}");
    world.until(&format!("/deliveries/{}", again.trim()), |shown| shown.body["delivery"]["replay"] == true).await;
}

#[tokio::test]
async fn a_run_of_another_machine_that_asks_is_answered() {
    let world = World::of(More { rules: ASKING, ..More::default() }, |_| {}).await;
    let id = world.send("ask/me", "d-1").await;
    world.until(&format!("/runs/{id}-1"), |run| run.text("/run/state") == "waiting").await;
    let (status, said, wrong) = run(&world, &["runs", "approve", &format!("{id}-1"), "--comment", "go on"], None);
    assert_eq!((status, said.trim()), (Some(0), format!("{id}-1 is approved").as_str()), "{wrong}");
    let done = world.until(&format!("/runs/{id}-1"), |run| run.text("/run/state") == "succeeded").await;
    assert!(done.body.to_string().contains("go on"), "{done:?}");
}

/// What the same command says beside the service.
fn here(world: &World, arguments: &[&str]) -> String {
    let output = command(world.folder.path(), arguments).env("OPERATOR", "nobody uses this token here").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What was said while it ran is with the process that did it, too: the store has what actions said.
fn without_log(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.remove("log");
            fields.values_mut().for_each(|field| *field = without_log(std::mem::take(field)));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_log(std::mem::take(item))),
        _ => {}
    }
    value
}

#[tokio::test]
async fn another_machine_answers_as_this_one_does() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    world.deliver("docs", "d-2").await;
    let run_id = format!("{id}-2");
    let lists: &[&[&str]] = &[
        &["deliveries"],
        &["deliveries", "list", "--state", "failed", "--state", "ignored"],
        &["deliveries", "list", "--event", "github.push", "--repository", "acme/web", "--rule", "tell", "--since", "1h"],
        &["deliveries", "list", "--until", "1h"],
        &["deliveries", "list", "--text", "d-2", "--source", "github", "--limit", "1"],
        &["runs", "list", "--dead", "--rule", "break"],
        &["runs", "list", "--event", "push", "--text", "nowhere"],
        &["runs", "list", "--since", "2020-01-01T00:00:00Z", "--state", "succeeded"],
        &["deliveries", "show", &id],
        &["deliveries", "replay", &id, "--dry-run"],
        &["runs", "show", &run_id],
    ];
    for arguments in lists {
        let json = [arguments, &["--format", "json"][..]].concat();
        let read = |text: &str| without_log(serde_json::from_str(text).unwrap_or_else(|_| panic!("{arguments:?}: {text}")));
        let (status, elsewhere, wrong) = run(&world, &json, None);
        assert_eq!(status, Some(0), "{arguments:?}: {wrong}");
        assert_eq!(read(&elsewhere), read(&here(&world, &json)), "{arguments:?}");
        if !arguments.contains(&"show") {
            assert_eq!(run(&world, arguments, None).1, here(&world, arguments), "{arguments:?}");
        }
    }
    let (_, shown, _) = run(&world, &["runs", "show", &run_id], None);
    assert!(shown.contains("broken  http/request  failed") && shown.contains("attempt 1  failed"), "{shown}");
    // What is asked for beside the service is in the audit log like everything else.
    assert_eq!(here(&world, &["runs", "retry", &run_id]), format!("{run_id} is queued again\n"));
    let log = world.get("/audit").await;
    let entry = ["who", "act", "subject", "outcome"].map(|name| log.text(&format!("/items/0/{name}")).to_owned());
    assert_eq!(entry, ["command line", "retry", run_id.as_str(), "done"], "{log:?}");
}

#[tokio::test]
async fn rules_are_tried_on_what_another_machine_received() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let (status, said, wrong) = run(&world, &["explain", "--delivery", &id], None);
    assert_eq!(status, Some(0), "{wrong}");
    assert!(said.contains("MATCH    tell") && said.contains("would run http/request"), "{said}");
    assert!(said.contains("no match elsewhere") && !said.contains("not-for-eyes"), "{said}");
    let edited = world.folder.path().join("edited.yaml");
    let rules = std::fs::read_to_string(world.folder.path().join("rules.yaml")).unwrap();
    std::fs::write(&edited, rules.replace("release/*", "main")).unwrap();
    let edited = edited.to_str().unwrap();
    let (_, said, wrong) = run(&world, &["explain", "--delivery", &id, edited], None);
    assert!(said.contains("MATCH    elsewhere"), "{said}{wrong}");
    let (status, said, wrong) = run(&world, &["backtest", edited, "--since", "1h"], None);
    assert_eq!(status, Some(0), "{wrong}");
    assert!(said.contains("+ elsewhere would now fire") && said.contains("1 delivery: 1 would now fire"), "{said}");
    let (_, json, _) = run(&world, &["backtest", edited, "--format", "json"], None);
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&json), read(&here(&world, &["backtest", edited, "--format", "json"])));
    std::fs::write(edited, rules.replace("branches:", "brnaches:")).unwrap();
    let (status, _, wrong) = run(&world, &["backtest", edited], None);
    assert_eq!(status, Some(2), "{wrong}");
    assert!(wrong.contains("the rules are wrong") && wrong.contains("edited.yaml:"), "{wrong}");
}

#[tokio::test]
async fn a_service_with_tokens_is_asked_with_one() {
    let world = World::with("admin: { token: operator }\n", |_| {}).await;
    let (status, _, wrong) = run(&world, &["runs"], None);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("answered 401") && wrong.contains("DECLIC_TOKEN"), "{wrong}");
    let (status, said, wrong) = run(&world, &["runs"], Some("nobody uses this token here"));
    assert_eq!((status, said.trim()), (Some(0), "no runs"), "{wrong}");
}

//! The command line as a client of the API.

use std::process::Output;

use super::world::World;
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
    let (status, _, wrong) = run(&world, &["runs", "retry", &format!("{id}-1")], None);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("answered 409") && wrong.contains("it succeeded"), "{wrong}");
    let (status, _, wrong) = run(&world, &["runs", "approve", &format!("{id}-1")], None);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("waits for no answer"), "{wrong}");
}

#[tokio::test]
async fn a_service_with_tokens_is_asked_with_one() {
    let world = World::with("admin: { token: operator }\n", |_| {}).await;
    let (status, _, wrong) = run(&world, &["runs"], None);
    assert_eq!(status, Some(1));
    assert!(wrong.contains("answered 401") && wrong.contains("DECLIC_TOKEN"), "{wrong}");
    let (status, said, wrong) = run(&world, &["runs"], Some("nobody uses this token here"));
    assert_eq!((status, said.trim()), (Some(0), "nothing"), "{wrong}");
}

//! `declic demo` shows the main job, and its exit status tells the truth.

use std::path::Path;
use std::time::Duration;

use declic::demo::Demo;

use crate::support::binary::declic;

/// Everything the demo has to show, in this order.
const STAGES: &[&str] = &[
    "verified",
    "journaled",
    "matched",
    "image resolved",
    "revision created",
    "ready",
    "healthy",
    "traffic shifted",
    "bot told",
    "commit status",
    "comment posted",
    "finished",
    "Done in ",
];

#[test]
fn the_demo_shows_every_stage_and_ends_well() {
    let output = declic(Path::new("."), &["demo", "--exit"]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    let mut rest = shown.as_str();
    for stage in STAGES {
        let Some((_, after)) = rest.split_once(stage) else { panic!("`{stage}` is missing, or too early, in:\n{shown}") };
        rest = after;
    }
    assert!(shown.contains(r#"(event.branch = "main", decided by "main")"#), "it does not say why the rule matched:\n{shown}");
}

#[tokio::test]
async fn the_commands_to_look_further_can_be_typed_as_they_stand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let demo = Demo::prepare(folder.path(), ([127, 0, 0, 1], 0).into()).await.expect("the demo can be prepared");
    let mut shown = Vec::new();
    demo.run(&mut shown, false, Some(std::future::ready(()))).await.expect("the demo ends");
    let shown = String::from_utf8(shown).expect("text");
    let commands: Vec<_> = shown.lines().filter(|line| line.contains("--config") || line.contains(" check ")).collect();
    assert_eq!(commands.len(), 3, "{shown}");
    for line in commands {
        // The process that runs here is this test; it is the path that is looked at.
        let command = line.split_whitespace().next().unwrap_or_default();
        assert!(command.contains('/') && Path::new(command).exists(), "{line}");
    }
}

/// Runs the demo on a world that `spoil` has spoilt, and gives what is missing afterwards.
async fn missing(spoil: impl FnOnce(&Demo)) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let demo = Demo::prepare(folder.path(), ([127, 0, 0, 1], 0).into()).await.expect("the demo can be prepared");
    spoil(&demo);
    let mut shown = Vec::new();
    let verdict = demo.run(&mut shown, false, None::<std::future::Ready<()>>).await.expect("the demo ends");
    assert!(verdict.took < Duration::from_secs(60));
    verdict.missing
}

#[tokio::test]
async fn a_deploy_that_did_not_reach_the_service_is_not_called_done() {
    let missing = missing(|demo| demo.world.cloud_run.operation_fails("REVISION_FAILED")).await;
    assert!(missing.iter().any(|what| what.contains("Cloud Run")), "{missing:?}");
}

#[tokio::test]
async fn a_reply_that_did_not_reach_its_commit_is_not_called_done() {
    let missing = missing(|demo| demo.world.github.revoke_tokens()).await;
    assert!(missing.iter().any(|what| what.contains("comment")), "{missing:?}");
}

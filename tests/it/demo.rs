//! `declic demo` shows the main job, and its exit status tells the truth.

use std::path::Path;
use std::time::{Duration, Instant};

use declic::demo::Demo;
use serde_json::json;

use crate::support::binary::declic;
use crate::support::client::Client;

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

#[tokio::test]
async fn the_console_of_the_demo_has_enough_to_look_at() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let demo = Demo::prepare(folder.path(), ([127, 0, 0, 1], 0).into()).await.expect("the demo can be prepared");
    let base = format!("http://{}", demo.address());
    let (done, stop) = tokio::sync::oneshot::channel::<()>();
    let looking = tokio::spawn(async move {
        let client = Client::anonymous();
        let end = Instant::now() + Duration::from_secs(60);
        let count =
            async |query: &str| match client.try_send("GET", &format!("{base}/api/v1/runs?{query}"), &[], Vec::new()).await {
                Ok(reply) => reply.body["items"].as_array().map_or(0, Vec::len),
                Err(_) => 0,
            };
        while count("rule=deploy-staging").await < 3 || count("rule=release&state=waiting").await < 1 {
            assert!(Instant::now() < end, "the history did not come");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut pages = Vec::new();
        for path in ["/", "/deployed", "/deliveries", "/dead"] {
            let page = client.get(&format!("{base}{path}")).await;
            pages.push(page.body.as_str().expect("a page").to_owned());
        }
        let mut lists = Vec::new();
        for path in ["/targets", "/groups", "/breakers"] {
            let list = client.get(&format!("{base}/api/v1{path}")).await;
            lists.push(list.body["items"].as_array().cloned().expect("a list"));
        }
        drop(done);
        (pages, lists)
    });
    demo.run(&mut Vec::new(), false, Some(async { drop(stop.await) })).await.expect("the demo ends");
    let (pages, lists) = looking.await.expect("the pages are there");
    let says = |page: usize, texts: &[&str]| {
        for text in texts {
            assert!(pages[page].contains(text), "`{text}` is not in:\n{}", pages[page]);
        }
    };
    says(0, &["Waits for a person", "Announce v1.4.0?", "web-staging", "page-somebody", "Came in last", "main: Show the basket"]);
    says(
        1,
        &["web_staging", "Revision", "555555555555", "refs/heads/main", "web_staging#pr-7", "refs/pull/7/head", "because of"],
    );
    says(2, &["feature/login: Try another way to sign in", "#7: Show the basket on every page", "v1.4.0: Fix the checkout"]);
    says(3, &["page-somebody", "Redrive all"]);
    let [targets, groups, breakers] = lists.as_slice() else { panic!("{lists:?}") };
    let deployed = &targets[0]["deployed"];
    assert_eq!((&targets[0]["name"], &deployed["repository"]), (&json!("web_staging"), &json!("acme/web")), "{targets:#?}");
    assert!(
        deployed["outputs"]["revision"].is_string() && deployed["run"].is_string() && deployed["sha"].is_string(),
        "{deployed:#}"
    );
    assert_eq!(targets[0]["previews"][0]["name"], "web_staging#pr-7", "{targets:#?}");
    let group = groups.iter().find(|group| group["key"].as_str().is_some_and(|key| key.contains("web-staging")));
    assert!(group.is_some_and(|group| group["mode"] == "queue-latest"), "{groups:#?}");
    let pager = breakers.iter().find(|breaker| breaker["target"] == "connection pager").expect("the pager was met");
    assert_eq!((&pager["breaker"], &pager["in_hand"], &pager["waiting"]), (&json!("closed"), &json!(0), &json!(0)), "{pager:#}");
    assert!(breakers.iter().any(|breaker| breaker["target"] == "target web_staging"), "{breakers:#?}");
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

//! What people do by the command line while the service runs: retry, cancel, redrive, replay.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};

use crate::support::scene::{Push, Scene};

const RULES: &str = r#"
version: 1
rules:
  note:
    on: { github.push: { branches: [main] } }
    steps:
      - uses: github/comment
        retry: { attempts: 2, wait: 10ms, max-wait: 20ms }
        with: { body: "Seen ${{ short(event.sha) }}" }
  later:
    on: { github.push: { branches: [main] } }
    if: event.forced
    steps:
      - uses: github/status
        retry: { attempts: 2, wait: 1h, max-wait: 1h }
        with: { state: success, context: later }
"#;

fn push(guid: &str) -> Push<'_> {
    Push { guid, before: "0000000000000000000000000000000000000000", after: FIRST_COMMIT, forced: false }
}

fn comments(scene: &Scene) -> usize {
    scene.world.github.commit_comments(REPOSITORY, FIRST_COMMIT).len()
}

fn fail(scene: &Scene, path: &str) {
    scene.world.github.faults.next_matching(u32::MAX, "POST", path, Fault::Fail { status: 502, retry_after: None });
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_runs_are_listed_inspected_and_redriven_one_by_one_or_in_bulk() {
    let scene = Scene::start(RULES, "").await;
    fail(&scene, "/comments");
    let mut deliveries = Vec::new();
    // Two attempts each: below the five failures in a row after which GitHub would be left alone.
    for guid in ["d-1", "d-2"] {
        let delivery = scene.push(&push(guid)).await;
        let dead = scene.run_once(&delivery, "dead");
        assert_eq!(dead["steps"][0]["attempts"].as_array().map(Vec::len), Some(2));
        deliveries.push((delivery, dead["run"]["id"].as_str().expect("an id").to_owned()));
    }
    let (status, listed) = scene.declic(&["runs", "list", "--dead"]);
    assert!(status == Some(0) && deliveries.iter().all(|(_, run)| listed.contains(run)) && listed.contains("502"), "{listed}");
    let (_, shown) = scene.declic(&["runs", "show", &deliveries[0].1]);
    assert_eq!(shown.matches("unavailable").count(), 4, "the run, its step and both attempts say why:\n{shown}");

    scene.world.github.faults.clear();
    let (status, said) = scene.declic(&["runs", "retry", &deliveries[0].1]);
    assert!(status == Some(0) && said.contains("queued again"), "{said}");
    let again = scene.run_once(&deliveries[0].0, "succeeded");
    assert_eq!((&again["run"]["round"], &again["run"]["by_hand"]), (&1.into(), &true.into()));
    assert_eq!(comments(&scene), 1);

    let (status, said) = scene.declic(&["runs", "redrive", "--dead", "--dry-run"]);
    assert!(status == Some(0) && said.contains(&deliveries[1].1) && said.contains("1 would be queued again"), "{said}");
    let (_, said) = scene.declic(&["runs", "redrive", "--dead", "--rule", "another"]);
    assert!(said.contains("0 queued again"), "{said}");
    assert_eq!(comments(&scene), 1);
    let (status, said) = scene.declic(&["runs", "redrive", "--dead", "--since", "1h"]);
    assert!(status == Some(0) && said.contains("1 queued again"), "{said}");
    scene.run_once(&deliveries[1].0, "succeeded");
    assert_eq!(comments(&scene), 2);
    let (_, said) = scene.declic(&["runs", "redrive", "--dead"]);
    assert!(said.contains("0 queued again"), "{said}");

    for refused in
        [&["runs", "retry", "0000000000000-1"][..], &["runs", "cancel", "nonsense"], &["runs", "retry", &deliveries[0].1]]
    {
        let (status, said) = scene.declic(refused);
        assert_eq!(status, Some(1), "{refused:?}: {said}");
    }
    let (status, _) = scene.declic(&["runs", "redrive"]);
    assert_eq!(status, Some(2), "what would be redriven has to be said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_cancelled_and_a_delivery_is_replayed_with_effects_of_its_own() {
    let scene = Scene::start(RULES, "").await;
    fail(&scene, "/statuses");
    let delivery = scene.push(&Push { forced: true, ..push("d-1") }).await;
    let waiting = || -> Option<String> {
        let (_, said) = scene.declic(&["runs", "list", "--state", "waiting", "--rule", "later", "--format", "json"]);
        let runs: serde_json::Value = serde_json::from_str(&said).expect("one document");
        Some(runs.pointer("/0/id")?.as_str()?.to_owned())
    };
    scene.until("the attempt that failed is to be repeated in an hour", || waiting().is_some());
    let (status, said) = scene.declic(&["runs", "cancel", &waiting().expect("it waits")]);
    assert!(status == Some(0), "{said}");
    scene.until("it is over", || {
        let (_, said) = scene.declic(&["runs", "list", "--state", "cancelled"]);
        said.contains("later")
    });

    scene.world.github.faults.clear();
    scene.run_once(&delivery, "succeeded");
    assert_eq!(comments(&scene), 1);
    let (status, said) = scene.declic(&["deliveries", "replay", &delivery, "--dry-run"]);
    assert!(status == Some(0) && said.contains("note") && comments(&scene) == 1, "{said}");
    let (status, replay) = scene.declic(&["deliveries", "replay", &delivery]);
    assert_eq!(status, Some(0), "{replay}");
    scene.run_once(replay.trim(), "succeeded");
    assert_eq!(comments(&scene), 2, "a replay is as if it came in now");
    let (_, shown) = scene.declic(&["deliveries", "show", replay.trim()]);
    assert!(shown.contains("(a replay)"), "{shown}");
    let (status, said) = scene.declic(&["deliveries", "replay", "0000000000000"]);
    assert_eq!(status, Some(1), "{said}");
}

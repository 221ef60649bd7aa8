//! The latest commit wins, by ancestry: told by the pushes, by GitHub's compare API, and in the middle of a deploy.

use std::time::Duration;

use declic::demo::stand_ins::{FIRST_COMMIT, SERVICE_NAME};

use crate::support::scene::{Push, Scene};

fn rules(mode: &str) -> String {
    format!(
        "version: 1\nrules:\n  deploy:\n    on: {{ github.push: {{ branches: [main] }} }}\n    concurrency: {{ group: web, mode: {mode} }}\n    \
         steps:\n      - uses: cloud-run/deploy\n        with:\n          target: web_staging\n          \
         image: europe-docker.pkg.dev/acme-build/web/web:${{{{ event.sha }}}}\n"
    )
}

fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn push<'a>(guid: &'a str, before: &'a str, after: &'a str) -> Push<'a> {
    Push { guid, before, after, forced: false }
}

/// The revisions that have traffic.
fn serving(scene: &Scene) -> Vec<String> {
    scene
        .world
        .cloud_run
        .allocation(SERVICE_NAME)
        .into_iter()
        .filter(|(_, share)| *share > 0)
        .map(|(revision, _)| revision)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_asked_where_the_pushes_do_not_say_which_commit_is_newer() {
    let scene = Scene::start(&rules("queue-latest"), "").await;
    let [older, newer, left, unknown] = ['1', '2', '3', '4'].map(sha);
    scene.commit(&older, &[FIRST_COMMIT]);
    scene.commit(&newer, &[&older]);
    scene.commit(&left, &[FIRST_COMMIT]);
    let compared = || scene.world.github.ledger.requests().iter().filter(|asked| asked.path.contains("/compare/")).count();

    let first = scene.push(&push("g-newer", &sha('a'), &newer)).await;
    scene.run_once(&first, "succeeded");
    let deployed = serving(&scene);

    // Neither names the other as `before`: only GitHub knows that this one is the ancestor.
    let late = scene.push(&push("g-older", &sha('b'), &older)).await;
    let late = scene.run_once(&late, "superseded");
    assert_eq!(late["run"]["covered_by"], scene.run_of(&first).expect("a run")["run"]["id"]);
    assert!(late["run"]["note"].as_str().is_some_and(|note| note.contains("older than")), "{}", late["run"]["note"]);
    assert_eq!(serving(&scene), deployed);
    assert!(compared() > 0);

    // Where GitHub does not know either, arrival decides, and the run says so.
    scene.world.registry.push(declic::demo::stand_ins::IMAGE_REPOSITORY, &unknown, "a commit that GitHub has forgotten");
    let stranger = scene.push(&push("g-unknown", &sha('c'), &unknown)).await;
    let stranger = scene.run_once(&stranger, "succeeded");
    assert!(stranger["run"]["note"].as_str().is_some_and(|note| note.contains("arrival")), "{}", stranger["run"]["note"]);

    // A forced push is a new line and wins over what it left.
    let forced = scene.push(&Push { forced: true, ..push("g-forced", &unknown, &left) }).await;
    scene.run_once(&forced, "succeeded");
    assert_ne!(serving(&scene), deployed);

    // By hand an old commit may be deployed, and the run is marked.
    let (status, said) = scene.declic(&["runs", "retry", late["run"]["id"].as_str().expect("an id")]);
    assert_eq!(status, Some(0), "{said}");
    let again = scene.run_once(late["run"]["delivery"].as_str().expect("an id"), "succeeded");
    assert_eq!(again["run"]["by_hand"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_is_stopped_midway_when_a_newer_commit_comes() {
    let scene = Scene::start(&rules("supersede"), "").await;
    let [older, newer] = ['5', '6'].map(sha);
    scene.commit(&older, &[FIRST_COMMIT]);
    scene.commit(&newer, &[&older]);
    // The first one's revision takes its time; the deploy waits for it.
    scene.world.cloud_run.operations_take(Duration::from_secs(20), 1000);
    let first = scene.push(&push("g-1", FIRST_COMMIT, &older)).await;
    let created = || scene.world.cloud_run.ledger.effects_of("revision.created");
    scene.until("the first deploy is under way", || created().len() == 1);
    scene.world.cloud_run.operations_take(Duration::from_millis(20), 1);
    let second = scene.push(&push("g-2", &older, &newer)).await;

    let second = scene.run_once(&second, "succeeded");
    let first = scene.run_once(&first, "superseded");
    assert_eq!(first["run"]["covered_by"], second["run"]["id"], "the run that covered it is linked");
    let made = created();
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(serving(&scene), [made[1].clone()], "the stopped one never got traffic");
}

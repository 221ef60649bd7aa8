//! `declic serve --dry-run`: what would be done is decided, rendered and recorded, and the world stays as it is.

use declic::demo::stand_ins::{FIRST_COMMIT, SERVICE_NAME};

use crate::support::scene::{Push, Scene};

const RULES: &str = r#"
version: 1
rules:
  deploy:
    on: { github.push: { branches: [main] } }
    environment: { name: staging, url: "${{ steps.deploy.outputs.url }}" }
    concurrency: { group: web }
    steps:
      - id: deploy
        uses: cloud-run/deploy
        with: { target: web_staging, image: "europe-docker.pkg.dev/acme-build/web/web:${{ event.sha }}", wait-for-image: 1m }
      - uses: github/comment
        with: { body: "Staging runs ${{ steps.deploy.outputs.revision }}" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_an_action_said_of_its_step_is_kept_with_the_run() {
    let scene = Scene::start(RULES, "").await;
    scene.commit(FIRST_COMMIT, &[]);
    let push = Push { guid: "p-1", before: "0000000000000000000000000000000000000000", after: FIRST_COMMIT, forced: false };
    let delivery = scene.push(&push).await;
    let run = scene.run_once(&delivery, "succeeded");
    // Read from the store, by a process that did not do it.
    let log = run["log"].as_array().expect("a log");
    let said = |name: &str| log.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("`{name}`: {log:#?}"));
    assert_eq!(said("image resolved")["step"], "deploy");
    assert!(said("revision created")["line"].as_str().is_some_and(|line| !line.is_empty()));
    let moments: Vec<&str> = log.iter().filter_map(|line| line["at"].as_str()).collect();
    assert!(moments.len() == log.len() && moments.is_sorted(), "{log:#?}");
    let shown = scene.declic(&["runs", "show", run["run"]["id"].as_str().expect("an id")]).1;
    assert!(shown.contains("image resolved: "), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_rehearses_records_every_rendered_call_and_changes_nothing() {
    let scene = Scene::serving(RULES, "", &["--dry-run"]).await;
    scene.commit(FIRST_COMMIT, &[]);
    let revisions = scene.world.cloud_run.revisions(SERVICE_NAME).len();
    let push = Push { guid: "p-1", before: "0000000000000000000000000000000000000000", after: FIRST_COMMIT, forced: false };
    let delivery = scene.push(&push).await;
    let run = scene.run_once(&delivery, "succeeded");
    assert_eq!(run["run"]["dry"], true, "{run:#}");
    let steps = run["steps"].as_array().expect("steps");
    assert_eq!(steps.len(), 4, "a deployment, two steps and its status: {run:#}");
    let said = run.to_string();
    assert!(said.contains(&format!("web/web:{FIRST_COMMIT}")) && said.contains("dry run, nothing was done"), "{run:#}");
    assert_eq!(scene.world.cloud_run.revisions(SERVICE_NAME).len(), revisions);
    let wrote = |asked: &&declic::demo::stand_ins::ledger::Asked| asked.method != "GET";
    let github = scene.world.github.ledger.requests();
    assert_eq!(github.iter().filter(wrote).count(), 0, "{github:?}");
    assert_eq!(scene.world.cloud_run.ledger.requests().iter().filter(wrote).count(), 0);
    // A restart without the flag does not make it come true.
    let shown = scene.declic(&["deliveries", "show", &delivery]).1;
    assert!(shown.contains("dry run"), "{shown}");
}

//! One noisy repository does not starve the rest: neither while its deliveries are matched, nor while its runs are done. Against the real
//! command, told by counts.

use std::path::Path;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::World;
use declic::demo::stand_ins::faults::Fault;
use declic::journal::record::{DeliveryState, Listing, RunState};
use declic::journal::sqlite::ReadOnly;
use serde_json::{Value, json};

use crate::support::binary::{Binary, WEBHOOK_SECRET};
use crate::support::client::Client;
use crate::support::held;
use crate::support::service::push;

/// The noisy repository's runs are held at their targets, the quiet one's are not.
const RULES: &str = r#"
version: 1
rules:
  noisy:
    on: { github.push: { branches: ["**"] } }
    if: repo.full_name == "acme/noisy"
    concurrency: { group: "deploy ${{ event.ref }}", mode: queue-latest }
    steps:
      - { uses: http/request, with: { connection: one, method: POST, path: /held-noisy }, timeout: 5m }
  noisy-too:
    on: { github.push: { branches: ["**"] } }
    if: repo.full_name == "acme/noisy" && event.branch != "main"
    steps:
      - { uses: http/request, with: { connection: two, method: POST, path: /held-noisy-too }, timeout: 5m }
  quiet:
    on: { github.push: { branches: [main] } }
    if: repo.full_name == "acme/quiet"
    steps:
      - { uses: http/request, with: { connection: three, method: POST, path: /quiet } }
"#;

fn written(folder: &Path, world: &World, target: &str, authority: &str) {
    let connection = |name: &str| format!("  {name}: {{ type: http, base-url: \"{target}\", methods: [POST] }}\n");
    let settings = format!(
        "version: 1\nsecrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  token: {{ from: env, name: DECLIC_GITHUB_TOKEN }}\n\
         sources:\n  github: {{ type: github, secret: hook }}\n\
         connections:\n{}{}{}\
         github: {{ token: token, api-url: \"{}\" }}\negress: {{ allow: [\"{authority}\", \"{}\"] }}\n",
        connection("one"),
        connection("two"),
        connection("three"),
        world.github.url,
        world.github.authority,
    );
    std::fs::write(folder.join("declic.yaml"), settings).expect("settings");
    std::fs::create_dir(folder.join("rules")).expect("a folder");
    std::fs::write(folder.join("rules/all.yaml"), RULES).expect("rules");
    world.github.accept_token("a token of this test");
}

/// Pushes do not follow each other, so that only GitHub could say which is newer.
async fn send(service: &Binary, repository: &str, branch: &str, number: usize) {
    let mut payload: Value = serde_json::from_slice(&push(branch)).expect("a push");
    payload["repository"]["full_name"] = json!(repository);
    payload["before"] = json!(format!("{:040x}", 2 * number + 1));
    payload["after"] = json!(format!("{:040x}", 2 * number + 2));
    Client::anonymous().deliver(&service.address, WEBHOOK_SECRET, "push", &format!("{repository}-{number}"), &payload).await;
}

fn until(what: &str, service: &Binary, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "not within a minute: {what}\n{}", service.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_deliveries_that_wait_for_github_hold_up_no_other_repository() {
    const NOISY: usize = 640;
    const AT_ONCE: usize = 16;
    let world = World::start().await.expect("stand-ins");
    let (target, open) = held::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    written(folder.path(), &world, &target.url, &target.authority);
    // Nobody waits for it for so long.
    world.github.faults.next_matching(u32::MAX, "GET", "/compare/", Fault::Slow(Duration::from_secs(60)));
    let service = Binary::start(folder.path(), |_| {});
    send(&service, "acme/noisy", "main", 0).await;
    until("the first run of the noisy one is under way", &service, || target.ledger.count("POST", "/held-noisy") == 1);
    let lane = |lane: usize| {
        let service = &service;
        async move {
            for number in 0..NOISY / AT_ONCE {
                send(service, "acme/noisy", "main", 1 + lane + AT_ONCE * number).await;
            }
        }
    };
    futures_util::future::join_all((0..AT_ONCE).map(lane)).await;
    send(&service, "acme/quiet", "main", NOISY + 1).await;
    until("the quiet one's run has been made", &service, || target.ledger.count("POST", "/quiet") == 1);
    let store = ReadOnly::open(&folder.path().join("declic.db")).expect("the store opens");
    let all = store.deliveries(&Listing { limit: 1000, ..Listing::default() }).expect("the store works");
    let waiting = all.iter().filter(|one| matches!(one.state, DeliveryState::Accepted | DeliveryState::Matching)).count();
    // More than would be in hand at once, were they taken in the order in which they came.
    assert!(waiting > 128, "{waiting} of {} wait: the noisy ones came first", all.len());
    assert_eq!(all.len(), NOISY + 2);
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_that_take_long_at_several_targets_hold_up_no_other_repository() {
    let world = World::start().await.expect("stand-ins");
    let (target, open) = held::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    written(folder.path(), &world, &target.url, &target.authority);
    let service = Binary::start(folder.path(), |_| {});
    for number in 0..30 {
        send(&service, "acme/noisy", &format!("b{number}"), number).await;
    }
    until("the noisy ones hold all that they may", &service, || target.ledger.count("POST", "/held-noisy") >= 5);
    send(&service, "acme/quiet", "main", 100).await;
    until("the quiet one's run has been made", &service, || target.ledger.count("POST", "/quiet") == 1);
    let store = ReadOnly::open(&folder.path().join("declic.db")).expect("the store opens");
    let runs = store.runs(&Listing { limit: 1000, ..Listing::default() }).expect("the store works");
    let of = |state: RunState| runs.iter().filter(|run| run.rule.starts_with("noisy") && run.state == state).count();
    assert_eq!(of(RunState::Succeeded), 0, "none of the sixty had ended before");
    assert_eq!(of(RunState::Running), 5, "and five of six workers were at them");
    drop(open);
}

//! The same by the real command: the sweep of a service, `declic recover`, and clocks that are an hour off.

use std::path::Path;
use std::time::{Duration, Instant};

use declic::clock::Timestamp;
use declic::demo::stand_ins::github::hooks::LoggedAttempt;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY, World};
use serde_json::{Value, json};

use super::{HOOK, RULES, attempt, pushed};
use crate::support::binary::{Binary, WEBHOOK_SECRET, command};
use crate::support::service::signature;

/// A folder with settings that know the hook, and a rule that comments on what is pushed.
fn settled(world: &World, folder: &Path, more: &str) {
    let text = format!(
        "version: 1\nsecrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  token: {{ from: env, name: DECLIC_GITHUB_TOKEN }}\n\
         sources:\n  github: {{ type: github, secret: hook, hooks: [{{ repository: {REPOSITORY}, id: {HOOK} }}]{more} }}\n\
         github: {{ token: token, api-url: \"{}\" }}\n",
        world.github.url
    );
    std::fs::write(folder.join("declic.yaml"), text).expect("settings");
    std::fs::create_dir_all(folder.join("rules")).expect("a folder");
    std::fs::write(folder.join("rules/note.yaml"), RULES).expect("a rule");
    world.github.accept_token("a token of this test");
}

/// A push of the commit that the stand-in knows, signed with the secret of the environment.
fn lost(guid: &str, seconds_ago: i64) -> LoggedAttempt {
    let mut payload = pushed("main");
    payload["after"] = FIRST_COMMIT.into();
    payload["repository"]["full_name"] = REPOSITORY.into();
    LoggedAttempt {
        signature: Some(signature(WEBHOOK_SECRET, payload.to_string().as_bytes())),
        ..attempt(guid, payload, 503, seconds_ago)
    }
}

fn comments(world: &World) -> usize {
    world.github.commit_comments(REPOSITORY, FIRST_COMMIT).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_pulls_needs_no_public_address() {
    let world = World::start().await.expect("stand-ins");
    world.github.add_hook(REPOSITORY, HOOK);
    let folder = tempfile::tempdir().expect("a temporary folder");
    settled(&world, folder.path(), ", pull: true, sweep: 5s");
    world.github.log_attempt(REPOSITORY, HOOK, LoggedAttempt { status_code: 200, ..lost("pulled", 30) });
    let until = |count: usize| {
        let end = Instant::now() + Duration::from_secs(30);
        while comments(&world) < count {
            assert!(Instant::now() < end, "no comment within 30 s");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let service = Binary::start(folder.path(), |_| {});
    until(1);
    drop(service);
    // What is pushed while nobody runs is there afterwards; what was done is not done again.
    world.github.log_attempt(REPOSITORY, HOOK, LoggedAttempt { status_code: 0, ..lost("pulled-later", 1) });
    let service = Binary::start(folder.path(), |_| {});
    until(2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(comments(&world), 2, "{}", service.log());
    assert!(service.log().contains("taken in from GitHub's delivery log"), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_hides_nothing_that_was_missed() {
    for ahead in [-3600, 3600] {
        let world = World::start().await.expect("stand-ins");
        world.github.add_hook(REPOSITORY, HOOK);
        world.github.set_clock_ahead(ahead);
        let folder = tempfile::tempdir().expect("a temporary folder");
        settled(&world, folder.path(), ", sweep: 5s");
        let there = |guid: &str, seconds_ago: i64| LoggedAttempt {
            delivered_at: Timestamp((Timestamp::now().seconds() + ahead - seconds_ago) * 1000),
            ..lost(guid, 0)
        };
        let service = Binary::start(folder.path(), |_| {});
        let end = Instant::now() + Duration::from_secs(30);
        let has_swept = |count: usize| {
            let requests = world.github.ledger.requests();
            requests.iter().filter(|request| request.path.ends_with("/deliveries")).count() >= count
        };
        while !has_swept(1) {
            assert!(Instant::now() < end, "{}", service.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        world.github.log_attempt(REPOSITORY, HOOK, there("missed", 0));
        while comments(&world) == 0 {
            assert!(Instant::now() < end, "{ahead} s: {}", service.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        // And by hand: a quarter of an hour is a quarter of an hour of GitHub's.
        world.github.log_attempt(REPOSITORY, HOOK, there("older", 1200));
        world.github.log_attempt(REPOSITORY, HOOK, there("younger", 800));
        let output = command(folder.path(), &["recover", "--since", "15m", "--format", "json"]).output().expect("it starts");
        let found: Value = serde_json::from_slice(&output.stdout).expect("one document");
        let ids: Vec<&str> = found.as_array().into_iter().flatten().filter_map(|one| one["delivery_id"].as_str()).collect();
        assert_eq!(ids, ["younger"], "{ahead} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_takes_in_what_was_missed_while_the_service_runs() {
    let world = World::start().await.expect("stand-ins");
    world.github.add_hook(REPOSITORY, HOOK);
    let folder = tempfile::tempdir().expect("a temporary folder");
    settled(&world, folder.path(), ", sweep: 1h");
    let service = Binary::start(folder.path(), |_| {});
    world.github.log_attempt(REPOSITORY, HOOK, lost("missed", 5000));
    let recover = |arguments: &[&str]| {
        let output = command(folder.path(), &[&["recover"], arguments].concat()).output().expect("the command starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (status, said) = recover(&["--since", "1h"]);
    assert!(status == Some(0) && said.contains("0 of 0"), "{said}");
    let (status, said) = recover(&["--dry-run"]);
    assert!(
        status == Some(0) && said.contains("missed") && said.contains("1 of 1 that did not arrive would be taken in"),
        "{said}"
    );
    assert_eq!(comments(&world), 0);
    let (status, said) = recover(&["github", "--format", "json"]);
    let found: Value = serde_json::from_str(&said).expect("one document");
    assert_eq!((status, &found[0]["delivery_id"], &found[0]["outcome"]), (Some(0), &json!("missed"), &json!("recovered")));
    let end = Instant::now() + Duration::from_secs(20);
    while comments(&world) == 0 {
        assert!(Instant::now() < end, "the service did not take it up:\n{}", service.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, said) = recover(&["nobody"]);
    assert!(status == Some(2) && said.contains("there is no source `nobody`"), "{said}");
    world.github.revoke_tokens();
    let (status, said) = recover(&[]);
    assert!(status == Some(1) && said.contains("Bad credentials"), "{said}");
}

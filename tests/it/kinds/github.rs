//! `github/comment`, `github/status`, `github/deployment`.

use std::time::Duration;

use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use serde_json::json;

use crate::support::actor::{Actor, code};

#[tokio::test]
async fn a_comment_goes_to_the_commit_or_to_the_issue_of_the_event() {
    let mut actor = Actor::new().await;
    let outcome = actor.run("github/comment", "d1-c-1", json!({ "body": "on the commit" })).await.unwrap();
    let on_commit = actor.world.github.commit_comments(REPOSITORY, FIRST_COMMIT);
    assert!(on_commit[0]["body"].as_str().unwrap().starts_with("on the commit\n"));
    assert_eq!(outcome.outputs["url"], on_commit[0]["html_url"]);

    actor.world.github.add_issue(REPOSITORY, 7, None);
    actor.world.github.add_issue(REPOSITORY, 8, None);
    actor.origin.number = Some(7);
    actor.run("github/comment", "d2-c-1", json!({ "body": "on the issue" })).await.unwrap();
    actor.run("github/comment", "d3-c-1", json!({ "body": "on another", "number": 8 })).await.unwrap();
    assert_eq!(actor.world.github.issue_comments(REPOSITORY, 7).len(), 1);
    assert_eq!(actor.world.github.issue_comments(REPOSITORY, 8).len(), 1);
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_sticky_comment_is_edited_in_place_and_others_are_not() {
    let mut actor = Actor::new().await;
    actor.world.github.add_issue(REPOSITORY, 7, None);
    actor.origin.number = Some(7);
    let sticky = |body: &str, name: &str| json!({ "body": body, "sticky": name });
    let first = actor.run("github/comment", "d1-c-1", sticky("first", "deploy")).await.unwrap();
    actor.run("github/comment", "d1-c-2", sticky("other", "tests")).await.unwrap();
    actor.run("github/comment", "d1-c-3", json!({ "body": "plain" })).await.unwrap();
    let second = actor.run("github/comment", "d2-c-1", sticky("second", "deploy")).await.unwrap();
    assert_eq!(first.outputs["id"], second.outputs["id"]);
    let bodies: Vec<String> = actor
        .world
        .github
        .issue_comments(REPOSITORY, 7)
        .iter()
        .map(|comment| comment["body"].as_str().unwrap().lines().next().unwrap().to_owned())
        .collect();
    assert_eq!(bodies, ["second", "other", "plain"]);
}

#[tokio::test]
async fn a_sticky_comment_is_found_behind_many_others() {
    let mut actor = Actor::new().await;
    actor.world.github.add_issue(REPOSITORY, 7, None);
    actor.origin.number = Some(7);
    let first = actor.run("github/comment", "d0-c-1", json!({ "body": "first", "sticky": "deploy" })).await.unwrap();
    for number in 1..=120 {
        actor.run("github/comment", &format!("d{number}-c-1"), json!({ "body": "noise" })).await.unwrap();
    }
    let again = actor.run("github/comment", "d999-c-1", json!({ "body": "again", "sticky": "deploy" })).await.unwrap();
    assert_eq!(first.outputs["id"], again.outputs["id"]);
    assert_eq!(actor.world.github.issue_comments(REPOSITORY, 7).len(), 121);
}

#[tokio::test]
async fn a_status_says_what_it_was_told_cut_to_what_github_takes() {
    let mut actor = Actor::new().await;
    actor.origin.run_url = Some("https://declic.example.dev/runs/r1".into());
    let params = json!({ "state": "failure", "context": "declic/staging", "description": "x".repeat(200) });
    actor.run("github/status", "d1-s-1", params).await.unwrap();
    actor.run("github/status", "d1-s-2", json!({ "state": "success" })).await.unwrap();
    let statuses = actor.world.github.statuses(REPOSITORY, FIRST_COMMIT);
    assert_eq!((&statuses[0]["state"], &statuses[0]["context"]), (&json!("failure"), &json!("declic/staging")));
    assert_eq!(statuses[0]["target_url"], "https://declic.example.dev/runs/r1");
    assert!(statuses[0]["description"].as_str().unwrap().chars().count() <= 140);
    assert_eq!(statuses[1]["context"], "declic");
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn one_run_has_one_deployment_with_all_its_statuses() {
    let mut actor = Actor::new().await;
    // A failed check must not keep a deployment from being reported.
    actor.run("github/status", "d1-s-1", json!({ "state": "failure", "context": "ci" })).await.unwrap();
    let report =
        |state: &str| json!({ "state": state, "environment": "staging", "environment-url": "https://staging.example.com" });
    let first = actor.run("github/deployment", "d1-r-1", report("in_progress")).await.unwrap();
    let second = actor.run("github/deployment", "d1-r-2", report("success")).await.unwrap();
    let repeated = actor.run("github/deployment", "d1-r-2", report("success")).await.unwrap();
    assert_eq!(first.outputs["id"], second.outputs["id"]);
    assert_eq!(second.outputs["status_id"], repeated.outputs["status_id"], "the same status is not added again");
    let id = first.outputs["id"].as_u64().unwrap();
    let states = |id: u64| -> Vec<String> {
        let statuses = actor.world.github.deployment_statuses(REPOSITORY, id);
        statuses.iter().map(|status| status["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(id), ["in_progress", "success"]);

    actor.origin.run = "r2".into();
    let other = actor.run("github/deployment", "d2-r-1", report("success")).await.unwrap();
    assert_ne!(other.outputs["id"], first.outputs["id"]);
    let states = actor.world.github.deployment_statuses(REPOSITORY, id);
    assert_eq!(states.last().unwrap()["state"], "inactive", "the earlier deployment ends");
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn each_class_of_failure_is_told_apart() {
    let comment = json!({ "body": "x" });
    for (status, retry_after, expected) in [
        (404, None, ("not-found", false)),
        (410, None, ("not-found", false)),
        (422, None, ("rejected", false)),
        (429, Some(3), ("rate-limited", true)),
        (500, None, ("unavailable", true)),
        (502, None, ("unavailable", true)),
    ] {
        let actor = Actor::new().await;
        actor.world.github.faults.fail_next(1, status, retry_after);
        let result = actor.run("github/comment", "d1-c-1", comment.clone()).await;
        assert_eq!(code(&result), expected, "{status}: {result:?}");
    }
    let actor = Actor::new().await;
    actor.world.github.revoke_tokens();
    let result = actor.run("github/comment", "d1-c-1", comment).await;
    assert_eq!(code(&result), ("unauthorized", false));
    let message = result.unwrap_err().why().message.clone();
    assert!(!message.contains(declic::demo::stand_ins::github::TOKEN), "{message}");
}

#[tokio::test]
async fn a_slow_github_meets_the_deadline() {
    let mut actor = Actor::new().await;
    actor.patience = Duration::from_millis(200);
    actor.world.github.faults.slow(5_000);
    let result = actor.run("github/status", "d1-s-1", json!({ "state": "success" })).await;
    assert_eq!(code(&result), ("timeout", true));
}

#[tokio::test]
async fn an_unknown_commit_is_refused_for_good() {
    let mut actor = Actor::new().await;
    actor.origin.sha = Some("e".repeat(40));
    for (kind, params) in [
        ("github/comment", json!({ "body": "x" })),
        ("github/status", json!({ "state": "success" })),
        ("github/deployment", json!({ "state": "success", "environment": "staging" })),
    ] {
        let result = actor.run(kind, "d1-x-1", params).await;
        assert_eq!(code(&result), ("rejected", false), "{kind}");
    }
}

//! GitHub's limits: waited out, shared by all calls, and a part of the hour kept for reports; what did not change is not paid for.

use std::time::Duration;

use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use declic_actions::action::Failure;
use serde_json::json;

use crate::support::actor::{Actor, code};

fn status() -> serde_json::Value {
    json!({ "state": "success" })
}

#[tokio::test]
async fn rate_limits_are_waited_out() {
    // Whole seconds on both sides: the answer's `Date` may be a second old, and the wait is rounded up.
    for (secondary, least, most) in [(true, 30, 30), (false, 80, 92)] {
        let actor = Actor::new().await;
        if secondary {
            actor.world.github.secondary_limit_next(1, 30);
        } else {
            actor.world.github.primary_limit_next(1, 90);
        }
        match actor.run("github/status", "d1-s-1", status()).await {
            Err(Failure::Retry { after: Some(after), why }) => {
                assert_eq!(why.code, "rate-limited");
                assert!((least..=most).contains(&after.as_secs()), "{after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn after_a_limit_no_call_is_made_until_it_is_over() {
    let actor = Actor::new().await;
    actor.world.github.secondary_limit_next(1, 1);
    assert_eq!(code(&actor.run("github/status", "d1-s-1", status()).await), ("rate-limited", true));
    let asked = actor.world.github.ledger.requests().len();
    assert_eq!(code(&actor.run("github/comment", "d2-c-1", json!({ "body": "x" })).await), ("rate-limited", true));
    assert_eq!(actor.world.github.ledger.requests().len(), asked, "another run's call is not even tried");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    actor.run("github/status", "d1-s-1", status()).await.unwrap();
}

#[tokio::test]
async fn the_last_tenth_of_the_hour_is_kept_for_reports() {
    let actor = Actor::new().await;
    actor.world.github.requests_left(500);
    actor.run("github/status", "d1-s-1", status()).await.unwrap();
    let result = actor.run("github/comment", "d1-c-1", json!({ "body": "x" })).await;
    assert_eq!(code(&result), ("rate-limited", true));
    match result {
        Err(Failure::Retry { after: Some(after), .. }) => assert!(after > Duration::from_secs(3_500), "{after:?}"),
        other => panic!("{other:?}"),
    }
    actor.run("github/status", "d1-s-2", status()).await.unwrap();
    actor.run("github/deployment", "d1-d-1", json!({ "state": "success", "environment": "staging" })).await.unwrap();
}

#[tokio::test]
async fn what_did_not_change_is_read_again_at_no_cost() {
    let actor = Actor::new().await;
    actor.world.github.add_issue(REPOSITORY, 7, Some(FIRST_COMMIT));
    let read = async || actor.run("github/pull-request", "d1-p-1", json!({ "number": 7 })).await.unwrap();
    let first = read().await;
    let second = read().await;
    assert_eq!(first.outputs, second.outputs);
    let answers: Vec<u16> = actor.world.github.ledger.requests().iter().map(|asked| asked.status).collect();
    assert_eq!(answers, [200, 200, 200, 200, 304, 304, 304, 304]);
    // And what did change is seen.
    actor.world.github.add_review(REPOSITORY, 7, "kim", "MEMBER", "APPROVED", FIRST_COMMIT);
    assert_eq!(read().await.outputs["approved"], true);
}

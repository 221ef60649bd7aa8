//! `cloud-run/deploy` when something goes wrong: what is put back, and what another attempt may help with.

use std::time::{Duration, Instant};

use declic::demo::stand_ins::SERVICE_NAME;
use declic::demo::stand_ins::faults::Fault;
use declic_actions::action::{Failure, Outcome};
use serde_json::{Value, json};

use super::deploy::{KIND, OLD, allocation, created, deployer, only, params, service, tags, target};
use crate::support::actor::{Actor, LAST_ATTEMPT, Recorder, code};

/// It failed for good, and everything is as it was.
fn assert_rolled_back(actor: &Actor, result: &Result<Outcome, Failure>, expected: &str) {
    assert_eq!(code(result), (expected, false), "{result:?}");
    assert!(result.as_ref().unwrap_err().why().rolled_back, "{result:?}");
    assert_eq!(allocation(actor), only(OLD));
    assert!(tags(actor).is_empty());
    assert_eq!(created(actor).len(), 1);
}

#[tokio::test]
async fn a_revision_that_fails_is_rolled_back_and_its_cause_is_told() {
    for (reason, code, advice) in [
        ("HEALTH_CHECK_CONTAINER_ERROR", "not-ready", "did not start"),
        ("CONTAINER_PERMISSION_DENIED", "image-forbidden", "artifactregistry.reader"),
        ("SECRETS_ACCESS_CHECK_FAILED", "secret-forbidden", "secret"),
    ] {
        let actor = deployer().await;
        actor.world.cloud_run.operation_fails(reason);
        let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
        assert_rolled_back(&actor, &result, code);
        let message = &result.unwrap_err().why().message.clone();
        assert!(message.contains(advice) && message.contains(reason), "{message}");
        actor.assert_nothing_refused();
    }
}

#[tokio::test]
async fn a_revision_that_never_gets_ready_is_rolled_back_within_the_deadline() {
    let mut actor = deployer().await;
    actor.patience = Duration::from_secs(2);
    actor.world.cloud_run.never_ready();
    let begun = std::time::Instant::now();
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_rolled_back(&actor, &result, "timeout");
    assert!(begun.elapsed() <= actor.patience);
}

#[tokio::test]
async fn an_unhealthy_revision_never_gets_traffic() {
    for status in [500, 404, 301] {
        let actor = deployer().await;
        actor.world.cloud_run.unhealthy(status);
        let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
        assert_rolled_back(&actor, &result, "unhealthy");
        assert!(result.unwrap_err().why().message.contains(&status.to_string()));
        let shifted = actor.world.cloud_run.ledger.effects().iter().any(|effect| {
            let new = |status: &Value| status["revision"] != OLD && status["percent"].as_i64().unwrap_or_default() > 0;
            effect.kind == "traffic.changed" && effect.details["traffic"].as_array().unwrap().iter().any(new)
        });
        assert!(!shifted);
        actor.assert_nothing_refused();
    }
}

#[tokio::test]
async fn a_revision_that_warms_up_is_given_its_attempts() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy_at_first(2, 503);
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy_at_first(3, 503);
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_rolled_back(&actor, &result, "unhealthy");
}

#[tokio::test]
async fn another_status_than_the_wanted_one_is_unhealthy() {
    let actor = deployer().await;
    let health = json!({ "health": { "path": "/readyz", "status": 204, "attempts": 1 } });
    let result = actor.run(KIND, "d1-deploy-1", params(&health)).await;
    assert_rolled_back(&actor, &result, "unhealthy");
}

#[tokio::test]
async fn without_rollback_the_old_revision_serves_and_nothing_is_said_to_be_put_back() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy(500);
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({ "rollback": false }))).await;
    assert_eq!(code(&result), ("unhealthy", false));
    assert!(!result.unwrap_err().why().rolled_back);
    assert_eq!(allocation(&actor), only(OLD));
}

#[tokio::test]
async fn a_rollback_keeps_what_others_changed_meanwhile() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy(500);
    let old = json!({ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": OLD, "tag": "stable" });
    actor.world.cloud_run.edit(SERVICE_NAME, |body| body["traffic"].as_array_mut().unwrap().push(old));
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_eq!(code(&result), ("unhealthy", false));
    assert_eq!(tags(&actor), ["stable"]);
    assert_eq!(allocation(&actor), only(OLD));
}

#[tokio::test]
async fn a_service_that_does_not_exist_is_not_created() {
    let mut actor = deployer().await;
    actor.target = Some(target(&json!({ "service": "wbe" })));
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_eq!(code(&result), ("not-found", false));
    assert!(result.unwrap_err().why().message.contains("does not exist"));
    assert_eq!(actor.world.cloud_run.ledger.count("PATCH", ""), 0);
}

#[tokio::test]
async fn each_class_of_failure_of_the_api_is_told_apart() {
    for (status, retry_after, expected, after) in [
        (403, None, ("forbidden", false), None),
        (400, None, ("rejected", false), None),
        (412, None, ("conflict", true), None),
        (429, Some(7), ("rate-limited", true), Some(7)),
        (500, None, ("unavailable", true), None),
        (503, Some(2), ("unavailable", true), Some(2)),
    ] {
        let actor = deployer().await;
        let many = if status == 412 { 20 } else { 1 };
        actor.world.cloud_run.faults.next_matching(many, "PATCH", "services", Fault::Fail { status, retry_after });
        let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
        assert_eq!(code(&result), expected, "{status}: {result:?}");
        let asked = match result.unwrap_err() {
            Failure::Retry { after, .. } => after,
            Failure::Final { .. } | Failure::NotYet { .. } => None,
        };
        assert_eq!(asked, after.map(Duration::from_secs), "{status}");
        assert!(created(&actor).is_empty());
        assert_eq!(allocation(&actor), only(OLD));
    }
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let actor = deployer().await;
    actor.clients.google.access_token(None, std::time::Instant::now() + Duration::from_secs(5)).await.unwrap();
    actor.world.tokens.revoke_all();
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();

    let actor = deployer().await;
    actor.world.cloud_run.faults.fail_next(10, 401, None);
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_eq!(code(&result), ("unauthorized", false));
    assert_eq!(actor.world.cloud_run.ledger.requests().len(), 2, "asked twice, not more");
}

#[tokio::test]
async fn an_api_that_does_not_answer_meets_the_deadline() {
    let mut actor = deployer().await;
    actor.patience = Duration::from_millis(600);
    actor.world.cloud_run.faults.slow(5_000);
    let begun = std::time::Instant::now();
    let result = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await;
    assert_eq!(code(&result), ("timeout", true));
    assert!(begun.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn failed_looks_while_the_revision_comes_up_are_borne() {
    let actor = deployer().await;
    actor.world.cloud_run.faults.next_matching(2, "POST", ":wait", Fault::Fail { status: 503, retry_after: None });
    actor.world.cloud_run.faults.next_matching(1, "POST", ":wait", Fault::Cut);
    actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    assert_eq!(created(&actor).len(), 1);
}

#[tokio::test]
async fn an_operation_that_the_api_has_forgotten_is_judged_by_the_revision() {
    let actor = deployer().await;
    actor.world.cloud_run.faults.next_matching(1, "POST", ":wait", Fault::Fail { status: 404, retry_after: None });
    let outcome = actor.run(KIND, "d1-deploy-1", params(&json!({}))).await.unwrap();
    assert_eq!(allocation(&actor), only(outcome.outputs["revision"].as_str().unwrap()));
}

#[tokio::test]
async fn a_rollback_that_fails_is_tried_again_by_the_next_attempt() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy(500);
    let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
    let progress = Recorder::default();
    actor.world.cloud_run.faults.next_matching(1, "PATCH", "", Fault::Slow(Duration::ZERO));
    // The first update makes the revision, the second one is the rollback.
    let patches = || actor.world.cloud_run.ledger.count("PATCH", "");
    let failing = async {
        let end = Instant::now() + actor.patience;
        while patches() == 0 {
            assert!(Instant::now() < end, "no revision was made");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        actor.world.cloud_run.faults.next_matching(1, "PATCH", "", Fault::Fail { status: 503, retry_after: None });
    };
    let (first, ()) = tokio::join!(actor.attempt(KIND, &intent, 1, &progress), failing);
    assert_eq!(code(&first), ("unhealthy", true), "{first:?}");
    assert!(!first.unwrap_err().why().rolled_back);
    let second = actor.see_through(KIND, &intent, &progress, 2).await;
    assert_rolled_back(&actor, &second, "unhealthy");
    assert_eq!(service(&actor)["latestReadyRevision"].as_str().unwrap().rsplit('/').next(), Some(created(&actor)[0].as_str()));
}

/// Fails the requests that would shift the traffic: every update but the first, which makes the revision.
async fn refuse_the_shift(actor: &Actor, times: u32, status: u16) {
    let end = Instant::now() + actor.patience;
    while actor.world.cloud_run.ledger.count("GET", "/readyz") == 0 {
        assert!(Instant::now() < end, "it never got as far as its health");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    actor.world.cloud_run.faults.next_matching(times, "PATCH", "", Fault::Fail { status, retry_after: None });
}

/// A health check that fails once leaves the test the time between it and the shift.
fn slowly_healthy() -> Value {
    json!({ "health": { "path": "/readyz", "attempts": 5, "every": "200ms" } })
}

#[tokio::test]
async fn a_shift_that_is_refused_takes_the_tag_away_again() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy_at_first(1, 503);
    let work = actor.run(KIND, "d1-deploy-1", params(&slowly_healthy()));
    let (result, ()) = tokio::join!(work, refuse_the_shift(&actor, 1, 403));
    assert_rolled_back(&actor, &result, "forbidden");
}

#[tokio::test]
async fn a_shift_that_the_api_fails_through_all_attempts_takes_the_tag_away_again() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy_at_first(1, 503);
    let intent = actor.prepare(KIND, "d1-deploy-1", params(&slowly_healthy())).unwrap();
    let progress = Recorder::default();
    // One more failure than there are attempts: the first try to put things back meets it too.
    let work = actor.see_through(KIND, &intent, &progress, 1);
    let (result, ()) = tokio::join!(work, refuse_the_shift(&actor, LAST_ATTEMPT + 1, 503));
    assert_rolled_back(&actor, &result, "unavailable");
}

#[tokio::test]
async fn without_rollback_a_refused_shift_leaves_the_revision_to_be_looked_at() {
    let actor = deployer().await;
    actor.world.cloud_run.unhealthy_at_first(1, 503);
    let mut more = slowly_healthy();
    more["rollback"] = false.into();
    let work = actor.run(KIND, "d1-deploy-1", params(&more));
    let (result, ()) = tokio::join!(work, refuse_the_shift(&actor, 1, 403));
    assert_eq!(code(&result), ("forbidden", false));
    assert!(!result.unwrap_err().why().rolled_back);
    assert_eq!(tags(&actor).len(), 1);
    assert_eq!(allocation(&actor), only(OLD));
}

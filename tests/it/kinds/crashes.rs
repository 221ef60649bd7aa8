//! `cloud-run/deploy` and the comment, killed everywhere: one revision, one comment, and the right traffic in the end.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY, SERVICE_NAME};
use serde_json::json;

use super::deploy::{KIND, OLD, allocation, created, deployer, only, params, service, tags};
use crate::support::actor::{Actor, Death, Recorder, code};

/// Everything is as if the deploy had run once.
fn assert_deployed_once(actor: &Actor, revision: &str, when: &str) {
    assert_eq!(created(actor), [revision], "{when}");
    assert_eq!(allocation(actor), only(revision), "{when}");
    assert!(tags(actor).is_empty(), "{when}");
    let shifts = actor.world.cloud_run.ledger.effects().into_iter().filter(|effect| {
        let serves = |status: &serde_json::Value| status["revision"] == revision && status["percent"] == 100;
        effect.kind == "traffic.changed" && effect.details["traffic"].as_array().unwrap().iter().any(serves)
    });
    assert_eq!(shifts.count(), 1, "{when}");
}

#[tokio::test]
async fn a_deploy_killed_around_any_save_goes_on_where_it_was() {
    let mut survived = 0;
    for number in 1..20 {
        let mut ended = false;
        for death in [Death::BeforeSave(number), Death::AfterSave(number)] {
            let actor = deployer().await;
            let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
            let progress = Recorder::default();
            if actor.die(KIND, &intent, &progress, death).await.is_some() {
                ended = true;
                continue;
            }
            survived += 1;
            let outcome = actor.see_through(KIND, &intent, &progress, 2).await.unwrap_or_else(|why| panic!("{death:?}: {why:?}"));
            assert_deployed_once(&actor, outcome.outputs["revision"].as_str().unwrap(), &format!("{death:?}"));
            actor.assert_nothing_refused();
        }
        if ended {
            break;
        }
    }
    assert!(survived >= 6, "{survived} deaths are too few to mean anything");
}

#[tokio::test]
async fn a_deploy_whose_answer_is_lost_at_any_request_has_its_effect_once() {
    let mut lost = 0;
    for number in 0..60 {
        let actor = deployer().await;
        actor.world.cloud_run.faults.after(number, Fault::Cut);
        let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
        let progress = Recorder::default();
        let outcome = actor.see_through(KIND, &intent, &progress, 1).await.unwrap_or_else(|why| panic!("{number}: {why:?}"));
        assert_deployed_once(&actor, outcome.outputs["revision"].as_str().unwrap(), &format!("request {number}"));
        let cut = actor.world.cloud_run.ledger.requests().iter().any(|asked| asked.status == 0);
        if !cut {
            break;
        }
        lost += 1;
    }
    assert!(lost >= 6, "{lost} lost answers are too few to mean anything");
}

#[tokio::test]
async fn a_failing_deploy_killed_around_any_save_is_still_rolled_back() {
    let mut survived = 0;
    for number in 1..20 {
        let mut ended = false;
        for death in [Death::BeforeSave(number), Death::AfterSave(number)] {
            let actor = deployer().await;
            actor.world.cloud_run.unhealthy(500);
            let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
            let progress = Recorder::default();
            if actor.die(KIND, &intent, &progress, death).await.is_some() {
                ended = true;
                continue;
            }
            survived += 1;
            let failure = actor.see_through(KIND, &intent, &progress, 2).await.unwrap_err();
            assert_eq!((failure.why().code.as_str(), failure.why().rolled_back), ("unhealthy", true), "{death:?}");
            assert_eq!(allocation(&actor), only(OLD), "{death:?}");
            assert!(tags(&actor).is_empty() && created(&actor).len() == 1, "{death:?}");
        }
        if ended {
            break;
        }
    }
    assert!(survived >= 4, "{survived} deaths are too few to mean anything");
}

#[tokio::test]
async fn a_deploy_that_wakes_up_late_does_not_take_the_traffic_back_from_a_newer_one() {
    let saves = {
        let (actor, progress) = (deployer().await, Recorder::default());
        let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
        actor.attempt(KIND, &intent, 1, &progress).await.unwrap();
        progress.saves()
    };
    // The last save says that the traffic is about to be shifted; before it, the engine's lock on the target keeps the newer out.
    let actor = deployer().await;
    let older = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
    let progress = Recorder::default();
    assert!(actor.die(KIND, &older, &progress, Death::AfterSave(saves)).await.is_none());
    let newer = actor.run(KIND, "d2-deploy-1", params(&json!({}))).await.unwrap();
    let late = actor.see_through(KIND, &older, &progress, 2).await;
    assert_eq!(allocation(&actor), only(newer.outputs["revision"].as_str().unwrap()), "{late:?}");
    assert_eq!(code(&late), ("superseded", false));
}

#[tokio::test]
async fn a_shift_that_somebody_overrode_meanwhile_is_not_repeated() {
    let actor = deployer().await;
    let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
    let progress = Recorder::default();
    actor.world.cloud_run.faults.next_matching(2, "PATCH", "/services/web", Fault::Cut);
    for number in 1..=2 {
        actor.attempt(KIND, &intent, number, &progress).await.unwrap_err();
    }
    // The shift took effect, its answer was lost, and before the next attempt a person goes back to the old revision.
    let old = json!([{ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": OLD, "percent": 100 }]);
    actor.world.cloud_run.edit(SERVICE_NAME, |service| {
        service.insert("traffic".into(), old.clone());
    });
    assert_eq!(code(&actor.attempt(KIND, &intent, 3, &progress).await), ("superseded", false));
    assert_eq!(service(&actor)["traffic"], old);
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_found_again() {
    let actor = Actor::new().await;
    let intent = actor.prepare("github/comment", "d1-comment-1", json!({ "body": "deployed" })).unwrap();
    let progress = Recorder::default();
    assert!(actor.find("github/comment", &intent, &progress).await.unwrap().is_none());
    actor.world.github.faults.next_matching(1, "POST", "comments", Fault::Cut);
    let first = actor.attempt("github/comment", &intent, 1, &progress).await;
    assert_eq!(code(&first), ("unreachable", true));
    let outcome = actor.see_through("github/comment", &intent, &progress, 2).await.unwrap();
    let comments = actor.world.github.commit_comments(REPOSITORY, FIRST_COMMIT);
    assert_eq!(comments.len(), 1);
    assert_eq!(outcome.outputs["id"], comments[0]["id"]);
    // Even if nobody asks `find` first.
    actor.attempt("github/comment", &intent, 3, &progress).await.unwrap();
    assert_eq!(actor.world.github.commit_comments(REPOSITORY, FIRST_COMMIT).len(), 1);
}

#[tokio::test]
async fn a_status_whose_answer_was_lost_is_found_again_unless_another_one_came_after_it() {
    let actor = Actor::new().await;
    let status = |state: &str| json!({ "state": state, "context": "staging" });
    let intent = actor.prepare("github/status", "d1-status-1", status("success")).unwrap();
    let progress = Recorder::default();
    assert!(actor.find("github/status", &intent, &progress).await.unwrap().is_none());
    actor.world.github.faults.next_matching(1, "POST", "statuses", Fault::Cut);
    let first = actor.attempt("github/status", &intent, 1, &progress).await;
    assert_eq!(code(&first), ("unreachable", true));
    actor.see_through("github/status", &intent, &progress, 2).await.unwrap();
    assert_eq!(actor.world.github.statuses(REPOSITORY, FIRST_COMMIT).len(), 1);
    // What came after it is what counts now: then it has to be said again.
    let other = actor.prepare("github/status", "d2-status-1", status("failure")).unwrap();
    actor.attempt("github/status", &other, 1, &progress).await.unwrap();
    assert!(actor.find("github/status", &intent, &progress).await.unwrap().is_none());
}

#[tokio::test]
async fn a_deployment_whose_answer_was_lost_at_any_request_is_made_once() {
    let params = json!({ "state": "in_progress", "environment": "staging" });
    for number in 0..20 {
        let actor = Actor::new().await;
        actor.world.github.faults.after(number, Fault::Cut);
        let intent = actor.prepare("github/deployment", "d1-report-1", params.clone()).unwrap();
        let progress = Recorder::default();
        let outcome = actor.see_through("github/deployment", &intent, &progress, 1).await.unwrap();
        assert_eq!(actor.world.github.deployments(REPOSITORY).len(), 1, "request {number}");
        let id = outcome.outputs["id"].as_u64().unwrap();
        assert_eq!(actor.world.github.deployment_statuses(REPOSITORY, id).len(), 1, "request {number}");
        if actor.world.github.ledger.requests().iter().all(|asked| asked.status != 0) {
            assert!(number >= 3);
            return;
        }
    }
    panic!("it never got through");
}

#[tokio::test]
async fn a_deploy_that_is_no_longer_wanted_stops_before_the_traffic_and_leaves_nothing() {
    let mut actor = deployer().await;
    let (asked, stop) = declic_actions::action::Stop::new();
    asked.send_replace(true);
    actor.stop = stop;
    let saved = {
        let intent = actor.prepare(KIND, "d1-deploy-1", params(&json!({}))).unwrap();
        let progress = Recorder::default();
        let failure = actor.attempt(KIND, &intent, 1, &progress).await.unwrap_err();
        assert_eq!(failure.why().code, declic_actions::action::STOPPED);
        progress.saves()
    };
    assert_eq!(saved, 0, "nothing was begun");
    assert_eq!((allocation(&actor), tags(&actor).is_empty(), created(&actor).len()), (only(OLD), true, 0));
}

//! `cloud-run/deploy` in shares, with variables, and previews under a limit.

use declic::demo::stand_ins::SERVICE_NAME;
use serde_json::{Value, json};

use super::deploy::{KIND, OLD, allocation, created, deployer, only, params, service, tags, target};
use crate::support::actor::{Actor, Death, Recorder, code};

fn canary(more: &Value) -> Value {
    let mut with = json!({ "traffic": [10, 50, 100], "hold": "10ms", "rollback": null });
    with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params(&with)
}

fn shares_of(actor: &Actor, revision: &str) -> Vec<i64> {
    let of = |change: &Value| {
        let statuses = change["traffic"].as_array().cloned().unwrap_or_default();
        statuses
            .iter()
            .filter(|status| status["revision"] == revision)
            .filter_map(|status| status["percent"].as_i64())
            .sum::<i64>()
    };
    let effects = actor.world.cloud_run.ledger.effects();
    let changes = effects.iter().filter(|effect| effect.kind == "traffic.changed");
    let mut shares: Vec<i64> = changes.map(|effect| of(&Value::Object(effect.details.clone()))).collect();
    shares.dedup();
    shares
}

#[tokio::test]
async fn a_canary_grows_in_shares_with_a_health_check_after_each() {
    let actor = deployer().await;
    let intent = actor.prepare(KIND, "d1", canary(&json!({}))).unwrap();
    let progress = Recorder::default();
    let outcome = actor.attempt(KIND, &intent, 1, &progress).await.unwrap();
    let revision = outcome.outputs["revision"].as_str().unwrap();
    assert_eq!(shares_of(&actor, revision), [0, 10, 50, 100]);
    assert_eq!(allocation(&actor), only(revision));
    assert_eq!(progress.lines("healthy").len(), 3, "before the first share and after each but the last");
    assert!(tags(&actor).is_empty());
    assert_eq!(created(&actor).len(), 1);
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_canary_that_falls_ill_is_rolled_back_by_itself() {
    let actor = deployer().await;
    let intent =
        actor.prepare(KIND, "d1", canary(&json!({ "hold": "300ms", "health": { "path": "/x", "attempts": 1 } }))).unwrap();
    let progress = Recorder::default();
    let fall_ill = async {
        progress.until_told("holding").await;
        let tagged = "---web/x";
        let fault = declic::demo::stand_ins::faults::Fault::Fail { status: 500, retry_after: None };
        actor.world.cloud_run.faults.next_matching(1, "GET", tagged, fault);
    };
    let (result, ()) = tokio::join!(actor.attempt(KIND, &intent, 1, &progress), fall_ill);
    assert_eq!(code(&result), ("unhealthy", false));
    assert!(result.unwrap_err().why().rolled_back);
    assert_eq!(allocation(&actor), only(OLD));
    assert!(tags(&actor).is_empty());
}

#[tokio::test]
async fn a_canary_leaves_alone_what_somebody_else_chose_in_the_meantime() {
    let actor = deployer().await;
    let first = actor.run(KIND, "d0", params(&json!({}))).await.unwrap().outputs["revision"].as_str().unwrap().to_owned();
    let intent = actor.prepare(KIND, "d1", canary(&json!({ "hold": "400ms" }))).unwrap();
    let progress = Recorder::default();
    let interfere = async {
        progress.until_told("holding").await;
        actor.run("cloud-run/rollback", "d2", json!({ "target": "web_staging", "to": OLD })).await.unwrap();
    };
    let (result, ()) = tokio::join!(actor.attempt(KIND, &intent, 1, &progress), interfere);
    assert_eq!(code(&result), ("superseded", false));
    assert_eq!(allocation(&actor), only(OLD), "not {first}, and not the canary");
}

#[tokio::test]
async fn a_canary_whose_process_dies_anywhere_goes_on_where_it_was() {
    for number in 1..20 {
        for death in [Death::BeforeSave(number), Death::AfterSave(number)] {
            let actor = deployer().await;
            let intent = actor.prepare(KIND, "d1", canary(&json!({}))).unwrap();
            let progress = Recorder::default();
            let ended = actor.die(KIND, &intent, &progress, death).await;
            if ended.is_none() {
                actor.see_through(KIND, &intent, &progress, 2).await.unwrap();
            }
            let revision = created(&actor)[0].clone();
            assert_eq!(created(&actor).len(), 1, "{death:?}");
            assert_eq!(shares_of(&actor, &revision), [0, 10, 50, 100], "{death:?}");
            if ended.is_some() {
                assert!(number > 5, "only {number} saves");
                return;
            }
        }
    }
    panic!("it saves too often");
}

#[tokio::test]
async fn holds_that_cannot_fit_are_refused_before_anything_changes() {
    let actor = deployer().await;
    let intent = actor.prepare(KIND, "d1", canary(&json!({ "hold": "1h" }))).unwrap();
    let result = actor.attempt(KIND, &intent, crate::support::actor::LAST_ATTEMPT, &Recorder::default()).await;
    assert_eq!(code(&result), ("invalid", false));
    assert!(created(&actor).is_empty());
}

#[tokio::test]
async fn variables_are_set_within_what_the_target_allows_and_all_others_stay() {
    let mut actor = deployer().await;
    actor.target = Some(target(&json!({ "env": ["LOG_LEVEL", "API_KEY"], "secrets": ["api-key"] })));
    let before = service(&actor)["template"]["containers"].clone();
    let env = json!({ "LOG_LEVEL": "debug", "API_KEY": { "secret": "api-key" } });
    actor.run(KIND, "d1", params(&json!({ "env": env }))).await.unwrap();
    let after = service(&actor)["template"]["containers"].clone();
    assert_eq!(
        after[0]["env"],
        json!([
            { "name": "LOG_LEVEL", "value": "debug" },
            before[0]["env"][1],
            { "name": "API_KEY", "valueSource": { "secretKeyRef": { "secret": "api-key", "version": "latest" } } },
        ])
    );
    assert_eq!(after[1], before[1]);
    for env in [json!({ "PATH": "x" }), json!({ "API_KEY": { "secret": "root-key" } })] {
        assert!(actor.prepare(KIND, "d2", params(&json!({ "env": env }))).is_err(), "{env}");
    }
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn the_rule_names_the_container_where_the_operator_does_not() {
    let actor = deployer().await;
    let before = service(&actor)["template"]["containers"].clone();
    actor.run(KIND, "d1", params(&json!({ "container": "collector" }))).await.unwrap();
    let after = service(&actor)["template"]["containers"].clone();
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1]["image"], before[1]["image"]);
    let result = actor.run(KIND, "d2", params(&json!({ "container": "nobody" }))).await;
    assert_eq!(code(&result), ("invalid", false));
}

#[tokio::test]
async fn a_preview_too_many_takes_the_place_of_the_oldest_and_says_so() {
    let mut actor = deployer().await;
    actor.target = Some(target(&json!({ "tags-only": true, "max-tags": 2, "when-full": "remove-oldest" })));
    for number in 1..=3 {
        let with = params(&json!({ "tag": format!("pr-{number}") }));
        let intent = actor.prepare(KIND, &format!("d{number}"), with).unwrap();
        let progress = Recorder::default();
        let outcome = actor.attempt(KIND, &intent, 1, &progress).await.unwrap();
        let removed = if number == 3 { json!("pr-1") } else { Value::Null };
        assert_eq!(outcome.outputs["removed_tag"], removed);
        assert_eq!(progress.lines("tag removed").len(), usize::from(number == 3));
    }
    assert_eq!(tags(&actor), ["pr-2", "pr-3"]);
    assert_eq!(allocation(&actor), only(OLD));
    // The same pull request again needs no room.
    actor.run(KIND, "d4", params(&json!({ "tag": "pr-2" }))).await.unwrap();
    assert_eq!(tags(&actor), ["pr-3", "pr-2"]);
    // And once it is closed its tag goes.
    actor.run("cloud-run/remove-tag", "d5", json!({ "target": "web_preview", "tag": "pr-2" })).await.unwrap();
    assert_eq!(tags(&actor), ["pr-3"]);
    assert!(actor.world.cloud_run.service(SERVICE_NAME).is_some());
    actor.assert_nothing_refused();
}

//! `github/react` and `github/pull-request`.

use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use serde_json::{Value, json};

use crate::support::actor::{Actor, code};

const PULL: &str = "github/pull-request";
const HEAD: &str = "2a0c4a9d2b7e6358c1d0a4f9e2b7c6350d1a8f43";

#[tokio::test]
async fn a_reaction_goes_to_the_comment_of_the_event_and_stays_one() {
    let mut actor = Actor::new().await;
    actor.world.github.add_issue(REPOSITORY, 7, None);
    actor.origin.number = Some(7);
    let comment = actor.run("github/comment", "d1-c-1", json!({ "body": "/deploy" })).await.unwrap();
    let on_issue = actor.run("github/react", "d1-r-1", json!({ "reaction": "eyes" })).await.unwrap();
    actor.origin.comment = comment.outputs["id"].as_u64();
    let first = actor.run("github/react", "d1-r-2", json!({ "reaction": "eyes" })).await.unwrap();
    let second = actor.run("github/react", "d1-r-2", json!({ "reaction": "eyes" })).await.unwrap();
    assert_eq!(first.outputs, second.outputs);
    assert_ne!(first.outputs, on_issue.outputs);
    assert_eq!(actor.world.github.ledger.effects_of("reaction.created"), ["eyes", "eyes"]);
    assert!(actor.prepare("github/react", "d1-r-3", json!({ "reaction": "wave" })).is_err());
    actor.assert_nothing_refused();
    actor.origin.comment = Some(1);
    assert_eq!(code(&actor.run("github/react", "d1-r-4", json!({ "reaction": "eyes" })).await), ("not-found", false));
    (actor.origin.comment, actor.origin.number) = (None, None);
    assert!(actor.prepare("github/react", "d1-r-5", json!({ "reaction": "eyes" })).is_err());
}

async fn pull() -> Actor {
    let actor = Actor::new().await;
    actor.world.github.add_commit(REPOSITORY, "feature", HEAD, &[FIRST_COMMIT]);
    actor.world.github.add_issue(REPOSITORY, 9, Some(HEAD));
    actor
}

async fn read(actor: &Actor) -> Value {
    let outcome = actor.run(PULL, "d1-p-1", json!({ "number": 9 })).await.unwrap();
    actor.assert_nothing_refused();
    outcome.outputs
}

#[tokio::test]
async fn a_pull_request_is_read_with_where_it_comes_from() {
    let actor = pull().await;
    let plain = read(&actor).await;
    assert_eq!(plain["head"], json!({ "branch": "feature", "sha": HEAD }));
    assert_eq!(plain["base"], json!({ "branch": "main", "sha": FIRST_COMMIT }));
    assert_eq!((&plain["fork"], &plain["draft"], &plain["mergeable"]), (&json!(false), &json!(false), &json!(true)));
    assert_eq!((&plain["checks"], &plain["approved"], &plain["author"]), (&json!("none"), &json!(false), &json!("declic-bot")));
    let head = |repository: Value| json!({ "ref": "feature", "sha": HEAD, "repo": repository });
    for repository in [json!({ "id": 1, "full_name": "stranger/web" }), Value::Null] {
        let fields = json!({ "head": head(repository), "mergeable": null, "labels": [{ "name": "preview" }] });
        actor.world.github.set_pull(REPOSITORY, 9, fields);
        let fork = read(&actor).await;
        assert_eq!((&fork["fork"], &fork["mergeable"], &fork["labels"]), (&json!(true), &Value::Null, &json!(["preview"])));
    }
}

#[tokio::test]
async fn one_failed_check_fails_all_and_one_unfinished_leaves_all_open() {
    let actor = pull().await;
    let github = &actor.world.github;
    for number in 0..120 {
        github.add_check_run(REPOSITORY, HEAD, &format!("unit {number}"), Some("success"));
    }
    assert_eq!(read(&actor).await["checks"], "success");
    github.add_check_run(REPOSITORY, HEAD, "slow", None);
    assert_eq!(read(&actor).await["checks"], "pending", "on the second page");
    github.add_check_run(REPOSITORY, HEAD, "lint", Some("timed_out"));
    assert_eq!(read(&actor).await["checks"], "failure");

    let mut actor = pull().await;
    actor.origin.sha = Some(HEAD.into());
    for (state, checks) in [("pending", "pending"), ("error", "failure"), ("success", "success")] {
        actor.run("github/status", &format!("d1-{state}"), json!({ "state": state, "context": "ci" })).await.unwrap();
        assert_eq!(read(&actor).await["checks"], checks);
    }
}

#[tokio::test]
async fn only_those_who_may_write_approve_and_only_what_they_saw() {
    let actor = pull().await;
    let review = |who: &str, association: &str, state: &str, sha: &str| {
        actor.world.github.add_review(REPOSITORY, 9, who, association, state, sha);
    };
    review("stranger", "NONE", "APPROVED", HEAD);
    review("visitor", "CONTRIBUTOR", "APPROVED", HEAD);
    assert_eq!(read(&actor).await["approved"], false);
    review("mona", "MEMBER", "APPROVED", FIRST_COMMIT);
    assert_eq!(read(&actor).await["approved"], false, "more was pushed since");
    review("mona", "MEMBER", "APPROVED", HEAD);
    review("mona", "MEMBER", "COMMENTED", HEAD);
    assert_eq!(read(&actor).await["approved"], true);
    review("hubot", "COLLABORATOR", "CHANGES_REQUESTED", HEAD);
    assert_eq!(read(&actor).await["approved"], false);
    review("hubot", "COLLABORATOR", "DISMISSED", HEAD);
    assert_eq!(read(&actor).await["approved"], true);
}

#[tokio::test]
async fn a_pull_request_that_is_not_there_is_not_found() {
    let actor = pull().await;
    assert_eq!(code(&actor.run(PULL, "d1-p-1", json!({ "number": 404 })).await), ("not-found", false));
    assert!(actor.prepare(PULL, "d1-p-1", json!({ "number": 0 })).is_err());
    for (status, expected) in [(401, ("unauthorized", false)), (403, ("forbidden", false)), (502, ("unavailable", true))] {
        actor.world.github.faults.fail_next(1, status, None);
        assert_eq!(code(&actor.run(PULL, "d1-p-1", json!({ "number": 9 })).await), expected, "{status}");
    }
}

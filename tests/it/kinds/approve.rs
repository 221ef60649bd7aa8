//! `approve`: who is asked, whose answer counts, and what comes of it.

use std::time::Duration;

use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use declic_actions::action::{Answer, Failure, Intent, Outcome};
use declic_actions::kinds::approve::may_answer;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};
use crate::support::slack::{self, TOKEN};

const KIND: &str = "approve";
const PULL: u64 = 9;

async fn actor() -> Actor {
    let mut actor = Actor::new().await;
    actor.world.github.add_issue(REPOSITORY, PULL, Some(FIRST_COMMIT));
    actor.origin.number = Some(PULL);
    actor.origin.actor = Some("mona".into());
    for (login, role) in
        [("mona", "admin"), ("reader", "read"), ("triager", "triage"), ("writer", "write"), ("keeper", "maintain")]
    {
        actor.world.github.permit(REPOSITORY, login, role);
    }
    actor
}

fn params(more: Value) -> Value {
    let mut params = json!({ "question": "Deploy @acme/all?" });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

/// The first look posts the question and waits.
async fn asked(actor: &Actor, params: Value) -> (Intent, Recorder) {
    let intent = actor.prepare(KIND, "d1-a-1", params).unwrap();
    let kept = Recorder::default();
    waits(actor.attempt(KIND, &intent, 1, &kept).await);
    (intent, kept)
}

fn waits(result: Result<Outcome, Failure>) {
    assert!(matches!(result, Err(Failure::NotYet { .. })), "{result:?}");
}

#[tokio::test]
async fn a_comment_of_somebody_who_may_is_an_answer_and_nobody_elses() {
    let actor = actor().await;
    let github = &actor.world.github;
    github.say(REPOSITORY, PULL, "writer", "/approve r1", false);
    let (intent, kept) = asked(&actor, params(json!({}))).await;
    let question = github.issue_comments(REPOSITORY, PULL).pop().unwrap()["body"].as_str().unwrap().to_owned();
    assert!(question.contains("Deploy @\u{200b}acme") && question.contains("/approve r1"), "{question}");
    for (login, body, edited) in [
        ("stranger", "/approve r1", false),
        ("reader", "/approve r1", false),
        ("triager", "/approve r1", false),
        ("mona", "/approve r1", false),
        ("writer", "/approve r2", false),
        ("writer", "I would never /approve r1", false),
        ("writer", "/approve r1", true),
    ] {
        github.say(REPOSITORY, PULL, login, body, edited);
        waits(actor.attempt(KIND, &intent, 1, &kept).await);
    }
    github.say(REPOSITORY, PULL, "writer", "/approve r1 looks good", false);
    let outcome = actor.attempt(KIND, &intent, 1, &kept).await.unwrap();
    let expected = json!({ "approved": true, "by": "writer", "via": "github", "comment": "looks good" });
    assert_eq!(outcome.outputs, expected);
    let asked = github.issue_comments(REPOSITORY, PULL);
    let ours: Vec<&Value> = asked.iter().filter(|comment| comment["user"]["type"] == "Bot").collect();
    assert_eq!(ours.len(), 1, "the question is asked once");
    assert!(ours[0]["body"].as_str().unwrap().contains("approved by writer"), "{}", ours[0]["body"]);
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn an_approving_review_counts_for_the_commit_it_saw() {
    let actor = actor().await;
    let github = &actor.world.github;
    let (intent, kept) = asked(&actor, params(json!({ "permission": "maintain" }))).await;
    let review = |login: &str, state: &str, sha: &str| github.add_review(REPOSITORY, PULL, login, "MEMBER", state, sha);
    review("writer", "APPROVED", FIRST_COMMIT);
    review("keeper", "APPROVED", &"0".repeat(40));
    review("keeper", "COMMENTED", FIRST_COMMIT);
    waits(actor.attempt(KIND, &intent, 1, &kept).await);
    review("keeper", "APPROVED", FIRST_COMMIT);
    assert_eq!(actor.attempt(KIND, &intent, 1, &kept).await.unwrap().outputs["by"], "keeper");
}

#[tokio::test]
async fn whoever_caused_the_event_decides_only_where_the_rule_says_so() {
    let actor = actor().await;
    let (intent, kept) = asked(&actor, params(json!({ "self": true, "users": ["Mona"] }))).await;
    actor.world.github.say(REPOSITORY, PULL, "writer", "/approve r1", false);
    waits(actor.attempt(KIND, &intent, 1, &kept).await);
    actor.world.github.say(REPOSITORY, PULL, "mona", "/reject r1 too late", false);
    let result = actor.attempt(KIND, &intent, 1, &kept).await;
    assert_eq!(code(&result), ("rejected", false));
    assert_eq!(result.unwrap_err().why().message, "rejected by mona (github): too late");
}

#[tokio::test]
async fn the_question_is_found_again_after_a_crash_and_its_time_is_up_in_the_end() {
    let mut actor = actor().await;
    let (intent, _lost) = asked(&actor, params(json!({}))).await;
    let kept = Recorder::default();
    waits(actor.attempt(KIND, &intent, 1, &kept).await);
    assert_eq!(actor.world.github.issue_comments(REPOSITORY, PULL).len(), 1);
    actor.waited = Duration::from_secs(86_401);
    assert_eq!(code(&actor.attempt(KIND, &intent, 1, &kept).await), ("timeout", false));
    let body = actor.world.github.issue_comments(REPOSITORY, PULL)[0]["body"].clone();
    assert!(body.as_str().unwrap().contains("nobody answered in time"), "{body}");
    let intent = actor.prepare(KIND, "d1-a-2", params(json!({ "on-timeout": "continue" }))).unwrap();
    let outcome = actor.attempt(KIND, &intent, 1, &Recorder::default()).await.unwrap();
    assert_eq!((&outcome.outputs["approved"], &outcome.outputs["via"]), (&json!(false), &json!("nobody")));
}

#[tokio::test]
async fn in_slack_buttons_of_named_users_count_and_the_question_is_plain_text() {
    let slack = slack::start().await;
    let mut actor = Actor::with(None, &[&slack.authority]).await;
    let api = format!("{}/api", slack.url);
    actor.connection = Some(json!({ "type": "slack", "token": "bot", "channels": ["#deploys"], "api-url": api }));
    actor.secrets.insert("bot".into(), Secret::new(TOKEN));
    actor.origin.actor = Some("U2".into());
    let more = json!({ "github": false, "connection": "eng", "channel": "#deploys", "slack-users": ["U1", "U2"],
        "question": "<!channel> deploy?" });
    let (intent, kept) = asked(&actor, params(more)).await;
    let message = slack.messages().pop().unwrap();
    assert_eq!(message["text"], "&lt;!channel&gt; deploy?");
    assert_eq!(message["blocks"][0]["text"], json!({ "type": "plain_text", "text": "<!channel> deploy?", "emoji": false }));
    assert_eq!(message["blocks"][2]["elements"][0]["value"], "r1");
    let answer = |by: &str, via: &str| Answer { approved: true, via: via.into(), by: by.into(), comment: None };
    assert!(may_answer(&intent, &answer("U3", "slack")).is_err(), "not named");
    assert!(may_answer(&intent, &answer("u2", "slack")).is_err(), "the requester");
    assert!(may_answer(&intent, &answer(" ", "api")).is_err(), "nobody");
    assert!(may_answer(&intent, &answer("ops", "api")).is_ok());
    actor.answer = Some(answer("U1", "slack"));
    let outcome = actor.attempt(KIND, &intent, 1, &kept).await.unwrap();
    assert_eq!((&outcome.outputs["by"], slack.messages().len()), (&json!("U1"), 1));
    let closed = slack.messages().pop().unwrap();
    assert_eq!(closed["blocks"].as_array().unwrap().len(), 2, "the buttons are gone: {closed}");
}

#[tokio::test]
async fn a_call_that_nobody_could_answer_is_refused() {
    let actor = actor().await;
    for more in [
        json!({ "question": "" }),
        json!({ "every": "1s" }),
        json!({ "at-most": "60d" }),
        json!({ "channel": "#deploys" }),
        json!({ "permission": "owner" }),
    ] {
        assert!(actor.prepare(KIND, "d1-a-1", params(more.clone())).is_err(), "{more}");
    }
}

//! `slack/post` and `slack/respond`: channels, threads, edits, what is found again, and what Slack refuses with a 200.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::server::Running;
use declic_actions::action::{Failure, RESPONSE_URL};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};
use crate::support::slack::{self, DEPLOYS, Slack, TOKEN};

const POST: &str = "slack/post";
const RESPOND: &str = "slack/respond";

pub async fn workspace() -> (Running<Slack>, Actor) {
    let slack = slack::start().await;
    let mut actor = Actor::with(None, &[&slack.authority]).await;
    let channels = json!(["#deploys", "#private", "#old", "#gone", DEPLOYS]);
    let api = format!("{}/api", slack.url);
    actor.connection = Some(json!({ "type": "slack", "token": "bot", "channels": channels, "api-url": api }));
    actor.secrets.insert("bot".into(), Secret::new(TOKEN));
    actor.secrets.insert(RESPONSE_URL.into(), Secret::new(format!("{}/commands/T1/2/abc", slack.url)));
    (slack, actor)
}

fn post(more: Value) -> Value {
    let mut params = json!({ "connection": "slack_eng", "channel": "#deploys", "text": "Done." });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[tokio::test]
async fn a_message_is_posted_answered_in_its_thread_and_edited_in_place() {
    let (slack, actor) = workspace().await;
    let first = actor.run(POST, "d1-s-1", post(json!({ "text": "deploying" }))).await.unwrap();
    assert_eq!(first.outputs["channel"], DEPLOYS);
    let ts = first.outputs["ts"].clone();
    actor.run(POST, "d1-s-2", post(json!({ "text": "still at it", "thread": ts }))).await.unwrap();
    let edited = actor.run(POST, "d1-s-3", post(json!({ "text": "deployed", "update": ts }))).await.unwrap();
    assert_eq!(edited.outputs, first.outputs, "an edit keeps its place, found by the channel's name");
    actor.run(POST, "d1-s-4", post(json!({ "text": "by id", "channel": DEPLOYS, "update": ts }))).await.unwrap();
    let messages = slack.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[0]["text"], &messages[1]["thread_ts"]), (&json!("by id"), &ts));
}

#[tokio::test]
async fn only_the_channels_of_the_connection_are_written_to() {
    let (slack, actor) = workspace().await;
    for more in [
        json!({ "channel": "#general" }),
        json!({ "channel": "C0GENERAL" }),
        json!({ "channel": "" }),
        json!({ "text": "" }),
        json!({ "thread": "now" }),
        json!({ "thread": "1.1", "update": "1.1" }),
    ] {
        assert!(actor.prepare(POST, "d1-s-1", post(more.clone())).is_err(), "{more}");
    }
    let secrets = serde_json::to_string(&actor.prepare(POST, "d1-s-1", post(json!({}))).unwrap()).unwrap();
    assert!(!secrets.contains(TOKEN), "what is journaled holds no secret");
    assert!(slack.ledger.requests().is_empty());
}

#[tokio::test]
async fn a_message_whose_answer_was_lost_is_found_again_in_channel_and_thread() {
    let (slack, actor) = workspace().await;
    let first = actor.run(POST, "d1-s-1", post(json!({}))).await.unwrap();
    for (key, more) in [("d1-s-2", json!({})), ("d1-s-3", json!({ "thread": first.outputs["ts"] }))] {
        let intent = actor.prepare(POST, key, post(more)).unwrap();
        assert!(actor.find(POST, &intent, &Recorder::default()).await.unwrap().is_none());
        slack.faults.next(1, Fault::Cut);
        assert_eq!(code(&actor.attempt(POST, &intent, 1, &Recorder::default()).await), ("unreachable", true));
        let before = slack.messages().len();
        let found = actor.see_through(POST, &intent, &Recorder::default(), 2).await.unwrap();
        assert_eq!(slack.messages().len(), before, "{key}");
        assert_eq!(found.outputs["ts"], slack.messages()[before - 1]["ts"], "{key}");
    }
    // A bot that may not read cannot tell, and says so by finding nothing.
    slack.take_scope("channels:history");
    let intent = actor.prepare(POST, "d1-s-2", post(json!({}))).unwrap();
    assert!(actor.find(POST, &intent, &Recorder::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_text_that_is_too_long_is_cut_to_what_slack_takes() {
    let (slack, actor) = workspace().await;
    actor.run(POST, "d1-s-1", post(json!({ "text": "ä".repeat(50_000) }))).await.unwrap();
    assert_eq!(slack.messages()[0]["text"].as_str().unwrap().chars().count(), 40_000);
}

#[tokio::test]
async fn each_refusal_of_slack_is_told_apart() {
    let (slack, mut actor) = workspace().await;
    for (more, expected) in [
        (json!({ "channel": "#gone" }), ("not-found", false)),
        (json!({ "channel": "#private" }), ("forbidden", false)),
        (json!({ "channel": "#old" }), ("forbidden", false)),
        (json!({ "thread": "1.000001" }), ("not-found", false)),
        (json!({ "update": "1.000001" }), ("not-found", false)),
        (json!({ "channel": "#gone", "update": "1.000001" }), ("not-found", false)),
    ] {
        let result = actor.run(POST, "d1-s-1", post(more.clone())).await;
        assert_eq!(code(&result), expected, "{more}: {result:?}");
    }
    for (status, expected) in
        [(403, ("forbidden", false)), (404, ("not-found", false)), (500, ("unavailable", true)), (503, ("unavailable", true))]
    {
        slack.faults.fail_next(1, status, None);
        assert_eq!(code(&actor.run(POST, "d1-s-1", post(json!({}))).await), expected, "{status}");
    }
    slack.faults.fail_next(1, 429, Some(30));
    match actor.run(POST, "d1-s-1", post(json!({}))).await {
        Err(Failure::Retry { after: Some(after), why }) => assert_eq!((after.as_secs(), why.code.as_str()), (30, "rate-limited")),
        other => panic!("{other:?}"),
    }
    slack.faults.next(1, Fault::BadBody);
    assert_eq!(code(&actor.run(POST, "d1-s-1", post(json!({}))).await), ("bad-answer", false));
    actor.secrets.insert("bot".into(), Secret::new("xoxb-wrong"));
    let result = actor.run(POST, "d1-s-1", post(json!({}))).await;
    assert_eq!(code(&result), ("unauthorized", false));
    assert!(!result.unwrap_err().why().message.contains("xoxb"));
    slack.take_scope("chat:write");
    actor.secrets.insert("bot".into(), Secret::new(TOKEN));
    assert_eq!(code(&actor.run(POST, "d1-s-1", post(json!({}))).await), ("forbidden", false));
    actor.secrets.clear();
    assert_eq!(code(&actor.run(POST, "d1-s-1", post(json!({}))).await), ("invalid", false));
}

#[tokio::test]
async fn a_command_is_answered_where_slack_said_until_it_takes_no_more() {
    let (slack, actor) = workspace().await;
    actor.run(RESPOND, "d1-r-1", json!({ "text": "for you" })).await.unwrap();
    actor.run(RESPOND, "d1-r-2", json!({ "text": "for all", "visible-to": "channel" })).await.unwrap();
    let answers = slack.answers();
    assert_eq!((&answers[0]["response_type"], &answers[0]["text"]), (&json!("ephemeral"), &json!("for you")));
    assert_eq!(answers[1]["response_type"], "in_channel");
    for number in 3..=5 {
        actor.run(RESPOND, &format!("d1-r-{number}"), json!({ "text": "more" })).await.unwrap();
    }
    let result = actor.run(RESPOND, "d1-r-6", json!({ "text": "too much" })).await;
    assert_eq!(code(&result), ("expired", false));
    slack.faults.fail_next(1, 500, None);
    let result = actor.run(RESPOND, "d1-r-7", json!({ "text": "x" })).await;
    assert_eq!(code(&result), ("unavailable", true));
    assert!(!result.unwrap_err().why().message.contains("/commands/"), "whoever knows the address can answer");
}

#[tokio::test]
async fn an_event_that_is_no_command_has_nobody_to_answer() {
    let (slack, mut actor) = workspace().await;
    actor.secrets.remove(RESPONSE_URL);
    assert_eq!(code(&actor.run(RESPOND, "d1-r-1", json!({ "text": "x" })).await), ("invalid", false));
    actor.secrets.insert(RESPONSE_URL.into(), Secret::new("file:///etc/passwd"));
    assert_eq!(code(&actor.run(RESPOND, "d1-r-1", json!({ "text": "x" })).await), ("invalid", false));
    assert!(slack.ledger.requests().is_empty());
    assert!(actor.prepare(RESPOND, "d1-r-1", json!({ "text": "x", "visible-to": "everybody" })).is_err());
}

//! `x/post`: both ways to sign, what is found again, and X's refusals.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::server::Running;
use declic_actions::action::Failure;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};
use crate::support::x::{self, BEARER, KEYS, X};

const KIND: &str = "x/post";

async fn account(more: Value) -> (Running<X>, Actor) {
    let x = x::start().await;
    let mut actor = Actor::with(None, &[&x.authority]).await;
    let mut connection = json!({ "type": "x", "auth": "keys", "api-url": x.url });
    connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    actor.connection = Some(connection);
    actor.secrets.insert("keys".into(), Secret::new(KEYS));
    (x, actor)
}

fn post(text: &str) -> Value {
    json!({ "connection": "x_acme", "text": text })
}

#[tokio::test]
async fn a_post_and_a_reply_are_signed_for_the_user() {
    let (x, actor) = account(json!({})).await;
    let text = "1.2 is out & it's <good>: ünïcode, 100 % + more!";
    let first = actor.run(KIND, "d1-x-1", post(text)).await.unwrap();
    let id = first.outputs["id"].as_str().unwrap();
    assert_eq!(first.outputs["url"], format!("https://x.com/i/status/{id}"));
    let with = json!({ "connection": "x_acme", "text": "and a reply", "in-reply-to": id });
    actor.run(KIND, "d1-x-2", with).await.unwrap();
    assert_eq!(x.posts()[0]["reply"], json!({ "in_reply_to_tweet_id": id }));
    for reply in ["abc", "1/2", "123456789012345678901"] {
        assert!(actor.prepare(KIND, "d1-x-3", json!({ "text": "x", "in-reply-to": reply })).is_err(), "{reply}");
    }
}

#[tokio::test]
async fn a_bearer_token_of_oauth_2_does_as_well() {
    let (x, mut actor) = account(json!({})).await;
    actor.secrets.insert("keys".into(), Secret::new(json!({ "access_token": BEARER }).to_string()));
    actor.run(KIND, "d1-x-1", post("hello")).await.unwrap();
    assert_eq!(x.posts().len(), 1);
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_found_again() {
    let (x, actor) = account(json!({})).await;
    let intent = actor.prepare(KIND, "d1-x-1", post("a & b")).unwrap();
    assert!(actor.find(KIND, &intent, &Recorder::default()).await.unwrap().is_none());
    x.faults.next(1, Fault::Cut);
    let outcome = actor.see_through(KIND, &intent, &Recorder::default(), 1).await.unwrap();
    assert_eq!(x.posts().len(), 1);
    assert_eq!(outcome.outputs["id"], x.posts()[0]["id"]);
    // Even if nobody asks `find` first.
    let again = actor.attempt(KIND, &intent, 2, &Recorder::default()).await.unwrap();
    assert_eq!(again.outputs, outcome.outputs);
    // A first attempt that repeats somebody's text is no success.
    assert_eq!(code(&actor.run(KIND, "d2-x-1", post("a & b")).await), ("duplicate", false));
}

#[tokio::test]
async fn no_more_is_posted_in_a_day_than_the_operator_allows() {
    let (x, actor) = account(json!({ "max-posts-per-day": 2 })).await;
    actor.run(KIND, "d1-x-1", post("one")).await.unwrap();
    actor.run(KIND, "d1-x-2", post("two")).await.unwrap();
    assert_eq!(code(&actor.run(KIND, "d1-x-3", post("three")).await), ("quota", false));
    assert_eq!(x.posts().len(), 2);
}

#[tokio::test]
async fn each_refusal_of_x_is_told_apart_and_no_key_is_shown() {
    let (x, mut actor) = account(json!({})).await;
    for (status, expected) in [
        (400, ("rejected", false)),
        (403, ("forbidden", false)),
        (404, ("not-found", false)),
        (500, ("unavailable", true)),
        (503, ("unavailable", true)),
    ] {
        x.faults.fail_next(1, status, None);
        assert_eq!(code(&actor.run(KIND, "d1-x-1", post("hello")).await), expected, "{status}");
    }
    x.limit_next();
    match actor.run(KIND, "d1-x-1", post("hello")).await {
        Err(Failure::Retry { after: Some(after), why }) => {
            assert!((50..=61).contains(&after.as_secs()), "{after:?}");
            assert_eq!(why.code, "rate-limited");
        }
        other => panic!("{other:?}"),
    }
    for keys in [KEYS.replace("user secret&2", "wrong"), "not json: app/secret+1".to_owned(), json!({ "token": "x" }).to_string()]
    {
        actor.secrets.insert("keys".into(), Secret::new(keys.clone()));
        let result = actor.run(KIND, "d1-x-1", post("hello")).await;
        assert!(matches!(code(&result), ("unauthorized" | "invalid", false)), "{keys}: {result:?}");
        assert!(!result.unwrap_err().why().message.contains("secret+1"), "{keys}");
    }
    assert!(x.posts().is_empty());
    actor.patience = std::time::Duration::from_millis(200);
    x.faults.slow(5_000);
    actor.secrets.insert("keys".into(), Secret::new(KEYS));
    assert_eq!(code(&actor.run(KIND, "d1-x-1", post("hello")).await), ("timeout", true));
}

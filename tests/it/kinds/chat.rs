//! `discord/post` and `google-chat/post`: threads, edits, and addresses that stay secret.

use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::server::Running;
use declic_actions::action::Failure;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};
use crate::support::chat::{self, Chat, DISCORD, GOOGLE};

const POST: &str = "discord/post";
const SAY: &str = "google-chat/post";

pub async fn chatter(kind: &str, path: &str) -> (Running<Chat>, Actor) {
    let chat = chat::start().await;
    let mut actor = Actor::with(None, &[&chat.authority]).await;
    actor.secrets.insert("hook".into(), Secret::new(format!("{}{path}", chat.url)));
    actor.connection = Some(json!({ "type": kind, "webhook": "hook" }));
    (chat, actor)
}

#[tokio::test]
async fn a_message_goes_to_the_channel_to_a_thread_or_in_place_of_another() {
    let (chat, actor) = chatter("discord", DISCORD).await;
    let run = async |with: Value| actor.run(POST, "d1-m-1", with).await.unwrap().outputs;
    let first = run(json!({ "text": "hello @everyone" })).await;
    assert_eq!(first["channel"], "777");
    let second = run(json!({ "text": "x".repeat(2_100), "thread": "4242" })).await;
    assert_eq!(second["channel"], "4242");
    let edited = run(json!({ "text": "done", "update": first["id"] })).await;
    assert_eq!(edited["id"], first["id"]);
    let forum = run(json!({ "text": "topic", "thread-name": "Deploy 17" })).await;
    assert_eq!(forum["channel"], forum["id"]);
    let messages = chat.on_discord();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0]["content"], "done");
    assert_eq!(messages[1]["content"].as_str().unwrap().chars().count(), 2_000);
    for with in [
        json!({ "text": "x", "thread": "a/b" }),
        json!({ "text": "x", "update": "../1" }),
        json!({ "text": "x", "thread": "1", "thread-name": "y" }),
        json!({ "text": "" }),
    ] {
        assert!(actor.prepare(POST, "d1-m-2", with.clone()).is_err(), "{with}");
    }
    let gone = actor.run(POST, "d1-m-3", json!({ "text": "x", "update": "1" })).await;
    assert_eq!(code(&gone), ("not-found", false));
}

#[tokio::test]
async fn messages_of_one_key_are_in_one_thread_and_none_is_posted_twice() {
    let (chat, actor) = chatter("google-chat", GOOGLE).await;
    let with = json!({ "text": "one", "thread": 17 });
    let intent = actor.prepare(SAY, "d1-g-1", with).unwrap();
    chat.faults.next(1, Fault::Cut);
    let first = actor.see_through(SAY, &intent, &Recorder::default(), 1).await.unwrap();
    let second = actor.run(SAY, "d1-g-2", json!({ "text": "two", "thread": 17 })).await.unwrap();
    let third = actor.run(SAY, "d1-g-3", json!({ "text": "three" })).await.unwrap();
    assert_eq!(chat.in_google_chat().len(), 3);
    assert_eq!(first.outputs["thread"], second.outputs["thread"]);
    assert_ne!(first.outputs["thread"], third.outputs["thread"]);
    assert!(chat.ledger.refusals().is_empty(), "{:?}", chat.ledger.refusals());
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_and_none_is_ever_told() {
    for (kind, action, path, secret) in
        [("discord", POST, DISCORD, "discord-webhook-token"), ("google-chat", SAY, GOOGLE, "chat-token")]
    {
        let (chat, mut actor) = chatter(kind, path).await;
        let intent = actor.prepare(action, "d1", json!({ "text": "x" })).unwrap();
        assert!(!serde_json::to_string(&intent).unwrap().contains(secret));
        chat.faults.fail_next(1, 400, None);
        chat.faults.next(1, Fault::Fail { status: 403, retry_after: None });
        for _ in 0..2 {
            let failure = actor.run(action, "d1", json!({ "text": "x" })).await.unwrap_err();
            assert!(!failure.why().message.contains(secret), "{failure:?}");
        }
        for wrong in
            ["", "no address", "https://discord.com/api/webhooks/1", "https://chat.googleapis.com/v1/spaces/A/messages?key=k"]
        {
            actor.secrets.insert("hook".into(), Secret::new(wrong));
            assert_eq!(code(&actor.run(action, "d1", json!({ "text": "x" })).await), ("invalid", false), "{wrong}");
        }
    }
}

#[tokio::test]
async fn patience_is_kept_to_the_fraction_of_a_second() {
    let (chat, actor) = chatter("discord", DISCORD).await;
    chat.faults.fail_next(1, 429, Some(3));
    match actor.run(POST, "d1", json!({ "text": "x" })).await {
        Err(Failure::Retry { after: Some(after), why }) => {
            assert_eq!((after.as_secs(), why.code.as_str()), (3, "rate-limited"));
        }
        other => panic!("{other:?}"),
    }
}

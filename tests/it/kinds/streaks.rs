//! Messages that stand for many: each kind that can edit what it said, edited, deleted in between, and told by an older delivery.

use declic::demo::stand_ins::REPOSITORY;
use declic_actions::action::{Outcome, Streak};
use declic_actions::kinds;
use serde_json::{Value, json};

use super::chat::chatter;
use super::slack::workspace;
use crate::support::actor::{Actor, Recorder};
use crate::support::chat::DISCORD;

/// Tells it as the `count`th of a streak; answers what it leaves to the next, and the outcome.
async fn tell(actor: &mut Actor, kind: &str, with: &Value, streak: (u64, bool, Option<Value>)) -> (Option<Value>, Outcome) {
    let (count, is_newest, kept) = streak;
    let since = "2026-11-24 14:02 UTC".to_owned();
    actor.streak = Some(Streak { count, since, is_newest, kept });
    let intent = actor.prepare(kind, &format!("d{count}-s-1"), with.clone()).unwrap();
    let outcome = actor.attempt(kind, &intent, 1, &Recorder::default()).await.unwrap();
    (kinds::find(kind).unwrap().keeps(&intent, &outcome), outcome)
}

/// Once, again, by an older delivery, and after all messages were deleted. `texts` gives what can be read now.
async fn story(actor: &mut Actor, kind: &str, with: impl Fn(&str) -> Value, texts: impl Fn() -> Vec<String>, clear: impl Fn()) {
    let (kept, first) = tell(actor, kind, &with("disk 91 %"), (1, true, None)).await;
    assert_eq!(texts(), ["disk 91 %"], "{kind}");
    let (kept, second) = tell(actor, kind, &with("disk 95 %"), (37, true, kept)).await;
    assert_eq!(texts(), ["disk 95 %\n\n_37 times since 2026-11-24 14:02 UTC_"], "{kind}");
    assert_eq!(first.outputs, second.outputs, "{kind}: the same message");
    tell(actor, kind, &with("disk 93 %"), (38, false, kept.clone())).await;
    assert_eq!(texts(), ["disk 95 %\n\n_38 times since 2026-11-24 14:02 UTC_"], "{kind}: the latest is shown, all are counted");
    clear();
    let (_, third) = tell(actor, kind, &with("disk 96 %"), (39, true, kept)).await;
    assert_eq!(texts(), ["disk 96 %\n\n_39 times since 2026-11-24 14:02 UTC_"], "{kind}: what was deleted is posted anew");
    assert!(third.outputs.is_object());
}

#[tokio::test]
async fn a_message_in_slack_counts_in_place() {
    let (slack, mut actor) = workspace().await;
    let texts = || slack.messages().iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect();
    story(&mut actor, "slack/post", |text| json!({ "channel": "#deploys", "text": text }), texts, || slack.clear()).await;
}

#[tokio::test]
async fn a_message_on_discord_counts_in_place_also_in_a_thread_of_its_own() {
    for more in [json!({}), json!({ "thread-name": "Disk" }), json!({ "thread": "42" })] {
        let (chat, mut actor) = chatter("discord", DISCORD).await;
        let texts = || chat.on_discord().iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect();
        let with = |text: &str| {
            let mut with = more.clone();
            with["text"] = text.into();
            with
        };
        story(&mut actor, "discord/post", with, texts, || chat.clear()).await;
    }
}

#[tokio::test]
async fn a_comment_counts_in_place() {
    for more in [json!({}), json!({ "sticky": "disk" })] {
        let mut actor = Actor::new().await;
        actor.world.github.add_issue(REPOSITORY, 7, None);
        actor.origin.number = Some(7);
        let github = std::sync::Arc::clone(&actor.world.github);
        let comments = || github.issue_comments(REPOSITORY, 7);
        let texts = || {
            let text = |comment: &Value| comment["body"].as_str().unwrap().split("\n\n<!--").next().unwrap().to_owned();
            comments().iter().map(text).collect()
        };
        let with = |text: &str| {
            let mut with = more.clone();
            with["body"] = text.into();
            with
        };
        story(&mut actor, "github/comment", with, texts, || github.clear_comments(REPOSITORY)).await;
    }
}

#[tokio::test]
async fn a_message_to_another_place_is_not_edited() {
    let (slack, mut actor) = workspace().await;
    let with = |channel: &str| json!({ "channel": channel, "text": "disk full" });
    let (kept, _) = tell(&mut actor, "slack/post", &with("#deploys"), (1, true, None)).await;
    let elsewhere = super::super::support::slack::DEPLOYS;
    tell(&mut actor, "slack/post", &with(elsewhere), (2, true, kept)).await;
    assert_eq!(slack.messages().len(), 2, "the rule names another channel by now");
}

//! What a Slack app sends besides commands: buttons, modals, shortcuts and events, through the whole service.

use std::time::{Duration, Instant};

use declic::journal::record::DeliveryState;
use serde_json::{Value, json};

use super::service::Service;
use crate::support;

/// A button that is answered at once and does its work afterwards; a modal that is checked; a mention.
const RULES: &str = "  press:
    on: { slack.action: { source: slack_acme, types: [block_actions], actions: [deploy], channels: [deploys] } }
    allow: { slack-users: [U1] }
    steps:
      - uses: http/request
        with: { connection: orders_api, path: \"/deploy/${{ slug(event.value ?? 'none') }}\" }
        timeout: 30s
      - uses: slack/respond
        with: { text: \"Done with ${{ event.action }}, <@${{ event.user.id }}>.\", visible-to: channel }
  modal:
    on: { slack.action: { source: slack_acme, types: [view_submission], callbacks: [order] } }
    if: event.values.count == \"0\"
    reply: { when: first, errors: { amount: \"At least one, not ${{ json(event.values.count) }}.\" } }
  shortcut:
    on: { slack.action: { source: slack_acme, types: [shortcut, message_action] } }
    reply: { when: first, close: true }
    steps: [{ uses: http/request, with: { connection: orders_api, path: /shortcut }, timeout: 30s }]
  mention:
    on: { slack.event: { source: slack_acme, types: [app_mention, message], channels: [C1] } }
    steps:
      - uses: slack/post
        with: { connection: slack_eng, channel: \"#deploys\", text: \"You said: ${{ event.text ?? '' }}\", thread: \"${{ event.ts ?? '' }}\" }
";

async fn started(slack: &declic::demo::stand_ins::server::Running<support::slack::Slack>) -> Service {
    Service::with_slack(RULES, &format!("{}/api", slack.url), &slack.authority).await
}

fn press(user: &str, url: &str) -> Value {
    json!({
        "type": "block_actions", "trigger_id": ulid::Ulid::new().to_string(), "response_url": url, "team": { "id": "T1" },
        "user": { "id": user, "username": "mona" }, "channel": { "id": "C1", "name": "deploys" },
        "actions": [{ "action_id": "deploy", "value": "api" }],
    })
}

#[tokio::test]
async fn a_button_is_acknowledged_at_once_and_answered_at_its_address_when_the_work_is_done() {
    let slack = support::slack::start().await;
    let service = started(&slack).await;
    service.target.takes(Duration::from_millis(1500));
    let asked = Instant::now();
    let reply = service.interaction(&press("U1", &format!("{}/commands/T1/2/abc", slack.url))).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!((reply.status, &reply.body), (200, &Value::Null));
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!(service.asked("/deploy/api"), 1);
    let answer = json!({ "response_type": "in_channel", "replace_original": false, "text": "Done with deploy, <@U1>." });
    assert_eq!(slack.answers(), [answer]);
    let stranger = service.interaction(&press("U2", "https://hooks.slack.com/x")).await;
    assert_eq!((stranger.status, service.settled(&stranger).await), (200, DeliveryState::Ignored));
    assert_eq!(service.asked("/deploy/api"), 1, "only those who are named");
}

#[tokio::test]
async fn a_modal_stays_open_with_what_is_wrong_and_closes_without() {
    let slack = support::slack::start().await;
    let service = started(&slack).await;
    let modal = |count: &str| {
        json!({ "type": "view_submission", "user": { "id": "U1", "name": "mona" }, "team": { "id": "T1" }, "trigger_id": ulid::Ulid::new().to_string(),
            "view": { "callback_id": "order", "state": { "values": { "amount": { "count": { "type": "plain_text_input", "value": count } } } } } })
    };
    let wrong = service.interaction(&modal("0")).await;
    let errors = json!({ "response_action": "errors", "errors": { "amount": "At least one, not \"0\"." } });
    assert_eq!((wrong.status, wrong.body), (200, errors));
    let right = service.interaction(&modal("2")).await;
    assert_eq!((right.status, right.body), (200, Value::Null));
}

#[tokio::test]
async fn a_shortcut_is_answered_before_its_steps() {
    let slack = support::slack::start().await;
    let service = started(&slack).await;
    service.target.takes(Duration::from_millis(1500));
    let asked = Instant::now();
    let shortcut =
        json!({ "type": "shortcut", "callback_id": "new", "trigger_id": "1.2", "user": { "id": "U1", "username": "mona" } });
    let reply = service.interaction(&shortcut).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!((reply.status, reply.body.clone()), (200, json!({ "response_action": "clear" })));
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!(service.asked("/shortcut"), 1);
}

#[tokio::test]
async fn an_event_starts_rules_once_and_what_the_app_itself_posted_starts_none() {
    let slack = support::slack::start().await;
    let service = started(&slack).await;
    let event = |id: &str, inner: Value| json!({ "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": id, "event": inner });
    let root = slack.post_as_bot("before");
    let mention =
        event("Ev1", json!({ "type": "app_mention", "user": "U1", "text": "<@U0> <!channel>", "ts": root, "channel": "C1" }));
    let reply = service.slack_event(&mention).await;
    assert_eq!((reply.status, &reply.body), (200, &Value::Null));
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    let again = service.slack_event(&mention).await;
    assert_eq!(again.header("x-declic-delivery"), reply.header("x-declic-delivery"), "Slack tries again with the same event_id");
    let posted = slack.messages();
    assert_eq!((posted.len(), &posted[1]["text"]), (2, &json!("You said: &lt;@U0&gt; &lt;!channel&gt;")));
    let ours = event(
        "Ev2",
        json!({ "type": "message", "bot_id": "B1", "app_id": "A1", "text": "You said", "ts": "9.9", "channel": "C1" }),
    );
    assert_eq!(service.settled(&service.slack_event(&ours).await).await, DeliveryState::Ignored);
    let elsewhere = event("Ev3", json!({ "type": "message", "user": "U1", "text": "hello", "ts": "9.9", "channel": "C9" }));
    assert_eq!(service.settled(&service.slack_event(&elsewhere).await).await, DeliveryState::Ignored);
    assert_eq!(slack.messages().len(), 2);
}

/// Two rules let in the same group, by its handle and by its id.
const GROUPS: &str = "  handle:
    on: { slack.command: { source: slack_acme, command: deploy } }
    allow: { slack-groups: [Deployers] }
    reply: { when: first, text: \"on it\" }
    steps: [{ uses: http/request, with: { connection: orders_api, path: /deploy }, timeout: 30s }]
  id:
    on: { slack.action: { source: slack_acme } }
    allow: { slack-groups: [S0DEPLOYERS], slack-users: [U9] }
    steps: [{ uses: http/request, with: { connection: orders_api, path: /press }, timeout: 30s }]
";

async fn command(service: &Service) -> (Value, DeliveryState) {
    let reply = service.slash("/deploy", "web", "https://hooks.slack.com/x").await;
    assert_eq!(reply.status, 200);
    (reply.body.clone(), service.settled(&reply).await)
}

#[tokio::test]
async fn members_of_a_group_may_start_a_rule_and_others_may_not() {
    let slack = support::slack::start().await;
    slack.deployers(&["U1", "U2"]);
    let service = Service::with_slack(GROUPS, &format!("{}/api", slack.url), &slack.authority).await;
    let (said, state) = command(&service).await;
    assert_eq!((said["text"].as_str(), state), (Some("on it"), DeliveryState::Completed));
    for (user, may) in [("U2", true), ("U3", false), ("U9", true)] {
        let reply = service.interaction(&press(user, "https://hooks.slack.com/x")).await;
        let state = if may { DeliveryState::Completed } else { DeliveryState::Ignored };
        assert_eq!((reply.status, service.settled(&reply).await), (200, state), "{user}");
    }
    assert_eq!((service.asked("/deploy"), service.asked("/press")), (1, 2));
    let asked = slack.asked_for_members();
    command(&service).await;
    assert_eq!((asked, slack.asked_for_members()), (2, 2), "once for the handle, once for the id, and then from memory");
}

#[tokio::test]
async fn nobody_belongs_to_a_group_that_cannot_be_looked_up() {
    let slack = support::slack::start().await;
    slack.deployers(&["U1"]);
    slack.take_scope("usergroups:read");
    let service = Service::with_slack(GROUPS, &format!("{}/api", slack.url), &slack.authority).await;
    assert_eq!(command(&service).await, (Value::Null, DeliveryState::Ignored));
    assert_eq!(service.asked("/deploy"), 0);
    // Also while Slack answers nothing at all, and in time for Slack's three seconds.
    let gone = Service::with_slack(GROUPS, "http://127.0.0.1:9/api", "127.0.0.1:9").await;
    let asked = Instant::now();
    assert_eq!(command(&gone).await, (Value::Null, DeliveryState::Ignored));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

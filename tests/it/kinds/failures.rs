//! What each action makes of each failure of its target: one table of all kinds, and one of what can go wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use declic::demo::stand_ins::faults::{Fault, Faults};
use declic::demo::stand_ins::server::Running;
use declic::demo::stand_ins::{FIRST_COMMIT, IMAGE, IMAGE_REPOSITORY, PROJECT, REGION, REPOSITORY};
use declic_actions::action::{Failure, RESPONSE_URL};
use declic_actions::kinds;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use super::deploy::{self, OLD};
use crate::support::actor::{Actor, code};
use crate::support::chat::{self, Chat, DISCORD, GOOGLE};
use crate::support::echo::{self, Echo};
use crate::support::slack::{self, DEPLOYS, Slack};
use crate::support::x::{self, X};

const JOB: &str = "projects/acme-staging/locations/europe-west1/jobs/migrate";
const QUEUE: &str = "projects/acme-ops/locations/europe-west1/queues/reminders";

/// Kinds that ask nobody over HTTP, or only what the rule says; their failures are in their own tests.
const ELSEWHERE: &[&str] = &["approve", "exec/run", "log", "wait/until"];

/// Whose answers fail.
#[derive(Clone, Copy, PartialEq)]
enum At {
    CloudRun,
    GitHub,
    Google,
    Fulfillment,
    Slack,
    X,
    Chat,
    Http,
}

/// One kind, with a call that works.
struct Row {
    kind: &'static str,
    at: At,
    /// Settings of its target or connection.
    settings: Value,
    params: Value,
    /// Codes that differ from those of the table, by status.
    codes: &'static [(u16, &'static str)],
}

struct Everything {
    actor: Actor,
    slack: Running<Slack>,
    x: Running<X>,
    chat: Running<Chat>,
    echo: Running<Echo>,
}

impl Everything {
    async fn start() -> Self {
        let (slack, x, chat, echo) = (slack::start().await, x::start().await, chat::start().await, echo::start().await);
        let allow = [slack.authority.as_str(), &x.authority, &chat.authority, &echo.authority];
        let mut actor = Actor::with(None, &allow).await;
        actor.world.registry.push(IMAGE_REPOSITORY, "v2", "v2");
        actor.world.github.add_issue(REPOSITORY, 7, Some(FIRST_COMMIT));
        actor.world.github.add_workflow(REPOSITORY, "release.yml", &[]);
        actor.origin.number = Some(7);
        actor.apis.add_topic("projects/p/topics/t");
        actor.apis.add_table("t", &["a"]);
        actor.apis.add_queue(QUEUE);
        let job = json!({ "name": JOB, "template": { "template": { "maxRetries": 0, "containers": [{ "image": IMAGE }] } } });
        actor.world.cloud_run.seed_job(&job).unwrap();
        for (name, value) in [
            ("slack", slack::TOKEN.to_owned()),
            ("x", x::KEYS.to_owned()),
            ("discord", format!("{}{DISCORD}", chat.url)),
            ("google-chat", format!("{}{GOOGLE}", chat.url)),
            (RESPONSE_URL, format!("{}/commands/T1/2/abc", slack.url)),
        ] {
            actor.secrets.insert(name.into(), Secret::new(value));
        }
        Self { actor, slack, x, chat, echo }
    }

    fn faults(&self, at: At) -> &Faults {
        match at {
            At::CloudRun => &self.actor.world.cloud_run.faults,
            At::GitHub => &self.actor.world.github.faults,
            At::Google => &self.actor.apis.faults,
            At::Fulfillment => &self.actor.world.dialogflow.faults,
            At::Slack => &self.slack.faults,
            At::X => &self.x.faults,
            At::Chat => &self.chat.faults,
            At::Http => &self.echo.faults,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let web = deploy::target(&json!({}));
        let job = json!({ "type": "cloud-run-job", "project": PROJECT, "region": REGION, "job": "migrate", "images": ["**"] });
        let agent = json!({ "type": "dialogflow", "project": "p" });
        let slack =
            json!({ "type": "slack", "token": "slack", "channels": [DEPLOYS], "api-url": format!("{}/api", self.slack.url) });
        let tasks = json!({
            "type": "cloud-tasks", "project": "acme-ops", "location": "europe-west1", "queues": ["reminders"], "base-url": "https://x.example",
        });
        let bot = json!({ "type": "dialogflow-fulfillment", "url": format!("{}/es", self.actor.world.dialogflow.url) });
        let row = |kind, at, settings: Value, params| Row { kind, at, settings, params, codes: &[] };
        let none = Value::Null;
        vec![
            row("cloud-run/deploy", At::CloudRun, web.clone(), deploy::params(&json!({}))),
            row("cloud-run/traffic", At::CloudRun, web.clone(), json!({ "revision": OLD, "percent": 100 })),
            row("cloud-run/rollback", At::CloudRun, web.clone(), json!({ "to": OLD })),
            row("cloud-run/tag", At::CloudRun, web.clone(), json!({ "revision": OLD, "tag": "old" })),
            row("cloud-run/remove-tag", At::CloudRun, web, json!({ "tag": "old" })),
            row("cloud-run/run-job", At::CloudRun, job, json!({})),
            row("github/comment", At::GitHub, none.clone(), json!({ "body": "x" })),
            row("github/status", At::GitHub, none.clone(), json!({ "state": "success" })),
            row("github/deployment", At::GitHub, none.clone(), json!({ "state": "success", "environment": "staging" })),
            row("github/react", At::GitHub, none.clone(), json!({ "reaction": "eyes" })),
            row("github/pull-request", At::GitHub, none.clone(), json!({ "number": 7 })),
            row("github/label", At::GitHub, none.clone(), json!({ "add": ["a"] })),
            row("github/check-run", At::GitHub, none.clone(), json!({ "name": "rules", "conclusion": "success" })),
            row("github/workflow-dispatch", At::GitHub, none.clone(), json!({ "workflow": "release.yml", "ref": "main" })),
            row("github/repository-dispatch", At::GitHub, none.clone(), json!({ "event-type": "x" })),
            row("slack/post", At::Slack, slack, json!({ "channel": DEPLOYS, "text": "x" })),
            Row { codes: &[(404, "expired")], ..row("slack/respond", At::Slack, none, json!({ "text": "x" })) },
            row("discord/post", At::Chat, json!({ "type": "discord", "webhook": "discord" }), json!({ "text": "x" })),
            row("google-chat/post", At::Chat, json!({ "type": "google-chat", "webhook": "google-chat" }), json!({ "text": "x" })),
            row("x/post", At::X, json!({ "type": "x", "auth": "x", "api-url": self.x.url }), json!({ "text": "x" })),
            row(
                "fcm/send",
                At::Google,
                json!({ "type": "fcm", "project": "p" }),
                json!({ "topic": "t", "title": "x", "body": "y" }),
            ),
            row(
                "bigquery/insert",
                At::Google,
                json!({ "type": "bigquery", "project": "p", "dataset": "d", "tables": ["t"] }),
                json!({ "table": "t", "row": { "a": 1 } }),
            ),
            row(
                "pubsub/publish",
                At::Google,
                json!({ "type": "pubsub", "project": "p", "topics": ["t"] }),
                json!({ "topic": "t", "data": "x" }),
            ),
            row("cloud-tasks/create", At::Google, tasks, json!({ "queue": "reminders", "path": "/x" })),
            row("dialogflow/fulfill", At::Fulfillment, bot, json!({ "session": "s", "intent": "i" })),
            row("dialogflow/detect-intent", At::Google, agent.clone(), json!({ "session": "s", "query": "x" })),
            row("dialogflow/send-event", At::Google, agent, json!({ "session": "s", "event": "e" })),
            row("http/request", At::Http, json!({ "type": "http", "base-url": self.echo.url }), json!({ "path": "/" })),
        ]
    }

    /// Makes the row's call once, as a new one.
    async fn run(&mut self, row: &Row, key: &str) -> Result<declic_actions::action::Outcome, Failure> {
        let is_target = row.settings["type"].as_str().is_some_and(|kind| kind.starts_with("cloud-run"));
        let settings = Some(row.settings.clone()).filter(|settings| !settings.is_null());
        (self.actor.target, self.actor.connection) = if is_target { (settings, None) } else { (None, settings) };
        let mut params = row.params.clone();
        if row.kind == "x/post" {
            // X takes no text twice.
            params["text"] = key.into();
        }
        self.actor.run(row.kind, key, params).await
    }
}

/// Status, `Retry-After`, and what is made of it.
const STATUSES: &[(u16, Option<u32>, &str, bool)] = &[
    (400, None, "rejected", false),
    (401, None, "unauthorized", false),
    (403, None, "forbidden", false),
    (404, None, "not-found", false),
    (409, None, "conflict", false),
    (412, None, "precondition-failed", false),
    (429, Some(7), "rate-limited", true),
    (500, None, "unavailable", true),
    (502, None, "unavailable", true),
    (503, Some(7), "unavailable", true),
    (504, None, "unavailable", true),
];
/// More than any action bears by itself.
const OFTEN: u32 = 60;

#[tokio::test]
async fn every_kind_is_in_the_table() {
    let everything = Everything::start().await;
    let mut listed: BTreeMap<&str, usize> = BTreeMap::new();
    for kind in everything.rows().iter().map(|row| row.kind) {
        *listed.entry(kind).or_default() += 1;
    }
    for action in kinds::ALL {
        let name = action.spec().name;
        let times = listed.remove(name).unwrap_or(0);
        assert_eq!(times, usize::from(!ELSEWHERE.contains(&name)), "`{name}` needs one row in this table");
    }
    assert!(listed.is_empty(), "no such kinds: {listed:?}");
}

#[tokio::test]
async fn each_class_of_failure_is_told_apart_by_every_kind() {
    let mut everything = Everything::start().await;
    for row in everything.rows() {
        for (status, retry_after, word, again) in STATUSES {
            everything.actor.forget_limits();
            everything.faults(row.at).fail_next(OFTEN, *status, *retry_after);
            let result = everything.run(&row, &format!("s{status}")).await;
            everything.faults(row.at).clear();
            let word = row.codes.iter().find(|(other, _)| other == status).map_or(*word, |(_, word)| *word);
            assert_eq!(code(&result), (word, *again), "{} {status}: {result:?}", row.kind);
            if let Err(Failure::Retry { after, .. }) = result {
                let wanted = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
                assert_eq!(after, wanted, "{} {status} hands on what the target asks for", row.kind);
            }
        }
        everything.actor.forget_limits();
        everything.run(&row, "works").await.unwrap_or_else(|failure| panic!("{} does not work at all: {failure:?}", row.kind));
    }
}

#[tokio::test]
async fn a_cut_connection_and_a_silent_target_are_worth_another_attempt_of_every_kind() {
    let mut everything = Everything::start().await;
    for row in everything.rows() {
        everything.faults(row.at).cut_connection_next(OFTEN);
        let result = everything.run(&row, "cut").await;
        everything.faults(row.at).clear();
        assert_eq!(code(&result), ("unreachable", true), "{}: {result:?}", row.kind);

        everything.actor.patience = Duration::from_millis(300);
        everything.faults(row.at).slow(3_000);
        let result = everything.run(&row, "slow").await;
        everything.faults(row.at).clear();
        everything.actor.patience = Duration::from_secs(10);
        assert_eq!(code(&result), ("timeout", true), "{}: {result:?}", row.kind);

        everything.faults(row.at).next(OFTEN, Fault::BadBody);
        let result = everything.run(&row, "garbled").await;
        everything.faults(row.at).clear();
        if let Err(failure) = result {
            assert_eq!(failure.why().code, "bad-answer", "{}: {failure:?}", row.kind);
        }
    }
}

#[tokio::test]
async fn a_token_of_google_that_was_revoked_is_fetched_again_once_by_every_kind() {
    let mut everything = Everything::start().await;
    let google: Vec<Row> = everything.rows().into_iter().filter(|row| matches!(row.at, At::CloudRun | At::Google)).collect();
    assert!(google.len() >= 11);
    for row in google {
        everything.run(&row, "before").await.unwrap_or_else(|failure| panic!("{}: {failure:?}", row.kind));
        everything.actor.world.tokens.revoke_all();
        everything.run(&row, "after").await.unwrap_or_else(|failure| panic!("{}: {failure:?}", row.kind));
    }
}

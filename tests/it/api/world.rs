//! A service that has something to show: one rule that works, one that fails, one that does not match.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::server::Running;
use serde_json::Value;

use crate::support::binary::{Binary, WEBHOOK_SECRET};
use crate::support::client::{Client, Reply};
use crate::support::echo;
use crate::support::service::push;

const SETTINGS: &str = "version: 1
secrets:
  hook: { from: env, name: DECLIC_GITHUB_SECRET }
  operator: { from: env, name: OPERATOR }
  api: { from: env, name: DECLIC_GITHUB_TOKEN }
sources:
  github: { type: github, secret: hook }
connections:
  alive: { type: http, base-url: \"ALIVE\", methods: [GET, POST] }
egress: { allow: [\"127.0.0.1\"] }
rules: rules.yaml
";

const RULES: &str = "version: 1
rules:
  tell:
    description: Tells the other side.
    on: { github.push: { branches: [main] } }
    steps:
      - id: tell
        uses: http/request
        with: { connection: alive, method: POST, path: /ok, body: { ref: \"${{ event.ref }}\", api_token: not-for-eyes } }
  break:
    on: { github.push: { branches: [main] } }
    steps:
      - id: broken
        uses: http/request
        with: { connection: alive, method: POST, path: /moved, body: { ref: \"${{ event.ref }}\" } }
  elsewhere:
    on: { github.push: { branches: [release/*] } }
    steps:
      - uses: http/request
        with: { connection: alive, path: /never }
";

/// What is added to settings and rules.
#[derive(Default)]
pub struct More<'m> {
    pub secrets: &'m str,
    pub settings: &'m str,
    pub rules: &'m str,
}

/// The service with its folder and the other side.
pub struct World {
    pub service: Binary,
    pub folder: tempfile::TempDir,
    pub client: Client,
    _alive: Running<echo::Echo>,
}

impl World {
    /// Listening, with nothing received.
    pub async fn start() -> Self {
        Self::with("", |_| {}).await
    }

    /// The same with further settings.
    pub async fn with(settings: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::of(More { settings, ..More::default() }, prepare).await
    }

    /// The same with further secrets and rules, too.
    pub async fn of(more: More<'_>, prepare: impl FnOnce(&mut Command)) -> Self {
        let alive = echo::start().await;
        let folder = tempfile::tempdir().unwrap();
        let text =
            SETTINGS.replace("ALIVE", &alive.url).replace("sources:\n", &format!("{}sources:\n", more.secrets)) + more.settings;
        fs::write(folder.path().join("declic.yaml"), text).unwrap();
        fs::write(folder.path().join("rules.yaml"), format!("{RULES}{}", more.rules)).unwrap();
        let service = Binary::start(folder.path(), |command| {
            command.env("OPERATOR", "nobody uses this token here");
            prepare(command);
        });
        Self { service, folder, client: Client::anonymous(), _alive: alive }
    }

    /// An address of the service.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.address)
    }

    /// A path below the interface.
    pub async fn get(&self, path: &str) -> Reply {
        self.client.get(&self.url(&format!("/api/v1{path}"))).await
    }

    /// The same, with a body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.client.json("POST", &self.url(&format!("/api/v1{path}")), body).await
    }

    /// Delivers a signed push and waits until its runs are over. Answers our id of it.
    pub async fn deliver(&self, branch: &str, id: &str) -> String {
        self.deliver_as(&self.client, branch, id).await
    }

    /// The same, looked after by somebody who may see it.
    pub async fn deliver_as(&self, looker: &Client, branch: &str, id: &str) -> String {
        let id = self.send(branch, id).await;
        self.until_as(looker, &format!("/deliveries/{id}"), |reply| {
            matches!(reply.text("/delivery/state"), "completed" | "failed" | "ignored")
        })
        .await;
        id
    }

    /// Delivers a signed push, and waits for nothing. Answers our id of it.
    pub async fn send(&self, branch: &str, id: &str) -> String {
        let sent = self.client.github(&self.service.address, WEBHOOK_SECRET, "push", id, push(branch));
        let reply = sent.await.expect("an answer");
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.text("/id").to_owned()
    }

    /// Asks again until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        self.until_as(&self.client, path, wanted).await
    }

    /// The same for somebody who may see it.
    pub async fn until_as(&self, looker: &Client, path: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let reply = looker.get(&self.url(&format!("/api/v1{path}"))).await;
            if wanted(&reply) {
                return reply;
            }
            assert!(Instant::now() < end, "not within 20 s: {reply:#?}\n{}", self.service.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

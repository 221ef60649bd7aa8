//! The real service as a GitHub App, with `acme/web` and its rules at GitHub's stand-in.

use std::fs;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::World;
use serde_json::{Value, json};

use super::acme::{APP, ID, PERMISSIONS, WEB, keys};
use crate::support::binary::{Binary, WEBHOOK_SECRET};
use crate::support::client::{Client, Reply};
use crate::support::openapi;

pub struct Site {
    pub world: World,
    pub service: Binary,
    _folder: tempfile::TempDir,
}

impl Site {
    /// With these events and actions granted, and the operator's rule `operators` for pushes to main.
    pub async fn start(grant: &str) -> Self {
        let world = World::start().await.expect("the stand-ins start");
        world.github.hold_to(openapi::github());
        let (key, public) = keys();
        world.github.add_app(APP, &public);
        world.github.install(APP, "acme", PERMISSIONS);
        world.github.set_repository_id(WEB, u64::try_from(ID).unwrap());
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("app.pem"), key.expose()).expect("written");
        let settings = format!(
            "version: 1\nsecrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  app_key: {{ from: file, path: app.pem }}\n\
             sources:\n  github: {{ type: github-app, app-id: {APP}, key: app_key, secret: hook, sweep: 5s }}\n\
             repositories:\n  - {{ name: {WEB}, id: {ID}, grant: {grant} }}\n\
             github: {{ api-url: \"{}\" }}\negress: {{ allow: [\"{}\"] }}\n",
            world.github.url, world.github.authority
        );
        fs::write(folder.path().join("declic.yaml"), settings).expect("written");
        fs::create_dir(folder.path().join("rules")).expect("made");
        let operators = "version: 1\nrules:\n  operators:\n    on: { github.push: { branches: [main] } }\n    steps: [{ uses: log, with: { message: seen } }]\n";
        fs::write(folder.path().join("rules/all.yaml"), operators).expect("written");
        let service = Binary::start(folder.path(), |_| {});
        Self { world, service, _folder: folder }
    }

    /// Signs an event of GitHub's and sends it. Answers our id of the delivery.
    pub async fn deliver(&self, event: &str, guid: &str, payload: &Value) -> String {
        Client::anonymous().deliver(&self.service.address, WEBHOOK_SECRET, event, guid, payload).await
    }

    /// A push to main of a repository with this name and number.
    pub async fn push(&self, guid: &str, sha: &str, repository: (&str, i64)) -> String {
        let mut payload: Value =
            serde_json::from_str(include_str!("../../../src/cli/init/push.json")).expect("the sample is JSON");
        payload["after"] = json!(sha);
        payload["head_commit"]["id"] = json!(sha);
        payload["repository"]["full_name"] = json!(repository.0);
        payload["repository"]["id"] = json!(repository.1);
        self.deliver("push", guid, &payload).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        Client::anonymous().get(&format!("http://{}/api/v1{path}", self.service.address)).await
    }

    pub async fn until<T>(&self, what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = found().await {
                return found;
            }
            assert!(Instant::now() < end, "not within 60 s: {what}\n{}", self.service.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The runs of a delivery, once there are so many and all are over.
    pub async fn runs(&self, delivery: &str, count: usize) -> Vec<Value> {
        self.until(&format!("{count} runs that are over"), async || {
            let shown = self.get(&format!("/deliveries/{delivery}")).await;
            let runs = shown.body["runs"].as_array().cloned().unwrap_or_default();
            let over = |run: &Value| matches!(run["state"].as_str(), Some("succeeded" | "failed" | "dead"));
            (runs.len() == count && runs.iter().all(over)).then_some(runs)
        })
        .await
    }
}

//! `declic serve` among stand-ins: pushes of real commits in, and what an operator sees of them by the command line.

use std::fs;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::{IMAGE, IMAGE_REPOSITORY, REPOSITORY, World};
use serde_json::{Value, json};

use super::binary::{Binary, WEBHOOK_SECRET, command};
use super::client::Client;

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Scene {
    pub world: World,
    pub service: Binary,
    folder: tempfile::TempDir,
}

/// What a push says.
pub struct Push<'a> {
    pub guid: &'a str,
    pub before: &'a str,
    pub after: &'a str,
    pub forced: bool,
}

impl Scene {
    /// A service with these rules, the target `web_staging`, and more settings.
    pub async fn start(rules: &str, more: &str) -> Self {
        Self::serving(rules, more, &[]).await
    }

    /// The same with more arguments of `declic serve`.
    pub async fn serving(rules: &str, more: &str, arguments: &[&str]) -> Self {
        let world = World::start().await.expect("the stand-ins start");
        world.cloud_run.operations_take(Duration::from_millis(20), 1);
        world.github.accept_token("a token of this test");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = format!(
            "version: 1\n\
             secrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  github_token: {{ from: env, name: DECLIC_GITHUB_TOKEN }}\n\
             sources:\n  github: {{ type: github, secret: hook }}\n\
             targets:\n  web_staging: {{ type: cloud-run, project: acme-staging, region: europe-west1, service: web, images: [\"{IMAGE}\"] }}\n\
             {more}{}",
            world.settings("github_token")
        );
        fs::write(folder.path().join("declic.yaml"), settings).expect("written");
        fs::create_dir(folder.path().join("rules")).expect("made");
        fs::write(folder.path().join("rules/web.yaml"), rules).expect("written");
        let service = Binary::start(folder.path(), |command| {
            command.args(arguments);
        });
        Self { world, service, folder }
    }

    /// A commit that GitHub knows, with its image.
    pub fn commit(&self, sha: &str, parents: &[&str]) {
        self.world.registry.push(IMAGE_REPOSITORY, sha, &format!("content of {sha}"));
        self.world.github.add_commit(REPOSITORY, "main", sha, parents);
    }

    /// Signs and sends. Answers our id of the delivery.
    pub async fn push(&self, push: &Push<'_>) -> String {
        let mut payload: Value =
            serde_json::from_str(include_str!("../../../src/cli/init/push.json")).expect("the sample is JSON");
        payload["before"] = json!(push.before);
        payload["after"] = json!(push.after);
        payload["forced"] = json!(push.forced);
        payload["head_commit"]["id"] = json!(push.after);
        payload["commits"] = json!([payload["head_commit"].clone()]);
        payload["repository"]["full_name"] = json!(REPOSITORY);
        self.deliver("push", push.guid, &payload).await
    }

    /// Signs any event of GitHub's and sends it. Answers our id of the delivery.
    pub async fn deliver(&self, event: &str, guid: &str, payload: &Value) -> String {
        Client::anonymous().deliver(&self.service.address, WEBHOOK_SECRET, event, guid, payload).await
    }

    /// Runs the command. Its status, and all that it said.
    pub fn declic(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = command(self.folder.path(), arguments).output().expect("the command starts");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (output.status.code(), said)
    }

    /// The only run of a delivery and its steps, as `deliveries show` gives them.
    pub fn run_of(&self, delivery: &str) -> Option<Value> {
        let (status, said) = self.declic(&["deliveries", "show", delivery, "--format", "json"]);
        assert_eq!(status, Some(0), "{said}");
        let shown: Value = serde_json::from_str(&said).expect("one document");
        shown.pointer("/runs/0").cloned()
    }

    /// The run once it is in this state.
    pub fn run_once(&self, delivery: &str, state: &str) -> Value {
        let mut last = Value::Null;
        self.until(&format!("a run that is {state}"), || {
            last = self.run_of(delivery).unwrap_or_default();
            last["run"]["state"] == state
        });
        last
    }

    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}\n{}", self.service.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

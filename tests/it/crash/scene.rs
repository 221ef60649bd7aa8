//! The stand-ins outlive every process; a sender sends again what was not acknowledged; in the end everything is counted.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use declic::demo::stand_ins::{IMAGE, IMAGE_REPOSITORY, REPOSITORY, SERVICE_NAME, World};
use declic::journal::record::{DeliveryState, Listing, RunState};
use declic::journal::sqlite::ReadOnly;
use declic::settings::{self, Environment, Mode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::binary::{WEBHOOK_SECRET, command, free_port};
use crate::support::client::Client;

/// How long everything may take to come to rest once nobody kills it any more.
pub const PATIENCE: Duration = Duration::from_secs(60);

const RULES: &str = r#"version: 1
rules:
  deploy:
    on: { github.push: { branches: [main] } }
    environment: { name: staging, url: "${{ steps.deploy.outputs.url }}" }
    concurrency: { group: web-staging, mode: queue-all }
    steps:
      - id: deploy
        uses: cloud-run/deploy
        retry: { attempts: 5, wait: 100ms, max-wait: 1s }
        with:
          target: web_staging
          image: europe-docker.pkg.dev/acme-build/web/web:${{ event.sha }}
          health: { path: /, attempts: 2, every: 20ms }
          rollback: true
      - uses: github/comment
        retry: { attempts: 5, wait: 100ms, max-wait: 1s }
        with: { body: "Staging runs ${{ short(event.sha) }}: ${{ steps.deploy.outputs.revision }}" }
    on-failure:
      - uses: github/comment
        retry: { attempts: 5, wait: 100ms, max-wait: 1s }
        with: { body: "Staging refused ${{ short(event.sha) }}: ${{ failure.code }}" }
    finally:
      - uses: github/status
        retry: { attempts: 5, wait: 100ms, max-wait: 1s }
        with: { state: success, context: staging }
"#;

/// The stand-ins, which outlive every process, and the folder that `serve` runs in.
pub struct Scene {
    pub world: World,
    pub folder: tempfile::TempDir,
    pub client: Client,
    pub address: String,
    pub deliveries: Vec<Delivery>,
    pub kills: usize,
}

pub struct Delivery {
    pub id: String,
    pub sha: String,
    pub acknowledged: bool,
}

impl Scene {
    pub async fn new() -> Self {
        Self::on("sqlite: declic.db").await
    }

    /// With another `store:`.
    pub async fn on(store: &str) -> Self {
        let world = World::start().await.expect("the stand-ins start");
        world.cloud_run.operations_take(Duration::from_millis(40), 1);
        world.github.accept_token("a token of this test");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_port());
        let settings = format!(
            "version: 1\nlisten: {address}\nstore: {{ {store} }}\n\
             secrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  github_token: {{ from: env, name: DECLIC_GITHUB_TOKEN }}\n\
             sources:\n  github: {{ type: github, secret: hook }}\n\
             targets:\n  web_staging: {{ type: cloud-run, project: acme-staging, region: europe-west1, service: web, images: [\"{IMAGE}\"] }}\n\
             rules: rules/*.yaml\n{}",
            world.settings("github_token")
        );
        fs::write(folder.path().join("declic.yaml"), settings).expect("written");
        fs::create_dir(folder.path().join("rules")).expect("made");
        fs::write(folder.path().join("rules/web.yaml"), RULES).expect("written");
        Self { world, folder, client: Client::anonymous(), address, deliveries: Vec::new(), kills: 0 }
    }

    pub fn spawn(&self, crash_at: Option<u64>) -> Process {
        self.start(command(self.folder.path(), &["serve", "--config", "declic.yaml"]), crash_at)
    }

    pub fn start(&self, mut command: Command, crash_at: Option<u64>) -> Process {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("serve.log")).expect("a log");
        command.stdout(Stdio::null()).stderr(log);
        if let Some(n) = crash_at {
            command.env("DECLIC_CRASH_AT", n.to_string());
        }
        Process(command.spawn().expect("the command starts"))
    }

    /// A commit with its image, and the delivery that tells of it. Not sent yet.
    pub fn commit(&mut self) {
        let number = self.deliveries.len();
        let sha = hex::encode(Sha256::digest(format!("commit {number}")))[..40].to_owned();
        let parent = self.deliveries.last().map_or(declic::demo::stand_ins::FIRST_COMMIT.to_owned(), |last| last.sha.clone());
        self.world.registry.push(IMAGE_REPOSITORY, &sha, &format!("content {number}"));
        self.world.github.add_commit(REPOSITORY, "main", &sha, &[&parent]);
        self.deliveries.push(Delivery { id: format!("00000000-0000-4000-8000-{number:012}"), sha, acknowledged: false });
    }

    /// As a sender would: what was not acknowledged is sent again, under the same id.
    pub async fn send(&mut self) {
        for index in 0..self.deliveries.len() {
            if !self.deliveries[index].acknowledged {
                let status = self.send_one(index).await;
                self.deliveries[index].acknowledged = status.is_some_and(|status| status < 300);
            }
        }
    }

    /// One request with one delivery, sent before or not. Answers the status, if there was an answer.
    pub async fn send_one(&self, index: usize) -> Option<u16> {
        self.send_to(&self.address, index).await
    }

    /// The same to one of several replicas.
    pub async fn send_to(&self, address: &str, index: usize) -> Option<u16> {
        let before = index.checked_sub(1).map_or(declic::demo::stand_ins::FIRST_COMMIT, |before| &self.deliveries[before].sha);
        let delivery = &self.deliveries[index];
        let body = push(before, &delivery.sha).to_string().into_bytes();
        let reply = self.client.github(address, WEBHOOK_SECRET, "push", &delivery.id, body).await.ok()?;
        assert!(matches!(reply.status, 200 | 202 | 429 | 503), "{reply:?}");
        Some(reply.status)
    }

    pub fn all_acknowledged(&self) -> bool {
        self.deliveries.iter().all(|delivery| delivery.acknowledged)
    }

    /// What became of the deliveries: (final, all that are known).
    pub fn settled(&self) -> (usize, usize) {
        let Ok(store) = self.look() else { return (0, 0) };
        let listing = Listing { limit: 100_000, ..Listing::default() };
        let all = store.deliveries(&listing).unwrap_or_default();
        (all.iter().filter(|delivery| delivery.state.is_final()).count(), all.len())
    }

    /// The store that the settings name, whatever it is.
    pub fn look(&self) -> Result<ReadOnly, String> {
        let file = self.folder.path().join("declic.yaml");
        let loaded = settings::load(&file, Mode::Names, &Environment::given([])).map_err(|unusable| unusable.render(false))?;
        loaded.settings.store.place.look()
    }

    pub fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("declic.db")
    }

    /// Sends what is left and waits until all deliveries are final, or the process is dead. True if it lives.
    pub async fn rest(&mut self, process: &mut Process) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            self.send().await;
            let (settled, known) = self.settled();
            if self.all_acknowledged() && known == self.deliveries.len() && settled == known {
                return true;
            }
            if process.is_dead() {
                return false;
            }
            assert!(Instant::now() < until, "{settled} of {known} settled, {} sent\n{}", self.deliveries.len(), self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("serve.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// The count: every delivery had each of its effects exactly once. `deployed`: the states of each deployment, in alphabetical order.
    pub fn count(&self, end: DeliveryState, deployed: [&str; 2]) {
        let store = self.look().expect("the store opens");
        let mut covered = Vec::new();
        for record in store.deliveries(&Listing { limit: 100_000, ..Listing::default() }).expect("the store works") {
            let runs = store.runs_of(&record.id).expect("the store works");
            assert_eq!(record.state, end, "{record:?}\n{runs:?}\n{}", self.log());
            if runs.iter().any(|run| run.state == RunState::Superseded) {
                covered.push(record.delivery_id);
            }
        }
        // Its matching was cut off until a newer commit was being deployed: it must not be put over that one. Few are so unlucky.
        assert!(covered.len() <= 1 + self.deliveries.len() / 20, "{covered:?}");
        let is_covered = |delivery: &Delivery| covered.contains(&delivery.id);
        assert!(!self.deliveries.last().is_some_and(is_covered), "the newest is covered by nothing");
        let mut revisions = self.world.cloud_run.ledger.effects_of("revision.created");
        let made = revisions.len();
        revisions.sort();
        revisions.dedup();
        assert_eq!(revisions.len(), made, "no revision was made twice");
        assert_eq!(
            made,
            self.deliveries.len() - covered.len(),
            "one revision for each delivery that is not covered: {revisions:?}"
        );
        for delivery in &self.deliveries {
            self.count_on_github(&delivery.sha, deployed, is_covered(delivery));
        }
        println!(
            "killed {} times: {} deliveries acknowledged, 0 lost; {made} deployed with a comment, a status and a deployment each, 0 doubled; \
             {} covered by a newer one",
            self.kills,
            self.deliveries.len(),
            covered.len()
        );
    }

    /// One of each; of a commit that a newer one covered at most one.
    fn count_on_github(&self, sha: &str, deployed: [&str; 2], covered: bool) {
        let github = &self.world.github;
        let is_right = |count: usize| count == 1 || (covered && count == 0);
        let comments = github.commit_comments(REPOSITORY, sha);
        assert!(is_right(comments.len()), "one comment on {sha}: {comments:?}");
        let statuses = github.statuses(REPOSITORY, sha);
        assert!(is_right(statuses.len()), "one status of {sha}: {statuses:?}");
        let deployments = github.deployments(REPOSITORY);
        let made: Vec<u64> =
            deployments.iter().filter(|made| made["sha"] == *sha).filter_map(|made| made["id"].as_u64()).collect();
        assert!(is_right(made.len()), "one deployment of {sha}: {deployments:?}");
        if covered {
            return;
        }
        let mut states: Vec<String> = github.deployment_statuses(REPOSITORY, made[0]).iter().map(state).collect();
        // GitHub itself marks earlier deployments of an environment inactive.
        states.retain(|state| state != "inactive");
        states.sort();
        assert_eq!(states, deployed, "of {sha}");
    }

    /// The revision of the last delivery serves.
    pub fn last_serves(&self) {
        let last = &self.deliveries.last().expect("some were sent").sha;
        let comment = self.world.github.commit_comments(REPOSITORY, last);
        let allocation = self.world.cloud_run.allocation(SERVICE_NAME);
        let serving: Vec<&str> =
            allocation.iter().filter(|(_, percent)| *percent > 0).map(|(revision, _)| revision.as_str()).collect();
        assert_eq!(serving.len(), 1, "{allocation:?}");
        assert!(
            comment[0]["body"].as_str().is_some_and(|body| body.contains(serving[0])),
            "the last one serves: {allocation:?} {comment:?}"
        );
    }

    /// Everything was put back: the revision from before all deliveries serves, and no tag points to another.
    pub fn nothing_changed(&self, before: &[(String, i64)]) {
        assert_eq!(self.world.cloud_run.allocation(SERVICE_NAME), before);
        let service = self.world.cloud_run.service(SERVICE_NAME).expect("it is there");
        let tagged =
            service["traffic"].as_array().is_some_and(|traffic| traffic.iter().any(|target| target.get("tag").is_some()));
        assert!(!tagged, "{service}");
    }
}

/// Killed when dropped.
pub struct Process(Child);

impl Process {
    pub fn is_dead(&mut self) -> bool {
        self.0.try_wait().expect("a child can be asked").is_some()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"));
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).expect("our own child can be signalled");
    }

    /// SIGKILL: nothing is tidied up.
    pub fn kill(mut self) {
        self.0.kill().expect("our own child can be killed");
        self.0.wait().expect("our own child can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn state(status: &Value) -> String {
    status["state"].as_str().unwrap_or_default().to_owned()
}

/// A push of one commit to main, as GitHub tells it.
pub fn push(before: &str, sha: &str) -> Value {
    let mut push: Value = serde_json::from_str(include_str!("../../../src/cli/init/push.json")).expect("the sample is JSON");
    push["ref"] = json!("refs/heads/main");
    push["before"] = json!(before);
    push["after"] = json!(sha);
    push["head_commit"]["id"] = json!(sha);
    push["commits"] = json!([push["head_commit"].clone()]);
    push["repository"]["full_name"] = json!(REPOSITORY);
    push
}

//! An organisation with two repositories that may bring rules, GitHub's stand-in, and what decides over their deliveries.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::demo::stand_ins::World;
use declic::event::Event;
use declic::journal::Journal;
use declic::journal::sqlite::{Options, Sqlite};
use declic::matching::Verdict;
use declic::repositories::{Repositories, Standing, Timing};
use declic::rules::model::RuleFile;
use declic::settings::{self, Environment, Mode, Settings};
use declic_actions::github::{App, GitHub, GitHubSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::openapi;

pub const WEB: &str = "acme/web";
pub const DOCS: &str = "acme/docs";
/// GitHub's number of `acme/web` in these tests.
pub const ID: i64 = 700_123_456;
/// That of `acme/docs`.
pub const DOCS_ID: i64 = 700_123_457;
/// GitHub's number of the App.
pub const APP: u64 = 4242;

pub const RULES: &str = "version: 1
rules:
  greet:
    on: { github.push: { branches: [main] } }
    steps: [{ uses: github/comment, with: { body: hello } }]
";

/// Everything that an App for Declic asks for.
pub const PERMISSIONS: &[(&str, &str)] = &[
    ("contents", "write"),
    ("statuses", "write"),
    ("checks", "write"),
    ("administration", "read"),
    ("issues", "write"),
    ("pull_requests", "write"),
    ("members", "read"),
    ("deployments", "write"),
];

pub struct Acme {
    pub world: World,
    pub timing: Timing,
    pub installation: u64,
    settings: Settings,
    key: Secret,
    journal: Arc<Sqlite>,
    folder: Arc<tempfile::TempDir>,
    repositories: Repositories,
    /// Seconds that the clock here is before the real one.
    now: fn() -> i64,
}

/// What came of a delivery.
#[derive(Debug)]
pub struct Came {
    /// Rules that start.
    pub started: Vec<String>,
    /// `VERDICT RULE: TEXT FOUND` of what is noted beside.
    pub notes: Vec<String>,
    /// Of the first set.
    pub revision: String,
}

pub fn commit(number: u32) -> String {
    format!("{number:040x}")
}

/// The settings, with more under the grant of `acme/web`.
pub fn settings(more: &str) -> Settings {
    let text = format!(
        "version: 1
secrets: {{ hook: {{ from: env, name: HOOK }}, bot: {{ from: env, name: BOT }} }}
sources: {{ github: {{ type: github, secret: hook }}, chat: {{ type: slack, signing-secret: hook }} }}
targets:
  web_staging: {{ type: cloud-run, project: acme-staging, region: europe-west1, service: web, images: [\"europe-docker.pkg.dev/acme/web/*\"] }}
connections: {{ chat: {{ type: slack, token: bot, channels: [\"#a\"] }} }}
repositories:
  - name: {WEB}
    id: {ID}
    grant: {{ events: [github.push, github.pull_request, github.command], actions: [github/*, cloud-run/*], targets: [web_staging] }}
{more}
  - name: {DOCS}
    id: {DOCS_ID}
    grant: {{ events: [github.push], actions: [github/comment] }}
"
    );
    let (settings, faults) = settings::read(Path::new("declic.yaml"), &text, Mode::Names, &Environment::given([]));
    settings.unwrap_or_else(|| panic!("{faults:#?}"))
}

/// A key pair: private and public, PEM.
pub fn keys() -> (Secret, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let pem = |name: &str, der: &[u8]| format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", STANDARD.encode(der));
    (Secret::new(pem("PRIVATE KEY", private.as_ref())), pem("PUBLIC KEY", public.as_ref()))
}

fn real_clock() -> i64 {
    Timestamp::now().seconds()
}

impl Acme {
    pub async fn new(more: &str) -> Self {
        Self::made(more, None, real_clock).await
    }

    pub async fn with_room(more: &str, bytes: usize) -> Self {
        Self::made(more, Some(bytes), real_clock).await
    }

    pub async fn with_clock(now: fn() -> i64) -> Self {
        Self::made("", None, now).await
    }

    async fn made(more: &str, room: Option<usize>, now: fn() -> i64) -> Self {
        let world = World::start().await.expect("the stand-ins start");
        world.github.hold_to(openapi::github());
        world.github.set_repository_id(WEB, u64::try_from(ID).unwrap());
        world.github.add_repository(DOCS);
        world.github.set_repository_id(DOCS, u64::try_from(DOCS_ID).unwrap());
        world.github.add_commit(DOCS, "main", &commit(9), &[]);
        let (key, public) = keys();
        world.github.add_app(APP, &public);
        let installation = world.github.install(APP, "acme", PERMISSIONS);
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let journal = Arc::new(Sqlite::open(&folder.path().join("declic.db"), Options::default()).expect("a store"));
        let timing =
            Timing { fresh: Duration::from_secs(60), patience: Duration::from_secs(2), pause: Duration::from_millis(1500) };
        let settings = settings(more);
        let repositories = repositories(&world, &settings, &key, &journal, timing, now);
        let repositories = match room {
            Some(bytes) => repositories.with_room(bytes),
            None => repositories,
        };
        Self { world, timing, installation, settings, key, journal, folder, repositories, now }
    }

    /// The same with what a new process knows.
    pub fn restarted(self) -> Self {
        let repositories = repositories(&self.world, &self.settings, &self.key, &self.journal, self.timing, self.now);
        Self { repositories, ..self }
    }

    /// A commit on `main` of `acme/web`, with these changes to the one before.
    pub fn rules(&self, sha: &str, changes: &[(&str, Option<&str>)]) {
        self.world.github.commit_files(WEB, "main", sha, &[], changes);
    }

    pub async fn of(&self, event: &Event) -> Came {
        let brought = self.repositories.of(event).await;
        let mut started = Vec::new();
        for set in &brought.sets {
            let mut decisions = set.index().decide(event);
            decisions.refuse(|_| {
                let refused = self.repositories.admit(set.revision(), Timestamp::now()).err();
                refused.map(|found| ("limits".to_owned(), found))
            });
            started.extend(decisions.matched.iter().map(|rule| rule.name.clone()));
        }
        let verdict = |verdict: Verdict| verdict.word();
        let notes = brought.notes.iter().map(|note| {
            let checks: Vec<String> = note.checks.iter().map(|check| format!("{} {}", check.text, check.found)).collect();
            format!("{} {}: {}", verdict(note.verdict), note.rule, checks.join(", "))
        });
        let revision = brought.sets.first().map(|set| set.revision().to_owned()).unwrap_or_default();
        Came { started, notes: notes.collect(), revision }
    }

    pub fn standing(&self, id: i64) -> Standing {
        self.repositories.standings().into_iter().find(|one| one.id == id).expect("it was granted something")
    }

    pub fn loaded(&self) -> usize {
        self.repositories.loaded()
    }

    pub async fn journal_rules(&self, revision: &str) -> Option<Vec<RuleFile>> {
        self.journal.rules(revision).await.expect("the store works")
    }

    /// Until GitHub is asked again.
    pub async fn pause(&self) {
        tokio::time::sleep(self.timing.pause + Duration::from_millis(100)).await;
    }

    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < end, "not within 20 s: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn push(&self, name: &str, branch: &str, sha: &str) -> Event {
        self.event(
            "github.push",
            name,
            json!({ "ref": format!("refs/heads/{branch}"), "branch": branch, "sha": sha, "deleted": false }),
        )
    }

    pub fn opened(&self, name: &str) -> Event {
        self.event(
            "github.pull_request",
            name,
            json!({ "action": "opened", "number": 7, "base": { "ref": "main" }, "fork": false }),
        )
    }

    pub fn event(&self, kind: &str, name: &str, event: Value) -> Event {
        let id = match name {
            DOCS => DOCS_ID,
            "acme/else" => 1,
            _ => ID,
        };
        let (owner, short) = name.split_once('/').expect("owner/name");
        Event {
            kind: kind.to_owned(),
            source: "github".to_owned(),
            event,
            repo: json!({ "full_name": name, "owner": owner, "name": short, "id": id, "default_branch": "main", "private": false }),
            actor: json!({ "login": "mona", "id": 2, "type": "user" }),
            delivery: json!({ "id": "d1", "source": "github" }),
        }
    }

    /// Keeps the store's folder as long as the test.
    pub fn store(&self) -> &Path {
        self.folder.path()
    }
}

fn repositories(
    world: &World,
    settings: &Settings,
    key: &Secret,
    journal: &Arc<Sqlite>,
    timing: Timing,
    now: fn() -> i64,
) -> Repositories {
    let http = Http::new(HttpSettings { allow: world.authorities(), user_agent: "declic-tests".to_owned() }).expect("a client");
    let github = GitHub::new(http, GitHubSettings { api_url: world.github.url.clone(), token: None }).expect("an address");
    let github = github.acting_as(App { id: APP, key: key.clone(), now });
    let journal: Arc<dyn Journal> = Arc::clone(journal) as Arc<dyn Journal>;
    Repositories::new(settings, github, journal).with_timing(timing)
}

//! Runs single actions against a world whose stand-ins hold every request against the published contracts.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use declic::demo::stand_ins::github::TOKEN;
use declic::demo::stand_ins::identity::DEFAULT_ACCOUNT;
use declic::demo::stand_ins::server::Running;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY, World};
use declic_actions::action::{Answer, Call, Clients, Context, Failure, Intent, Origin, Outcome, Progress, Stop, Streak, Why};
use declic_actions::github::{GitHub, GitHubSettings};
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::kinds;
use declic_actions::secret::Secret;
use serde_json::Value;
use tokio::sync::Notify;

use super::google_apis::{self, GoogleApis};
use super::{discovery, openapi};

/// After it nothing is tried again.
pub const LAST_ATTEMPT: u32 = 6;

/// The process dies at the n-th save (from 1), before or after it is on disk.
#[derive(Debug, Clone, Copy)]
pub enum Death {
    BeforeSave(usize),
    AfterSave(usize),
}

/// What an action told while it ran.
#[derive(Default)]
pub struct Recorder {
    stages: Mutex<Vec<(&'static str, String)>>,
    saves: Mutex<Vec<Value>>,
    death: Mutex<Option<Death>>,
    died: Notify,
}

impl Recorder {
    /// Names of the stages so far.
    pub fn stages(&self) -> Vec<&'static str> {
        self.stages.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }

    /// What was told under one name.
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.stages.lock().unwrap().iter().filter(|(told, _)| *told == name).map(|(_, line)| line.clone()).collect()
    }

    /// Until something is told under this name; not for ever.
    pub async fn until_told(&self, name: &str) {
        let until = Instant::now() + Duration::from_secs(5);
        while self.lines(name).is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn saves(&self) -> usize {
        self.saves.lock().unwrap().len()
    }

    fn last_save(&self) -> Option<Value> {
        self.saves.lock().unwrap().last().cloned()
    }

    /// Dead processes do nothing more.
    async fn die(&self) -> ! {
        *self.death.lock().unwrap() = None;
        self.died.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Progress for Recorder {
    fn stage(&self, name: &'static str, line: &str) {
        self.stages.lock().unwrap().push((name, line.to_owned()));
    }

    async fn save(&self, saved: Value) -> Result<(), Failure> {
        let number = self.saves() + 1;
        let death = *self.death.lock().unwrap();
        if matches!(death, Some(Death::BeforeSave(at)) if at == number) {
            self.die().await;
        }
        self.saves.lock().unwrap().push(saved);
        if matches!(death, Some(Death::AfterSave(at)) if at == number) {
            self.die().await;
        }
        Ok(())
    }
}

/// A world, the clients that act on it, and what every call gets.
pub struct Actor {
    pub world: World,
    pub apis: Running<GoogleApis>,
    pub clients: Clients,
    pub secrets: BTreeMap<String, Secret>,
    /// How long ago the step began.
    pub waited: Duration,
    /// What a person said.
    pub answer: Option<Answer>,
    /// What the run tells once.
    pub streak: Option<Streak>,
    /// Whether the run is still wanted.
    pub stop: Stop,
    pub target: Option<Value>,
    pub connection: Option<Value>,
    pub origin: Origin,
    /// Of each attempt.
    pub patience: Duration,
}

fn now() -> i64 {
    declic::clock::Timestamp::now().seconds()
}

impl Actor {
    pub async fn new() -> Self {
        Self::with(None, &[]).await
    }

    /// With the text of a key file instead of the metadata server, and more addresses that may be reached.
    pub async fn with(key_file_of: Option<&str>, allow: &[&str]) -> Self {
        let world = World::start().await.unwrap();
        world.cloud_run.hold_to(discovery::cloud_run());
        world.cloud_build.hold_to(discovery::cloud_build());
        world.identity.hold_to(discovery::identity());
        world.dialogflow.hold_to(discovery::dialogflow());
        world.github.hold_to(openapi::github());
        world.cloud_run.operations_take(Duration::from_millis(10), 1);
        let apis = google_apis::start(world.tokens.clone()).await;
        let mut allowed = world.authorities();
        allowed.push(apis.authority.clone());
        allowed.extend(allow.iter().map(|authority| (*authority).to_owned()));
        let http = Http::new(HttpSettings { allow: allowed, user_agent: "declic-tests".into() }).unwrap();
        let credentials = key_file_of.map(|email| Secret::new(world.identity.key_file(email).unwrap().to_string()));
        let google = GoogleSettings {
            run_url: world.cloud_run.url.clone(),
            cloud_build_url: world.cloud_build.url.clone(),
            iam_credentials_url: world.identity.url.clone(),
            metadata_host: world.identity.authority.clone(),
            registry_url: Some(world.registry.url.clone()),
            pubsub_url: apis.url.clone(),
            bigquery_url: apis.url.clone(),
            fcm_url: apis.url.clone(),
            cloud_tasks_url: apis.url.clone(),
            dialogflow_url: Some(apis.url.clone()),
            credentials,
            ..GoogleSettings::default()
        };
        let google = Google::new(http.clone(), google, now).unwrap();
        let github = GitHubSettings { api_url: world.github.url.clone(), token: Some(Secret::new(TOKEN)) };
        let github = GitHub::new(http.clone(), github).unwrap();
        let origin = Origin {
            delivery: "d1".into(),
            run: "r1".into(),
            rule: "deploy staging".into(),
            step: "deploy".into(),
            repository: Some(REPOSITORY.into()),
            sha: Some(FIRST_COMMIT.into()),
            ..Origin::default()
        };
        Self {
            world,
            apis,
            clients: Clients { http, google, github },
            secrets: BTreeMap::new(),
            stop: Stop::never(),
            waited: Duration::ZERO,
            answer: None,
            streak: None,
            target: None,
            connection: None,
            origin,
            patience: Duration::from_secs(10),
        }
    }

    /// From now on Google's APIs for data are an emulator.
    pub fn ask_emulator(&mut self, url: &str) {
        let mut google = self.clients.google.settings().clone();
        google.bigquery_url = url.to_owned();
        google.cloud_tasks_url = url.to_owned();
        self.clients.google = Google::new(self.clients.http.clone(), google, now).unwrap();
    }

    /// From now on there is no metadata server, as on a laptop.
    pub fn leave_google_cloud(&mut self) {
        let mut google = self.clients.google.settings().clone();
        google.metadata_host = "127.0.0.1:9".into();
        self.clients.google = Google::new(self.clients.http.clone(), google, now).unwrap();
    }

    /// Nothing is known of GitHub's limits any more, as after a start.
    pub fn forget_limits(&mut self) {
        let github = GitHubSettings { api_url: self.world.github.url.clone(), token: Some(Secret::new(TOKEN)) };
        self.clients.github = GitHub::new(self.clients.http.clone(), github).unwrap();
    }

    /// The identity behind the metadata server.
    pub fn identity(&self) -> &'static str {
        DEFAULT_ACCOUNT
    }

    /// What `prepare` makes of a call with these parameters; the key tells the call from others.
    pub fn prepare(&self, kind: &str, key: &str, params: Value) -> Result<Intent, Why> {
        let Value::Object(params) = params else { panic!("parameters are an object") };
        let call = Call {
            key: key.to_owned(),
            params,
            target: self.target.clone(),
            connection: self.connection.clone(),
            origin: self.origin.clone(),
        };
        kinds::find(kind).unwrap_or_else(|| panic!("no action {kind}")).prepare(call).map_err(Why::from)
    }

    /// The first attempt of a new call.
    pub async fn run(&self, kind: &str, key: &str, params: Value) -> Result<Outcome, Failure> {
        let intent = self.prepare(kind, key, params).unwrap_or_else(|why| panic!("{kind} refused: {}", why.message));
        self.attempt(kind, &intent, 1, &Recorder::default()).await
    }

    /// One attempt, with what was saved before. What is journaled must be readable again.
    pub async fn attempt(&self, kind: &str, intent: &Intent, attempt: u32, progress: &Recorder) -> Result<Outcome, Failure> {
        let action = kinds::find(kind).unwrap();
        let intent: Intent = serde_json::from_str(&serde_json::to_string(intent).unwrap()).unwrap();
        action.run(&self.context(attempt, progress), &intent).await
    }

    pub async fn find(&self, kind: &str, intent: &Intent, progress: &Recorder) -> Result<Option<Outcome>, Failure> {
        kinds::find(kind).unwrap().find(&self.context(2, progress), intent).await
    }

    fn context<'a>(&'a self, attempt: u32, progress: &'a Recorder) -> Context<'a> {
        Context {
            clients: &self.clients,
            deadline: Instant::now() + self.patience,
            attempt,
            is_last: attempt == LAST_ATTEMPT,
            saved: progress.last_save(),
            progress,
            secrets: &self.secrets,
            stop: &self.stop,
            waited: self.waited,
            answer: self.answer.as_ref(),
            streak: self.streak.as_ref(),
        }
    }

    /// An attempt that dies; `None` if it ended before it could.
    pub async fn die(&self, kind: &str, intent: &Intent, progress: &Recorder, death: Death) -> Option<Result<Outcome, Failure>> {
        *progress.death.lock().unwrap() = Some(death);
        let ended = tokio::select! {
            () = progress.died.notified() => None,
            ended = self.attempt(kind, intent, 1, progress) => Some(ended),
        };
        *progress.death.lock().unwrap() = None;
        ended
    }

    /// What the engine does: looks whether the effect is there if an outcome is unknown, then tries until it ends for good.
    pub async fn see_through(
        &self,
        kind: &str,
        intent: &Intent,
        progress: &Recorder,
        mut attempt: u32,
    ) -> Result<Outcome, Failure> {
        loop {
            if attempt > 1
                && let Some(found) = self.find(kind, intent, progress).await?
            {
                return Ok(found);
            }
            match self.attempt(kind, intent, attempt, progress).await {
                Err(Failure::Retry { .. }) if attempt < LAST_ATTEMPT => attempt += 1,
                ended => return ended,
            }
        }
    }

    /// Nothing that was asked was outside the contracts. Call it where no refusal is part of the test.
    pub fn assert_nothing_refused(&self) {
        let mut refused = self.world.cloud_run.ledger.refusals();
        refused.extend(self.world.github.ledger.refusals());
        refused.extend(self.world.cloud_build.ledger.refusals());
        refused.extend(self.world.identity.ledger.refusals());
        refused.extend(self.world.dialogflow.ledger.refusals());
        refused.extend(self.apis.ledger.refusals());
        // Whether a revision is there yet is found out by asking for it; what the services themselves answer is their affair.
        refused.retain(|line| !line.contains("of kind 'REVISION' was not found") && !line.contains(" /serve/"));
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }
}

/// Code of a failure, and whether another attempt may help.
pub fn code(result: &Result<Outcome, Failure>) -> (&str, bool) {
    match result {
        Ok(outcome) => panic!("it worked: {outcome:?}"),
        Err(failure) => (failure.why().code.as_str(), matches!(failure, Failure::Retry { .. })),
    }
}

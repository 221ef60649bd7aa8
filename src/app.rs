//! Puts the parts together: settings in, a running service out.

mod calls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use declic_actions::action::Clients;
use declic_actions::github::{App, GitHub, GitHubSettings};
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::kinds;
use poem::EndpointExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::access::Outside;
use crate::access::door::Door;
use crate::access::visibility::Visibility;
use crate::api::{self, State};
use crate::clock::Timestamp;
use crate::dispatch::queue::Queue;
use crate::journal::Journal;
use crate::journal::crash::Faults;
use crate::receive::{self, Front, Limits, Outward, Parts, Readiness, Reveal};
use crate::recover::{Access, Recovery};
use crate::reload::{self, Rules};
use crate::report::metrics::Metrics;
use crate::repositories::Repositories;
use crate::run::observe::Observer;
use crate::run::{Engine, EngineParts, Gates, Policy};
use crate::settings::Settings;
use crate::sources::rotation::{Evidence, Watched};
use crate::sources::{self, Around, Source};

/// How long a secret may take to come from Secret Manager at the start.
const SECRETS_DEADLINE: Duration = Duration::from_secs(30);

/// How long the metadata server may take to name the project.
const PROJECT_DEADLINE: Duration = Duration::from_secs(1);

const USER_AGENT: &str = concat!("declic/", env!("CARGO_PKG_VERSION"));

/// A store without traffic is asked this often whether it takes writes; each time it writes and syncs.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// The same while it does not.
const PROBE_DOWN_EVERY: Duration = Duration::from_secs(1);

/// A service that is ready to serve.
pub struct Service {
    front: Arc<Front>,
    engine: Engine,
    observer: Observer,
    journal: Arc<dyn Journal>,
    /// Watches the rule files and the store; ends with the service.
    beside: JoinSet<()>,
    /// Tells open streams that the service stops.
    stopping: watch::Sender<bool>,
}

/// Everything but listening: secrets, clients, rules, store, engine. The error is for a person and says what to mend.
pub async fn assemble(mut settings: Settings) -> Result<Service, String> {
    let clients = clients(&mut settings).await?;
    let http = clients.http.clone();
    let visibility = settings.admin.visibility.as_ref();
    let visibility = visibility.map(|visibility| Visibility::new(clients.github.clone(), visibility.permission));
    let folder = folder_of(&settings.file);
    let metrics = Arc::new(Metrics::new());
    let around = Around {
        public_url: settings.public_url.clone(),
        google_certs_url: settings.google.certs_url.clone(),
        ..Around::default()
    };
    let sources = build_sources(&settings, &around)?;
    let trust = Arc::clone(&around.trust);
    let outward = Outward::new(clients.http.clone(), Arc::clone(&around.trust), reveal(&settings));
    let outward = Arc::new(outward.with_sns_at(settings.sns_url.clone()));
    let queue = settings.dispatch.clone().map(|queue| Arc::new(Queue::new(clients.google.clone(), queue)));
    let (rules, files) = Rules::load(folder, settings.rules.clone(), settings.offer.clone(), Arc::clone(&metrics))?;
    let faults = Faults::planned(settings.crash_at, settings.disk_slower);
    let journal = settings.store.place.serve(faults).await?;
    rules.keep(journal.as_ref(), files).await?;
    let rules = Arc::new(rules);
    let observer = Observer::default();
    let repositories = Arc::new(Repositories::new(&settings, clients.github.clone(), journal.clone()));
    let engine = Engine::start(EngineParts {
        journal: journal.clone(),
        sources: sources.iter().map(|source| (source.name().to_owned(), Arc::clone(source))).collect(),
        rules: Arc::clone(rules.current()),
        repositories: (!repositories.is_empty()).then(|| Arc::clone(&repositories)),
        load: {
            let offer = settings.offer.clone();
            Arc::new(move |files| reload::rebuild(files, &offer))
        },
        actions: kinds::ALL,
        clients,
        offer: settings.offer.clone(),
        secrets: newest(&settings),
        metrics: Arc::clone(&metrics),
        public_url: settings.public_url.clone(),
        observer: observer.clone(),
        policy: Policy {
            workers: settings.workers,
            keep: Some(settings.store.keep),
            max_size: settings.store.max_size,
            dry_run: settings.dry_run,
            on_call: settings.dispatch.is_some(),
            lease: settings.lease.unwrap_or(Policy::default().lease),
            ..Policy::default()
        },
    });
    let wake: Arc<dyn Fn(&str) + Send + Sync> = {
        let dispatch = engine.dispatch();
        let observer = observer.clone();
        Arc::new(move |delivery: &str| {
            observer.journaled(delivery);
            dispatch.wake();
        })
    };
    let store_works = Arc::new(AtomicBool::new(true));
    let mut beside = JoinSet::new();
    let recovery = Recovery {
        rules: Arc::clone(rules.current()),
        repositories: Some(Arc::clone(&repositories)),
        journal: journal.clone(),
        metrics: Arc::clone(&metrics),
        wake: Arc::clone(&wake),
        access: access(&settings, &http),
    };
    for (intake, log, every) in recovery.of(&settings, &sources)? {
        beside.spawn(intake.keep_up(log, every));
    }
    beside.spawn(Arc::clone(&rules).watch(journal.clone()));
    if let Some(mut hints) = journal.hints() {
        let dispatch = engine.dispatch();
        beside.spawn(async move {
            while hints.changed().await.is_ok() {
                dispatch.wake();
            }
        });
    }
    beside.spawn(probe(journal.clone(), Arc::clone(&store_works)));
    let (stopping, stop) = watch::channel(false);
    let watched: Vec<Watched> = settings.sources.iter().filter_map(|source| Watched::of(source, &settings.secrets)).collect();
    let state = State::new(api::Parts {
        journal: journal.clone(),
        rules: Arc::clone(&rules),
        repositories: Arc::clone(&repositories),
        sources: sources.clone(),
        settings: settings.without_secrets(),
        observer: observer.clone(),
        gates: engine.gates(),
        watched: watched.clone(),
        visibility,
        wake: {
            let (dispatch, queue) = (engine.dispatch(), queue.clone());
            Arc::new(move || {
                dispatch.wake();
                queue.as_ref().inspect(|queue| calls::by_hand(queue));
            })
        },
        stop,
    });
    let evidence = Arc::new(Evidence::new(journal.clone(), watched));
    evidence.begin(Timestamp::now()).await.map_err(|error| error.to_string())?;
    let outside = Outside { http, trust: around.trust, outward: Arc::clone(&outward) };
    let front = Front::new(Parts {
        sources,
        journal: journal.clone(),
        metrics,
        readiness: {
            let journal = journal.clone();
            let gates = engine.gates();
            Arc::new(move || readiness(&rules, &gates, store_works.load(Ordering::Relaxed) && journal.works()))
        },
        wake,
        handed: queue.clone().map(calls::handed),
        called: settings.dispatch.as_ref().zip(queue).map(|(told, queue)| calls::called(told, queue, engine.on_call(), trust)),
        // What is in memory only is forgotten when the process stands still.
        fresh: settings.dispatch.is_none().then(|| engine.fresh()),
        replies: {
            let desk = engine.desk();
            Some(Arc::new(move |source: String, delivery: String, until: Instant| {
                let desk = desk.clone();
                Box::pin(async move { desk.ask(&source, &delivery, until.into()).await })
            }))
        },
        evidence: Some(evidence),
        rest: Some(Door::new(crate::access::Access::new(&settings, outside)?, Arc::new(state)).boxed()),
        outward: Some(outward),
        limits: Limits::default(),
    })?;
    front.remember().await.map_err(|error| error.to_string())?;
    Ok(Service { front: Arc::new(front), engine, observer, journal, beside, stopping })
}

impl Service {
    /// Who tells what happens.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The store, for looking into.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal)
    }

    /// Serves until `stop` is done: then takes nothing new, lets what runs end within its time, and gives the rest back to the store.
    pub async fn serve(mut self, listener: TcpListener, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        let stopped = Arc::new(tokio::sync::Notify::new());
        let drained = {
            let stopped = Arc::clone(&stopped);
            let engine = self.engine;
            async move {
                stopped.notified().await;
                engine.drain().await;
            }
        };
        let stop = async {
            stop.await;
            info!("stopping: nothing new is taken in, running steps get up to 8.5 seconds");
            self.stopping.send_replace(true);
            stopped.notify_one();
        };
        // Both at once: the 10 seconds that Cloud Run gives are for the two together.
        let (served, ()) = tokio::join!(receive::serve(listener, self.front, stop), drained);
        self.beside.shutdown().await;
        served
    }
}

/// The project to name in log lines: from the environment, on Cloud Run else from the metadata server. Best effort, it may not delay the start.
pub async fn project(settings: &Settings) -> Option<String> {
    if settings.project.is_some() || !settings.on_cloud_run {
        return settings.project.clone();
    }
    let http = Http::new(HttpSettings { allow: allowed(settings), user_agent: USER_AGENT.to_owned() }).ok()?;
    let metadata = GoogleSettings { metadata_host: settings.google.metadata_host.clone(), ..GoogleSettings::default() };
    let google = Google::new(http, metadata, || Timestamp::now().seconds()).ok()?;
    google.project(Instant::now() + PROJECT_DEADLINE).await.ok()
}

/// Who reads delivery logs at GitHub.
pub(crate) fn access(settings: &Settings, http: &Http) -> Access {
    Access { http: http.clone(), api_url: settings.github.api_url.clone(), token: settings.github.token.clone() }
}

/// The folder that relative paths of the settings are relative to.
fn folder_of(file: &Path) -> PathBuf {
    file.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Who can be asked before the secrets are there.
pub(crate) struct Reach {
    http: Http,
    /// Google, with our credentials.
    pub google: Google,
}

impl Reach {
    /// The client below both.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// GitHub, with the token as it is now.
    pub fn github(&self, settings: &Settings) -> Result<GitHub, String> {
        let github = GitHubSettings { api_url: settings.github.api_url.clone(), token: settings.github.token.clone() };
        let client = GitHub::new(self.http.clone(), github)?;
        Ok(match app_of(settings) {
            Some(app) => client.acting_as(app),
            None => client,
        })
    }
}

/// The App of the first source of type `github-app`, once its key is there: who we are at GitHub without a token.
fn app_of(settings: &Settings) -> Option<App> {
    let source = settings.sources.iter().find(|source| source.kind == "github-app")?;
    let id = source.fields.get("app-id").and_then(Value::as_u64)?;
    let key = source.fields.get("key").and_then(Value::as_str).and_then(|name| settings.secrets.get(name)?.first())?;
    Some(App { id, key: key.clone(), now: || Timestamp::now().seconds() })
}

/// Makes the clients, and calls nobody.
pub(crate) fn reach(settings: &Settings) -> Result<Reach, String> {
    let http = Http::new(HttpSettings { allow: allowed(settings), user_agent: USER_AGENT.to_owned() })?;
    let google = Google::new(http.clone(), google_settings(settings)?, || Timestamp::now().seconds())?;
    Ok(Reach { http, google })
}

/// A client without settings, that reaches public addresses and these.
pub(crate) fn plain_client(allow: Vec<String>) -> Result<Http, String> {
    Http::new(HttpSettings { allow, user_agent: USER_AGENT.to_owned() })
}

/// Clients of everything outside, with what is needed from Secret Manager fetched.
pub(crate) async fn clients(settings: &mut Settings) -> Result<Clients, String> {
    let reach = reach(settings)?;
    let google = &reach.google;
    for (entry, name, previous) in settings.to_fetch() {
        let deadline = Instant::now() + SECRETS_DEADLINE;
        let value = google
            .access_secret(&name, deadline)
            .await
            .map_err(|failure| format!("the secret `{entry}` cannot be had from Secret Manager: {}", failure.why().message))?;
        settings.fetched(&entry, previous, value)?;
    }
    let github = reach.github(settings)?;
    let Reach { http, google } = reach;
    Ok(Clients { http, google, github })
}

/// What may be reached though it is private: what `egress.allow` names, and the addresses of Google and GitHub that the operator wrote down.
fn allowed(settings: &Settings) -> Vec<String> {
    let real = GoogleSettings::default();
    let google = &settings.google;
    let mut allow = settings.egress_allow.clone();
    let addresses = [
        (google.run_url.as_str(), real.run_url.as_str()),
        (&google.iam_credentials_url, &real.iam_credentials_url),
        (&google.secret_manager_url, &real.secret_manager_url),
        (&google.pubsub_url, &real.pubsub_url),
        (&google.bigquery_url, &real.bigquery_url),
        (&google.fcm_url, &real.fcm_url),
        (&google.cloud_build_url, &real.cloud_build_url),
        (&google.cloud_tasks_url, &real.cloud_tasks_url),
        (google.dialogflow_url.as_deref().unwrap_or_default(), ""),
        (google.registry_url.as_deref().unwrap_or_default(), ""),
        (&google.certs_url, "https://www.googleapis.com"),
        (settings.sns_url.as_deref().unwrap_or_default(), ""),
        (&settings.github.api_url, "https://api.github.com"),
        (settings.admin.oidc.as_ref().map_or("", |oidc| &oidc.issuer), ""),
        (settings.admin.iap.as_ref().map_or("", |iap| &iap.keys_url), ""),
    ];
    for (address, default) in addresses {
        if address == default {
            continue;
        }
        if let Ok(url) = url::Url::parse(address)
            && let Some(host) = url.host_str()
        {
            allow.push(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")));
        }
    }
    allow
}

fn google_settings(settings: &Settings) -> Result<GoogleSettings, String> {
    let google = &settings.google;
    let credentials = match &google.credentials {
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| format!("the key file {} cannot be read: {error}", path.display()))?;
            Some(declic_actions::secret::Secret::new(text))
        }
        None => None,
    };
    Ok(GoogleSettings {
        run_url: google.run_url.clone(),
        iam_credentials_url: google.iam_credentials_url.clone(),
        secret_manager_url: google.secret_manager_url.clone(),
        pubsub_url: google.pubsub_url.clone(),
        bigquery_url: google.bigquery_url.clone(),
        fcm_url: google.fcm_url.clone(),
        cloud_build_url: google.cloud_build_url.clone(),
        cloud_tasks_url: google.cloud_tasks_url.clone(),
        dialogflow_url: google.dialogflow_url.clone(),
        metadata_host: google.metadata_host.clone(),
        registry_url: google.registry_url.clone(),
        credentials,
    })
}

/// The entry points. The error is for the operator.
pub(crate) fn build_sources(settings: &Settings, around: &Around) -> Result<Vec<Arc<dyn Source>>, String> {
    settings
        .sources
        .iter()
        .map(|source| {
            sources::build(source, &settings.secrets, around)
                .map_err(|why| format!("{}: the source `{}` {why}", settings.file.display(), source.name))
        })
        .collect()
}

/// Puts a secret that a provider made into a file that only we can read, beside the store, or beside the settings if the store is no file.
/// Logs where it is, never what it is.
fn reveal(settings: &Settings) -> Reveal {
    let folder = folder_of(settings.store.place.file().unwrap_or(&settings.file));
    Arc::new(move |source, secret| {
        let path = folder.join(format!("{source}.verification-token"));
        match write_privately(&path, secret.expose()) {
            Ok(()) => info!(
                source,
                "the provider made a token: {} holds it; make it the source's secret and remove the file",
                path.display()
            ),
            Err(error) => error!(source, "the provider made a token, and {} cannot be written: {error}", path.display()),
        }
    })
}

/// A new file with these bytes. One that is there already stays: nobody can put another token in its place.
pub(crate) fn write_privately(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

/// The newest value of each secret: what goes out. Older ones only verify what comes in.
fn newest(settings: &Settings) -> BTreeMap<String, declic_actions::secret::Secret> {
    settings.secrets.iter().filter_map(|(name, values)| Some((name.clone(), values.first()?.clone()))).collect()
}

async fn probe(journal: Arc<dyn Journal>, works: Arc<AtomicBool>) {
    loop {
        let outcome = journal.probe().await;
        let before = works.swap(outcome.is_ok(), Ordering::Relaxed);
        let pause = if outcome.is_ok() { PROBE_EVERY } else { PROBE_DOWN_EVERY };
        match outcome {
            Err(why) if before => error!("not ready: {why}"),
            Ok(()) if !before => info!("ready again: the store takes writes"),
            _ => {}
        }
        tokio::time::sleep(pause).await;
    }
}

/// A target that is down is told and makes nobody unready: deliveries are taken in, and their runs wait.
fn readiness(rules: &Rules, gates: &Gates, store_works: bool) -> Readiness {
    let set = rules.current().load();
    let down: Vec<_> = gates.states().into_iter().filter(|state| state.breaker != "closed").collect();
    let detail = json!({
        "store": if store_works { "takes writes" } else { "does not take writes" },
        "rules": { "revision": set.rules().revision, "count": set.rules().rules.len(), "fault": rules.fault() },
        "down": down,
    });
    Readiness { ready: store_works, detail }
}

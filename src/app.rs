//! Puts the parts together: settings in, a running service out.

mod calls;
mod clients;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use declic_actions::kinds;
use poem::EndpointExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::access::Outside;
use crate::access::door::Door;
use crate::access::visibility::Visibility;
use crate::api::{self, State};
use crate::dispatch::queue::Queue;
use crate::journal::Journal;
use crate::journal::crash::Faults;
use crate::receive::{self, Front, Limits, Outward, Parts, Readiness, Reveal};
use crate::recover::Recovery;
use crate::reload::{self, Rules};
use crate::report::metrics::Metrics;
use crate::repositories::Repositories;
use crate::run::observe::Observer;
use crate::run::{Engine, EngineParts, Gates, Policy};
use crate::settings::Settings;
use crate::sources::rotation::{Evidence, Watched};
use crate::sources::{self, Around, Source};
pub use clients::project;
pub(crate) use clients::{Reach, access, clients, plain_client, reach};

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
    beside.spawn(Arc::clone(&rules).watch(journal.clone(), settings.store.place.file().map(Path::to_owned)));
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
        look: {
            let place = settings.store.place.clone();
            Arc::new(move || place.look())
        },
        unsent: {
            let settings = settings.without_secrets();
            Arc::new(move || clients::unsent(&settings))
        },
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

/// The folder that relative paths of the settings are relative to.
fn folder_of(file: &Path) -> PathBuf {
    file.parent().map_or_else(PathBuf::new, Path::to_owned)
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

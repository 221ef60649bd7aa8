//! `declic demo`: the whole path on this machine. The service is the real one; what no laptop has is a stand-in over HTTP.

mod history;
mod show;
pub mod stand_ins;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use declic_actions::http::Url;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::app::{self, Service};
use crate::cli::send;
use crate::journal::Journal;
use crate::matching::Trace;
use crate::run::observe::Stage;
use crate::settings::{self, Environment, Mode};
use crate::sources;
use show::Screen;
use stand_ins::World;

const RULES: &str = include_str!("rules.yaml");
/// The push that `declic init` writes down as an example, too.
pub const PUSH: &str = include_str!("../cli/init/push.json");
/// The secret of the demo's webhook and the token of its GitHub: both exist on this machine only, for as long as the demo runs.
pub const SECRET: &str = "declic demo";
const TOKEN: &str = "declic-demo-token";
/// A demo that is not done by then has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The demo, set up in a folder: stand-ins and a service that is not serving yet.
pub struct Demo {
    /// What it acts on.
    pub world: World,
    address: SocketAddr,
    listener: TcpListener,
    service: Service,
    settings: settings::Settings,
    sha: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Verdict {
    /// What is not as it should be; empty if the deploy reached the service and the reply its commit.
    pub missing: Vec<String>,
    /// Our id of the delivery.
    pub delivery: String,
    /// From sending the push to the end of its run.
    pub took: Duration,
}

impl Demo {
    /// Writes settings and rules into `folder`, starts the stand-ins, and puts the service together.
    pub async fn prepare(folder: &Path, listen: SocketAddr) -> Result<Self, String> {
        let world = World::start().await.map_err(|error| format!("the stand-ins cannot start: {error}"))?;
        let push: Value = serde_json::from_str(PUSH).map_err(|error| error.to_string())?;
        let sha = push.get("after").and_then(Value::as_str).unwrap_or_default().to_owned();
        world.github.accept_token(TOKEN);
        world.github.add_commit(stand_ins::REPOSITORY, "main", &sha, &[stand_ins::FIRST_COMMIT]);
        world.registry.push(stand_ins::IMAGE_REPOSITORY, &sha, &sha);
        let listener = TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let file = folder.join("declic.yaml");
        write(&file, &declic_yaml(&world, address))?;
        write(&folder.join("rules.yaml"), RULES)?;
        let environment = Environment::given([("DEMO_SECRET", SECRET), ("DEMO_TOKEN", TOKEN)]);
        let loaded = settings::load(&file, Mode::Resolved, &environment).map_err(|unusable| unusable.render(false))?;
        let service = app::assemble(loaded.settings.clone()).await?;
        Ok(Self { world, address, listener, service, settings: loaded.settings, sha })
    }

    /// Where it will be reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves, sends the push, shows what happens on `out`, and judges by what the stand-ins hold afterwards. With `stop`, goes on
    /// serving until it is done.
    pub async fn run(
        self,
        out: &mut impl Write,
        colour: bool,
        stop: Option<impl Future<Output = ()>>,
    ) -> Result<Verdict, String> {
        let Self { world, address, listener, service, settings, sha } = self;
        let mut screen = Screen::new(out, colour);
        screen.opening(&world, address);
        let journal = service.journal();
        let mut stages = service.observer().listen();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(service.serve(listener, async move {
            // Dropping the sender ends it too.
            let _ = ended.await;
        }));
        let started = Instant::now();
        let outcome = tokio::time::timeout(PATIENCE, async {
            push(&settings, address, &mut screen).await?;
            follow(&mut stages, journal.as_ref(), &mut screen).await
        })
        .await
        .map_err(|_| format!("the demo was not done after {} seconds", PATIENCE.as_secs()))
        .and_then(|outcome| outcome);
        let verdict = outcome.map(|delivery| Verdict { missing: missing(&world, &sha), delivery, took: started.elapsed() });
        if let Ok(verdict) = &verdict {
            screen.closing(verdict, &settings.file, address, stop.is_some());
        }
        if let (Ok(_), Some(stop)) = (&verdict, stop) {
            stay(stop, history::bring(&world, &settings, &hook(&settings, address)?, journal.as_ref())).await;
        }
        drop(journal);
        drop(end);
        serving.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        verdict
    }
}

/// Brings the history, and stays until it is told to stop.
async fn stay(stop: impl Future<Output = ()>, history: impl Future<Output = Result<(), String>>) {
    let mut stop = std::pin::pin!(stop);
    tokio::select! {
        biased;
        () = &mut stop => return,
        brought = history => {
            if let Err(why) = brought {
                tracing::warn!("the console has less to show: {why}");
            }
        }
    }
    stop.await;
}

/// Where the demo's deliveries go.
fn hook(settings: &settings::Settings, address: SocketAddr) -> Result<Url, String> {
    let source = settings.sources.first().ok_or("the demo's settings have no source")?;
    Url::parse(&format!("http://{address}{}", source.path)).map_err(|error| error.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn declic_yaml(world: &World, address: SocketAddr) -> String {
    format!(
        "version: 1\nlisten: \"{address}\"\nstore: {{ sqlite: demo.db }}\nsecrets:\n  hook: {{ from: env, name: DEMO_SECRET }}\n  \
         token: {{ from: env, name: DEMO_TOKEN }}\nsources:\n  github: {{ type: github, secret: hook }}\ntargets:\n  web_staging:\n    \
         type: cloud-run\n    project: {project}\n    region: {region}\n    service: {service}\n    \
         images: [\"europe-docker.pkg.dev/acme-build/web/*\"]\nconnections:\n  \
         bot: {{ type: dialogflow-fulfillment, url: \"{bot}/es\" }}\n  \
         pager: {{ type: http, base-url: \"{bot}/moved\", methods: [POST] }}\nrules: rules.yaml\n{rest}",
        project = stand_ins::PROJECT,
        region = stand_ins::REGION,
        service = stand_ins::SERVICE,
        bot = world.dialogflow.url,
        rest = world.settings("token"),
    )
}

/// Sends the push, signed as GitHub would.
async fn push(settings: &settings::Settings, address: SocketAddr, screen: &mut Screen<'_, impl Write>) -> Result<(), String> {
    let source = settings.sources.first().ok_or("the demo's settings have no source")?;
    let source = sources::build(source, &settings.secrets, &sources::Around::default())?;
    let id = ulid::Ulid::new().to_string().to_lowercase();
    let inbound = send::signed(source.as_ref(), "push", &id, send::JSON, PUSH.as_bytes().to_vec(), None)?;
    let to = hook(settings, address)?;
    screen.sent(&to, PUSH.len());
    let response = send::post(&to, &inbound).await?;
    if response.status != 202 {
        return Err(format!("the push was answered with {}: {}", response.status, String::from_utf8_lossy(&response.body)));
    }
    Ok(())
}

/// Shows every stage until the run is over, and gives the id of the delivery.
async fn follow(
    stages: &mut broadcast::Receiver<Stage>,
    journal: &dyn Journal,
    screen: &mut Screen<'_, impl Write>,
) -> Result<String, String> {
    loop {
        let stage = match stages.recv().await {
            Ok(stage) => stage,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return Err("the service ended before the run did".to_owned()),
        };
        if stage.name == "journaled" {
            let record = journal.delivery_record(&stage.delivery).await.map_err(|error| error.to_string())?;
            if let Some((record, _)) = record {
                screen.verified(&record, stage.at);
            }
        }
        if stage.name == "matched" {
            let record = journal.delivery_record(&stage.delivery).await.map_err(|error| error.to_string())?;
            let traces = record.and_then(|(_, traces)| traces).unwrap_or_default();
            screen.traces(&serde_json::from_value::<Vec<Trace>>(traces).map_err(|error| error.to_string())?, stage.at);
            continue;
        }
        screen.stage(&stage);
        if matches!(stage.name.as_str(), "finished" | "ignored" | "rejected") {
            return Ok(stage.delivery);
        }
    }
}

/// What the stand-ins should hold after the push, and do not. This, not our own record, decides whether the demo worked.
fn missing(world: &World, sha: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let digest = world.registry.resolve(&format!("{}:{sha}", stand_ins::IMAGE)).unwrap_or_default();
    if !serves(world, &digest) {
        missing.push(format!("Cloud Run does not serve the image {digest} with all of its traffic"));
    }
    if world.github.commit_comments(stand_ins::REPOSITORY, sha).len() != 1 {
        missing.push("the commit has no comment, or more than one".to_owned());
    }
    let statuses = world.github.statuses(stand_ins::REPOSITORY, sha);
    if statuses.first().and_then(|status| status.get("state")).and_then(Value::as_str) != Some("success") {
        missing.push("the commit has no status `success`".to_owned());
    }
    if world.dialogflow.ledger.requests().is_empty() {
        missing.push("the bot was not told".to_owned());
    }
    missing
}

/// Does the revision with all the traffic run this image?
fn serves(world: &World, digest: &str) -> bool {
    let revisions = world.cloud_run.revisions(stand_ins::SERVICE_NAME);
    let allocation = world.cloud_run.allocation(stand_ins::SERVICE_NAME);
    let Some((serving, _)) = allocation.iter().find(|(_, percent)| *percent == 100) else { return false };
    !digest.is_empty()
        && revisions.iter().any(|revision| {
            let name = revision.get("name").and_then(Value::as_str).unwrap_or_default();
            let containers = revision.get("containers").and_then(Value::as_array);
            let images = containers.into_iter().flatten().filter_map(|container| container.get("image").and_then(Value::as_str));
            name.rsplit('/').next() == Some(serving.as_str()) && images.into_iter().any(|image| image.ends_with(digest))
        })
}

//! The world that Declic acts on, as stateful HTTP servers on 127.0.0.1: what `declic demo` and the tests run against.
//!
//! A stand-in refuses every request that the real API does not allow; it keeps a log of what it was asked and what it did.

pub mod cloud_build;
pub mod cloud_run;
pub mod dialogflow;
pub mod exchange;
pub mod faults;
pub mod github;
pub mod identity;
pub mod ledger;
pub mod registry;
pub mod server;
pub mod shape;
pub mod tokens;

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use self::cloud_build::CloudBuild;
use self::cloud_run::CloudRun;
use self::dialogflow::Dialogflow;
use self::github::GitHub;
use self::identity::Identity;
use self::registry::Registry;
use self::server::Running;
use self::tokens::Tokens;

/// Project of the seeded service.
pub const PROJECT: &str = "acme-staging";
/// Its region.
pub const REGION: &str = "europe-west1";
/// Its name.
pub const SERVICE: &str = "web";
/// Its full name.
pub const SERVICE_NAME: &str = "projects/acme-staging/locations/europe-west1/services/web";
/// GitHub repository that it is built from.
pub const REPOSITORY: &str = "acme/web";
/// Its only commit at the start.
pub const FIRST_COMMIT: &str = "1f0c4a9d2b7e6358c1d0a4f9e2b7c6350d1a8f42";
/// Image without tag.
pub const IMAGE: &str = "europe-docker.pkg.dev/acme-build/web/web";
/// Repository of the image in the registry.
pub const IMAGE_REPOSITORY: &str = "acme-build/web/web";
/// Repository of the sidecar's image.
const SIDECAR_REPOSITORY: &str = "acme-build/tools/otel-collector";

/// Every stand-in, started and seeded. They stop when it is dropped.
#[derive(Debug)]
pub struct World {
    /// Cloud Run Admin API v2, and the services it runs.
    pub cloud_run: Arc<Running<CloudRun>>,
    /// Cloud Build, which pushes to the registry.
    pub cloud_build: Arc<Running<CloudBuild>>,
    /// Metadata server, OAuth token endpoint, IAM Credentials.
    pub identity: Arc<Running<Identity>>,
    /// Image registry.
    pub registry: Arc<Running<Registry>>,
    /// GitHub's REST API.
    pub github: Arc<Running<GitHub>>,
    /// An endpoint that answers Dialogflow's webhook requests.
    pub dialogflow: Arc<Running<Dialogflow>>,
    /// Access tokens in use.
    pub tokens: Tokens,
}

impl World {
    /// Starts everything, with the service `web` at the image tagged `seed`.
    ///
    /// # Errors
    /// If a port of 127.0.0.1 cannot be bound.
    pub async fn start() -> io::Result<Self> {
        let tokens = Tokens::default();
        let identity = Arc::new(server::start(|base, ledger| Identity::new(base, ledger, tokens.clone())).await?);
        let registry = Arc::new(server::start(|base, ledger| Registry::new(base, ledger, tokens.clone())).await?);
        let cloud_run = server::start(|base, ledger| CloudRun::new(base, ledger, tokens.clone())).await?;
        let images = Arc::clone(&registry);
        cloud_run.resolve_images_with(Arc::new(move |image| images.resolve(image)));
        let issuer = Arc::clone(&identity);
        cloud_run.check_id_tokens_with(Arc::new(move |token| issuer.audience_of(token)));
        let cloud_build = server::start(|_, ledger| CloudBuild::new(ledger, tokens.clone())).await?;
        let images = Arc::clone(&registry);
        cloud_build.push_images_with(Arc::new(move |image| push_built(&images, image)));
        let digest = registry.push(IMAGE_REPOSITORY, "seed", "seed");
        let sidecar = registry.push(SIDECAR_REPOSITORY, "seed", "collector");
        cloud_run.seed(&demo_service(&digest, &sidecar)).map_err(io::Error::other)?;
        let github = server::start(GitHub::new).await?;
        github.add_repository(REPOSITORY);
        github.add_commit(REPOSITORY, "main", FIRST_COMMIT, &[]);
        let dialogflow = server::start(Dialogflow::new).await?;
        Ok(Self {
            cloud_run: Arc::new(cloud_run),
            cloud_build: Arc::new(cloud_build),
            identity,
            registry,
            github: Arc::new(github),
            dialogflow: Arc::new(dialogflow),
            tokens,
        })
    }

    /// `HOST:PORT` of every stand-in: what `egress.allow` needs, because they are private addresses.
    pub fn authorities(&self) -> Vec<String> {
        let authorities = [
            &self.cloud_run.authority,
            &self.cloud_build.authority,
            &self.identity.authority,
            &self.registry.authority,
            &self.github.authority,
            &self.dialogflow.authority,
        ];
        authorities.into_iter().cloned().collect()
    }

    /// The part of `declic.yaml` that points Declic at this world; `token` is the entry of `secrets:` with the GitHub token.
    pub fn settings(&self, token: &str) -> String {
        let allow: Vec<String> = self.authorities().iter().map(|authority| format!("\"{authority}\"")).collect();
        format!(
            "google:\n  run-url: {run}\n  cloud-build-url: {cloud_build}\n  iam-credentials-url: {identity}\n  metadata-host: {metadata}\n  registry-url: {registry}\n\
             github:\n  api-url: {github}\n  token: {token}\n\
             egress:\n  allow: [{allow}]\n",
            run = self.cloud_run.url,
            cloud_build = self.cloud_build.url,
            identity = self.identity.url,
            metadata = self.identity.authority,
            registry = self.registry.url,
            github = self.github.url,
            allow = allow.join(", "),
        )
    }
}

/// Pushes what a build made: its content is its name and when it was made.
fn push_built(registry: &Registry, image: &str) -> String {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let repository = name.split_once('/').map_or(name, |(_, repository)| repository);
    registry.push(repository, tag, &format!("built {image} {}", ulid::Ulid::new()))
}

/// The seeded service: a web container with a sidecar, a secret, scaling and a VPC, so that a deploy has something to lose.
fn demo_service(digest: &str, sidecar: &str) -> Value {
    json!({
        "name": SERVICE_NAME,
        "description": "The shop's front end",
        "labels": { "team": "shop" },
        "client": "gcloud",
        "clientVersion": "539.0.0",
        "ingress": "INGRESS_TRAFFIC_ALL",
        "launchStage": "GA",
        "scaling": { "minInstanceCount": 1, "maxInstanceCount": 20 },
        "template": {
            "revision": "web-00001-kuz",
            "labels": { "team": "shop" },
            "serviceAccount": "web-runtime@acme-staging.iam.gserviceaccount.com",
            "timeout": "300s",
            "maxInstanceRequestConcurrency": 80,
            "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
            "scaling": { "maxInstanceCount": 20 },
            "vpcAccess": {
                "egress": "PRIVATE_RANGES_ONLY",
                "networkInterfaces": [{ "network": "shop", "subnetwork": "shop-eu", "tags": ["web"] }],
            },
            "volumes": [
                { "name": "keys", "secret": { "secret": "web-keys", "items": [{ "path": "key.pem", "version": "latest" }] } },
                { "name": "cache", "emptyDir": { "medium": "MEMORY", "sizeLimit": "64Mi" } },
            ],
            "containers": [
                {
                    "name": "web",
                    "image": format!("{IMAGE}@{digest}"),
                    "env": [
                        { "name": "LOG_LEVEL", "value": "info" },
                        { "name": "DATABASE_URL", "valueSource": { "secretKeyRef": { "secret": "web-database", "version": "3" } } },
                    ],
                    "resources": { "limits": { "cpu": "1", "memory": "512Mi" }, "cpuIdle": true, "startupCpuBoost": true },
                    "ports": [{ "name": "http1", "containerPort": 8080 }],
                    "volumeMounts": [{ "name": "keys", "mountPath": "/run/keys" }, { "name": "cache", "mountPath": "/cache" }],
                    "startupProbe": { "httpGet": { "path": "/livez", "port": 8080 }, "periodSeconds": 5, "failureThreshold": 12 },
                    "dependsOn": ["collector"],
                },
                {
                    "name": "collector",
                    "image": format!("europe-docker.pkg.dev/{SIDECAR_REPOSITORY}@{sidecar}"),
                    "args": ["--config=/etc/collector.yaml"],
                    "resources": { "limits": { "cpu": "200m", "memory": "128Mi" } },
                    "startupProbe": { "tcpSocket": { "port": 4317 }, "timeoutSeconds": 2 },
                },
            ],
        },
        "traffic": [{ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100 }],
    })
}

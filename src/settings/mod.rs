//! `declic.yaml`: the operator's file. The only place that reads the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use declic_actions::secret::Secret;
use serde_json::{Map, Value};

use crate::journal::place::Place;
use crate::rules::diagnostic::{Diagnostic, Severity, Source, render};
use crate::rules::model::{Grant, Offer};

mod admin;
mod dispatch;
mod entries;
mod environment;
mod places;
mod read;
mod secrets;
mod sections;
mod store;

/// Keys of the file and of its sections: what the reader takes, and what schema and reference are made from.
pub mod keys {
    pub use super::admin::ADMIN;
    pub use super::dispatch::DISPATCH;
    pub use super::read::KEYS as FILE;
    pub use super::sections::{AWS, EGRESS, GITHUB, GOOGLE, LIMIT, REPOSITORY};
    pub use super::store::STORE;
}

pub use admin::{AdminSettings, IapSettings, OidcSettings, Permission, VisibilitySettings, Who, is_login};
pub use environment::Environment;
pub use read::read;
pub use secrets::{SecretEntry, SecretSource};

/// Everything an operator decides, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file it came from; relative paths in it are relative to its folder.
    pub file: PathBuf,
    /// Address to listen on; `PORT` in the environment wins over the file.
    pub listen: SocketAddr,
    /// Did `PORT` decide the address? Then not even the command line changes it.
    pub listen_by_environment: bool,
    /// Address people and providers reach us at, without a slash at the end.
    pub public_url: Option<String>,
    /// Where the journal is.
    pub store: Store,
    /// The queue that calls; none if the process works by itself.
    pub dispatch: Option<crate::dispatch::queue::Settings>,
    /// Entry points in the order of the file.
    pub sources: Vec<SourceSettings>,
    /// Names that rules may use.
    pub offer: Offer,
    /// Values of `secrets:`, newest first. Empty in [`Mode::Names`]; without those from Secret Manager until they were fetched.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    /// Where each entry of `secrets:` comes from.
    pub secret_entries: BTreeMap<String, SecretEntry>,
    /// Repositories that may bring rules of their own.
    pub repositories: Vec<RepositorySettings>,
    /// Glob patterns of operator rule files.
    pub rules: Vec<String>,
    /// Google's base addresses.
    pub google: GoogleSettings,
    /// GitHub's base address and credentials.
    pub github: GitHubSettings,
    /// `aws: { sns-url: … }`: where Amazon SNS is reached, if not at its own addresses.
    pub sns_url: Option<String>,
    /// `host` or `host:port` that may be reached although they are private.
    pub egress_allow: Vec<String>,
    /// Who may look and act.
    pub admin: AdminSettings,
    /// Workers in this process.
    pub workers: usize,
    /// `serve --dry-run`: nothing is done, only recorded.
    pub dry_run: bool,
    /// `log:`
    pub log: Log,
    /// Are we on Cloud Run? (`K_SERVICE`)
    pub on_cloud_run: bool,
    /// The project we run in, for links from log lines to traces (`GOOGLE_CLOUD_PROJECT`); on Cloud Run the metadata server knows it, too.
    pub project: Option<String>,
    /// Debug builds only: the journal write at which the process kills itself (`DECLIC_CRASH_AT`), for the crash test.
    pub crash_at: Option<u64>,
    /// Debug builds only: how much longer each commit takes (`DECLIC_DISK_SLOWER`, milliseconds), for the same test.
    pub disk_slower: Option<Duration>,
    /// Debug builds only: how long a lease is (`DECLIC_LEASE`, milliseconds), for tests that wait for replicas that died.
    pub lease: Option<Duration>,
}

/// `store:`
#[derive(Debug, Clone)]
pub struct Store {
    /// A file or a server.
    pub place: Place,
    /// Finished deliveries and runs older than this are removed.
    pub keep: Duration,
    /// The oldest of them are removed while the store holds more than so many bytes.
    pub max_size: Option<u64>,
}

/// `log:`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Log {
    /// JSON on Cloud Run, text elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// Cloud Logging's form.
    Json,
}

/// One entry of `sources:`.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Its name.
    pub name: String,
    /// `type:`
    pub kind: String,
    /// Whole path; default `/hooks/NAME`.
    pub path: String,
    /// The other keys, as the source's kind declares them; secrets by name.
    pub fields: Map<String, Value>,
}

/// One entry of `repositories:`: it may bring rules of its own.
#[derive(Debug, Clone)]
pub struct RepositorySettings {
    /// `owner/name`
    pub name: String,
    /// GitHub's number of it, which stays when it is renamed or its name is taken over.
    pub id: i64,
    /// Pattern of its rule files.
    pub files: String,
    /// `require: { protected-branch: true }`
    pub protected_branch: bool,
    /// `require: { owners: … }`: who must own the rule files in CODEOWNERS.
    pub owners: Option<String>,
    /// What its rules may use.
    pub grant: Grant,
    /// `limits: { rules: … }`
    pub max_rules: Option<usize>,
    /// `limits: { runs-per-hour: … }`
    pub runs_per_hour: Option<u32>,
    /// `limits: { run-timeout: … }`
    pub run_timeout: Option<Duration>,
}

/// `google:`; the defaults are the real addresses.
#[derive(Debug, Clone)]
pub struct GoogleSettings {
    /// `https://run.googleapis.com`
    pub run_url: String,
    /// `https://iamcredentials.googleapis.com`
    pub iam_credentials_url: String,
    /// `https://secretmanager.googleapis.com`
    pub secret_manager_url: String,
    /// `https://pubsub.googleapis.com`
    pub pubsub_url: String,
    /// `https://bigquery.googleapis.com`
    pub bigquery_url: String,
    /// `https://fcm.googleapis.com`
    pub fcm_url: String,
    /// Cloud Build.
    pub cloud_build_url: String,
    /// Cloud Tasks.
    pub cloud_tasks_url: String,
    /// `https://www.googleapis.com`, where the keys of Google's ID tokens are.
    pub certs_url: String,
    /// Dialogflow, in place of the address of each region.
    pub dialogflow_url: Option<String>,
    /// Host of the metadata server: `metadata.google.internal`, or `GCE_METADATA_HOST`.
    pub metadata_host: String,
    /// Scheme and host of registries in place of `https://HOST`, for a mirror; none means the host of the image's name.
    pub registry_url: Option<String>,
    /// Path of a service-account key file (`GOOGLE_APPLICATION_CREDENTIALS`); none means the metadata server.
    pub credentials: Option<PathBuf>,
}

/// `github:`
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// `https://api.github.com`, or `https://HOST/api/v3`.
    pub api_url: String,
    /// Entry of `secrets:` that holds a token.
    pub token_name: Option<String>,
    /// The token. None in [`Mode::Names`], and until it was fetched if it is in Secret Manager.
    pub token: Option<Secret>,
}

/// Are secrets read?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No: only the names matter. For `check`, which runs where no secret is.
    Names,
    /// Yes: what cannot be read is a fault. For `serve`.
    Resolved,
}

/// The settings cannot be used.
#[derive(Debug, Clone)]
pub struct Unusable {
    /// The file.
    pub path: PathBuf,
    /// Its text; empty if it could not be read.
    pub text: String,
    /// What is wrong with it, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Why it could not be read at all.
    pub unreadable: Option<String>,
}

impl Unusable {
    /// For people, with excerpts.
    pub fn render(&self, colour: bool) -> String {
        if let Some(why) = &self.unreadable {
            return format!("{}: {why}\n", self.path.display());
        }
        let path = self.path.to_string_lossy();
        render(&self.diagnostics, &[Source { path: &path, text: &self.text }], colour)
    }
}

/// Settings that can be used, and what should be looked at in them nevertheless.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Warnings only.
    pub warnings: Vec<Diagnostic>,
    /// The file's text, for showing the warnings.
    pub text: String,
}

/// Reads and checks a settings file.
pub fn load(path: &Path, mode: Mode, environment: &Environment) -> Result<Loaded, Box<Unusable>> {
    let unusable = |text: &str, diagnostics, unreadable| {
        Box::new(Unusable { path: path.to_owned(), text: text.to_owned(), diagnostics, unreadable })
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let advice = if error.kind() == std::io::ErrorKind::NotFound {
            "there is no such file; name it with --config, or make one with `declic init`".to_owned()
        } else {
            format!("it cannot be read: {error}")
        };
        unusable("", Vec::new(), Some(advice))
    })?;
    let (settings, diagnostics) = read(path, &text, mode, environment);
    match settings {
        Some(settings) if diagnostics.iter().all(|fault| fault.severity == Severity::Warning) => {
            Ok(Loaded { settings, warnings: diagnostics, text })
        }
        _ => Err(unusable(&text, diagnostics, None)),
    }
}

impl Settings {
    /// What is in Secret Manager: (entry of `secrets:`, resource name, is it the previous value?). Fetch each and [`Settings::fetched`] it.
    pub fn to_fetch(&self) -> Vec<(String, String, bool)> {
        secrets::to_fetch(&self.secret_entries)
    }

    /// Takes in a value from Secret Manager. An empty one is an error that names the entry.
    pub fn fetched(&mut self, entry: &str, previous: bool, value: Secret) -> Result<(), String> {
        if value.is_empty() {
            return Err(format!("the secret `{entry}` is empty in Secret Manager"));
        }
        let values = self.secrets.entry(entry.to_owned()).or_default();
        if previous {
            values.push(value);
        } else {
            if self.github.token_name.as_deref() == Some(entry) {
                self.github.token = Some(value.clone());
            }
            if let Place::Server(server) = &mut self.store.place
                && server.password_name.as_deref() == Some(entry)
            {
                server.password = Some(value.clone());
            }
            values.insert(0, value);
        }
        Ok(())
    }

    /// The same without the value of any secret: for those who only show what is set.
    pub fn without_secrets(&self) -> Self {
        let github = GitHubSettings { token: None, ..self.github.clone() };
        let mut store = self.store.clone();
        if let Place::Server(server) = &mut store.place {
            server.password = None;
        }
        Self { secrets: BTreeMap::new(), github, store, ..self.clone() }
    }

    /// The grant of a repository that may bring rules of its own, by its number or by `owner/name`.
    pub fn repository(&self, wanted: &str) -> Option<&RepositorySettings> {
        let id: Option<i64> = wanted.parse().ok();
        self.repositories.iter().find(|one| id == Some(one.id) || one.name.eq_ignore_ascii_case(wanted))
    }
}

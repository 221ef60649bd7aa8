//! `declic.yaml`: the operator's file. The only place that reads the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use declic_actions::secret::Secret;
use serde_json::{Map, Value};

use crate::rules::model::Offer;

/// Everything an operator decides, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file it came from; relative paths in it are relative to its folder.
    pub file: PathBuf,
    /// Address to listen on; `PORT` in the environment wins over the file.
    pub listen: SocketAddr,
    /// Address people and providers reach us at, without a slash at the end.
    pub public_url: Option<String>,
    /// Where the journal is.
    pub store: Store,
    /// Entry points in the order of the file.
    pub sources: Vec<SourceSettings>,
    /// Names that rules may use.
    pub offer: Offer,
    /// Values of `secrets:`, newest first.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    /// Glob patterns of operator rule files.
    pub rules: Vec<String>,
    /// Google's base addresses.
    pub google: GoogleSettings,
    /// GitHub's base address and credentials.
    pub github: GitHubSettings,
    /// `host` or `host:port` that may be reached although they are private.
    pub egress_allow: Vec<String>,
    /// Workers in this process.
    pub workers: usize,
}

/// `store:`
#[derive(Debug, Clone)]
pub struct Store {
    /// Path of the SQLite file.
    pub path: PathBuf,
    /// Finished deliveries and runs older than this are removed.
    pub keep: Duration,
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

/// `google:`; the defaults are the real addresses.
#[derive(Debug, Clone)]
pub struct GoogleSettings {
    /// `https://run.googleapis.com`
    pub run_url: String,
    /// `https://iamcredentials.googleapis.com`
    pub iam_credentials_url: String,
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
    /// A token, by reference.
    pub token: Option<Secret>,
}

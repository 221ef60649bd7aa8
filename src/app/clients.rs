//! The clients of everything outside, as the settings say.

use std::time::{Duration, Instant};

use declic_actions::action::Clients;
use declic_actions::github::{App, GitHub, GitHubSettings};
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings, Unsent};
use declic_actions::secret::Secret;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::recover::Access;
use crate::settings::Settings;

/// How long a secret may take to come from Secret Manager at the start.
const SECRETS_DEADLINE: Duration = Duration::from_secs(30);

/// How long the metadata server may take to name the project.
const PROJECT_DEADLINE: Duration = Duration::from_secs(1);

const USER_AGENT: &str = concat!("declic/", env!("CARGO_PKG_VERSION"));

/// In place of a token, where nothing is sent.
const PLACEHOLDER: &str = "not-sent";

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

/// Clients that send nothing and know no secret: what actions would send is written down.
pub(super) fn unsent(settings: &Settings) -> Result<(Clients, Unsent), String> {
    let (http, unsent) = Http::unsent(HttpSettings { allow: allowed(settings), user_agent: USER_AGENT.to_owned() })?;
    let token = || Secret::new(PLACEHOLDER);
    let google = Google::with_token(http.clone(), google_addresses(settings), token(), || Timestamp::now().seconds());
    let github = GitHubSettings { api_url: settings.github.api_url.clone(), token: Some(token()) };
    let github = GitHub::new(http.clone(), github)?;
    Ok((Clients { http, google, github }, unsent))
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
    let credentials = match &settings.google.credentials {
        Some(path) => {
            let text = std::fs::read(path).map_err(|error| format!("the key file {} cannot be read: {error}", path.display()))?;
            Some(Secret::new(text))
        }
        None => None,
    };
    Ok(GoogleSettings { credentials, ..google_addresses(settings) })
}

/// Without credentials.
fn google_addresses(settings: &Settings) -> GoogleSettings {
    let google = &settings.google;
    GoogleSettings {
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
        credentials: None,
    }
}

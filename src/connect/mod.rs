//! Makes a GitHub App by its manifest flow: a page on this machine sends a browser to GitHub with the App's description, GitHub sends it back
//! with a code, and the code is exchanged for the App's keys. The keys go into files or Secret Manager, and nowhere else.

mod keep;
mod manifest;
mod page;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use declic_actions::github::{GitHub, GitHubSettings};
use declic_actions::google::Google;
use declic_actions::secret::Secret;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::app;
use crate::settings::Settings;

pub use keep::Keep;
pub use manifest::{EVENTS, PERMISSIONS};

/// How long the exchange of the code may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// GitHub's pages, without a slash at the end.
    web: String,
    /// Its API.
    api: String,
    organization: Option<String>,
    name: String,
    public_url: String,
    keep: Keep,
}

impl Plan {
    /// The error says which argument is wrong.
    pub fn new(github_url: &str, organization: Option<String>, name: &str, public_url: &str, keep: Keep) -> Result<Self, String> {
        let web = address("--github-url", github_url)?;
        let public_url = address("--public-url", public_url)?;
        let api = if web == "https://github.com" { "https://api.github.com".to_owned() } else { format!("{web}/api/v3") };
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some(organization) = organization.as_deref().filter(|name| name.is_empty() || !plain(name)) {
            return Err(format!("`{organization}` is not the name of an organisation at GitHub"));
        }
        if name.is_empty() || name.chars().count() > 34 {
            return Err("--name has 1 to 34 letters: GitHub takes no more".to_owned());
        }
        keep.fits()?;
        Ok(Self { web, api, organization, name: name.to_owned(), public_url, keep })
    }

    /// Where a browser posts the manifest.
    fn form(&self, state: &str) -> String {
        match &self.organization {
            Some(organization) => format!("{}/organizations/{organization}/settings/apps/new?state={state}", self.web),
            None => format!("{}/settings/apps/new?state={state}", self.web),
        }
    }
}

fn address(argument: &str, text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.query().is_none() && url.fragment().is_none()
    });
    url.map(|_| text.trim_end_matches('/').to_owned())
        .ok_or_else(|| format!("{argument} must be an address such as https://example.com"))
}

/// A flow that waits for its code.
pub struct Flow {
    plan: Plan,
    github: GitHub,
    google: Option<Google>,
    address: String,
    code: oneshot::Receiver<String>,
    /// The page ends with it.
    _stop: oneshot::Sender<()>,
}

/// An App that was made.
#[derive(Debug)]
pub struct Connected {
    id: u64,
    slug: String,
    install: String,
    references: (String, String),
    api: Option<String>,
}

/// What to write into the settings, and what to do next. It holds no secret.
impl fmt::Display for Connected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, slug, install, references: (key, hook), api } = self;
        writeln!(formatter, "the GitHub App {slug} is there, and its keys are kept. Write into declic.yaml:\n")?;
        writeln!(formatter, "secrets:\n  github_key: {key}\n  github_hook: {hook}")?;
        writeln!(formatter, "sources:\n  github: {{ type: github-app, app-id: {id}, key: github_key, secret: github_hook }}")?;
        if let Some(api) = api {
            writeln!(formatter, "github: {{ api-url: \"{api}\" }}")?;
        }
        write!(formatter, "\nthen install it on the repositories that it shall hear: {install}")
    }
}

/// Serves the page. Nothing is asked of GitHub until a browser comes back from it.
pub async fn begin(plan: Plan, settings: Option<Settings>) -> Result<Flow, String> {
    let (github, google) = clients(&plan, settings)?;
    plan.keep.prepare()?;
    let listener =
        TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("no port of this machine can be had: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("the port cannot be told: {error}"))?;
    let address = format!("http://{address}");
    let state = hex::encode(rand::random::<[u8; 32]>());
    let manifest = manifest::manifest(&plan.name, &plan.public_url, &format!("{address}/created"));
    let (sender, code) = oneshot::channel();
    let page = page::Page {
        form: plan.form(&state),
        manifest: manifest.to_string(),
        state,
        code: Mutex::new(Some(sender)),
        host: address.trim_start_matches("http://").to_owned(),
    };
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(page::serve(listener, Arc::new(page), stopped));
    Ok(Flow { plan, github, google, address, code, _stop: stop })
}

fn clients(plan: &Plan, settings: Option<Settings>) -> Result<(GitHub, Option<Google>), String> {
    let settings = settings.map(|mut settings| {
        settings.github.api_url.clone_from(&plan.api);
        settings.github.token = None;
        settings
    });
    let secret_manager = matches!(plan.keep, Keep::SecretManager { .. });
    match settings {
        Some(settings) => {
            let reach = app::reach(&settings)?;
            let github = GitHub::new(reach.http().clone(), GitHubSettings { api_url: plan.api.clone(), token: None })?;
            Ok((github, secret_manager.then_some(reach.google)))
        }
        None if secret_manager => Err("--secret-manager needs the settings (--config): they say who we are at Google".to_owned()),
        None => {
            let allow = if plan.web == "https://github.com" { Vec::new() } else { authority(&plan.web).into_iter().collect() };
            let http = app::plain_client(allow)?;
            Ok((GitHub::new(http, GitHubSettings { api_url: plan.api.clone(), token: None })?, None))
        }
    }
}

/// `host` or `host:port` of an address that the operator gave: an Enterprise Server is often at a private one.
fn authority(address: &str) -> Option<String> {
    let url = url::Url::parse(address).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

impl Flow {
    /// Where a browser begins.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits for the code, exchanges it, and keeps the keys. The error says what to do.
    pub async fn end(self, wait: Duration) -> Result<Connected, String> {
        let Self { plan, github, google, code, .. } = self;
        let code = match tokio::time::timeout(wait, code).await {
            Ok(Ok(code)) => code,
            Ok(Err(_)) => return Err("the page on this machine ended before GitHub answered: begin again".to_owned()),
            Err(_) => return Err("GitHub did not lead back in time: begin again".to_owned()),
        };
        let deadline = Instant::now() + PATIENCE;
        let answer = github.post_empty(&format!("/app-manifests/{code}/conversions"), deadline).await;
        let answer =
            answer.map_err(|failure| format!("the code cannot be exchanged for the App's keys: {}", failure.why().message))?;
        let made: Value = serde_json::from_slice(&answer.body).map_err(|_| "GitHub's answer is no JSON".to_owned())?;
        let text = |name: &str| made.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(id), Some(key), Some(hook)) = (made.get("id").and_then(Value::as_u64), text("pem"), text("webhook_secret"))
        else {
            return Err("GitHub's answer holds no keys: remove the App there and begin again".to_owned());
        };
        let slug = text("slug").unwrap_or(&plan.name).to_owned();
        let home = text("html_url").map_or_else(|| format!("{}/apps/{slug}", plan.web), str::to_owned);
        let (key, hook) = (Secret::new(key.to_owned()), Secret::new(hook.to_owned()));
        let kept = plan.keep.keep(&slug, &key, &hook, google.as_ref(), deadline).await;
        let references = kept.map_err(|why| {
            format!("the App {slug} was made, but its keys are lost: {why}. Remove it at {home} and begin again")
        })?;
        let api = (plan.web != "https://github.com").then_some(plan.api);
        Ok(Connected { id, slug, install: format!("{home}/installations/new"), references, api })
    }
}

/// Takes what is in there, once.
fn take<T>(from: &Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).take()
}

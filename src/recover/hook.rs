//! The hooks whose delivery log is read, and as whom.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use declic_actions::github::{GitHub, GitHubSettings, app_token};
use declic_actions::http::Http;
use declic_actions::secret::Secret;
use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::rules::yaml::duration;
use crate::settings::SourceSettings;

/// How often the log is looked at where the settings say nothing.
const EVERY: Duration = Duration::from_secs(300);
/// The same where the log is all there is.
const EVERY_PULL: Duration = Duration::from_secs(30);
/// More often than this costs more of the hourly limit than it is worth.
const SHORTEST: Duration = Duration::from_secs(5);

/// A hook with a delivery log.
#[derive(Clone)]
pub enum Hook {
    /// Of a repository.
    Repository {
        /// `owner/name`
        name: String,
        /// GitHub's number of the hook.
        id: u64,
    },
    /// Of an organisation.
    Organization {
        /// Its login.
        name: String,
        /// GitHub's number of the hook.
        id: u64,
    },
    /// The one of an App.
    App {
        /// GitHub's number of the App.
        id: u64,
        /// The App's private key, PEM.
        key: Secret,
    },
}

/// For people, and as the name of the mark in the store.
impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { name, id } | Self::Organization { name, id } => write!(formatter, "hook {id} of {name}"),
            Self::App { id, .. } => write!(formatter, "the hook of App {id}"),
        }
    }
}

/// Where GitHub is, and who we are there.
#[derive(Clone)]
pub struct Access {
    /// The client all requests go through.
    pub http: Http,
    /// Base address of the API, without a slash at the end.
    pub api_url: String,
    /// The token for hooks of repositories and organisations.
    pub token: Option<Secret>,
}

impl Hook {
    /// Path of its log at the API.
    pub fn path(&self) -> String {
        match self {
            Self::Repository { name, id } => format!("/repos/{name}/hooks/{id}/deliveries"),
            Self::Organization { name, id } => format!("/orgs/{name}/hooks/{id}/deliveries"),
            Self::App { .. } => "/app/hook/deliveries".to_owned(),
        }
    }

    /// A client that may read it, for some minutes from now, which is GitHub's time. The error is for the operator.
    pub fn client(&self, access: &Access, now: Timestamp) -> Result<GitHub, String> {
        let token = match self {
            Self::App { id, key } => Some(app_token(*id, key, now.seconds())?),
            _ => access.token.clone(),
        };
        if token.is_none() {
            return Err(format!("the delivery log of {self} needs `github: {{ token: … }}`, with the right to read webhooks"));
        }
        GitHub::new(access.http.clone(), GitHubSettings { api_url: access.api_url.clone(), token })
    }
}

/// What the settings of a source say about its delivery logs.
#[derive(Clone)]
pub struct Plan {
    /// Whose logs.
    pub hooks: Vec<Hook>,
    /// Is the log all there is? Then also what GitHub thinks was delivered is taken in, if it is not here.
    pub pull: bool,
    /// How often.
    pub every: Duration,
}

impl Plan {
    /// `None`: the source has no delivery log that could be read. The error is for the operator.
    pub fn of(source: &SourceSettings, secrets: &BTreeMap<String, Vec<Secret>>) -> Result<Option<Self>, String> {
        let fields = &source.fields;
        let hooks = match source.kind.as_str() {
            "github" => hooks(fields)?,
            "github-app" => app(fields, secrets)?.into_iter().collect(),
            _ => return Ok(None),
        };
        let pull = fields.get("pull").and_then(Value::as_bool).unwrap_or(false);
        if hooks.is_empty() {
            return Ok(None);
        }
        let every = fields.get("sweep").and_then(Value::as_str).and_then(duration);
        let every = every.unwrap_or(if pull { EVERY_PULL } else { EVERY }).max(SHORTEST);
        Ok(Some(Self { hooks, pull, every }))
    }
}

/// The hooks of a source of type `github`. The error is for the operator.
pub fn hooks(fields: &Map<String, Value>) -> Result<Vec<Hook>, String> {
    let items = fields.get("hooks").and_then(Value::as_array);
    items.into_iter().flatten().map(hook).collect()
}

fn hook(item: &Value) -> Result<Hook, String> {
    let text = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
    let id = item.get("id").and_then(Value::as_u64).filter(|id| *id > 0);
    let id = id.ok_or("has a hook whose `id` is not GitHub's number of it")?;
    // It becomes part of a path.
    let word = |text: &str| {
        !text.is_empty()
            && text != "."
            && text != ".."
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match (text("repository"), text("organization")) {
        (Some(name), None) if name.split('/').count() == 2 && name.split('/').all(word) => Ok(Hook::Repository { name, id }),
        (None, Some(name)) if word(&name) => Ok(Hook::Organization { name, id }),
        _ => Err("has a hook that needs either `repository: owner/name` or `organization: name`".to_owned()),
    }
}

/// The App's own hook; none where secrets are not read.
fn app(fields: &Map<String, Value>, secrets: &BTreeMap<String, Vec<Secret>>) -> Result<Option<Hook>, String> {
    let id = fields.get("app-id").and_then(Value::as_u64).ok_or("has an `app-id` that is not GitHub's number of it")?;
    let key = fields.get("key").and_then(Value::as_str).and_then(|name| secrets.get(name)?.first());
    Ok(key.map(|key| Hook::App { id, key: key.clone() }))
}

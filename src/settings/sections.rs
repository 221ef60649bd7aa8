//! The smaller sections of the file.

use std::path::PathBuf;
use std::time::Duration;

use declic_actions::action::Field;
use serde_json::{Map, Value};

use super::entries::Plainly;
use super::{Environment, read::Reader};
use super::{GitHubSettings, GoogleSettings, Log, RepositorySettings};
use crate::rules::model::Grant;
use crate::rules::registry;
use crate::rules::shapes;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::types::Type;
use crate::rules::values::value;
use crate::rules::yaml::{Entry, duration};

/// Runs at a time where the settings do not say: five of one repository, three at one target.
const WORKERS: usize = 6;

pub(super) const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

/// What every entry of `targets:` and `connections:` may have.
pub const LIMIT: Field = field(
    "limit",
    "{ at-once: int?, per-minute: int?, failures: int?, pause: duration? }?",
    "How much each process asks of it: steps at once (half of `workers` if not given), attempts in any minute, and after how many failures in a row (5; 0 is \
     never) it is left alone for how long (30s, doubled up to 5m while it still fails). Runs that need it wait, and no attempt is counted",
);

/// `google:`
pub static GOOGLE: &[Field] = &[
    field("run-url", "string?", "Base address of the Cloud Run API"),
    field("iam-credentials-url", "string?", "Base address of the IAM Credentials API"),
    field("secret-manager-url", "string?", "Base address of Secret Manager"),
    field("pubsub-url", "string?", "Base address of Pub/Sub"),
    field("bigquery-url", "string?", "Base address of BigQuery"),
    field("fcm-url", "string?", "Base address of Firebase Cloud Messaging"),
    field("cloud-build-url", "string?", "Base address of Cloud Build"),
    field("cloud-tasks-url", "string?", "Base address of Cloud Tasks"),
    field("dialogflow-url", "string?", "Base address of Dialogflow, in place of that of each region"),
    field("certs-url", "string?", "Base address of the keys that Google signs ID tokens with, in place of www.googleapis.com"),
    field("metadata-host", "string?", "Host of the metadata server"),
    field("registry-url", "string?", "Address of a mirror in place of the image's own registry"),
    field("credentials", "string?", "Path of a service account's key file"),
];

/// `github:`
pub static GITHUB: &[Field] = &[
    field("api-url", "string?", "Base address of the API: `https://HOST/api/v3` for an Enterprise Server"),
    field("token", "secret?", "Entry of `secrets:` that holds a token"),
];

/// `aws:`
pub static AWS: &[Field] = &[field(
    "sns-url",
    "string?",
    "Where certificates and confirmations of SNS are fetched, in place of `sns.REGION.amazonaws.com`: a proxy, or a stand-in. The messages must \
     name Amazon's own addresses all the same",
)];

/// `egress:`
pub static EGRESS: &[Field] =
    &[field("allow", "[string]?", "`host` or `host:port` that may be reached although its address is private")];

/// One item of `repositories:`.
pub static REPOSITORY: &[Field] = &[
    field("name", "string", "`owner/name`"),
    field("id", "int", "GitHub's number of the repository, which stays when it is renamed"),
    field("files", "string?", "Pattern of its rule files, `.declic/*.yaml` if not given"),
    field("require", "{ protected-branch: bool?, owners: string? }?", "What must hold before its rules may deploy"),
    field(
        "grant",
        "{ events: [string]?, actions: [string]?, targets: [string]?, connections: [string]?, sources: [string]? }",
        "What its rules may use; nothing else",
    ),
    field("limits", "{ rules: int?, runs-per-hour: int?, run-timeout: duration? }?", "How much its rules may do"),
];

impl Reader<'_> {
    /// A mapping of plain keys; empty after a fault.
    pub(super) fn mapping(&mut self, entry: &Entry, fields: &[Field]) -> Map<String, Value> {
        let mut plainly = Plainly { faults: &mut self.faults, secrets: &self.secret_names };
        if entry.value.entries().is_some_and(<[Entry]>::is_empty) {
            return Map::new();
        }
        match value(&mut plainly, &entry.value, &Type::Object(shapes::object(fields)), &entry.key) {
            Some(Template::Literal(Value::Object(fields))) => fields,
            _ => Map::new(),
        }
    }

    /// `google:`, completed from the environment.
    pub fn google(&mut self, entry: Option<&Entry>, environment: &Environment) -> GoogleSettings {
        let fields = entry.map(|entry| self.mapping(entry, GOOGLE)).unwrap_or_default();
        let mut address = |key: &str, otherwise: &str| self.address(entry, &fields, key).unwrap_or_else(|| otherwise.to_owned());
        GoogleSettings {
            run_url: address("run-url", "https://run.googleapis.com"),
            iam_credentials_url: address("iam-credentials-url", "https://iamcredentials.googleapis.com"),
            secret_manager_url: address("secret-manager-url", "https://secretmanager.googleapis.com"),
            pubsub_url: address("pubsub-url", "https://pubsub.googleapis.com"),
            bigquery_url: address("bigquery-url", "https://bigquery.googleapis.com"),
            fcm_url: address("fcm-url", "https://fcm.googleapis.com"),
            cloud_build_url: address("cloud-build-url", "https://cloudbuild.googleapis.com"),
            cloud_tasks_url: address("cloud-tasks-url", "https://cloudtasks.googleapis.com"),
            certs_url: address("certs-url", "https://www.googleapis.com"),
            dialogflow_url: self.address(entry, &fields, "dialogflow-url"),
            registry_url: self.address(entry, &fields, "registry-url"),
            metadata_host: text(&fields, "metadata-host")
                .or_else(|| environment.get("GCE_METADATA_HOST"))
                .unwrap_or_else(|| "metadata.google.internal".to_owned()),
            credentials: text(&fields, "credentials")
                .map(|path| self.folder.join(path))
                .or_else(|| environment.get("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from)),
        }
    }

    /// `aws: { sns-url: … }`
    pub fn sns_url(&mut self, entry: Option<&Entry>) -> Option<String> {
        let fields = entry.map(|entry| self.mapping(entry, AWS)).unwrap_or_default();
        self.address(entry, &fields, "sns-url")
    }

    /// `github:`; the token itself comes later.
    pub fn github(&mut self, entry: Option<&Entry>) -> GitHubSettings {
        let fields = entry.map(|entry| self.mapping(entry, GITHUB)).unwrap_or_default();
        let api_url = self.address(entry, &fields, "api-url").unwrap_or_else(|| "https://api.github.com".to_owned());
        GitHubSettings { api_url, token_name: text(&fields, "token"), token: None }
    }

    /// A base address: http or https, a host, nothing behind `?` or `#`; the slash at its end is taken off.
    fn address(&mut self, section: Option<&Entry>, fields: &Map<String, Value>, key: &str) -> Option<String> {
        let written = text(fields, key)?;
        let entry = section.and_then(|section| section.value.get(key))?;
        self.checked_address(entry, &written)
    }

    /// The same for any entry.
    pub fn checked_address(&mut self, entry: &Entry, written: &str) -> Option<String> {
        let fits = url::Url::parse(written).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host().is_some()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        if fits.is_none() {
            let message = format!("`{}` must be an address such as https://example.com", entry.key);
            self.faults.error("type", entry.value.span.clone(), message, None);
            return None;
        }
        Some(written.trim_end_matches('/').to_owned())
    }

    /// `egress: { allow: [...] }`
    pub fn egress(&mut self, entry: Option<&Entry>) -> Vec<String> {
        let Some(entry) = entry else { return Vec::new() };
        let allow = texts(&self.mapping(entry, EGRESS), "allow");
        for name in &allow {
            let (host, port) = name.rsplit_once(':').map_or((name.as_str(), None), |(host, port)| (host, Some(port)));
            let fits = !host.is_empty()
                && !name.contains(['/', '*', ' ', '@'])
                && (name.starts_with('[') || port.is_none_or(|port| port.parse::<u16>().is_ok()));
            if !fits {
                let message = format!("`{name}` is no host");
                let help = "write `host` or `host:port`, without scheme, path and patterns".to_owned();
                self.faults.error("name", entry.value.span.clone(), message, Some(help));
            }
        }
        allow
    }

    /// `workers:`
    pub fn workers(&mut self, entry: Option<&Entry>) -> usize {
        let Some(entry) = entry else { return WORKERS };
        match entry.value.scalar().and_then(|scalar| scalar.text.parse::<usize>().ok()) {
            Some(workers @ 1..=256) => workers,
            _ => {
                self.faults.error("type", entry.value.span.clone(), "`workers` must be a number from 1 to 256", None);
                WORKERS
            }
        }
    }

    /// `log:`
    pub fn log(&mut self, entry: Option<&Entry>) -> Log {
        match entry.and_then(|entry| entry.value.scalar()).map(|scalar| scalar.text.as_str()) {
            None | Some("auto") if entry.is_none_or(|entry| entry.value.scalar().is_some()) => Log::Auto,
            Some("text") => Log::Text,
            Some("json") => Log::Json,
            found => {
                let help = found.and_then(|word| did_you_mean(word, ["auto", "text", "json"]));
                if let Some(entry) = entry {
                    self.faults.error("type", entry.value.span.clone(), "`log` is auto or text or json", help);
                }
                Log::Auto
            }
        }
    }

    /// `rules:`, one pattern or a list of them.
    pub fn rules(&mut self, entry: Option<&Entry>) -> Vec<String> {
        let Some(entry) = entry else { return vec!["rules/*.yaml".to_owned()] };
        if let Some(scalar) = entry.value.scalar().filter(|scalar| !scalar.text.is_empty()) {
            return vec![scalar.text.clone()];
        }
        let mut plainly = Plainly { faults: &mut self.faults, secrets: &self.secret_names };
        match value(&mut plainly, &entry.value, &Type::List(Box::new(Type::String)), "rules") {
            Some(Template::Literal(Value::Array(patterns))) => {
                patterns.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `repositories:`
    pub fn repositories(&mut self, entry: Option<&Entry>) -> Vec<RepositorySettings> {
        let Some(entry) = entry else { return Vec::new() };
        let Some(items) = entry.value.items() else {
            crate::rules::values::not_a(&mut self.faults, &entry.value.span, "`repositories`", "a list", entry.value.kind());
            return Vec::new();
        };
        let mut found: Vec<RepositorySettings> = Vec::new();
        for item in items {
            let mut plainly = Plainly { faults: &mut self.faults, secrets: &self.secret_names };
            let checked = value(&mut plainly, item, &Type::Object(shapes::object(REPOSITORY)), "repositories");
            let Some(Template::Literal(Value::Object(fields))) = checked else { continue };
            let repository = repository(&fields);
            if found.iter().any(|other| other.name == repository.name || other.id == repository.id) {
                let message = format!("the repository `{}` is given twice", repository.name);
                self.faults.error("duplicate-key", item.span.clone(), message, None);
            }
            if repository.name.split('/').filter(|part| !part.is_empty()).count() != 2 {
                let message = format!("`{}` is no repository", repository.name);
                self.faults.error("name", item.span.clone(), message, Some("write owner/name".to_owned()));
            }
            self.granted(item, &repository.grant);
            self.rule_files(item, &repository.files);
            found.push(repository);
        }
        found
    }

    /// One folder is read, and nothing below it.
    fn rule_files(&mut self, item: &crate::rules::yaml::Node, files: &str) {
        let (folder, name) = files.rsplit_once('/').unwrap_or(("", files));
        let plain =
            |part: &str| !part.is_empty() && !part.contains(['*', '?', '[', '+', '!', '\\']) && part != "." && part != "..";
        if folder.split('/').all(plain) && !name.is_empty() && !name.contains("**") && !name.starts_with('!') {
            return;
        }
        let span = item.get("files").map_or_else(|| item.span.clone(), |entry| entry.value.span.clone());
        let help = "name one folder and what is directly in it: .declic/*.yaml".to_owned();
        self.faults.error(
            "value",
            span,
            format!("`files: {files}` does not say which files of the repository are read"),
            Some(help),
        );
    }

    /// Grants must name what there is: a typing mistake would silently grant nothing.
    fn granted(&mut self, item: &crate::rules::yaml::Node, grant: &Grant) {
        let section = |key: &str| item.get("grant").and_then(|grant| grant.value.get(key)).map(|entry| entry.value.clone());
        // The long list is only made for whoever needs it: it costs a start some milliseconds.
        let own: Vec<&str> = registry::EVENTS.iter().map(|event| event.name).collect();
        let all_own = grant.events.iter().all(|name| own.contains(&name.as_str()));
        let events = if all_own { own } else { registry::events().map(|event| event.name).collect() };
        let mut actions: Vec<String> = registry::actions().map(|spec| spec.name.to_owned()).collect();
        actions
            .extend(registry::actions().filter_map(|spec| spec.name.split_once('/')).map(|(service, _)| format!("{service}/*")));
        let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
        let offer = self.offer.clone();
        let targets: Vec<&str> = offer.targets.keys().map(String::as_str).collect();
        let connections: Vec<&str> = offer.connections.keys().map(String::as_str).collect();
        let sources: Vec<&str> = offer.sources.keys().map(String::as_str).collect();
        for (key, what, given, known) in [
            ("events", "event", &grant.events, events),
            ("actions", "action", &grant.actions, actions),
            ("targets", "target", &grant.targets, targets),
            ("connections", "connection", &grant.connections, connections),
            ("sources", "source", &grant.sources, sources),
        ] {
            let Some(node) = section(key) else { continue };
            for (index, word) in given.iter().enumerate() {
                if !known.contains(&word.as_str()) {
                    let span =
                        node.items().and_then(|items| items.get(index)).map_or(node.span.clone(), |item| item.span.clone());
                    let help = did_you_mean(word, known.iter().copied());
                    self.faults.error("name", span, format!("there is no {what} `{word}`"), help);
                }
            }
        }
    }
}

fn repository(fields: &Map<String, Value>) -> RepositorySettings {
    let inner = |key: &str| fields.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let (require, grant, limits) = (inner("require"), inner("grant"), inner("limits"));
    let number = |key: &str| limits.get(key).and_then(Value::as_u64);
    RepositorySettings {
        name: text(fields, "name").unwrap_or_default(),
        id: fields.get("id").and_then(Value::as_i64).unwrap_or_default(),
        files: text(fields, "files").unwrap_or_else(|| ".declic/*.yaml".to_owned()),
        protected_branch: require.get("protected-branch").and_then(Value::as_bool).unwrap_or(false),
        owners: text(&require, "owners"),
        grant: Grant {
            events: texts(&grant, "events"),
            actions: texts(&grant, "actions"),
            targets: texts(&grant, "targets"),
            connections: texts(&grant, "connections"),
            sources: texts(&grant, "sources"),
        },
        max_rules: number("rules").and_then(|number| usize::try_from(number).ok()),
        runs_per_hour: number("runs-per-hour").and_then(|number| u32::try_from(number).ok()),
        run_timeout: length(&limits, "run-timeout"),
    }
}

pub(super) fn text(fields: &Map<String, Value>, key: &str) -> Option<String> {
    fields.get(key).and_then(Value::as_str).map(str::to_owned)
}

pub(super) fn texts(fields: &Map<String, Value>, key: &str) -> Vec<String> {
    let items = fields.get(key).and_then(Value::as_array);
    items.map(|items| items.iter().filter_map(Value::as_str).map(str::to_owned).collect()).unwrap_or_default()
}

pub(super) fn length(fields: &Map<String, Value>, key: &str) -> Option<Duration> {
    fields.get(key).and_then(Value::as_str).and_then(duration)
}

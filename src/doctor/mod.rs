//! Is everything there that the service needs? What `declic doctor` looks at: settings, rules, secrets, the store, GitHub and Google, and
//! which secrets can go. Nothing is changed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::{self, Reach};
use crate::clock::Timestamp;
use crate::reload::Rules;
use crate::report::metrics::Metrics;
use crate::rules::model::RuleSet;
use crate::settings::Settings;
use crate::sources::rotation::{Advice, Watched};
use crate::sources::{self, Around};

mod remote;
mod tables;

/// How long one question to somebody else may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Fine,
    /// Worth knowing; the service runs.
    Note,
    /// The service would not do what it is for.
    Wrong,
}

impl State {
    /// `fine`, `note`, `wrong`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `rules`, `secret github_webhook`, `store`.
    pub about: String,
    /// How it is.
    pub state: State,
    /// What was found, and what to do about it where it is wrong. Never holds a secret.
    pub says: String,
}

impl Finding {
    fn new(about: impl Into<String>, state: State, says: impl Into<String>) -> Self {
        Self { about: about.into(), state, says: says.into() }
    }

    fn of(about: impl Into<String>, outcome: Result<String, String>) -> Self {
        match outcome {
            Ok(says) => Self::new(about, State::Fine, says),
            Err(says) => Self::new(about, State::Wrong, says),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({ "about": self.about, "state": self.state.word(), "says": self.says })
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// In the order in which it was looked at.
    pub list: Vec<Finding>,
    /// How far the change of each source's secret has come, as [`crate::sources::rotation::Rotation::json`].
    pub rotations: Vec<Value>,
}

/// Looks at everything that these settings need.
pub async fn examine(mut settings: Settings) -> Findings {
    let mut findings = Findings::default();
    let rules = rules(&settings, &mut findings.list);
    match app::reach(&settings) {
        Ok(reach) => {
            secrets(&mut settings, &reach, &mut findings).await;
            remote::github(&settings, &reach, &mut findings.list).await;
            if remote::google(&settings, &reach, &mut findings.list).await
                && let Some(rules) = rules
            {
                tables::examine(&settings, &reach, &rules, &mut findings.list).await;
            }
        }
        Err(why) => findings.list.push(Finding::new("clients", State::Wrong, why)),
    }
    entry_points(&settings, &mut findings.list);
    store(&settings, &mut findings);
    findings
}

/// The rules, if they are right.
fn rules(settings: &Settings, list: &mut Vec<Finding>) -> Option<Arc<RuleSet>> {
    let folder = settings.file.parent().unwrap_or(Path::new(""));
    let loaded = Rules::load(folder.to_owned(), settings.rules.clone(), settings.offer.clone(), Arc::new(Metrics::new()));
    let (outcome, rules) = match loaded {
        Ok((rules, files)) => {
            let rules = Arc::clone(rules.current().load().rules());
            (Ok(format!("{} in {} files, all right", rules.rules.len(), files.len())), Some(rules))
        }
        Err(why) => (Err(format!("they are not right, see `declic check`: {why}")), None),
    };
    list.push(Finding::of("rules", outcome));
    rules
}

async fn secrets(settings: &mut Settings, reach: &Reach, findings: &mut Findings) {
    for (entry, name, previous) in settings.to_fetch() {
        let about = format!("secret {entry}{}", if previous { " (previous)" } else { "" });
        let fetched = match reach.google.access_secret(&name, Instant::now() + PATIENCE).await {
            Ok(value) => settings.fetched(&entry, previous, value),
            Err(failure) => {
                let why = &failure.why().message;
                Err(format!("{why}; the service's account needs `roles/secretmanager.secretAccessor` on {name}"))
            }
        };
        findings.list.push(Finding::of(about, fetched.map(|()| format!("{name} can be read"))));
    }
    let here = settings.secret_entries.keys().filter(|name| settings.secrets.get(*name).is_some_and(|values| !values.is_empty()));
    let count = here.count();
    let all = settings.secret_entries.len();
    let outcome =
        if count == all { Ok(format!("all {all} have a value")) } else { Err(format!("{} of {all} have no value", all - count)) };
    findings.list.push(Finding::of("secrets", outcome));
}

/// Can each source be made of its settings and secrets?
fn entry_points(settings: &Settings, list: &mut Vec<Finding>) {
    let around = Around { public_url: settings.public_url.clone(), ..Around::default() };
    for source in &settings.sources {
        let built = sources::build(source, &settings.secrets, &around);
        let outcome = built.map(|built| format!("{} listens at {}", source.kind, built.entry().path));
        list.push(Finding::of(format!("source {}", source.name), outcome.map_err(|why| format!("it {why}"))));
    }
    if settings.sources.is_empty() {
        list.push(Finding::new("sources", State::Note, "there is none: nothing can come in; add one to `sources:`"));
    }
    if settings.public_url.is_none() {
        let says = "`public-url` is not set: links in statuses and comments lead nowhere, and providers that sign their address cannot be verified";
        list.push(Finding::new("public-url", State::Note, says));
    }
}

fn store(settings: &Settings, findings: &mut Findings) {
    let place = &settings.store.place;
    if let Some(path) = place.file().filter(|path| !path.exists()) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let outcome = tempfile_in(folder).map(|()| format!("{} is not there yet; the first start makes it", path.display()));
        findings.list.push(Finding::of("store", outcome));
        return;
    }
    let store = match place.look() {
        Ok(store) => store,
        Err(why) => return findings.list.push(Finding::new("store", State::Wrong, why)),
    };
    let outcome = match store.integrity() {
        Ok(None) => Ok(format!("{place} is whole")),
        Ok(Some(fault)) => Err(format!("{place} is damaged ({fault}): stop the service and restore it from a copy")),
        Err(error) => Err(format!("{place} cannot be read: {error}")),
    };
    findings.list.push(Finding::of("store", outcome));
    let now = Timestamp::now();
    for watched in settings.sources.iter().filter_map(|source| Watched::of(source, &settings.secrets)) {
        let about = format!("rotation {}", watched.source);
        match watched.read(|name| store.mark(name)) {
            Ok(rotation) => {
                let state = match rotation.advice(now) {
                    Advice::NothingToRemove => State::Fine,
                    Advice::NotChangedYet | Advice::Wait(_) | Advice::SafeToRemove => State::Note,
                };
                findings.list.push(Finding::new(about, state, rotation.say(now)));
                findings.rotations.push(rotation.json(now));
            }
            Err(error) => findings.list.push(Finding::new(about, State::Wrong, error.to_string())),
        }
    }
}

/// Can a file be made there?
fn tempfile_in(folder: &Path) -> Result<(), String> {
    let path = folder.join(format!(".declic-doctor-{}", std::process::id()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    made.map_err(|error| {
        format!("no file can be made in {}: {error}; make the folder, or let the service write there", folder.display())
    })?;
    std::fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))
}

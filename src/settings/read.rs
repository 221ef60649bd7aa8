//! The tree of `declic.yaml` into [`Settings`]: every fault in one pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use declic_actions::action::Field;
use declic_actions::secret::Secret;
use declic_actions::targets::{CONNECTIONS, SettingKind, TARGETS};
use serde_json::{Map, Value};

use super::admin::Around;
use super::entries::{Checked, Plainly, entry};
use super::secrets::{self, SecretEntry};
use super::{Environment, Mode, Settings, SourceSettings};
use crate::journal::place::Place;
use crate::rules::diagnostic::{Diagnostic, Faults};
use crate::rules::model::Offer;
use crate::rules::values::{keys, not_a};
use crate::rules::yaml::{self, Entry, Limits, Node};
use crate::sources::KINDS;

/// Keys of the file, in the order of the reference.
pub const KEYS: &[&str] = &[
    "version",
    "listen",
    "public-url",
    "store",
    "dispatch",
    "secrets",
    "sources",
    "targets",
    "connections",
    "repositories",
    "rules",
    "google",
    "github",
    "aws",
    "egress",
    "admin",
    "workers",
    "log",
];

/// Paths that are ours; a source there would shadow them.
const TAKEN: &[&str] = &["/", "/livez", "/readyz", "/metrics"];

/// What is being read.
pub struct Reader<'a> {
    /// Faults so far.
    pub faults: Faults,
    /// Relative paths are relative to it.
    pub folder: PathBuf,
    /// Entries of `secrets:`.
    pub secret_names: BTreeSet<String>,
    /// What rules may use.
    pub offer: Offer,
    /// Variables of the process.
    pub environment: &'a Environment,
}

/// Checks a settings file; the settings are missing if anything is wrong.
pub fn read(path: &Path, text: &str, mode: Mode, environment: &Environment) -> (Option<Settings>, Vec<Diagnostic>) {
    let shown = path.to_string_lossy();
    let (tree, unreadable) = yaml::read(&shown, text, Limits::OPERATOR);
    let mut faults = Faults::new(&shown);
    faults.extend(unreadable);
    let Some(tree) = tree else { return (None, faults.finish()) };
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut reader = Reader { faults, folder, secret_names: BTreeSet::new(), offer: Offer::default(), environment };
    let settings = reader.settings(path, &tree, mode);
    let whole = reader.faults.errors() == 0;
    (whole.then_some(settings), reader.faults.finish())
}

impl Reader<'_> {
    fn settings(&mut self, path: &Path, tree: &Node, mode: Mode) -> Settings {
        let entries = keys(&mut self.faults, tree, "the settings file", KEYS, |_| None);
        let section = |key: &str| entries.iter().find(|entry| entry.key == key);
        self.version(section("version"), tree);
        let (listen, listen_by_environment) = self.listen(section("listen"));
        let public_url = section("public-url").and_then(|entry| {
            let text = entry.value.scalar().map(|scalar| scalar.text.clone()).unwrap_or_default();
            self.checked_address(entry, &text)
        });
        let secret_entries =
            section("secrets").map(|entry| secrets::section(&mut self.faults, &entry.value, &self.folder)).unwrap_or_default();
        self.secret_names = names_of(section("secrets"));
        self.offer.secrets.clone_from(&self.secret_names);
        let sources = self.sources(section("sources"));
        self.offer.targets = self.partners(section("targets"), TARGETS);
        self.offer.connections = self.partners(section("connections"), CONNECTIONS);
        let repositories = self.repositories(section("repositories"));
        let mut github = self.github(section("github"));
        let dispatch = self.dispatch(section("dispatch"), public_url.as_deref());
        if mode == Mode::Names {
            self.places(tree);
        }
        let secrets = self.values(&secret_entries, mode);
        github.token = github.token_name.as_ref().and_then(|name| secrets.get(name)?.first().cloned());
        let mut store = self.store(section("store"));
        if let Place::Server(server) = &mut store.place {
            // Commands that look into the store need this one secret, and no other.
            server.password = (server.password_name.as_ref()).and_then(|name| match secrets.get(name) {
                Some(values) => values.first().cloned(),
                None => secrets::peek(secret_entries.get(name)?, self.environment),
            });
        }
        let around = Around { has_public_url: public_url.is_some(), has_github_token: github.token_name.is_some() };
        Settings {
            file: path.to_owned(),
            listen,
            listen_by_environment,
            public_url,
            store,
            dispatch,
            sources,
            offer: self.offer.clone(),
            secrets,
            secret_entries,
            repositories,
            rules: self.rules(section("rules")),
            google: self.google(section("google"), self.environment),
            github,
            sns_url: self.sns_url(section("aws")),
            egress_allow: self.egress(section("egress")),
            admin: self.admin(section("admin"), around),
            workers: self.workers(section("workers")),
            log: self.log(section("log")),
            on_cloud_run: self.environment.get("K_SERVICE").is_some(),
            project: self.environment.get("GOOGLE_CLOUD_PROJECT").filter(|project| !project.is_empty()),
            disk_slower: (self.environment.get("DECLIC_DISK_SLOWER").and_then(|slower| slower.parse().ok()))
                .filter(|_| cfg!(debug_assertions))
                .map(std::time::Duration::from_millis),
            lease: (self.environment.get("DECLIC_LEASE").and_then(|lease| lease.parse().ok()))
                .filter(|_| cfg!(debug_assertions))
                .map(std::time::Duration::from_millis),
            dry_run: false,
            crash_at: self.environment.get("DECLIC_CRASH_AT").and_then(|at| at.parse().ok()).filter(|_| cfg!(debug_assertions)),
        }
    }

    fn version(&mut self, entry: Option<&Entry>, tree: &Node) {
        match entry {
            None => self.faults.error("missing", 0..0, "the settings file needs `version: 1`", None),
            Some(entry) if entry.value.scalar().is_none_or(|scalar| scalar.text != "1") => {
                self.faults.error(
                    "version",
                    entry.value.span.clone(),
                    "only version 1 is known here",
                    Some("write `version: 1`".to_owned()),
                );
            }
            Some(_) => {}
        }
        if tree.get("rules").is_some_and(|rules| rules.value.entries().is_some_and(|rules| !rules.is_empty())) {
            let help = "rules live in files of their own: write `rules: rules/*.yaml`".to_owned();
            let span = tree.get("rules").map_or(0..0, |entry| entry.span.clone());
            self.faults.error("type", span, "this is the settings file, not a rule file", Some(help));
        }
    }

    /// `PORT` wins; on Cloud Run every address is listened on, whatever the file says.
    fn listen(&mut self, entry: Option<&Entry>) -> (SocketAddr, bool) {
        let mut listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
        if let Some(entry) = entry {
            match entry.value.scalar().and_then(|scalar| scalar.text.parse().ok()) {
                Some(address) => listen = address,
                None => {
                    let help = "such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address of this machine".to_owned();
                    self.faults.error("type", entry.value.span.clone(), "`listen` must be an address and a port", Some(help));
                }
            }
        }
        let Some(port) = self.environment.get("PORT").filter(|port| !port.is_empty()) else { return (listen, false) };
        match port.parse() {
            Ok(port) => listen.set_port(port),
            Err(_) => {
                let span = entry.map_or(0..0, |entry| entry.value.span.clone());
                self.faults.error("type", span, "the variable PORT of the environment must be a port", None);
            }
        }
        if entry.is_none() || self.environment.get("K_SERVICE").is_some() {
            listen.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        (listen, true)
    }

    fn values(&mut self, entries: &BTreeMap<String, SecretEntry>, mode: Mode) -> BTreeMap<String, Vec<Secret>> {
        match mode {
            Mode::Names => BTreeMap::new(),
            Mode::Resolved => secrets::resolve(&mut self.faults, entries, self.environment),
        }
    }

    fn sources(&mut self, section: Option<&Entry>) -> Vec<SourceSettings> {
        const PATH: Field = Field { name: "path", shape: "string?", summary: "Whole path; `/hooks/NAME` if not given" };
        let kinds: Vec<&'static SettingKind> = KINDS.iter().collect();
        let mut sources: Vec<SourceSettings> = Vec::new();
        for item in self.entries_of(section) {
            let mut plainly = Plainly { faults: &mut self.faults, secrets: &self.secret_names };
            let Some(mut checked) = entry(&mut plainly, item, "sources", &kinds, &[PATH]) else {
                // The name is known nevertheless: rules that use it are not to blame.
                self.offer.sources.insert(item.key.clone(), Value::Null);
                continue;
            };
            let path = match checked.fields.remove("path") {
                Some(Value::String(path)) => path,
                _ => format!("/hooks/{}", item.key),
            };
            self.path(item, &path, &sources);
            self.hooks(item, &checked);
            self.offer.sources.insert(item.key.clone(), described(checked.kind, &checked.fields));
            sources.push(SourceSettings { name: item.key.clone(), kind: checked.kind.to_owned(), path, fields: checked.fields });
        }
        sources
    }

    /// Hooks whose delivery log is to be read must be named such that it can be found.
    fn hooks(&mut self, item: &Entry, checked: &Checked) {
        let (key, outcome) = match checked.fields.get("hooks") {
            Some(_) => ("hooks", crate::recover::hooks(&checked.fields).map(drop)),
            None if checked.kind == "github" && checked.fields.get("pull") == Some(&Value::Bool(true)) => {
                ("pull", Err("has `pull: true` and no `hooks:` to pull from".to_owned()))
            }
            None => return,
        };
        if let Err(why) = outcome {
            let span = item.value.get(key).map_or_else(|| item.span.clone(), |entry| entry.value.span.clone());
            self.faults.error("hooks", span, format!("the source `{}` {why}", item.key), None);
        }
    }

    fn path(&mut self, item: &Entry, path: &str, others: &[SourceSettings]) {
        let span = item.value.get("path").map_or_else(|| item.span.clone(), |entry| entry.value.span.clone());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
        if !path.starts_with('/') || !path.bytes().all(plain) || path.contains("//") || path.split('/').any(|part| part == "..") {
            let help = "such as /hooks/github: letters, digits, - . _ ~ and /".to_owned();
            self.faults.error("type", span, format!("`{path}` cannot be the path of a source"), Some(help));
        } else if TAKEN.contains(&path) || path.starts_with("/api/") || path.starts_with("/internal/") {
            self.faults.error("name", span, format!("the path `{path}` is taken by Declic itself"), None);
        } else if let Some(other) = others.iter().find(|other| other.path == path) {
            let message = format!("the path `{path}` is that of `{}` too", other.name);
            self.faults.error("name", span, message, Some("every source needs a path of its own".to_owned()));
        }
    }

    fn partners(&mut self, section: Option<&Entry>, kinds: &'static [SettingKind]) -> BTreeMap<String, Value> {
        let kinds: Vec<&'static SettingKind> = kinds.iter().collect();
        let name = section.map_or("", |section| section.key.as_str());
        let mut partners = BTreeMap::new();
        for item in self.entries_of(section) {
            let mut plainly = Plainly { faults: &mut self.faults, secrets: &self.secret_names };
            let value = entry(&mut plainly, item, name, &kinds, &[super::sections::LIMIT])
                .map_or(Value::Null, |checked| described(checked.kind, &checked.fields));
            partners.insert(item.key.clone(), value);
        }
        partners
    }

    fn entries_of<'e>(&mut self, section: Option<&'e Entry>) -> &'e [Entry] {
        let Some(section) = section else { return &[] };
        section.value.entries().unwrap_or_else(|| {
            let owner = format!("`{}`", section.key);
            not_a(&mut self.faults, &section.value.span, &owner, "a mapping of names", section.value.kind());
            &[]
        })
    }
}

fn names_of(section: Option<&Entry>) -> BTreeSet<String> {
    section.and_then(|section| section.value.entries()).unwrap_or(&[]).iter().map(|entry| entry.key.clone()).collect()
}

/// Kind and settings in one object, as actions and the checker look at it.
fn described(kind: &str, fields: &Map<String, Value>) -> Value {
    let mut all = Map::new();
    all.insert("type".to_owned(), kind.into());
    all.extend(fields.clone());
    Value::Object(all)
}

//! A stand-in for the Cloud Run Admin API v2, and for the services it runs.
//!
//! It keeps the rules that a client can trip over: etags, unique revision names, traffic that must add up, update masks,
//! reserved labels, unknown fields, long-running operations. `serve/{tag}---{service}/…` and `serve/{service}/…` are the
//! addresses of the services themselves.

mod api;
mod check;
mod jobs;
mod patch;
mod state;
mod traffic;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};

pub use self::check::shapes;
pub use self::jobs::Course as JobCourse;
use self::jobs::Jobs;
use self::state::{Ending, Health, State};
use super::ledger::{Ledger, lock};
use super::tokens::Tokens;

/// Resolves an image reference to `sha256:…`, or says that it does not exist.
pub type ResolveImage = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The audience of an ID token that Google issued and that has not expired.
pub type CheckIdToken = dyn Fn(&str) -> Option<String> + Send + Sync;

/// State and scenarios of the stand-in.
pub struct CloudRun {
    tokens: Tokens,
    ledger: Ledger,
    state: Mutex<State>,
    jobs: Mutex<Jobs>,
    scenario: Mutex<Scenario>,
    images: Mutex<Option<Arc<ResolveImage>>>,
    id_tokens: Mutex<Option<Arc<CheckIdToken>>>,
}

/// What will happen; set by a test.
#[derive(Debug)]
struct Scenario {
    /// Another writer edits the service just before so many updates.
    conflicts: u32,
    /// How the next operations that make a revision end.
    ending: Ending,
    health: Health,
    polls: u32,
    duration: Duration,
    /// Identities that may use the API; empty means all.
    allowed: Vec<String>,
    /// Services answer only whoever brings an ID token for their address.
    private: bool,
}

impl CloudRun {
    pub(super) fn new(base: &str, ledger: &Ledger, tokens: Tokens) -> Self {
        Self {
            tokens,
            ledger: ledger.clone(),
            state: Mutex::new(State { base: base.to_owned(), ..State::default() }),
            jobs: Mutex::default(),
            scenario: Mutex::new(Scenario {
                conflicts: 0,
                ending: Ending::Success,
                health: Health::FINE,
                polls: 1,
                duration: Duration::from_millis(20),
                allowed: Vec::new(),
                private: false,
            }),
            images: Mutex::new(None),
            id_tokens: Mutex::new(None),
        }
    }

    /// Images are looked up here; without it every image exists.
    pub fn resolve_images_with(&self, resolve: Arc<ResolveImage>) {
        *lock(&self.images) = Some(resolve);
    }

    /// ID tokens are checked here.
    pub fn check_id_tokens_with(&self, check: Arc<CheckIdToken>) {
        *lock(&self.id_tokens) = Some(check);
    }

    /// From now on services answer only whoever brings an ID token for their own address.
    pub fn require_id_token(&self) {
        lock(&self.scenario).private = true;
    }

    /// Puts a service there as it would be fetched: a revision is made from its template and serves everything.
    ///
    /// # Errors
    /// What the API would refuse, or a body without a full name.
    pub fn seed(&self, service: &Value) -> Result<(), String> {
        let body = service.as_object().cloned().unwrap_or_default();
        patch::seed(&mut lock(&self.state), body)
    }

    /// The service as the API shows it; by its full name.
    pub fn service(&self, name: &str) -> Option<Value> {
        let mut state = lock(&self.state);
        state.settle(&self.ledger);
        state.services.get(name).map(|service| state.render(service))
    }

    /// Its revisions as the API shows them, oldest first.
    pub fn revisions(&self, service: &str) -> Vec<Value> {
        let mut state = lock(&self.state);
        state.settle(&self.ledger);
        let service = state.services.get(service);
        service.map_or_else(Vec::new, |service| {
            service.revisions.iter().map(|revision| State::render_revision(service, revision)).collect()
        })
    }

    /// `revision name -> percent` of what is served now; targets at 0 % are left out.
    pub fn allocation(&self, service: &str) -> Vec<(String, i64)> {
        let statuses = self.service(service).and_then(|service| service.get("trafficStatuses").cloned());
        let entry = |status: &Value| {
            let percent = traffic::percent(status);
            let revision = status.get("revision").and_then(Value::as_str)?;
            (percent > 0).then(|| (revision.to_owned(), percent))
        };
        statuses.and_then(|list| Some(list.as_array()?.iter().filter_map(entry).collect())).unwrap_or_default()
    }

    /// Edits a stored service as another writer would: its etag and generation move on.
    pub fn edit(&self, service: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
        patch::edit(&mut lock(&self.state), service, edit);
    }

    /// Before the next update another writer sets the annotation `example.com/edited-by`, so that an old etag conflicts.
    pub fn conflict_once(&self) {
        lock(&self.scenario).conflicts += 1;
    }

    /// Revisions made from now on fail with this reason of the API (`HEALTH_CHECK_CONTAINER_ERROR`, …).
    pub fn operation_fails(&self, reason: &str) {
        let message = format!("The stand-in was told to fail it with {reason}.");
        lock(&self.scenario).ending = Ending::Failure { reason: reason.to_owned(), message };
    }

    /// Operations that make a revision never end.
    pub fn never_ready(&self) {
        lock(&self.scenario).ending = Ending::Never;
    }

    /// Revisions made from now on answer every request with this status.
    pub fn unhealthy(&self, status: u16) {
        lock(&self.scenario).health = Health { status, heals_after: None };
    }

    /// Revisions made from now on answer their first `times` requests with this status, then 200.
    pub fn unhealthy_at_first(&self, times: u32, status: u16) {
        lock(&self.scenario).health = Health { status, heals_after: Some(times) };
    }

    /// Revisions made from now on come up and are healthy.
    pub fn well(&self) {
        let mut scenario = lock(&self.scenario);
        (scenario.ending, scenario.health) = (Ending::Success, Health::FINE);
    }

    /// Operations end after this long and after this many looks at them or their service.
    pub fn operations_take(&self, duration: Duration, looks: u32) {
        let mut scenario = lock(&self.scenario);
        (scenario.duration, scenario.polls) = (duration, looks);
    }

    /// Only these identities (service-account emails) may use the API; others get 403.
    pub fn allow_only(&self, identities: &[&str]) {
        lock(&self.scenario).allowed = identities.iter().map(|email| (*email).to_owned()).collect();
    }
}

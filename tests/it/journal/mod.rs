//! The journal's conformance suite: written against the trait, run over every store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use declic::clock::Timestamp;
use declic::journal::crash::Faults;
use declic::journal::postgres::{self, Address, Postgres};
use declic::journal::record::{
    Appended, AttemptState, Change, Claim, Claimed, ClaimedRun, Collapse, Decision, DeliveryState, Group, GroupMode, Left,
    Listing, NewDelivery, NewRun, Phase, Place, Repeats, RunFailure, RunState, StepEnd, StepLabel, StepState, Subject, Taking,
    Verdict,
};
use declic::journal::sqlite::{Clock, Options, ReadOnly, Sqlite};
use declic::journal::{Journal, JournalError, LedgerError};
use declic::rules::model::RuleFile;
use declic_actions::action::{Call, Intent, Origin, Outcome, Why};
use serde_json::json;

use crate::support::postgres as server;

mod care;
mod deliveries;
mod groups;
mod leases;
mod looking;
mod model;
mod order;
mod replicas;
mod store;
mod streaks;

const LEASE: Duration = Duration::from_secs(30);

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

/// Every test of the suite, over every store. One that is not named here is unused, which the compiler says.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Sqlite).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Kind::Postgres).await;
            })+
        }
    };
}
use on_every_store;

/// Where a store is.
enum Home {
    File(tempfile::TempDir),
    Schema(String),
}

/// A store with a clock that stands still until a test moves it.
struct Store {
    journal: Arc<dyn Journal>,
    clock: Arc<AtomicI64>,
    faults: Faults,
    home: Home,
}

impl Store {
    fn sqlite() -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let faults = Faults::switchable();
        let journal =
            Arc::new(Sqlite::open(&folder.path().join("declic.db"), options(&clock, &faults)).expect("a new store opens"));
        Self { journal, clock, faults, home: Home::File(folder) }
    }

    async fn of(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::sqlite(),
            Kind::Postgres => {
                let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
                let faults = Faults::switchable();
                let schema = server::shared().new_schema();
                let journal = replica(&schema, Some(&clock), &faults).await;
                Self { journal, clock, faults, home: Home::Schema(schema) }
            }
        }
    }

    fn folder(&self) -> &std::path::Path {
        match &self.home {
            Home::File(folder) => folder.path(),
            Home::Schema(schema) => panic!("{schema} is on a server"),
        }
    }

    fn pass(&self, length: Duration) {
        self.clock.fetch_add(i64::try_from(length.as_millis()).expect("short"), Ordering::SeqCst);
    }

    /// As after the death of the process: a new handle on the same store. On a server another replica may be alive, so leases have to end.
    async fn reopen(self) -> Self {
        let Self { journal, clock, faults, home } = self;
        drop(journal);
        let journal: Arc<dyn Journal> = match &home {
            Home::File(folder) => {
                Arc::new(Sqlite::open(&folder.path().join("declic.db"), options(&clock, &faults)).expect("it opens again"))
            }
            Home::Schema(schema) => replica(schema, Some(&clock), &faults).await,
        };
        let reopened = Self { journal, clock, faults, home };
        if matches!(reopened.home, Home::Schema(_)) {
            reopened.pass(LEASE);
        }
        reopened
    }

    async fn append(&self, id: &str) -> Appended {
        self.journal.append(delivery(id)).await.expect("the store works")
    }

    async fn claim(&self, worker: &str) -> Claimed {
        self.journal
            .claim(Claim { worker: worker.to_owned(), lease: LEASE, deliveries: 10.into(), runs: 10.into(), only: None })
            .await
            .expect("the store works")
    }

    /// Appends a delivery and decides that it starts these runs.
    async fn started(&self, id: &str, runs: Vec<NewRun>) -> Vec<String> {
        self.append(id).await;
        let claimed = self.claim("matcher").await;
        let [delivery] = claimed.deliveries.as_slice() else { panic!("one delivery waits: {claimed:?}") };
        self.journal.decide(delivery.lease.clone(), decision(Verdict::Runs(runs))).await.expect("decided")
    }

    async fn one_run(&self, worker: &str) -> ClaimedRun {
        let mut claimed = self.claim(worker).await;
        assert_eq!(claimed.runs.len(), 1, "{claimed:?}");
        claimed.runs.remove(0)
    }

    async fn run_state(&self, id: &str) -> RunState {
        self.journal.run(id).await.expect("the store works").expect("the run is there").0.state
    }

    async fn delivery_state(&self, id: &str) -> DeliveryState {
        self.journal.delivery_record(id).await.expect("the store works").expect("the delivery is there").0.state
    }
}

/// A handle on the tables of a schema, as one more replica has it.
async fn replica(schema: &str, clock: Option<&Arc<AtomicI64>>, faults: &Faults) -> Arc<dyn Journal> {
    let address = Address::read(&server::shared().url()).expect("an address");
    let options = postgres::Options {
        schema: schema.to_owned(),
        connections: 4,
        clock: clock.map(|clock| {
            let clock = Arc::clone(clock);
            Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))) as Clock
        }),
        faults: faults.clone(),
        ..postgres::Options::new(address)
    };
    Arc::new(Postgres::open(options).await.expect("the server takes it"))
}

fn options(clock: &Arc<AtomicI64>, faults: &Faults) -> Options {
    let clock = Arc::clone(clock);
    Options { clock: Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))), faults: faults.clone(), ..Options::default() }
}

fn delivery(id: &str) -> NewDelivery {
    NewDelivery {
        share: "github".to_owned(),
        source: "github".to_owned(),
        delivery_id: id.to_owned(),
        event_type: "push".to_owned(),
        headers: vec![("x-github-event".to_owned(), "push".to_owned())],
        body: Bytes::from_static(b"{\"ref\":\"refs/heads/main\"}"),
        received_at: Timestamp(1_800_000_000_000),
        trace: "00-trace".to_owned(),
        verified: "X-Hub-Signature-256, secret 1 of 1".to_owned(),
    }
}

fn decision(verdict: Verdict) -> Decision {
    Decision {
        traces: json!([{"rule": "deploy"}]),
        verdict,
        line: None,
        may_ask: false,
        about: Default::default(),
        learned: None,
    }
}

fn run(rule: &str) -> NewRun {
    NewRun {
        rule: rule.to_owned(),
        owner: None,
        place: "rules/web.yaml:3".to_owned(),
        revision: "r1".to_owned(),
        share: "acme/web".to_owned(),
        group: None,
        dry: false,
        collapse: None,
        failure: None,
    }
}

fn grouped(rule: &str, mode: GroupMode) -> NewRun {
    NewRun { group: Some(Group { key: "staging".to_owned(), mode }), ..run(rule) }
}

fn place(index: u32) -> Place {
    Place { phase: Phase::Steps, index, round: 0 }
}

fn label(id: &str) -> StepLabel {
    StepLabel { id: Some(id.to_owned()), name: None, uses: "http/request".to_owned() }
}

fn began(index: u32) -> Change {
    let call = Call {
        key: format!("k{index}"),
        params: serde_json::Map::new(),
        target: None,
        connection: None,
        origin: Origin::default(),
    };
    let intent = Intent { call, plan: json!({"path": "/x"}), summary: "GET /x".to_owned() };
    Change::Began { place: place(index), label: label("a"), intent: Box::new(intent), exclusive: None }
}

fn succeeded(index: u32) -> Change {
    let outcome = Outcome { outputs: json!({"status": 200}), summary: "200".to_owned(), url: None };
    Change::Ended { place: place(index), label: label("a"), end: StepEnd::Succeeded { outcome, found: false } }
}

fn failed(index: u32) -> Change {
    Change::Ended { place: place(index), label: label("a"), end: StepEnd::Failed { why: Why::new("refused", "403") } }
}

fn finished(state: RunState) -> Change {
    let failure = (state == RunState::Failed).then(|| RunFailure {
        step: "a".to_owned(),
        action: "http/request".to_owned(),
        code: "refused".to_owned(),
        message: "403".to_owned(),
        attempts: 1,
        rolled_back: false,
    });
    Change::Finished { state, failure }
}

fn id_of(appended: &Appended) -> &str {
    match appended {
        Appended::New { id } | Appended::Duplicate { id } | Appended::Revived { id } => id,
    }
}

//! An engine on a real store, with a source of the test's own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use declic::clock::Timestamp;
use declic::event::Event;
use declic::journal::Journal;
use declic::journal::record::{Appended, Delivery, DeliveryState, NewDelivery, RunRecord, RunState, StepRecord};
use declic::journal::sqlite::{Options, Sqlite};
use declic::matching::Index;
use declic::report::metrics::Metrics;
use declic::rules::expr::{Expression, Scope};
use declic::rules::model::{Offer, Retry, Rule, RuleFile, RuleSet, Step, Trigger};
use declic::rules::template::Template;
use declic::rules::types::Type;
use declic::run::observe::Observer;
use declic::run::{Engine, EngineParts, Policy};
use declic::sources::Source;
use declic_actions::action::{Action, Clients};
use serde_json::{Value, json};

use super::action::{Do, Record};
use crate::support::inward::{Inward, idle};

/// Events are the JSON of the body; `"unreadable"` cannot be decoded, `"unknown"` is of no kind.
fn read(delivery: &Delivery, event: Value) -> Result<Option<Event>, String> {
    match event.as_str() {
        Some("unreadable") => Err("it is unreadable".to_owned()),
        Some("unknown") => Ok(None),
        Some("panic") => panic!("decoding falls over"),
        _ => Ok(Some(Event {
            kind: "test.event".to_owned(),
            source: "tests".to_owned(),
            event,
            repo: Value::Null,
            actor: Value::Null,
            delivery: json!({"id": delivery.id, "source": "tests", "received_at": "", "replay": false}),
        })),
    }
}

/// A store, an action and the rules; engines come and go.
pub struct World {
    pub journal: Arc<dyn Journal>,
    pub action: &'static Do,
    pub report: &'static Do,
    pub metrics: Arc<Metrics>,
    pub observer: Observer,
    pub clients: Clients,
    pub offer: Offer,
    rules: Arc<ArcSwap<Index>>,
    all: Arc<Vec<Arc<Rule>>>,
    folder: tempfile::TempDir,
}

pub fn policy() -> Policy {
    Policy { workers: 4, lease: Duration::from_secs(30), drain: Duration::from_millis(300), ..Policy::default() }
}

impl World {
    pub async fn new(rules: Vec<Rule>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = open(folder.path());
        let all = Arc::new(rules.into_iter().map(Arc::new).collect::<Vec<_>>());
        let set = RuleSet { rules: all.to_vec(), revision: "r1".to_owned() };
        journal.keep_rules("r1", vec![RuleFile { path: "r1".to_owned(), text: String::new() }]).await.expect("kept");
        Self {
            journal,
            action: Do::new("test/do"),
            report: Do::new("github/deployment"),
            metrics: Arc::new(Metrics::new()),
            observer: Observer::default(),
            clients: idle(),
            offer: Offer::default(),
            rules: Arc::new(ArcSwap::from_pointee(Index::new(Arc::new(set)))),
            all,
            folder,
        }
    }

    pub fn start(&self) -> Engine {
        self.start_with(policy())
    }

    pub fn start_with(&self, policy: Policy) -> Engine {
        let all = Arc::clone(&self.all);
        let actions: &'static [&'static dyn Action] =
            Vec::leak([&[self.action as &dyn Action, self.report as &dyn Action], declic_actions::kinds::ALL].concat());
        Engine::start(EngineParts {
            journal: Arc::clone(&self.journal),
            sources: BTreeMap::from([("tests".to_owned(), Arc::new(Inward::new("tests", read)) as Arc<dyn Source>)]),
            rules: Arc::clone(&self.rules),
            repositories: None,
            load: Arc::new(move |files: &[RuleFile]| match files {
                [file] if file.path == "r1" => Ok(RuleSet { rules: all.to_vec(), revision: "r1".to_owned() }),
                _ => Err("unknown files".to_owned()),
            }),
            actions,
            clients: self.clients.clone(),
            offer: self.offer.clone(),
            secrets: BTreeMap::new(),
            metrics: Arc::clone(&self.metrics),
            public_url: Some("https://declic.example".to_owned()),
            observer: self.observer.clone(),
            policy,
        })
    }

    /// The rules change; runs that began with the old ones end with them.
    pub fn reload(&self, revision: &str, rules: Vec<Rule>) {
        let set = RuleSet { rules: rules.into_iter().map(Arc::new).collect(), revision: revision.to_owned() };
        self.rules.store(Arc::new(Index::new(Arc::new(set))));
    }

    /// As if the process had died: the engine stops where it is, and the store is opened anew.
    pub async fn crash(self, engine: Engine) -> Self {
        drop(engine);
        let Self { mut journal, action, report, metrics, observer, clients, offer, rules, all, folder } = self;
        // Aborted tasks let go of the store when the runtime gets to them.
        let deadline = Instant::now() + Duration::from_secs(5);
        while Arc::get_mut(&mut journal).is_none() {
            assert!(Instant::now() < deadline, "somebody holds on to the store");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(journal);
        let journal = open(folder.path());
        Self { journal, action, report, metrics, observer, clients, offer, rules, all, folder }
    }

    /// Appends a delivery with this event. Answers our id.
    pub async fn deliver(&self, engine: &Engine, id: &str, event: Value) -> String {
        let delivery = NewDelivery {
            share: "tests".to_owned(),
            source: "tests".to_owned(),
            delivery_id: id.to_owned(),
            event_type: "event".to_owned(),
            headers: Vec::new(),
            body: Bytes::from(event.to_string()),
            received_at: Timestamp::now(),
            trace: "00-trace".to_owned(),
            verified: "by the test".to_owned(),
        };
        let appended = self.journal.append(delivery).await.expect("the store works");
        engine.wake();
        match appended {
            Appended::New { id } | Appended::Duplicate { id } | Appended::Revived { id } => id,
        }
    }

    pub async fn delivery_state(&self, id: &str) -> DeliveryState {
        self.journal.delivery_record(id).await.expect("the store works").expect("it is there").0.state
    }

    /// Until the delivery is final.
    pub async fn settled(&self, id: &str) -> DeliveryState {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = self.delivery_state(id).await;
            if state.is_final() {
                return state;
            }
            assert!(Instant::now() < deadline, "{id} is still {} {:?}", state.word(), self.journal.runs_of(id).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The only run of a delivery, once the delivery is final.
    pub async fn ended(&self, id: &str) -> (RunRecord, Vec<StepRecord>) {
        self.settled(id).await;
        self.only_run(id).await
    }

    pub async fn only_run(&self, id: &str) -> (RunRecord, Vec<StepRecord>) {
        let runs = self.journal.runs_of(id).await.expect("the store works");
        assert_eq!(runs.len(), 1, "{runs:?}");
        self.journal.run(&runs[0].id).await.expect("the store works").expect("it is there")
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Record) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&self.action.record()) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn until_run(&self, id: &str, state: RunState) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.journal.runs_of(id).await.expect("the store works").iter().all(|run| run.state != state) {
            assert!(Instant::now() < deadline, "no run became {}", state.word());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn open(folder: &Path) -> Arc<dyn Journal> {
    Arc::new(Sqlite::open(&folder.join("declic.db"), Options::default()).expect("the store opens"))
}

/// A rule for `test.event` with these steps.
pub fn rule(name: &str, steps: Vec<Step>) -> Rule {
    Rule {
        name: name.to_owned(),
        owner: None,
        place: "rules/test.yaml:1".to_owned(),
        description: None,
        enabled: true,
        dry_run: false,
        triggers: vec![Trigger {
            event: "test.event",
            source: None,
            filters: Vec::new(),
            own_events: false,
            shapes: Vec::new(),
            arguments: Vec::new(),
        }],
        condition: None,
        allow: None,
        environment: None,
        concurrency: None,
        collapse: None,
        timeout: None,
        vars: Vec::new(),
        steps,
        reply: None,
        on_failure: Vec::new(),
        finally: Vec::new(),
        reads_payload: false,
        reads_permission: false,
        reads_id: false,
    }
}

/// A step that makes an effect; its id is the effect's name.
pub fn step(effect: &str) -> Step {
    Step {
        id: Some(effect.to_owned()),
        name: None,
        uses: "test/do".to_owned(),
        condition: None,
        with: Template::Object(vec![("effect".to_owned(), Template::literal(json!(effect)))]),
        timeout: Duration::from_secs(5),
        retry: Retry { attempts: 1, wait: Duration::from_millis(1), max_wait: Duration::from_millis(5) },
        continue_on_error: false,
    }
}

pub fn retrying(effect: &str, attempts: u32) -> Step {
    Step { retry: Retry { attempts, wait: Duration::from_millis(1), max_wait: Duration::from_millis(5) }, ..step(effect) }
}

/// A step that also hands over the value of an expression.
pub fn noting(effect: &str, expression: &str) -> Step {
    let note = Template::Whole(expression_of(expression), Type::Any);
    Step {
        with: Template::Object(vec![("effect".to_owned(), Template::literal(json!(effect))), ("note".to_owned(), note)]),
        ..step(effect)
    }
}

pub fn only_if(condition: &str, step: Step) -> Step {
    Step { condition: Some(expression_of(condition)), ..step }
}

pub fn expression_of(text: &str) -> Expression {
    let names = ["event", "delivery", "steps", "failure", "result", "vars"];
    let scope = Scope { names: names.map(|name| (name.to_owned(), Type::Any)).into(), ..Scope::default() };
    Expression::compile(text, &scope).expect("the expression is right")
}

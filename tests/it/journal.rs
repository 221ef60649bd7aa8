//! The journal's conformance suite: written against the trait, run over every store.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use declic::clock::Timestamp;
use declic::journal::crash::Faults;
use declic::journal::record::{
    Appended, AttemptState, Change, Claim, Claimed, ClaimedRun, Decision, DeliveryState, Group, GroupMode, Listing, NewDelivery,
    NewRun, Phase, Place, RunFailure, RunState, StepEnd, StepLabel, StepState, Verdict,
};
use declic::journal::sqlite::{Options, ReadOnly, Sqlite};
use declic::journal::{Journal, JournalError, LedgerError};
use declic::rules::model::RuleFile;
use declic_actions::action::{Call, Intent, Origin, Outcome, Why};
use serde_json::json;

const LEASE: Duration = Duration::from_secs(30);

/// A store with a clock that stands still until a test moves it.
struct Store {
    journal: Arc<dyn Journal>,
    clock: Arc<AtomicI64>,
    faults: Faults,
    folder: tempfile::TempDir,
}

impl Store {
    fn sqlite() -> Self {
        let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let faults = Faults::switchable();
        let journal =
            Arc::new(Sqlite::open(&folder.path().join("declic.db"), options(&clock, &faults)).expect("a new store opens"));
        Self { journal, clock, faults, folder }
    }

    fn pass(&self, length: Duration) {
        self.clock.fetch_add(i64::try_from(length.as_millis()).expect("short"), Ordering::SeqCst);
    }

    /// As after the death of the process: a new handle on the same store.
    fn reopen(self) -> Self {
        let Self { journal, clock, faults, folder } = self;
        drop(journal);
        let journal = Arc::new(Sqlite::open(&folder.path().join("declic.db"), options(&clock, &faults)).expect("it opens again"));
        Self { journal, clock, faults, folder }
    }

    async fn append(&self, id: &str) -> Appended {
        self.journal.append(delivery(id)).await.expect("the store works")
    }

    async fn claim(&self, worker: &str) -> Claimed {
        self.journal
            .claim(Claim { worker: worker.to_owned(), lease: LEASE, deliveries: 10, runs: 10 })
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

fn options(clock: &Arc<AtomicI64>, faults: &Faults) -> Options {
    let clock = Arc::clone(clock);
    Options { clock: Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))), faults: faults.clone(), ..Options::default() }
}

fn delivery(id: &str) -> NewDelivery {
    NewDelivery {
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
    Decision { traces: json!([{"rule": "deploy"}]), verdict }
}

fn run(rule: &str) -> NewRun {
    NewRun {
        rule: rule.to_owned(),
        owner: None,
        place: "rules/web.yaml:3".to_owned(),
        revision: "r1".to_owned(),
        group: None,
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
    Change::Began { place: place(index), label: label("a"), intent: Box::new(intent) }
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

#[tokio::test]
async fn a_delivery_is_kept_as_it_came_and_survives_the_process() {
    let store = Store::sqlite();
    let appended = store.append("d1").await;
    let store = store.reopen();
    let kept = store.journal.delivery(id_of(&appended)).await.unwrap().expect("it is there");
    let sent = delivery("d1");
    assert_eq!(kept.content.body, sent.body);
    assert_eq!(kept.content.headers, sent.headers);
    assert_eq!(kept.content.delivery_id, "d1");
    assert_eq!(kept.content.received_at, sent.received_at);
    assert_eq!(kept.content.verified, sent.verified);
    assert!(!kept.replay);
    assert_eq!(store.delivery_state(&kept.id).await, DeliveryState::Accepted);
}

#[tokio::test]
async fn the_same_id_from_the_same_source_is_a_duplicate_and_from_another_source_is_not() {
    let store = Store::sqlite();
    let first = store.append("d1").await;
    assert!(matches!(first, Appended::New { .. }));
    assert_eq!(store.append("d1").await, Appended::Duplicate { id: id_of(&first).to_owned() });
    let other = NewDelivery { source: "gitlab".to_owned(), ..delivery("d1") };
    assert!(matches!(store.journal.append(other).await.unwrap(), Appended::New { .. }));
    assert_eq!(store.journal.deliveries(Listing { limit: 10, ..Listing::default() }).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_delivery_that_succeeded_is_not_taken_up_again() {
    let store = Store::sqlite();
    let runs = store.started("d1", vec![run("deploy")]).await;
    let claimed = store.one_run("w1").await;
    store.journal.write(claimed.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(store.run_state(&runs[0]).await, RunState::Succeeded);
    assert!(matches!(store.append("d1").await, Appended::Duplicate { .. }));
    assert!(store.claim("w1").await.runs.is_empty());
}

#[tokio::test]
async fn a_redelivery_of_a_failed_delivery_takes_its_run_up_at_the_failed_step() {
    let store = Store::sqlite();
    let runs = store.started("d1", vec![run("deploy")]).await;
    let claimed = store.one_run("w1").await;
    let changes = vec![began(0), succeeded(0), began(1), failed(1), finished(RunState::Failed)];
    store.journal.write(claimed.lease, changes).await.unwrap();
    let id = claimed.delivery.id;
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Failed);

    assert_eq!(store.append("d1").await, Appended::Revived { id: id.clone() });
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Running);
    assert!(matches!(store.append("d1").await, Appended::Duplicate { .. }), "it is in progress now");
    let again = store.one_run("w2").await;
    assert_eq!((again.run.id.as_str(), again.run.round), (runs[0].as_str(), 1));
    assert_eq!(again.run.failure, None);
    let states: Vec<_> = again.steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Succeeded, StepState::Waiting]);
    assert_eq!(again.steps[1].attempts.len(), 1, "the history stays");
    store.journal.write(again.lease, vec![began(1), succeeded(1), finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Completed);
}

#[tokio::test]
async fn a_redelivery_of_a_rejected_delivery_is_matched_again() {
    let store = Store::sqlite();
    let appended = store.append("d1").await;
    let claimed = store.claim("w").await;
    store.journal.decide(claimed.deliveries[0].lease.clone(), decision(Verdict::Rejected("no ref".to_owned()))).await.unwrap();
    let (record, traces) = store.journal.delivery_record(id_of(&appended)).await.unwrap().unwrap();
    assert_eq!((record.state, record.reason.as_deref()), (DeliveryState::Rejected, Some("no ref")));
    assert!(record.finished_at.is_some());
    assert_eq!(traces, Some(json!([{"rule": "deploy"}])));
    assert!(matches!(store.append("d1").await, Appended::Revived { .. }));
    assert_eq!(store.claim("w").await.deliveries.len(), 1);
}

#[tokio::test]
async fn a_run_that_could_not_be_evaluated_is_red_and_not_taken_up_again() {
    let store = Store::sqlite();
    let failure = RunFailure {
        step: String::new(),
        action: String::new(),
        code: "evaluation".to_owned(),
        message: "1 / 0".to_owned(),
        attempts: 0,
        rolled_back: false,
    };
    let runs = store.started("d1", vec![NewRun { failure: Some(failure.clone()), ..run("broken") }]).await;
    let (record, _) = store.journal.run(&runs[0]).await.unwrap().unwrap();
    assert_eq!((record.state, record.failure), (RunState::Failed, Some(failure)));
    assert_eq!(store.delivery_state(&record.delivery).await, DeliveryState::Failed);
    assert!(matches!(store.append("d1").await, Appended::Duplicate { .. }));
}

#[tokio::test]
async fn a_delivery_that_matched_nothing_keeps_its_traces() {
    let store = Store::sqlite();
    let appended = store.append("d1").await;
    let claimed = store.claim("w").await;
    store.journal.decide(claimed.deliveries[0].lease.clone(), decision(Verdict::Ignored)).await.unwrap();
    let (record, traces) = store.journal.delivery_record(id_of(&appended)).await.unwrap().unwrap();
    assert_eq!(record.state, DeliveryState::Ignored);
    assert_eq!(traces, Some(json!([{"rule": "deploy"}])));
    assert!(store.claim("w").await.deliveries.is_empty());
}

#[tokio::test]
async fn a_lease_ends_by_the_clock_of_the_store_and_no_other() {
    let store = Store::sqlite();
    store.started("d1", vec![run("deploy")]).await;
    let first = store.one_run("fast-clock").await;
    assert!(store.claim("slow-clock").await.runs.is_empty(), "it is leased");
    store.pass(Duration::from_secs(20));
    assert_eq!(store.journal.extend(vec![first.lease.clone()], LEASE).await.unwrap(), [true]);
    store.pass(Duration::from_secs(20));
    assert!(store.claim("slow-clock").await.runs.is_empty(), "it was extended");
    store.pass(Duration::from_secs(11));
    let second = store.one_run("slow-clock").await;
    assert_eq!(second.run.claims, 2);
    assert!(second.lease.token > first.lease.token);
}

#[tokio::test]
async fn whoever_lost_the_lease_can_write_nothing() {
    let store = Store::sqlite();
    let runs = store.started("d1", vec![run("deploy")]).await;
    let first = store.one_run("w1").await;
    store.journal.write(first.lease.clone(), vec![began(0)]).await.unwrap();
    store.pass(LEASE);
    let second = store.one_run("w2").await;
    for changes in [vec![succeeded(0)], vec![began(1)], vec![finished(RunState::Succeeded)], vec![Change::Released], vec![]] {
        assert_eq!(store.journal.write(first.lease.clone(), changes).await, Err(LedgerError::Lost));
    }
    assert_eq!(store.journal.extend(vec![first.lease, second.lease.clone()], LEASE).await.unwrap(), [false, true]);
    assert_eq!(second.steps[0].state, StepState::Running);
    assert_eq!(second.steps[0].attempts[0].state, AttemptState::Open, "its outcome is unknown");
    let why = Why::new("interrupted", "its worker went away");
    let take_up = vec![Change::Retrying { place: place(0), state: AttemptState::Interrupted, why }, began(0), succeeded(0)];
    store.journal.write(second.lease.clone(), take_up).await.unwrap();
    store.journal.write(second.lease, vec![finished(RunState::Succeeded)]).await.unwrap();
    let (record, steps) = store.journal.run(&runs[0]).await.unwrap().unwrap();
    assert_eq!(record.state, RunState::Succeeded);
    let attempts: Vec<_> =
        steps[0].attempts.iter().map(|attempt| (attempt.number, attempt.worker.as_str(), attempt.state)).collect();
    assert_eq!(attempts, [(1, "w1", AttemptState::Interrupted), (2, "w2", AttemptState::Succeeded)]);
}

#[tokio::test]
async fn a_matcher_that_lost_its_lease_can_decide_nothing() {
    let store = Store::sqlite();
    store.append("d1").await;
    let first = store.claim("w1").await.deliveries.remove(0);
    store.pass(LEASE);
    let second = store.claim("w2").await.deliveries.remove(0);
    assert_eq!(second.claims, 2);
    let late = store.journal.decide(first.lease, decision(Verdict::Runs(vec![run("deploy")]))).await;
    assert_eq!(late, Err(LedgerError::Lost));
    store.journal.release(second.lease).await.unwrap();
    let third = store.claim("w3").await.deliveries.remove(0);
    assert_eq!(third.claims, 2, "a claim that was given back does not count");
    store.journal.decide(third.lease.clone(), decision(Verdict::Ignored)).await.unwrap();
    assert_eq!(store.journal.decide(third.lease, decision(Verdict::Ignored)).await, Err(LedgerError::Lost));
}

#[tokio::test]
async fn what_a_step_saved_and_meant_is_there_for_the_next_worker() {
    let store = Store::sqlite();
    store.started("d1", vec![run("deploy")]).await;
    let first = store.one_run("w1").await;
    store.journal.write(first.lease.clone(), vec![began(0)]).await.unwrap();
    store
        .journal
        .write(first.lease.clone(), vec![Change::Saved { place: place(0), saved: json!({"operation": "op-1"}) }])
        .await
        .unwrap();
    let store = store.reopen();
    let second = store.one_run("w2").await;
    assert_eq!(second.steps[0].saved, Some(json!({"operation": "op-1"})));
    assert_eq!(second.steps[0].intent.as_ref().map(|intent| intent.call.key.as_str()), Some("k0"));
    assert_eq!(second.delivery.content.body, delivery("d1").body);
}

#[tokio::test]
async fn a_run_that_waits_comes_again_when_it_is_due() {
    let store = Store::sqlite();
    let runs = store.started("d1", vec![run("deploy")]).await;
    let first = store.one_run("w1").await;
    let why = Why::new("unavailable", "503");
    let wait = vec![
        began(0),
        Change::Retrying { place: place(0), state: AttemptState::Retry, why },
        Change::Waits { after: Duration::from_secs(60) },
    ];
    store.journal.write(first.lease, wait).await.unwrap();
    assert_eq!(store.run_state(&runs[0]).await, RunState::Waiting);
    let claimed = store.claim("w1").await;
    assert!(claimed.runs.is_empty());
    assert_eq!(claimed.next, Some(Duration::from_secs(60)));
    store.pass(Duration::from_secs(60));
    let again = store.one_run("w1").await;
    assert_eq!(again.steps[0].state, StepState::Waiting);
    assert_eq!(again.age, Duration::from_secs(60));
    assert_eq!(again.run.claims, 1, "it got on, so earlier claims do not count");
}

#[tokio::test]
async fn writes_that_are_not_in_the_state_diagram_are_refused_as_a_whole() {
    let store = Store::sqlite();
    store.started("d1", vec![run("deploy")]).await;
    let claimed = store.one_run("w1").await;
    let again = || Change::Retrying { place: place(0), state: AttemptState::Retry, why: Why::new("x", "x") };
    let impossible: Vec<Vec<Change>> = vec![
        vec![began(0), began(0)],
        vec![began(0), succeeded(0), succeeded(0)],
        vec![began(0), succeeded(0), began(0)],
        vec![again()],
        vec![Change::Saved { place: place(0), saved: json!(1) }],
        vec![succeeded(0)],
        vec![began(0), finished(RunState::Succeeded)],
        vec![finished(RunState::Queued)],
        vec![finished(RunState::Waiting)],
        vec![finished(RunState::Succeeded), began(0)],
        vec![Change::Released, Change::Released],
    ];
    for changes in impossible {
        let shown = format!("{changes:?}");
        let refused = store.journal.write(claimed.lease.clone(), changes).await;
        assert!(matches!(refused, Err(LedgerError::Impossible(_))), "{shown}: {refused:?}");
    }
    let (_, steps) = store.journal.run(&claimed.run.id).await.unwrap().unwrap();
    assert!(steps.is_empty(), "nothing of it was written: {steps:?}");
}

#[tokio::test]
async fn a_delivery_is_final_when_the_last_of_its_runs_is() {
    let store = Store::sqlite();
    store.started("d1", vec![run("a"), run("b"), run("c")]).await;
    let claimed = store.claim("w1").await;
    let delivery = claimed.runs[0].delivery.id.clone();
    for (claimed, state) in claimed.runs.into_iter().zip([RunState::Succeeded, RunState::Failed, RunState::Succeeded]) {
        assert_eq!(store.delivery_state(&delivery).await, DeliveryState::Running);
        store.journal.write(claimed.lease, vec![finished(state)]).await.unwrap();
    }
    assert_eq!(store.delivery_state(&delivery).await, DeliveryState::Failed);
    let states: Vec<_> = store.journal.runs_of(&delivery).await.unwrap().into_iter().map(|run| (run.rule, run.state)).collect();
    let expected = [("a", RunState::Succeeded), ("b", RunState::Failed), ("c", RunState::Succeeded)];
    assert_eq!(states, expected.map(|(rule, state)| (rule.to_owned(), state)));
}

#[tokio::test]
async fn runs_of_a_queue_run_one_at_a_time_in_the_order_of_arrival() {
    let store = Store::sqlite();
    for id in ["d1", "d2", "d3"] {
        store.append(id).await;
    }
    for (index, waiting) in store.claim("m").await.deliveries.into_iter().enumerate() {
        let runs = vec![grouped(&format!("r{index}"), GroupMode::QueueAll)];
        store.journal.decide(waiting.lease, decision(Verdict::Runs(runs))).await.unwrap();
    }
    for expected in ["r0", "r1", "r2"] {
        let claimed = store.one_run("w1").await;
        assert_eq!(claimed.run.rule, expected);
        store.journal.write(claimed.lease.clone(), vec![Change::Waits { after: Duration::from_secs(1) }]).await.unwrap();
        assert!(store.claim("w2").await.runs.is_empty(), "one that waits for its next attempt keeps its group");
        store.pass(Duration::from_secs(1));
        let claimed = store.one_run("w3").await;
        assert_eq!(claimed.run.rule, expected);
        store.journal.write(claimed.lease, vec![finished(RunState::Succeeded)]).await.unwrap();
    }
}

#[tokio::test]
async fn the_latest_of_a_group_covers_those_that_wait() {
    let store = Store::sqlite();
    let mut runs = store.started("d1", vec![grouped("deploy", GroupMode::QueueLatest)]).await;
    let running = store.one_run("w1").await;
    for id in ["d2", "d3"] {
        store.append(id).await;
        let waiting = store.claim("m").await.deliveries.remove(0);
        let decided = decision(Verdict::Runs(vec![grouped("deploy", GroupMode::QueueLatest)]));
        runs.extend(store.journal.decide(waiting.lease, decided).await.unwrap());
    }
    assert!(store.claim("w2").await.runs.is_empty(), "the group is taken");
    let (covered, _) = store.journal.run(&runs[1]).await.unwrap().unwrap();
    assert_eq!((covered.state, covered.covered_by.as_deref()), (RunState::Superseded, Some(runs[2].as_str())));
    assert_eq!(store.delivery_state(&covered.delivery).await, DeliveryState::Completed);
    let written = store.journal.write(running.lease, vec![finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(written.stop, None);
    assert_eq!(store.one_run("w2").await.run.id, runs[2]);
}

#[tokio::test]
async fn a_run_that_is_superseded_learns_of_it_with_its_next_write() {
    let store = Store::sqlite();
    store.started("d1", vec![grouped("preview", GroupMode::Supersede)]).await;
    let running = store.one_run("w1").await;
    let newer = store.started("d2", vec![grouped("preview", GroupMode::Supersede)]).await;
    let written = store.journal.write(running.lease.clone(), vec![began(0), succeeded(0)]).await.unwrap();
    assert_eq!(written.stop.as_ref(), Some(&newer[0]));
    store.journal.write(running.lease, vec![finished(RunState::Superseded)]).await.unwrap();
    assert_eq!(store.one_run("w2").await.run.id, newer[0]);
}

#[tokio::test]
async fn a_run_that_skips_is_dropped_while_its_group_is_taken() {
    let store = Store::sqlite();
    let first = store.started("d1", vec![grouped("button", GroupMode::Skip)]).await;
    let second = store.started("d2", vec![grouped("button", GroupMode::Skip)]).await;
    let (skipped, _) = store.journal.run(&second[0]).await.unwrap().unwrap();
    assert_eq!((skipped.state, skipped.covered_by.as_ref()), (RunState::Skipped, Some(&first[0])));
    assert_eq!(store.delivery_state(&skipped.delivery).await, DeliveryState::Completed);
}

#[tokio::test]
async fn a_revived_run_and_a_newer_one_of_its_group_never_run_together() {
    let store = Store::sqlite();
    store.started("d1", vec![grouped("deploy", GroupMode::QueueAll)]).await;
    let old = store.one_run("w1").await;
    store.journal.write(old.lease, vec![began(0), failed(0), finished(RunState::Failed)]).await.unwrap();
    store.started("d2", vec![grouped("deploy", GroupMode::QueueAll)]).await;
    let newer = store.one_run("w1").await;
    assert!(matches!(store.append("d1").await, Appended::Revived { .. }));
    assert!(store.claim("w2").await.runs.is_empty(), "the newer one runs");
    store.journal.write(newer.lease, vec![Change::Waits { after: Duration::ZERO }]).await.unwrap();
    let only = store.one_run("w2").await;
    assert_eq!(only.run.id, newer.run.id, "and keeps the group while it waits");
    store.journal.write(only.lease, vec![finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(store.one_run("w2").await.run.id, old.run.id);
}

#[tokio::test]
async fn files_of_a_rule_set_are_kept_for_its_runs() {
    let store = Store::sqlite();
    let files = vec![RuleFile { path: "rules/web.yaml".to_owned(), text: "version: 1\n".to_owned() }];
    store.journal.keep_rules("r1", files.clone()).await.unwrap();
    store.journal.keep_rules("r1", files.clone()).await.unwrap();
    assert_eq!(store.journal.rules("r1").await.unwrap(), Some(files));
    assert_eq!(store.journal.rules("r2").await.unwrap(), None);
}

#[tokio::test]
async fn old_finished_deliveries_are_forgotten_and_open_ones_never() {
    let store = Store::sqlite();
    let runs = store.started("d1", vec![run("deploy")]).await;
    let claimed = store.one_run("w1").await;
    store.journal.write(claimed.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    let open = store.append("d2").await;
    store.pass(Duration::from_secs(3600));
    assert_eq!(store.journal.forget(Duration::from_secs(3601), 10).await.unwrap(), 0);
    assert_eq!(store.journal.forget(Duration::from_secs(3599), 10).await.unwrap(), 1);
    assert!(store.journal.delivery(&claimed.delivery.id).await.unwrap().is_none());
    assert!(store.journal.run(&runs[0]).await.unwrap().is_none());
    assert!(store.journal.delivery(id_of(&open)).await.unwrap().is_some());
    assert!(matches!(store.append("d1").await, Appended::New { .. }), "what is forgotten is not known any more");
}

#[tokio::test]
async fn lists_are_newest_first_and_can_be_paged_and_filtered() {
    let store = Store::sqlite();
    let mut ids = Vec::new();
    for index in 0..5 {
        ids.push(id_of(&store.append(&format!("d{index}")).await).to_owned());
    }
    ids.reverse();
    let list = async |listing: Listing| -> Vec<String> {
        store.journal.deliveries(listing).await.unwrap().into_iter().map(|delivery| delivery.id).collect()
    };
    assert_eq!(list(Listing { limit: 2, ..Listing::default() }).await, ids[..2]);
    assert_eq!(list(Listing { limit: 9, before: Some(ids[1].clone()), ..Listing::default() }).await, ids[2..]);
    assert!(list(Listing { limit: 9, state: Some("failed".to_owned()), ..Listing::default() }).await.is_empty());
    assert!(list(Listing { limit: 9, before: Some("nonsense".to_owned()), ..Listing::default() }).await.is_empty());
    assert_eq!(list(Listing { limit: 9, of: Some("github".to_owned()), ..Listing::default() }).await.len(), 5);
}

#[tokio::test]
async fn unknown_ids_are_not_found_and_harm_nothing() {
    let store = Store::sqlite();
    for id in ["", "x", "0000000000000", "0000000000000-1", "' OR 1=1 --", "\0"] {
        assert!(store.journal.delivery(id).await.unwrap().is_none());
        assert!(store.journal.delivery_record(id).await.unwrap().is_none());
        assert!(store.journal.run(id).await.unwrap().is_none());
        assert!(store.journal.runs_of(id).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_are_all_answered_and_all_kept() {
    let store = Store::sqlite();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..300 {
        let journal = Arc::clone(&store.journal);
        // Every id twice: one of the two is new, the other a duplicate, whichever came first.
        tasks.spawn(async move { journal.append(delivery(&format!("d{}", index / 2))).await });
    }
    let mut new = 0;
    while let Some(appended) = tasks.join_next().await {
        match appended.unwrap().unwrap() {
            Appended::New { .. } => new += 1,
            Appended::Duplicate { .. } => {}
            Appended::Revived { .. } => panic!("nothing failed"),
        }
    }
    assert_eq!(new, 150);
    let store = store.reopen();
    assert_eq!(store.journal.deliveries(Listing { limit: 1000, ..Listing::default() }).await.unwrap().len(), 150);
}

#[tokio::test]
async fn a_failed_commit_acknowledges_nobody_until_the_store_works_again() {
    let store = Store::sqlite();
    store.append("before").await;
    store.faults.fail(true);
    let (first, second) = tokio::join!(store.journal.append(delivery("d1")), store.journal.append(delivery("d2")));
    assert!(matches!(first, Err(JournalError::Down(_))) && matches!(second, Err(JournalError::Down(_))), "{first:?} {second:?}");
    assert!(matches!(store.journal.probe().await, Err(JournalError::Down(_))));
    store.faults.fail(false);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while store.journal.probe().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the store comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(store.append("d1").await, Appended::New { .. }), "what was not acknowledged was not kept");
    assert!(matches!(store.append("before").await, Appended::Duplicate { .. }));
}

#[tokio::test]
async fn a_full_disk_refuses_and_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("declic.db");
    let journal = Sqlite::open(&path, Options { max_pages: Some(60), ..Options::default() }).unwrap();
    let mut kept = Vec::new();
    let mut refused = 0;
    for index in 0..20 {
        let large = NewDelivery { body: Bytes::from(vec![b'x'; 100_000]), ..delivery(&format!("d{index}")) };
        match journal.append(large).await {
            Ok(appended) => kept.push(id_of(&appended).to_owned()),
            Err(JournalError::Down(_)) => refused += 1,
            Err(JournalError::Full) => panic!("the queue is not full"),
        }
    }
    assert!(refused > 0 && !kept.is_empty(), "{refused} refused, {} kept", kept.len());
    drop(journal);
    let journal = Sqlite::open(&path, Options::default()).unwrap();
    for id in &kept {
        assert_eq!(journal.delivery(id).await.unwrap().expect("acknowledged").content.body.len(), 100_000);
    }
    assert_eq!(journal.deliveries(Listing { limit: 100, ..Listing::default() }).await.unwrap().len(), kept.len());
    assert!(matches!(journal.append(delivery("later")).await, Ok(Appended::New { .. })));
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused_with_a_clear_message() {
    let store = Store::sqlite();
    let path = store.folder.path().join("declic.db");
    let error = Sqlite::open(&path, Options::default()).err().expect("refused").to_string();
    assert!(error.contains("another declic serves from it"), "{error}");
    let reader = ReadOnly::open(&path).expect("reading beside it is fine");
    assert!(reader.deliveries(&Listing { limit: 1, ..Listing::default() }).unwrap().is_empty());
    let store = store.reopen();
    store.append("d1").await;
}

#[test]
fn files_that_are_not_ours_or_too_new_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| Sqlite::open(&folder.path().join(name), Options::default()).err().map(|error| error.to_string());
    std::fs::write(folder.path().join("text.db"), "this is not a database, but a longer text than a header").unwrap();
    assert!(open("text.db").is_some());
    let foreign = rusqlite::Connection::open(folder.path().join("foreign.db")).unwrap();
    foreign.execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    assert!(open("foreign.db").expect("refused").contains("another program"));
    assert_eq!(open("new.db"), None);
    let newer = rusqlite::Connection::open(folder.path().join("new.db")).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    assert!(open("new.db").expect("refused").contains("999"));
    let missing = ReadOnly::open(&folder.path().join("missing.db")).err().expect("refused").to_string();
    assert!(missing.contains("no such file"), "{missing}");
}

/// A queue of one place, and a writer that is held up: whoever does not fit in is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("declic.db");
    let journal = Arc::new(Sqlite::open(&path, Options { queue: 1, ..Options::default() }).unwrap());
    let held_up = rusqlite::Connection::open(&path).unwrap();
    held_up.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..50 {
        let journal = Arc::clone(&journal);
        tasks.spawn(async move { journal.append(delivery(&format!("d{index}"))).await });
    }
    let mut full = 0;
    while full < 40 {
        match tasks.join_next().await.expect("most are refused").unwrap() {
            Err(JournalError::Full) => full += 1,
            other => panic!("{other:?}"),
        }
    }
    held_up.execute_batch("ROLLBACK").unwrap();
    let mut kept = 0;
    while let Some(appended) = tasks.join_next().await {
        kept += usize::from(appended.unwrap().is_ok());
    }
    assert!(kept > 0);
    assert_eq!(journal.deliveries(Listing { limit: 100, ..Listing::default() }).await.unwrap().len(), kept);
}

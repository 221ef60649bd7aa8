//! Leases, fencing and what is written under them.

use super::*;

on_every_store!(
    a_lease_ends_by_the_clock_of_the_store_and_no_other,
    whoever_lost_the_lease_can_write_nothing,
    a_matcher_that_lost_its_lease_can_decide_nothing,
    what_is_appended_with_a_lease_is_claimed_by_nobody_else_and_by_everybody_after_it,
    what_is_appended_with_its_decision_is_as_if_it_had_been_decided_after,
    what_a_step_saved_and_meant_is_there_for_the_next_worker,
    a_run_that_waits_comes_again_when_it_is_due,
    writes_that_are_not_in_the_state_diagram_are_refused_as_a_whole,
    a_delivery_is_final_when_the_last_of_its_runs_is,
    one_subject_can_be_claimed_alone_but_not_out_of_turn,
);

async fn a_lease_ends_by_the_clock_of_the_store_and_no_other(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn whoever_lost_the_lease_can_write_nothing(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn a_matcher_that_lost_its_lease_can_decide_nothing(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn what_is_appended_with_a_lease_is_claimed_by_nobody_else_and_by_everybody_after_it(kind: Kind) {
    let store = Store::of(kind).await;
    let (appended, left) = store.journal.append_as(delivery("d1"), Taking::Leased(LEASE)).await.unwrap();
    let Left::Matching(claimed) = left else { panic!("it is new, and ours") };
    assert_eq!(appended, Appended::New { id: claimed.delivery.id.clone() });
    assert_eq!((claimed.claims, &claimed.delivery.content.body), (1, &delivery("d1").body));
    assert!(store.claim("w1").await.deliveries.is_empty(), "it is leased");
    let (again, left) = store.journal.append_as(delivery("d1"), Taking::Leased(LEASE)).await.unwrap();
    assert_eq!(again, Appended::Duplicate { id: claimed.delivery.id.clone() });
    assert!(matches!(left, Left::Nothing), "the second is in nobody's hands");
    store.pass(LEASE);
    let second = store.claim("w1").await.deliveries.remove(0);
    assert_eq!(second.claims, 2, "whoever appended it went away with it");
    let late = store.journal.decide(claimed.lease, decision(Verdict::Runs(vec![run("deploy")]))).await;
    assert_eq!(late, Err(LedgerError::Lost));
    store.journal.decide(second.lease, decision(Verdict::Ignored)).await.unwrap();

    let (appended, _) = store.journal.append_as(delivery("d2"), Taking::Leased(LEASE)).await.unwrap();
    let store = store.reopen().await;
    let lost = store.claim("w2").await.deliveries.remove(0);
    assert_eq!(Appended::New { id: lost.delivery.id }, appended, "after a crash nobody waits for the lease");
}

/// What a store says of a delivery and its runs, but for the ids.
async fn told(store: &Store, id: &str) -> serde_json::Value {
    let (record, traces) = store.journal.delivery_record(id).await.unwrap().expect("it is there");
    let runs = store.journal.runs_of(id).await.unwrap();
    let mut told = json!([record, traces, runs]);
    for record in std::iter::once("/0").chain(["/2/0", "/2/1"]) {
        let Some(record) = told.pointer_mut(record) else { continue };
        for name in ["id", "delivery", "delivery_id", "covered_by"] {
            record.as_object_mut().map(|record| record.remove(name));
        }
    }
    told
}

async fn what_is_appended_with_its_decision_is_as_if_it_had_been_decided_after(kind: Kind) {
    let unable = RunFailure {
        step: String::new(),
        action: String::new(),
        code: "evaluation".to_owned(),
        message: "`if` cannot be evaluated".to_owned(),
        attempts: 0,
        rolled_back: false,
    };
    let broken = NewRun { failure: Some(unable), ..run("broken") };
    let verdicts = [
        Verdict::Ignored,
        Verdict::Rejected("it cannot be read".to_owned()),
        Verdict::Failed("matching broke off".to_owned()),
        Verdict::Runs(vec![run("deploy"), run("tell")]),
        Verdict::Runs(vec![broken.clone()]),
        Verdict::Runs(vec![broken, run("deploy")]),
    ];
    for (number, verdict) in verdicts.into_iter().enumerate() {
        let (first, second) = (Store::of(kind).await, Store::of(kind).await);
        let decided = Arc::new(decision(verdict));
        let Appended::New { id: one } = first.append("d").await else { panic!("it is new") };
        let lease = first.claim("matcher").await.deliveries.remove(0).lease;
        first.journal.decide(lease, Decision::clone(&decided)).await.unwrap();

        let taking = Taking::Decided(Arc::clone(&decided), LEASE);
        let (appended, left) = second.journal.append_as(delivery("d"), taking.clone()).await.unwrap();
        let Appended::New { id: other } = appended else { panic!("it is new") };
        match (kind, left) {
            (Kind::Sqlite, Left::Runs(ids)) => {
                let runs = second.journal.runs_of(&other).await.unwrap();
                assert_eq!(ids, runs.into_iter().map(|run| run.id).collect::<Vec<_>>());
            }
            // Not able to, it says so.
            (Kind::Postgres, Left::Matching(claimed)) => {
                second.journal.decide(claimed.lease, Decision::clone(&decided)).await.unwrap();
            }
            (kind, left) => panic!("{kind:?}: {left:?}"),
        }
        assert_eq!(told(&first, &one).await, told(&second, &other).await, "verdict {number}");

        // What failed is taken up again when it is sent once more, under a decision that is made then; anything else is known.
        for (store, id) in [(&first, &one), (&second, &other)] {
            let (again, left) = store.journal.append_as(delivery("d"), taking.clone()).await.unwrap();
            let failed = matches!(number, 1 | 2 | 4);
            let expected = if failed { Appended::Revived { id: id.clone() } } else { Appended::Duplicate { id: id.clone() } };
            assert_eq!(again, expected, "verdict {number}");
            assert!(matches!(left, Left::Nothing), "verdict {number}: {left:?}");
            if failed {
                let lease = store.claim("matcher").await.deliveries.remove(0).lease;
                store.journal.decide(lease, decision(Verdict::Ignored)).await.unwrap();
            }
        }
        assert_eq!(told(&first, &one).await, told(&second, &other).await, "verdict {number}, again");
    }
}

async fn what_a_step_saved_and_meant_is_there_for_the_next_worker(kind: Kind) {
    let store = Store::of(kind).await;
    store.started("d1", vec![run("deploy")]).await;
    let first = store.one_run("w1").await;
    store.journal.write(first.lease.clone(), vec![began(0)]).await.unwrap();
    store
        .journal
        .write(first.lease.clone(), vec![Change::Saved { place: place(0), saved: json!({"operation": "op-1"}) }])
        .await
        .unwrap();
    let store = store.reopen().await;
    let second = store.one_run("w2").await;
    assert_eq!(second.steps[0].saved, Some(json!({"operation": "op-1"})));
    assert_eq!(second.steps[0].intent.as_ref().map(|intent| intent.call.key.as_str()), Some("k0"));
    assert_eq!(second.delivery.content.body, delivery("d1").body);
}

async fn a_run_that_waits_comes_again_when_it_is_due(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn writes_that_are_not_in_the_state_diagram_are_refused_as_a_whole(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn a_delivery_is_final_when_the_last_of_its_runs_is(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn one_subject_can_be_claimed_alone_but_not_out_of_turn(kind: Kind) {
    let store = Store::of(kind).await;
    let claim =
        |only: Subject| Claim { worker: "w".to_owned(), lease: LEASE, deliveries: 10.into(), runs: 10.into(), only: Some(only) };
    let first = store.started("d1", vec![run("a"), run("b")]).await;
    let Appended::New { id } = store.append("d2").await else { panic!("it is new") };
    let runs = store.journal.claim(claim(Subject::Run(first[1].clone()))).await.unwrap();
    assert_eq!((runs.deliveries.len(), runs.runs.len()), (0, 1));
    assert_eq!(runs.runs[0].run.id, first[1]);
    assert!(store.journal.claim(claim(Subject::Run(first[1].clone()))).await.unwrap().runs.is_empty(), "it is leased");
    let deliveries = store.journal.claim(claim(Subject::Delivery(id))).await.unwrap();
    assert_eq!((deliveries.deliveries.len(), deliveries.runs.len()), (1, 0));
    let group = |name: &str| NewRun { group: Some(Group { key: "g".to_owned(), mode: GroupMode::QueueAll }), ..run(name) };
    store
        .journal
        .decide(deliveries.deliveries[0].lease.clone(), decision(Verdict::Runs(vec![group("c"), group("d")])))
        .await
        .unwrap();
    let later = format!("{}-2", deliveries.deliveries[0].delivery.id);
    assert!(store.journal.claim(claim(Subject::Run(later))).await.unwrap().runs.is_empty(), "its group is taken");
    assert!(store.journal.claim(claim(Subject::Run("nobody-1".to_owned()))).await.unwrap().runs.is_empty());
}

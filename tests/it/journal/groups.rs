//! Concurrency groups: who runs, who waits, who is covered.

use super::*;

on_every_store!(
    runs_of_a_queue_run_one_at_a_time_in_the_order_of_arrival,
    the_latest_of_a_group_covers_those_that_wait,
    a_run_that_is_superseded_learns_of_it_with_its_next_write,
    a_run_that_skips_is_dropped_while_its_group_is_taken,
    a_revived_run_and_a_newer_one_of_its_group_never_run_together,
);

async fn runs_of_a_queue_run_one_at_a_time_in_the_order_of_arrival(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn the_latest_of_a_group_covers_those_that_wait(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn a_run_that_is_superseded_learns_of_it_with_its_next_write(kind: Kind) {
    let store = Store::of(kind).await;
    store.started("d1", vec![grouped("preview", GroupMode::Supersede)]).await;
    let running = store.one_run("w1").await;
    let newer = store.started("d2", vec![grouped("preview", GroupMode::Supersede)]).await;
    let written = store.journal.write(running.lease.clone(), vec![began(0), succeeded(0)]).await.unwrap();
    assert_eq!(written.stop.as_ref(), Some(&newer[0]));
    store.journal.write(running.lease, vec![finished(RunState::Superseded)]).await.unwrap();
    assert_eq!(store.one_run("w2").await.run.id, newer[0]);
}

async fn a_run_that_skips_is_dropped_while_its_group_is_taken(kind: Kind) {
    let store = Store::of(kind).await;
    let first = store.started("d1", vec![grouped("button", GroupMode::Skip)]).await;
    let second = store.started("d2", vec![grouped("button", GroupMode::Skip)]).await;
    let (skipped, _) = store.journal.run(&second[0]).await.unwrap().unwrap();
    assert_eq!((skipped.state, skipped.covered_by.as_ref()), (RunState::Skipped, Some(&first[0])));
    assert_eq!(store.delivery_state(&skipped.delivery).await, DeliveryState::Completed);
}

async fn a_revived_run_and_a_newer_one_of_its_group_never_run_together(kind: Kind) {
    let store = Store::of(kind).await;
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

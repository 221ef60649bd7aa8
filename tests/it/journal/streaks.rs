//! What happens again and again and is told once; and what is learned of a delivery.

use super::*;

on_every_store!(
    only_a_change_of_state_is_told_and_what_is_skipped_is_counted,
    an_older_delivery_that_says_something_else_is_no_news,
    those_of_a_streak_that_wait_are_one_and_find_the_count_and_what_was_left,
    one_that_came_earlier_and_is_decided_later_is_counted_and_knows_that_it_is_older,
    what_a_provider_was_asked_stays_with_the_delivery,
);

fn telling(state: &str, repeats: Repeats) -> NewRun {
    let collapse = Collapse { key: "disk".to_owned(), state: state.to_owned(), repeats, quiet: Some(Duration::from_secs(3600)) };
    let group = (repeats == Repeats::Edit).then(|| Group { key: "disk".to_owned(), mode: GroupMode::Collapse });
    NewRun { collapse: Some(collapse), group, ..run("tell") }
}

async fn told(store: &Store, id: &str, state: &str, repeats: Repeats) -> String {
    store.append(id).await;
    let waiting = store.claim("m").await.deliveries.remove(0);
    let decided = decision(Verdict::Runs(vec![telling(state, repeats)]));
    store.journal.decide(waiting.lease, decided).await.unwrap().remove(0)
}

async fn done(store: &Store, run: ClaimedRun) {
    store.journal.write(run.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
}

/// Without taking runs.
async fn claim_deliveries(store: &Store, count: usize) -> Vec<declic::journal::record::ClaimedDelivery> {
    let claim = Claim { worker: "m".to_owned(), lease: LEASE, deliveries: count.into(), runs: 0.into(), only: None };
    store.journal.claim(claim).await.unwrap().deliveries
}

async fn append_and_decide(store: &Store, id: &str, run: NewRun) -> String {
    store.append(id).await;
    let waiting = claim_deliveries(store, 1).await.remove(0);
    store.journal.decide(waiting.lease, decision(Verdict::Runs(vec![run]))).await.unwrap().remove(0)
}

async fn only_a_change_of_state_is_told_and_what_is_skipped_is_counted(kind: Kind) {
    let mut store = Store::of(kind).await;
    let first = told(&store, "d1", "open", Repeats::Drop).await;
    for id in ["d2", "d3"] {
        let again = told(&store, id, "open", Repeats::Drop).await;
        let (record, _) = store.journal.run(&again).await.unwrap().unwrap();
        assert_eq!((record.state, record.covered_by.as_ref()), (RunState::Skipped, Some(&first)));
        assert_eq!(store.delivery_state(&record.delivery).await, DeliveryState::Completed);
        // What was counted is on disk.
        store = store.reopen().await;
    }
    let again = told(&store, "d4", "open", Repeats::Drop).await;
    let note = store.journal.run(&again).await.unwrap().unwrap().0.note.unwrap();
    assert!(note.starts_with("told once: number 4 since 2027-01-15T08:00:00"), "{note}");
    let closed = told(&store, "d5", "closed", Repeats::Drop).await;
    assert_eq!(store.run_state(&closed).await, RunState::Queued, "a recovery is always told");
    let open = told(&store, "d6", "open", Repeats::Drop).await;
    assert_eq!(store.run_state(&open).await, RunState::Queued);
    store.pass(Duration::from_secs(3601));
    let late = told(&store, "d7", "open", Repeats::Drop).await;
    assert_eq!(store.run_state(&late).await, RunState::Queued, "after a silence it is told again");
}

async fn an_older_delivery_that_says_something_else_is_no_news(kind: Kind) {
    let store = Store::of(kind).await;
    store.append("d1").await;
    store.append("d2").await;
    let mut waiting = claim_deliveries(&store, 2).await;
    let (later, earlier) = (waiting.remove(1), waiting.remove(0));
    for (delivery, state, expected) in [(later, "closed", RunState::Queued), (earlier, "open", RunState::Skipped)] {
        let runs = vec![telling(state, Repeats::Drop)];
        let run = store.journal.decide(delivery.lease, decision(Verdict::Runs(runs))).await.unwrap().remove(0);
        assert_eq!(store.run_state(&run).await, expected);
    }
}

async fn those_of_a_streak_that_wait_are_one_and_find_the_count_and_what_was_left(kind: Kind) {
    let store = Store::of(kind).await;
    append_and_decide(&store, "d1", telling("open", Repeats::Edit)).await;
    let first = store.one_run("w").await;
    let streak = first.streak.clone().unwrap();
    assert_eq!((streak.count, streak.is_newest, streak.kept.len()), (1, true, 0));
    let mut waiting = Vec::new();
    for id in ["d2", "d3", "d4"] {
        waiting.push(append_and_decide(&store, id, telling("open", Repeats::Edit)).await);
    }
    let closed = append_and_decide(&store, "d5", telling("closed", Repeats::Edit)).await;
    assert!(store.claim("w2").await.runs.is_empty(), "one at a time");
    let kept = Change::Kept { step: "0 slack/post".to_owned(), value: json!({ "ts": "1.2" }) };
    store.journal.write(first.lease.clone(), vec![began(0), kept, succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    for covered in &waiting[..2] {
        assert_eq!(store.run_state(covered).await, RunState::Superseded);
    }
    let store = store.reopen().await;
    let second = store.one_run("w").await;
    assert_eq!(second.run.id, waiting[2]);
    let streak = second.streak.clone().unwrap();
    assert_eq!((streak.count, streak.is_newest), (4, true));
    assert_eq!(streak.kept["0 slack/post"], json!({ "ts": "1.2" }));
    done(&store, second).await;
    let third = store.one_run("w").await;
    assert_eq!(third.run.id, closed, "another state waits for its turn and is not covered");
    let streak = third.streak.clone().unwrap();
    assert_eq!((streak.count, streak.kept.len()), (1, 0), "and begins anew");
    done(&store, third).await;
}

async fn one_that_came_earlier_and_is_decided_later_is_counted_and_knows_that_it_is_older(kind: Kind) {
    let store = Store::of(kind).await;
    for id in ["d1", "d2"] {
        store.append(id).await;
    }
    let mut waiting = claim_deliveries(&store, 2).await;
    let (later, earlier) = (waiting.remove(1), waiting.remove(0));
    let runs = || decision(Verdict::Runs(vec![telling("open", Repeats::Edit)]));
    store.journal.decide(later.lease, runs()).await.unwrap();
    let first = store.one_run("w").await;
    let second = store.journal.decide(earlier.lease, runs()).await.unwrap().remove(0);
    assert_eq!(store.run_state(&second).await, RunState::Queued, "the count of the one that runs is told already");
    done(&store, first).await;
    let claimed = store.one_run("w").await;
    let streak = claimed.streak.unwrap();
    assert_eq!((claimed.run.id, streak.count, streak.is_newest), (second, 2, false));
}

async fn what_a_provider_was_asked_stays_with_the_delivery(kind: Kind) {
    let store = Store::of(kind).await;
    store.append("d1").await;
    let waiting = store.claim("m").await.deliveries.remove(0);
    assert_eq!(waiting.delivery.learned, None);
    let learned = json!({ "actor": { "permission": "write" } });
    let decided = Decision { learned: Some(learned.clone()), ..decision(Verdict::Runs(vec![run("deploy")])) };
    store.journal.decide(waiting.lease, decided).await.unwrap();
    let store = store.reopen().await;
    let claimed = store.one_run("w").await;
    assert_eq!(claimed.delivery.learned, Some(learned.clone()));
    assert_eq!(store.journal.delivery(&claimed.delivery.id).await.unwrap().unwrap().learned, Some(learned));
}

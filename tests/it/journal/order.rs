//! Newer and older: groups and targets by the commits of their deliveries, and what people may do about it.

use declic::journal::record::{Line, Listing, Order, Selection};

use super::*;

on_every_store!(
    a_commit_that_comes_late_is_covered_by_its_descendant,
    where_commits_say_nothing_github_is_asked_and_else_arrival_decides_and_is_noted,
    a_target_is_in_one_hand_at_a_time_and_nothing_older_follows,
    people_cancel_retry_redrive_and_replay,
    a_noisy_repository_does_not_starve_the_others,
);

fn line(before: &str, after: &str, forced: bool) -> Line {
    Line {
        repository: "acme/web".to_owned(),
        reference: "refs/heads/main".to_owned(),
        before: Some(before.to_owned()),
        after: after.to_owned(),
        forced,
    }
}

impl Store {
    /// As [`Store::started`], for a delivery that tells of a push.
    async fn pushed(&self, id: &str, line: &Line, mode: GroupMode) -> String {
        self.append(id).await;
        let waiting = self.only_deliveries().await;
        let decision = Decision { line: Some(line.clone()), ..decision(Verdict::Runs(vec![grouped("deploy", mode)])) };
        self.journal.decide(waiting.lease, decision).await.expect("decided").remove(0)
    }

    /// Takes the delivery that waits, and leaves all runs where they are.
    async fn only_deliveries(&self) -> declic::journal::record::ClaimedDelivery {
        let claim = Claim { worker: "matcher".to_owned(), lease: LEASE, deliveries: 1.into(), runs: 0.into(), only: None };
        self.journal.claim(claim).await.expect("the store works").deliveries.remove(0)
    }

    async fn note(&self, id: &str) -> (RunState, Option<String>, Option<String>) {
        let (run, _) = self.journal.run(id).await.unwrap().unwrap();
        (run.state, run.covered_by, run.note)
    }
}

fn on_target() -> Change {
    match began(0) {
        Change::Began { place, label, intent, .. } => {
            Change::Began { place, label, intent, exclusive: Some("web_staging".to_owned()) }
        }
        other => other,
    }
}

async fn a_commit_that_comes_late_is_covered_by_its_descendant(kind: Kind) {
    let store = Store::of(kind).await;
    let newer = store.pushed("d2", &line("b", "c", false), GroupMode::QueueLatest).await;
    let older = store.pushed("d1", &line("a", "b", false), GroupMode::QueueLatest).await;
    let (state, by, note) = store.note(&older).await;
    assert_eq!((state, by.as_ref()), (RunState::Superseded, Some(&newer)));
    assert!(note.is_some_and(|note| note.contains("older than")));
    assert_eq!(store.run_state(&newer).await, RunState::Queued);
    let forced = store.pushed("d3", &line("c", "x", true), GroupMode::QueueLatest).await;
    assert_eq!(store.note(&newer).await.1, Some(forced.clone()), "a forced push begins a new line and wins");
    let late = store.pushed("d4", &line("a", "b", false), GroupMode::QueueLatest).await;
    assert_eq!(store.note(&late).await.1, Some(forced), "over what belongs to the old line");
}

async fn where_commits_say_nothing_github_is_asked_and_else_arrival_decides_and_is_noted(kind: Kind) {
    for (known, state) in [(None, RunState::Superseded), (Some(Order::Older), RunState::Queued)] {
        let store = Store::of(kind).await;
        let first = line("a", "b", false);
        let second = line("x", "y", false);
        let earlier = store.pushed("d1", &first, GroupMode::QueueLatest).await;
        assert_eq!(store.journal.rivals(&second, vec!["staging".to_owned()], None).await.unwrap(), std::slice::from_ref(&first));
        if let Some(order) = known {
            store.journal.learn(&second, &first, order).await.unwrap();
            assert!(store.journal.rivals(&second, vec!["staging".to_owned()], None).await.unwrap().is_empty());
        }
        let later = store.pushed("d2", &second, GroupMode::QueueLatest).await;
        assert_eq!(store.run_state(&earlier).await, state);
        if known.is_none() {
            assert!(store.note(&later).await.2.is_some_and(|note| note.contains("by arrival")));
        }
    }
}

async fn a_target_is_in_one_hand_at_a_time_and_nothing_older_follows(kind: Kind) {
    let store = Store::of(kind).await;
    let group = |key: &str| NewRun { group: Some(Group { key: key.to_owned(), mode: GroupMode::QueueAll }), ..run("deploy") };
    store.started("d1", vec![group("one")]).await;
    let older = store.one_run("w1").await;
    store.started("d2", vec![group("two")]).await;
    let newer = store.one_run("w2").await;
    store.journal.write(newer.lease.clone(), vec![on_target()]).await.unwrap();
    let taken = store.journal.write(older.lease.clone(), vec![on_target()]).await;
    assert_eq!(taken, Err(LedgerError::Taken(newer.run.id.clone())));
    let wait = Change::WaitsFor { exclusive: "web_staging".to_owned(), after: Duration::from_secs(60) };
    store.journal.write(older.lease.clone(), vec![wait]).await.unwrap();
    assert!(store.claim("w1").await.runs.is_empty());
    store.journal.write(newer.lease.clone(), vec![succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    let older = store.one_run("w1").await;
    match store.journal.write(older.lease.clone(), vec![on_target()]).await {
        Err(LedgerError::Stale { by, .. }) => assert_eq!(by, newer.run.id),
        other => panic!("{other:?}"),
    }
    let covered = Change::Covered { by: newer.run.id.clone(), note: "older".to_owned() };
    store.journal.write(older.lease, vec![covered, finished(RunState::Superseded)]).await.unwrap();
    // By hand it may, and says so.
    store.journal.retry(&older.run.id).await.unwrap();
    let again = store.one_run("w1").await;
    store.journal.write(again.lease, vec![on_target()]).await.unwrap();
    let (run, _) = store.journal.run(&older.run.id).await.unwrap().unwrap();
    assert!(run.by_hand && run.note.is_some_and(|note| note.starts_with("by hand")));
}

async fn people_cancel_retry_redrive_and_replay(kind: Kind) {
    let store = Store::of(kind).await;
    let waiting = store.started("d1", vec![run("deploy")]).await.remove(0);
    assert!(store.journal.cancel(&waiting).await.unwrap(), "not begun, so it is over");
    assert_eq!(store.run_state(&waiting).await, RunState::Cancelled);
    assert!(matches!(store.journal.cancel(&waiting).await, Err(LedgerError::Refused(_))));
    store.started("d2", vec![run("deploy")]).await;
    let running = store.one_run("w1").await;
    assert!(!store.journal.cancel(&running.run.id).await.unwrap());
    assert!(store.journal.wanted(&running.run.id).await.unwrap().cancelled);
    store.journal.write(running.lease, vec![finished(RunState::Cancelled)]).await.unwrap();
    store.started("d3", vec![run("notify")]).await;
    let failing = store.one_run("w1").await;
    store.journal.write(failing.lease, vec![began(0), failed(0), finished(RunState::Failed)]).await.unwrap();
    let of = |rule: &str| Selection {
        among: Listing { rule: Some(rule.to_owned()), ..Listing::default() },
        since: Some(Duration::from_secs(60)),
        limit: 10,
    };
    assert!(store.journal.dead(of("deploy")).await.unwrap().is_empty());
    let dead = store.journal.dead(of("notify")).await.unwrap();
    assert_eq!(dead, std::slice::from_ref(&failing.run.id));
    store.journal.retry(&dead[0]).await.unwrap();
    assert_eq!(store.delivery_state(&failing.run.delivery).await, DeliveryState::Running);
    let again = store.one_run("w1").await;
    store.journal.write(again.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    assert!(matches!(store.journal.retry(&dead[0]).await, Err(LedgerError::Refused(_))), "it succeeded");
    let replayed = store.journal.replay(&failing.run.delivery).await.unwrap();
    let delivery = store.journal.delivery(&replayed).await.unwrap().unwrap();
    assert!(delivery.replay && delivery.content.delivery_id == "d3");
    assert!(matches!(store.journal.replay("nothing").await, Err(LedgerError::Refused(_))));
}

async fn a_noisy_repository_does_not_starve_the_others(kind: Kind) {
    let store = Store::of(kind).await;
    let of = |share: &str| NewRun { share: share.to_owned(), ..run("deploy") };
    for (id, runs) in [("d1", vec![of("acme/noisy"); 9]), ("d2", vec![of("acme/quiet")])] {
        store.append(id).await;
        let waiting = store.only_deliveries().await;
        store.journal.decide(waiting.lease, decision(Verdict::Runs(runs))).await.expect("decided");
        store.pass(Duration::from_millis(5));
    }
    let claim = Claim { worker: "w".to_owned(), lease: LEASE, deliveries: 0.into(), runs: 2.into(), only: None };
    let claimed = store.journal.claim(claim).await.unwrap();
    let repositories: Vec<&str> = claimed.runs.iter().map(|claimed| claimed.delivery.content.delivery_id.as_str()).collect();
    assert_eq!(repositories, ["d1", "d2"]);
}

#[tokio::test]
async fn a_decision_that_may_ask_is_refused_while_the_order_to_what_came_up_is_not_known() {
    let store = Store::sqlite();
    let (first, second) = (line("a", "b", false), line("x", "y", false));
    store.pushed("d1", &first, GroupMode::QueueLatest).await;
    let runs = Verdict::Runs(vec![grouped("deploy", GroupMode::QueueLatest)]);
    let asking = Decision { line: Some(second.clone()), may_ask: true, ..decision(runs) };
    let taking = Taking::Decided(Arc::new(asking.clone()), LEASE);
    let (_, left) = store.journal.append_as(delivery("d2"), taking).await.unwrap();
    let Left::Matching(waiting) = left else { panic!("it has to be asked first: {left:?}") };
    let refused = store.journal.decide(waiting.lease.clone(), asking.clone()).await;
    assert_eq!(refused, Err(LedgerError::Unordered), "two pushes matched at the same moment do not know of each other");
    store.journal.learn(&second, &first, Order::Older).await.unwrap();
    let runs = store.journal.decide(waiting.lease, asking).await.expect("decided now");
    assert_eq!(store.run_state(&runs[0]).await, RunState::Superseded, "though it came later");
}

#[tokio::test]
async fn where_every_run_has_its_turn_nobody_is_asked_which_commit_is_newer() {
    for mode in [GroupMode::QueueAll, GroupMode::Skip, GroupMode::Collapse] {
        let store = Store::sqlite();
        store.pushed("d1", &line("a", "b", false), mode).await;
        let runs = Verdict::Runs(vec![grouped("deploy", mode)]);
        let asking = Decision { line: Some(line("x", "y", false)), may_ask: true, ..decision(runs) };
        let (_, left) = store.journal.append_as(delivery("d2"), Taking::Decided(Arc::new(asking), LEASE)).await.unwrap();
        assert!(matches!(left, Left::Runs(_)), "{mode:?}: {left:?}");
    }
}

#[tokio::test]
async fn nothing_older_follows_a_deploy_that_was_given_up_and_may_have_come_through() {
    for (state, follows) in [(AttemptState::Retry, false), (AttemptState::Failed, true)] {
        let store = Store::sqlite();
        store.pushed("d2", &line("b", "c", false), GroupMode::QueueAll).await;
        let claimed = store.one_run("w").await.lease;
        store.journal.write(claimed.clone(), vec![on_target()]).await.expect("it begins");
        let mut changes = vec![failed(0), finished(RunState::Failed)];
        if state == AttemptState::Retry {
            let why = Why::new("unavailable", "503");
            changes.insert(0, Change::Retrying { place: place(0), state, why });
        }
        store.journal.write(claimed, changes).await.expect("it ends");
        store.pushed("d1", &line("a", "b", false), GroupMode::QueueAll).await;
        let begun = store.journal.write(store.one_run("w").await.lease, vec![on_target()]).await;
        assert_eq!(begun.is_ok(), follows, "{state:?}: {begun:?}");
    }
}

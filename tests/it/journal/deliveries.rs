//! Deliveries: kept, told apart, decided, taken up again, listed, forgotten.

use super::*;

on_every_store!(
    a_delivery_is_kept_as_it_came_and_survives_the_process,
    the_same_id_from_the_same_source_is_a_duplicate_and_from_another_source_is_not,
    a_delivery_that_succeeded_is_not_taken_up_again,
    a_redelivery_of_a_failed_delivery_takes_its_run_up_at_the_failed_step,
    a_redelivery_of_a_rejected_delivery_is_matched_again,
    a_run_that_could_not_be_evaluated_is_red_and_is_matched_again_by_a_redelivery,
    what_began_goes_on_beside_what_is_matched_again,
    a_delivery_that_cannot_be_matched_again_fails_once_its_runs_are_over,
    a_delivery_that_matched_nothing_keeps_its_traces,
    files_of_a_rule_set_are_kept_for_its_runs,
    old_finished_deliveries_are_forgotten_and_open_ones_never,
    lists_are_newest_first_and_can_be_paged_and_filtered,
    unknown_ids_are_not_found_and_harm_nothing,
);

async fn a_delivery_is_kept_as_it_came_and_survives_the_process(kind: Kind) {
    let store = Store::of(kind).await;
    let appended = store.append("d1").await;
    let store = store.reopen().await;
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

async fn the_same_id_from_the_same_source_is_a_duplicate_and_from_another_source_is_not(kind: Kind) {
    let store = Store::of(kind).await;
    let first = store.append("d1").await;
    assert!(matches!(first, Appended::New { .. }));
    assert_eq!(store.append("d1").await, Appended::Duplicate { id: id_of(&first).to_owned() });
    let other = NewDelivery { source: "gitlab".to_owned(), ..delivery("d1") };
    assert!(matches!(store.journal.append(other).await.unwrap(), Appended::New { .. }));
    assert_eq!(store.journal.deliveries(Listing { limit: 10, ..Listing::default() }).await.unwrap().len(), 2);
}

async fn a_delivery_that_succeeded_is_not_taken_up_again(kind: Kind) {
    let store = Store::of(kind).await;
    let runs = store.started("d1", vec![run("deploy")]).await;
    let claimed = store.one_run("w1").await;
    store.journal.write(claimed.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(store.run_state(&runs[0]).await, RunState::Succeeded);
    assert!(matches!(store.append("d1").await, Appended::Duplicate { .. }));
    assert!(store.claim("w1").await.runs.is_empty());
}

async fn a_redelivery_of_a_failed_delivery_takes_its_run_up_at_the_failed_step(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn a_redelivery_of_a_rejected_delivery_is_matched_again(kind: Kind) {
    let store = Store::of(kind).await;
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

fn broken(rule: &str) -> NewRun {
    let failure = RunFailure {
        step: String::new(),
        action: String::new(),
        code: "evaluation".to_owned(),
        message: "1 / 0".to_owned(),
        attempts: 0,
        rolled_back: false,
    };
    NewRun { failure: Some(failure), ..run(rule) }
}

async fn a_run_that_could_not_be_evaluated_is_red_and_is_matched_again_by_a_redelivery(kind: Kind) {
    let store = Store::of(kind).await;
    let runs = store.started("d1", vec![broken("deploy")]).await;
    let (record, _) = store.journal.run(&runs[0]).await.unwrap().unwrap();
    assert_eq!((record.state, record.failure), (RunState::Failed, broken("deploy").failure));
    assert_eq!(store.delivery_state(&record.delivery).await, DeliveryState::Failed);
    let runs = store.started("d1", vec![NewRun { revision: "r2".to_owned(), ..run("deploy") }]).await;
    let claimed = store.one_run("w").await;
    assert_eq!((claimed.run.id.as_str(), claimed.run.revision.as_str(), claimed.run.failure), (runs[0].as_str(), "r2", None));
    store.journal.write(claimed.lease, vec![finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(store.delivery_state(&record.delivery).await, DeliveryState::Completed);
    assert_eq!(store.journal.runs_of(&record.delivery).await.unwrap().len(), 1);
}

async fn what_began_goes_on_beside_what_is_matched_again(kind: Kind) {
    let store = Store::of(kind).await;
    store.started("d1", vec![run("done"), broken("broken"), run("failing")]).await;
    for claimed in store.claim("w").await.runs {
        let end = if claimed.run.rule == "done" {
            vec![began(0), succeeded(0), finished(RunState::Succeeded)]
        } else {
            vec![began(0), failed(0), finished(RunState::Failed)]
        };
        store.journal.write(claimed.lease, end).await.unwrap();
    }
    let Appended::Revived { id } = store.append("d1").await else { panic!("it had failed") };
    let mut claimed = store.claim("w").await;
    let again = claimed.runs.remove(0);
    assert_eq!((again.run.rule.as_str(), again.run.round, claimed.runs.len()), ("failing", 1, 0));
    store.journal.write(again.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Matching, "it is settled by the decision");
    let runs = vec![run("done"), run("broken"), run("failing"), run("new")];
    store.journal.decide(claimed.deliveries[0].lease.clone(), decision(Verdict::Runs(runs))).await.unwrap();
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Running);
    let claimed = store.claim("w").await;
    let rules: Vec<_> = claimed.runs.iter().map(|claimed| claimed.run.rule.as_str()).collect();
    assert_eq!(rules, ["broken", "new"], "what began is not begun a second time");
    for claimed in claimed.runs {
        store.journal.write(claimed.lease, vec![finished(RunState::Succeeded)]).await.unwrap();
    }
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Completed);
}

async fn a_delivery_that_cannot_be_matched_again_fails_once_its_runs_are_over(kind: Kind) {
    let store = Store::of(kind).await;
    store.started("d1", vec![broken("broken"), run("failing")]).await;
    let claimed = store.one_run("w").await;
    store.journal.write(claimed.lease, vec![began(0), failed(0), finished(RunState::Failed)]).await.unwrap();
    let Appended::Revived { id } = store.append("d1").await else { panic!("it had failed") };
    let claimed = store.claim("w").await;
    let verdict = Verdict::Rejected("no source".to_owned());
    store.journal.decide(claimed.deliveries[0].lease.clone(), decision(verdict)).await.unwrap();
    assert_eq!(store.delivery_state(&id).await, DeliveryState::Running);
    let lease = claimed.runs.into_iter().next().unwrap().lease;
    store.journal.write(lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
    let (record, _) = store.journal.delivery_record(&id).await.unwrap().unwrap();
    assert_eq!((record.state, record.reason.as_deref()), (DeliveryState::Failed, Some("no source")));
    assert!(matches!(store.append("d1").await, Appended::Revived { .. }));
    assert_eq!(store.claim("w").await.deliveries.len(), 1);
}

async fn a_delivery_that_matched_nothing_keeps_its_traces(kind: Kind) {
    let store = Store::of(kind).await;
    let appended = store.append("d1").await;
    let claimed = store.claim("w").await;
    store.journal.decide(claimed.deliveries[0].lease.clone(), decision(Verdict::Ignored)).await.unwrap();
    let (record, traces) = store.journal.delivery_record(id_of(&appended)).await.unwrap().unwrap();
    assert_eq!(record.state, DeliveryState::Ignored);
    assert_eq!(traces, Some(json!([{"rule": "deploy"}])));
    assert!(store.claim("w").await.deliveries.is_empty());
}

async fn files_of_a_rule_set_are_kept_for_its_runs(kind: Kind) {
    let store = Store::of(kind).await;
    let files = vec![RuleFile { path: "rules/web.yaml".to_owned(), text: "version: 1\n".to_owned() }];
    store.journal.keep_rules("r1", files.clone()).await.unwrap();
    store.journal.keep_rules("r1", files.clone()).await.unwrap();
    assert_eq!(store.journal.rules("r1").await.unwrap(), Some(files));
    assert_eq!(store.journal.rules("r2").await.unwrap(), None);
}

async fn old_finished_deliveries_are_forgotten_and_open_ones_never(kind: Kind) {
    let store = Store::of(kind).await;
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

async fn lists_are_newest_first_and_can_be_paged_and_filtered(kind: Kind) {
    let store = Store::of(kind).await;
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
    assert!(list(Listing { limit: 9, states: vec!["failed".to_owned()], ..Listing::default() }).await.is_empty());
    assert!(list(Listing { limit: 9, before: Some("nonsense".to_owned()), ..Listing::default() }).await.is_empty());
    assert_eq!(list(Listing { limit: 9, source: Some("github".to_owned()), ..Listing::default() }).await.len(), 5);
}

async fn unknown_ids_are_not_found_and_harm_nothing(kind: Kind) {
    let store = Store::of(kind).await;
    for id in ["", "x", "0000000000000", "0000000000000-1", "' OR 1=1 --", "\0"] {
        assert!(store.journal.delivery(id).await.unwrap().is_none());
        assert!(store.journal.delivery_record(id).await.unwrap().is_none());
        assert!(store.journal.run(id).await.unwrap().is_none());
        assert!(store.journal.runs_of(id).await.unwrap().is_empty());
    }
}

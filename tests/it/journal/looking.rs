//! What people look for, and what they did.

use declic::journal::record::{About, Counts};

use super::*;

on_every_store!(
    deliveries_and_runs_are_found_by_what_they_are_about,
    states_are_counted_from_a_moment_on,
    what_people_did_is_kept_with_what_came_of_it,
);

/// A decided delivery with a run of a rule.
async fn about(store: &Store, id: &str, repository: &str, title: &str, rule: &str) -> (String, String) {
    store.append(id).await;
    let claimed = store.claim("matcher").await;
    let [delivery] = claimed.deliveries.as_slice() else { panic!("one delivery waits: {claimed:?}") };
    let about =
        About { event: Some("github.push".to_owned()), repository: Some(repository.to_owned()), title: Some(title.to_owned()) };
    let decision = Decision { about, ..decision(Verdict::Runs(vec![run(rule)])) };
    let runs = store.journal.decide(delivery.lease.clone(), decision).await.unwrap();
    (delivery.delivery.id.clone(), runs[0].clone())
}

async fn deliveries_and_runs_are_found_by_what_they_are_about(kind: Kind) {
    let store = Store::of(kind).await;
    let first = about(&store, "d1", "acme/web", "main: 50%_off", "deploy").await;
    store.clock.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    let between = Timestamp(store.clock.load(std::sync::atomic::Ordering::SeqCst) - 30_000);
    let second = about(&store, "d2", "acme/api", "main: 50 off", "notify").await;

    let text = |text: &str| Listing { text: Some(text.to_owned()), ..Listing::default() };
    let cases = [
        (Listing { repository: Some("ACME/web".to_owned()), ..Listing::default() }, vec![0]),
        (Listing { event: Some("github.push".to_owned()), ..Listing::default() }, vec![1, 0]),
        (Listing { event: Some("push".to_owned()), ..Listing::default() }, vec![1, 0]),
        (Listing { event: Some("issues".to_owned()), ..Listing::default() }, vec![]),
        (Listing { rule: Some("notify".to_owned()), ..Listing::default() }, vec![1]),
        (Listing { since: Some(between), ..Listing::default() }, vec![1]),
        (Listing { until: Some(between), ..Listing::default() }, vec![0]),
        (Listing { source: Some("gitlab".to_owned()), ..Listing::default() }, vec![]),
        (text("MAIN"), vec![1, 0]),
        // What means something to LIKE is only itself here.
        (text("50%_off"), vec![0]),
        (text("' OR 1=1 --"), vec![]),
        (text(&first.0), vec![0]),
        (Listing { repository: Some("acme/api".to_owned()), ..text("web") }, vec![]),
    ];
    for (listing, expected) in cases {
        let listing = Listing { limit: 10, ..listing };
        let deliveries = store.journal.deliveries(listing.clone()).await.unwrap();
        let runs = store.journal.runs(listing.clone()).await.unwrap();
        let named: Vec<_> = expected.iter().map(|index| [&first, &second][*index]).collect();
        let found: Vec<_> = deliveries.into_iter().zip(runs).map(|(delivery, run)| (delivery.id, run.id)).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), named, "{listing:?}");
    }
    let record = store.journal.delivery_record(&first.0).await.unwrap().unwrap().0;
    assert_eq!(record.about.title.as_deref(), Some("main: 50%_off"));
}

async fn states_are_counted_from_a_moment_on(kind: Kind) {
    let store = Store::of(kind).await;
    about(&store, "d1", "acme/web", "main: one", "deploy").await;
    store.clock.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    let from = Timestamp(store.clock.load(std::sync::atomic::Ordering::SeqCst));
    about(&store, "d2", "acme/web", "main: two", "deploy").await;
    let count = |word: &str, number| vec![(word.to_owned(), number)];
    let runs = [count("queued", 1), count("running", 1)].concat();
    assert_eq!(store.journal.counts(Timestamp(0)).await.unwrap(), Counts { deliveries: count("running", 2), runs });
    let later = Counts { deliveries: count("running", 1), runs: count("queued", 1) };
    assert_eq!(store.journal.counts(from).await.unwrap(), later);
}

async fn what_people_did_is_kept_with_what_came_of_it(kind: Kind) {
    let store = Store::of(kind).await;
    let first = store.journal.audit("mona@example.com", "retry", "06f3k9z2m8x1q-1").await.unwrap();
    let second = store.journal.audit("mona@example.com", "cancel", "06f3k9z2m8x1q-2").await.unwrap();
    store.journal.audited(first, "done").await.unwrap();
    let store = store.reopen().await;
    let log = store.journal.audit_log(None, 10).await.unwrap();
    let shown: Vec<_> = log.iter().map(|entry| (entry.number, entry.act.as_str(), entry.outcome.as_deref())).collect();
    assert_eq!(shown, [(second, "cancel", None), (first, "retry", Some("done"))]);
    assert_eq!(store.journal.audit_log(Some(second), 10).await.unwrap().len(), 1);
    assert_eq!(store.journal.audit_log(None, 1).await.unwrap().len(), 1);
}

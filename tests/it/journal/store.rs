//! Many at once, a store that fails, and files that cannot be opened.

use super::*;

on_every_store!(many_at_once_are_all_answered_and_all_kept, a_failed_commit_acknowledges_nobody_until_the_store_works_again,);

async fn many_at_once_are_all_answered_and_all_kept(kind: Kind) {
    let store = Store::of(kind).await;
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
    let store = store.reopen().await;
    assert_eq!(store.journal.deliveries(Listing { limit: 1000, ..Listing::default() }).await.unwrap().len(), 150);
}

async fn a_failed_commit_acknowledges_nobody_until_the_store_works_again(kind: Kind) {
    let store = Store::of(kind).await;
    store.append("before").await;
    assert!(store.journal.works());
    store.faults.fail(true);
    let (first, second) = tokio::join!(store.journal.append(delivery("d1")), store.journal.append(delivery("d2")));
    assert!(matches!(first, Err(JournalError::Down(_))) && matches!(second, Err(JournalError::Down(_))), "{first:?} {second:?}");
    assert!(!store.journal.works(), "known at once");
    assert!(matches!(store.journal.probe().await, Err(JournalError::Down(_))));
    store.faults.fail(false);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while store.journal.probe().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the store comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(store.journal.works());
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
            Err(JournalError::Down(_)) => {
                assert!(!journal.works(), "known at once");
                refused += 1;
            }
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
    let path = store.folder().join("declic.db");
    let error = Sqlite::open(&path, Options::default()).err().expect("refused").to_string();
    assert!(error.contains("another declic serves from it"), "{error}");
    let reader = ReadOnly::open(&path).expect("reading beside it is fine");
    assert!(reader.deliveries(&Listing { limit: 1, ..Listing::default() }).unwrap().is_empty());
    let store = store.reopen().await;
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

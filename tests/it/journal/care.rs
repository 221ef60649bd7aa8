//! Files of earlier versions, copies, damage, and how large a store may become.

use std::fs;
use std::path::Path;

use declic::journal::sqlite::care;
use rusqlite::Connection;

use super::*;

fn schemas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/journal/schemas")
}

#[tokio::test]
async fn a_store_of_every_earlier_schema_goes_on_where_it_was() {
    let fresh = Store::sqlite();
    let newest = care::measure(&fresh.folder().join("declic.db")).unwrap().schema;
    // Each file begins where the one before it ends.
    let mut text = String::new();
    for version in 1..newest {
        let file = schemas().join(format!("{version}.sql"));
        text += &fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing: keep one of every schema", file.display()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("declic.db");
        Connection::open(&path).unwrap().execute_batch(&text).unwrap();
        assert!(ReadOnly::open(&path).err().expect("readers change nothing").why.contains("declic serve"), "schema {version}");
        let clock = Arc::new(AtomicI64::new(1_800_000_100_000));
        let journal = Sqlite::open(&path, options(&clock, &Faults::default())).unwrap();
        let claim = Claim { worker: "w2".to_owned(), lease: LEASE, deliveries: 10.into(), runs: 10.into(), only: None };
        let claimed = journal.claim(claim).await.unwrap();
        let [waiting] = claimed.deliveries.as_slice() else { panic!("schema {version}: {claimed:?}") };
        assert_eq!(waiting.delivery.content.body, delivery("open").body);
        let [run] = claimed.runs.as_slice() else { panic!("schema {version}: {claimed:?}") };
        assert_eq!(run.steps[0].saved, Some(json!({"operation": "op-1"})), "schema {version}");
        assert_eq!(run.steps[0].intent.as_ref().map(|intent| intent.call.key.as_str()), Some("k0"));
        let why = Why::new("interrupted", "its worker went away");
        let rest = vec![Change::Retrying { place: place(0), state: AttemptState::Interrupted, why }, began(0), succeeded(0)];
        journal.write(run.lease.clone(), rest).await.unwrap();
        journal.write(run.lease.clone(), vec![finished(RunState::Succeeded)]).await.unwrap();
        assert!(matches!(journal.append(delivery("done")).await, Ok(Appended::Duplicate { .. })), "schema {version}");
        drop(journal);
        assert_eq!(care::check(&path).unwrap(), [""; 0], "schema {version}");
        assert_eq!(care::measure(&path).unwrap().schema, newest);
    }
}

#[test]
fn a_store_of_a_later_schema_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("declic.db");
    drop(Sqlite::open(&path, Options::default()).unwrap());
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    assert!(Sqlite::open(&path, Options::default()).err().expect("it is refused").why.contains("schema 99"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_deliveries_come_in_is_whole_and_holds_a_beginning_of_them() {
    let store = Store::sqlite();
    let path = store.folder().join("declic.db");
    for index in 0..200 {
        store.append(&format!("before-{index}")).await;
    }
    let journal = Arc::clone(&store.journal);
    let writing = tokio::spawn(async move {
        for index in 0..300 {
            journal.append(delivery(&format!("while-{index}"))).await.unwrap();
        }
    });
    let to = store.folder().join("copy.db");
    let (from, into) = (path.clone(), to.clone());
    tokio::task::spawn_blocking(move || care::backup(&from, &into, false, |_, _| {})).await.unwrap().unwrap();
    writing.await.unwrap();
    assert_eq!(care::check(&to).unwrap(), [""; 0]);
    let copy = Sqlite::open(&to, Options::default()).unwrap();
    let kept: std::collections::HashSet<String> = copy
        .deliveries(Listing { limit: 1000, ..Listing::default() })
        .await
        .unwrap()
        .into_iter()
        .map(|record| record.delivery_id)
        .collect();
    assert!((0..200).all(|index| kept.contains(&format!("before-{index}"))));
    let beyond = (0..300).take_while(|index| kept.contains(&format!("while-{index}"))).count();
    assert_eq!(kept.len(), 200 + beyond, "a moment, not a mixture");
    assert!(care::backup(&path, &to, false, |_, _| {}).is_err(), "a copy is not replaced unasked");
    drop(copy);
    care::backup(&path, &to, true, |_, _| {}).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&to).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "bodies are for their operator only");
}

#[tokio::test]
async fn damage_is_found_wherever_it_is() {
    let store = Store::sqlite();
    let path = store.folder().join("declic.db");
    for index in 0..100 {
        let large = NewDelivery { body: Bytes::from(vec![b'x'; 20_000]), ..delivery(&format!("d{index}")) };
        store.journal.append(large).await.unwrap();
    }
    assert_eq!(care::check(&path).unwrap(), [""; 0]);
    drop(store.journal);
    let connection = Connection::open(&path).unwrap();
    connection.execute("DELETE FROM contents WHERE delivery = (SELECT min(seq) FROM deliveries)", []).unwrap();
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(connection);
    assert_eq!(care::check(&path).unwrap(), ["1 deliveries have no body"]);
    let mut bytes = fs::read(&path).unwrap();
    // The first pages stay: a file without a schema is another program's.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 16_384].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    assert!(!care::check(&path).unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_is_too_large_forgets_what_ended_first_and_nothing_that_is_open() {
    let store = Store::sqlite();
    let path = store.folder().join("declic.db");
    for index in 0..60 {
        let large = NewDelivery { body: Bytes::from(vec![b'x'; 100_000]), ..delivery(&format!("d{index}")) };
        store.journal.append(large).await.unwrap();
        if index < 40 {
            let claimed = store.claim("w").await.deliveries.remove(0);
            store.journal.decide(claimed.lease, decision(Verdict::Ignored)).await.unwrap();
        }
        store.pass(Duration::from_secs(1));
    }
    let most = 5_000_000;
    let mut removed = 0;
    while let count @ 1.. = store.journal.shrink(most, 5).await.unwrap() {
        removed += count;
    }
    assert!((10..=20).contains(&removed), "about a megabyte too much, of a hundred kilobytes each: {removed}");
    assert!(matches!(store.append("d0").await, Appended::New { .. }), "the first to end is the first to go");
    assert!(matches!(store.append("d39").await, Appended::Duplicate { .. }));
    assert_eq!(store.journal.shrink(0, 1000).await.unwrap(), 40 - removed, "what is open stays, whatever the limit");
    assert!(matches!(store.append("d59").await, Appended::Duplicate { .. }));
    drop(store.journal);
    let (before, after) = care::compact(&path).unwrap();
    assert!(after < before / 2, "{before} {after}");
    assert_eq!(care::check(&path).unwrap(), [""; 0]);
}

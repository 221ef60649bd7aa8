//! `declic store`, beside the process that serves from the store.

use std::fs;

use serde_json::Value;

use crate::support::binary::{Binary, declic, keep_to_this_machine};

fn hooks() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(declic(folder.path(), &["init", "."]).status.success());
    keep_to_this_machine(folder.path());
    folder
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_store_is_measured_copied_and_checked_while_it_is_served_from() {
    let folder = hooks();
    let none = declic(folder.path(), &["store"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).contains("has `declic serve` run"), "{}", said(&none));
    let service = Binary::start(folder.path(), |_| {});
    let url = format!("http://{}", service.address);
    let sent = declic(folder.path(), &["send", "github", "--event", "push", "--payload", "payloads/push.json", "--to", &url]);
    assert!(sent.status.success(), "{}", said(&sent));
    let info = declic(folder.path(), &["store"]);
    assert!(info.status.success() && said(&info).contains("deliveries"), "{}", said(&info));
    let info: Value =
        serde_json::from_slice(&declic(folder.path(), &["store", "info", "--format", "json"]).stdout).expect("JSON");
    assert_eq!(info["store"]["deliveries"][0][1], 1, "{info}");
    let copied = declic(folder.path(), &["store", "backup", "copy.db"]);
    assert!(copied.status.success(), "{}", said(&copied));
    let again = declic(folder.path(), &["store", "backup", "copy.db"]);
    assert!(!again.status.success() && said(&again).contains("--force"), "{}", said(&again));
    assert!(!folder.path().join("copy.db.part").exists());
    let checked = declic(folder.path(), &["store", "check"]);
    assert!(checked.status.success() && said(&checked).contains("is whole"), "{}", said(&checked));
    let busy = declic(folder.path(), &["store", "compact"]);
    assert!(!busy.status.success() && said(&busy).contains("another declic serves from it"), "{}", said(&busy));
    drop(service);

    // Going back, as `declic store --help` says.
    for name in ["declic.db", "declic.db-wal", "declic.db-shm"] {
        let _ = fs::remove_file(folder.path().join(name));
    }
    fs::copy(folder.path().join("copy.db"), folder.path().join("declic.db")).expect("copied");
    let _service = Binary::start(folder.path(), |_| {});
    let listed = declic(folder.path(), &["deliveries", "list", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert!(listed.to_string().contains("push"), "{listed}");
}

#[test]
fn a_damaged_store_is_told_by_the_exit_status_and_in_words() {
    let folder = hooks();
    drop(Binary::start(folder.path(), |_| {}));
    let connection = rusqlite::Connection::open(folder.path().join("declic.db")).expect("a store");
    connection.execute("INSERT INTO contents (delivery, headers, body) VALUES (1, '[]', '')", []).expect("written");
    drop(connection);
    let checked = declic(folder.path(), &["store", "check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(said(&checked).contains("1 bodies belong to no delivery") && said(&checked).contains("backup"), "{}", said(&checked));
    let compacted = declic(folder.path(), &["store", "compact"]);
    assert!(compacted.status.success(), "{}", said(&compacted));
}

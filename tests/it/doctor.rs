//! `declic doctor`, the evidence of a rotation that outlives restarts, and repeated bytes that are known after one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use declic::demo::stand_ins::World;
use serde_json::Value;

use crate::every_source::{idle, private};
use crate::support::binary::{Binary, command, declic};
use crate::support::google_apis;

const SETTINGS: &str = "version: 1
public-url: https://declic.example.dev
store: { sqlite: declic.db }
secrets:
  hook: { from: file, path: new.secret, previous: old.secret }
sources:
  shop: { type: shopify, secret: hook }
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("declic.yaml"), SETTINGS).unwrap();
    fs::write(folder.path().join("old.yaml"), SETTINGS.replace("new.secret, previous: old.secret", "old.secret")).unwrap();
    private(&folder.path().join("new.secret"), "the new secret of this test");
    private(&folder.path().join("old.secret"), "the old secret of this test");
    fs::write(folder.path().join("order.json"), r#"{"id":1}"#).unwrap();
    idle(folder.path());
    folder
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn send(folder: &Path, config: &str, to: &str, id: &str) -> String {
    let to = format!("http://{to}");
    let arguments =
        ["send", "shop", "--config", config, "--event", "orders/create", "--payload", "order.json", "--id", id, "--to", &to];
    let output = declic(folder, &arguments);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn report(folder: &Path) -> Value {
    let output = declic(folder, &["doctor", "--format", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

/// The advice for the source, once a match was written down.
fn advice_once(folder: &Path, value: usize) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let rotation = report(folder)["rotations"][0].clone();
        if !rotation["values"][value]["last_matched"].is_null() {
            return rotation;
        }
        assert!(Instant::now() < until, "no match was written down: {rotation}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn which_secret_matched_is_known_after_a_restart_and_the_doctor_says_what_to_do() {
    let folder = folder();
    let folder = folder.path();
    {
        let service = Binary::start(folder, |_| {});
        send(folder, "old.yaml", &service.address, "a");
        let rotation = advice_once(folder, 1);
        assert_eq!(rotation["advice"], "not-changed-yet", "{rotation}");
        let metrics = metrics(&service.address);
        assert!(metrics.contains("declic_secret_matches_total{source=\"shop\",secret=\"1\"} 1"), "{metrics}");
    }
    let service = Binary::start(folder, |_| {});
    let rotation = advice_once(folder, 1);
    assert_eq!((&rotation["advice"], &rotation["values"][0]["last_matched"]), (&"not-changed-yet".into(), &Value::Null));
    fs::write(folder.join("order.json"), r#"{"id":2}"#).unwrap();
    send(folder, "declic.yaml", &service.address, "b");
    let rotation = advice_once(folder, 0);
    assert_eq!(rotation["advice"], "wait", "{rotation}");
    let output = declic(folder, &["doctor"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("safe to remove from 20"), "{}", said(&output));
    assert!(!said(&output).contains("secret of this test"));
}

fn metrics(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_same_bytes_under_another_unsigned_id_are_known_after_a_restart() {
    let folder = folder();
    let folder = folder.path();
    let first = {
        let service = Binary::start(folder, |_| {});
        send(folder, "declic.yaml", &service.address, "first")
    };
    assert!(!first.contains("\"duplicate\":true"), "{first}");
    let service = Binary::start(folder, |_| {});
    send(folder, "declic.yaml", &service.address, "second");
    fs::write(folder.join("order.json"), r#"{"id":2}"#).unwrap();
    send(folder, "declic.yaml", &service.address, "third");
    let output = declic(folder, &["deliveries", "list", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids = listed.to_string();
    assert!(ids.contains("\"first\"") && ids.contains("\"third\"") && !ids.contains("\"second\""), "{listed:#}");
}

#[test]
fn what_is_wrong_is_named_with_what_to_do_and_status_1() {
    let folder = folder();
    let path = folder.path().join("declic.yaml");
    fs::write(folder.path().join("rules/broken.yaml"), "version: 1\nrules:\n  - name: x\n    on: nothing\n").unwrap();
    fs::write(folder.path().join("declic.db"), "this is no database at all, only text that is long enough to be looked at")
        .unwrap();
    let more = "github:\n  api-url: http://127.0.0.1:9\n  token: hook\n";
    fs::write(&path, format!("{SETTINGS}{more}")).unwrap();
    let output = declic(folder.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for reason in ["wrong  rules: ", "wrong  github: ", "wrong  store: ", "fine   source shop: ", "3 of "] {
        assert!(said(&output).contains(reason), "{reason}: {}", said(&output));
    }
    let report = report(folder.path());
    assert_eq!(report["ok"], false);
    fs::remove_file(folder.path().join("new.secret")).unwrap();
    let output = declic(folder.path(), &["doctor"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn nothing_wrong_is_status_0_before_the_first_start() {
    let folder = folder();
    let mut command: Command = command(folder.path(), &["doctor"]);
    let output = command.output().unwrap();
    assert!(output.status.success() && said(&output).contains("nothing is wrong"), "{}", said(&output));
    assert!(said(&output).contains("the first start makes it"), "{}", said(&output));
    assert!(!folder.path().join("declic.db").exists(), "the doctor changes nothing");
}

const INSERTS: &str = r#"
version: 1
rules:
  fits:
    on: { http.webhook: { source: shop, body: { id: int } } }
    steps:
      - uses: bigquery/insert
        with: { connection: warehouse, table: orders, row: { Order_ID: "${{ event.body.id }}", total: 1 } }
      - uses: bigquery/insert
        with: { connection: warehouse, table: visits, row: "${{ event.body }}" }
  misfits:
    on: { http.webhook: { source: shop, body: { id: int } } }
    steps:
      - uses: log
        with: { message: hello }
    finally:
      - uses: bigquery/insert
        with: { connection: warehouse, table: orders, row: { totla: 1 } }
  off:
    enabled: false
    on: { http.webhook: { source: shop, body: { id: int } } }
    steps:
      - uses: bigquery/insert
        with: { connection: warehouse, table: never, row: { id: 1 } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_rules_are_held_against_the_columns_of_their_tables() {
    let world = World::start().await.unwrap();
    let apis = google_apis::start(world.tokens.clone()).await;
    apis.add_table("orders", &["order_id", "total"]);
    apis.add_table("visits", &["id"]);
    let folder = folder();
    let around = world
        .settings("hook")
        .replace("allow: [", &format!("allow: [\"{}\", ", apis.authority))
        .replace("google:\n", &format!("google:\n  bigquery-url: {}\n", apis.url));
    world.github.accept_token("the new secret of this test");
    let connection = "connections:\n  warehouse: { type: bigquery, project: acme-data, dataset: events, tables: [orders, visits, never, gone] }\n";
    fs::write(folder.path().join("declic.yaml"), format!("{SETTINGS}{connection}{around}")).unwrap();
    fs::write(folder.path().join("rules/inserts.yaml"), INSERTS).unwrap();
    let text = said(&declic(folder.path(), &["doctor"]));
    let line = |about: &str| text.lines().find(|line| line.contains(about)).unwrap_or_else(|| panic!("{about}: {text}"));
    let wrong = line("table warehouse/orders");
    assert!(wrong.starts_with("wrong") && wrong.contains("rule misfits: the table has no column `totla`"), "{text}");
    assert!(wrong.contains("rule misfits: the table requires `order_id`") && !wrong.contains("rule fits"), "{text}");
    assert!(line("table warehouse/visits").contains("1 rows are computed"), "{text}");
    assert!(!text.contains("warehouse/never"), "a rule that is off needs nothing: {text}");
    fs::write(folder.path().join("rules/inserts.yaml"), INSERTS.replace("totla: 1", "order_id: x").replace("visits", "gone"))
        .unwrap();
    let text = said(&declic(folder.path(), &["doctor"]));
    assert!(text.contains("fine   table warehouse/orders: 2 columns, which the rows of 2 steps fit"), "{text}");
    assert!(text.contains("wrong  table warehouse/gone: ") && text.contains("bigquery.tables.get"), "{text}");
}

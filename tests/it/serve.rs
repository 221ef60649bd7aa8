//! `declic serve` as an operator sees it: what stops it from starting, what a reload does, how it ends.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::binary::{Binary, command, declic, fresh};

/// What `/readyz` says, as (status, body).
fn readiness(address: &str) -> (u16, String) {
    get(address, "/readyz")
}

pub fn get(address: &str, path: &str) -> (u16, String) {
    get_with(address, path, "")
}

fn get_with(address: &str, path: &str, headers: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").expect("a request");
    let mut answer = String::new();
    // The connection may be cut after the answer; what matters is what came.
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[test]
fn the_detail_of_readiness_stays_on_this_machine() {
    let folder = fresh();
    let service = Binary::start(folder.path(), |_| {});
    assert!(get(&service.address, "/readyz").1.contains("revision"));
    let (status, forwarded) = get_with(&service.address, "/readyz", "X-Forwarded-For: 203.0.113.7\r\n");
    assert_eq!((status, forwarded.as_str()), (200, r#"{"ready":true}"#));
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{file} has no `{from}`");
    fs::write(path, text.replace(from, to)).expect("a written file");
}

/// Starts `serve`, expects it to end at once with status 2, and gives what it said.
fn refusal(folder: &Path) -> String {
    let output = command(folder, &["serve", "--listen", "127.0.0.1:0"]).output().expect("the command starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_broken_rule_file_stops_the_start_and_is_named() {
    let folder = fresh();
    edit(folder.path(), "rules/staging.yaml", "branches: [main]", "brnaches: [main]");
    let said = refusal(folder.path());
    assert!(said.contains("rules/staging.yaml:9:9"), "{said}");
    assert!(said.contains("did you mean `branches`?"), "{said}");
}

#[test]
fn a_broken_setting_stops_the_start_and_is_named() {
    let folder = fresh();
    edit(folder.path(), "declic.yaml", "region:", "regoin:");
    let said = refusal(folder.path());
    assert!(said.contains("declic.yaml:") && said.contains("did you mean `region`?"), "{said}");
}

#[test]
fn a_source_without_its_secret_does_not_start() {
    let folder = fresh();
    for value in [None, Some("")] {
        let mut command = command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
        command.env_remove("DECLIC_GITHUB_SECRET");
        if let Some(value) = value {
            command.env("DECLIC_GITHUB_SECRET", value);
        }
        let output = command.output().expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("DECLIC_GITHUB_SECRET"), "{said}");
    }
}

#[test]
fn a_reload_keeps_the_last_good_rules_and_says_so() {
    let folder = fresh();
    let service = Binary::start(folder.path(), |_| {});
    let (status, before) = readiness(&service.address);
    assert_eq!(status, 200, "{before}");

    edit(folder.path(), "rules/staging.yaml", "branches: [main]", "brnaches: [main]");
    service.signal(Signal::SIGHUP);
    until("readyz tells of the failed reload", || readiness(&service.address).1.contains("brnaches"));
    let (status, body) = readiness(&service.address);
    assert_eq!(status, 200, "the last good rules are in force, so it is ready: {body}");
    assert!(get(&service.address, "/metrics").1.contains("declic_reload_failed 1"));
    assert!(service.log().contains("rules/staging.yaml:9:9"), "{}", service.log());

    edit(folder.path(), "rules/staging.yaml", "brnaches: [main]", "branches: [main, next]");
    until("the mended file is taken up without a signal", || {
        let body = readiness(&service.address).1;
        body.contains(r#""fault":null"#) && body != before
    });
    until("the metric tells of it", || get(&service.address, "/metrics").1.contains("declic_reload_failed 0"));
}

#[test]
fn rules_beside_the_settings_and_folders_that_are_replaced_are_watched() {
    let beside = fresh();
    fs::rename(beside.path().join("rules/staging.yaml"), beside.path().join("rules.yaml")).expect("moved");
    edit(beside.path(), "declic.yaml", "rules: rules/*.yaml", "rules: rules.yaml");
    let service = Binary::start(beside.path(), |_| {});
    let before = readiness(&service.address).1;
    edit(beside.path(), "rules.yaml", "branches: [main]", "branches: [main, next]");
    until("an edit of rules.yaml is taken up", || readiness(&service.address).1 != before);

    let replaced = fresh();
    let service = Binary::start(replaced.path(), |_| {});
    for branch in ["next", "later"] {
        let before = readiness(&service.address).1;
        let text = fs::read_to_string(replaced.path().join("rules/staging.yaml")).expect("a rule file");
        fs::rename(replaced.path().join("rules"), replaced.path().join(format!("rules.before-{branch}"))).expect("moved");
        fs::create_dir(replaced.path().join("rules")).expect("a folder");
        let text = text.replace("branches: [main", &format!("branches: [main, {branch}"));
        fs::write(replaced.path().join("rules/staging.yaml"), text).expect("a rule file");
        until("a folder that was replaced is taken up", || {
            let body = readiness(&service.address).1;
            body != before && body.contains(r#""fault":null"#)
        });
    }
}

#[test]
fn the_end_is_prompt_and_clean() {
    let folder = fresh();
    let mut service = Binary::start(folder.path(), |_| {});
    service.signal(Signal::SIGTERM);
    let status = service.wait(Duration::from_secs(12));
    assert!(status.success(), "{status}\n{}", service.log());
}

#[test]
fn the_port_of_the_environment_wins() {
    let folder = fresh();
    let port = crate::support::binary::free_port();
    let service = Binary::start_expecting(folder.path(), &format!("127.0.0.1:{port}"), |command| {
        command.env("PORT", port.to_string());
    });
    assert_eq!(readiness(&service.address).0, 200);
}

#[test]
fn two_processes_on_one_store_are_refused() {
    let folder = fresh();
    let _first = Binary::start(folder.path(), |_| {});
    let said = refusal(folder.path());
    assert!(said.contains("declic.db"), "{said}");
}

#[test]
fn on_cloud_run_every_line_of_a_delivery_has_its_trace_and_none_a_secret_or_a_body() {
    let folder = fresh();
    let service = Binary::start(folder.path(), |command| {
        command.env("K_SERVICE", "declic").env("GOOGLE_CLOUD_PROJECT", "acme-run");
    });
    let to = format!("http://{}", service.address);
    let sent = declic(folder.path(), &["send", "github", "--event", "push", "--payload", "payloads/push.json", "--to", &to]);
    assert!(sent.status.success(), "{sent:?}");
    until("a step could not be done", || service.log().contains(r#""stage":"retrying""#));
    let log = service.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"))).collect();
    let traces: std::collections::BTreeSet<&str> = lines
        .iter()
        .filter(|line| line.get("delivery").is_some())
        .map(|line| line.get("logging.googleapis.com/trace").and_then(serde_json::Value::as_str).unwrap_or("none"))
        .collect();
    assert_eq!(traces.len(), 1, "one trace for one delivery: {traces:?}\n{log}");
    assert!(traces.iter().all(|trace| trace.starts_with("projects/acme-run/traces/")), "{log}");
    let severity = |stage: &str| lines.iter().find(|line| line["stage"] == stage).map(|line| line["severity"].clone());
    assert_eq!(severity("matched"), Some("INFO".into()), "{log}");
    assert_eq!(severity("retrying"), Some("WARNING".into()), "{log}");
    assert!(lines.iter().all(|line| line.get("severity").is_some() && line.get("message").is_some()), "{log}");
    for hidden in [crate::support::binary::WEBHOOK_SECRET, "a token of this test", "Say hello on the start page", "sha256="] {
        assert!(!log.contains(hidden), "`{hidden}` is in the log:\n{log}");
    }
}

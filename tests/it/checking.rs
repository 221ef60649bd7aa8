//! `declic check` as a person and a pipeline use it: what it reads, and what it prints in every format.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::support::binary::{command, declic};

const RIGHT: &str = "version: 1\nrules:\n  right:\n    on: { github.push: { branches: [main] } }\n    steps: []\n";
const WRONG: &str = "version: 1\nrules:\n  wrong:\n    on: { github.push: { brnaches: [main] } }\n    steps: []\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a written file");
    }
    folder
}

/// Standard output, standard error and exit status.
fn said(folder: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = declic(folder, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn folders_patterns_and_files_are_each_checked_once() {
    let folder = folder(&[("rules/a.yaml", RIGHT), ("rules/b.yml", WRONG), ("more/c.yaml", RIGHT), ("more/notes.txt", "no")]);
    let (out, _, status) = said(folder.path(), &["check", "rules", "rules/a.yaml", "more/*.yaml"]);
    assert_eq!(status, Some(1));
    for (file, counts) in [("rules/a.yaml", "0 errors,"), ("rules/b.yml", "1 error,"), ("more/c.yaml", "")] {
        let lines: Vec<&str> = out.lines().filter(|line| line.starts_with(&format!("{file}:"))).collect();
        assert!(matches!(lines.as_slice(), [line] if line.contains(counts)), "{file}: {out}");
    }
    assert!(!out.contains("notes.txt"), "{out}");
    // Two files may not have rules of one name.
    assert!(out.contains("right"), "{out}");
    let (_, why, status) = said(folder.path(), &["check", "rules/*.json"]);
    assert!(status == Some(2) && why.contains("rules/*.json"), "{why}");
}

#[test]
fn a_file_named_in_two_ways_is_read_once() {
    let folder = folder(&[("rules/a.yaml", RIGHT)]);
    let (out, _, status) = said(folder.path(), &["check", "rules", "./rules/a.yaml", "rules/../rules/a.yaml"]);
    assert!(status == Some(0) && !out.contains("duplicate"), "{out}");
}

#[test]
fn the_folder_of_the_settings_stands_for_the_rules_they_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(said(folder.path(), &["init", "."]).2, Some(0));
    let (out, why, status) = said(folder.path(), &["check", "."]);
    assert_eq!(status, Some(0), "{out}{why}");
    assert_eq!(out, "rules/staging.yaml: 1 rule, 2 tests, 0 errors, 0 warnings\n");
}

#[test]
fn a_dash_is_standard_input() {
    let folder = folder(&[]);
    for (text, expected) in [(RIGHT, 0), (WRONG, 1)] {
        let mut command = command(folder.path(), &["check", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(expected), "{out}");
        let errors = if expected == 1 { "1 error" } else { "0 errors" };
        assert!(out.ends_with(&format!("-: 1 rule, 0 tests, {errors}, 0 warnings\n")), "{out}");
        assert_eq!(out.contains(" --> -:4:26\n"), expected == 1, "{out}");
    }
}

#[test]
fn a_file_that_is_no_text_is_a_fault_of_its_own() {
    let folder = folder(&[("rules/a.yaml", WRONG), ("rules/c.yaml", RIGHT)]);
    fs::write(folder.path().join("rules/b.yaml"), b"version: 1\nrules: { \xff }\n").expect("a written file");
    let (out, _, status) = said(folder.path(), &["check", "rules"]);
    assert_eq!(status, Some(1), "{out}");
    assert!(out.contains("this is not UTF-8 text") && out.contains(" --> rules/b.yaml:2:10\n"), "{out}");
    for counts in
        ["a.yaml: 1 rule, 0 tests, 1 error,", "b.yaml: 0 rules, 0 tests, 1 error,", "c.yaml: 1 rule, 0 tests, 0 errors,"]
    {
        assert!(out.contains(counts), "{counts}: {out}");
    }
    let (out, _, status) = said(folder.path(), &["test", "rules/b.yaml", "rules/c.yaml"]);
    assert!(status == Some(1) && out.contains("UTF-8") && out.contains("rules/c.yaml"), "{out}");
    let (_, why, status) =
        said(folder.path(), &["explain", "--event", "github.push", "--payload", "rules/b.yaml", "rules/c.yaml"]);
    assert!(status == Some(2) && why.contains("rules/b.yaml: this is not UTF-8 text"), "{why}");
}

#[test]
fn a_payload_that_cannot_be_read_is_named_with_the_reason() {
    let folder = folder(&[
        ("rules/a.yaml", RIGHT),
        ("broken.json", "{ \"ref\": \"refs/heads/main\", }"),
        ("unnamed", "{\n  \"ref\": main }"),
        ("short.json", "{}"),
    ]);
    let explained = |event: &str, payload: &str| {
        let (_, why, status) = said(folder.path(), &["explain", "--event", event, "--payload", payload, "rules"]);
        assert_eq!(status, Some(2), "{why}");
        why
    };
    for payload in ["broken.json", "unnamed"] {
        let why = explained("github.push", payload);
        assert!(why.contains(&format!("{payload}: this is not valid JSON")) && why.contains("line"), "{why}");
        assert!(!why.contains("YAML"), "{why}");
    }
    assert!(explained("github.push", "short.json").contains("short.json: "));
    let why = explained("github.nope", "short.json");
    assert!(!why.contains("did you mean"), "{why}");
    assert!(explained("github.psuh", "short.json").contains("did you mean `github.push`?"));
}

#[test]
fn explain_names_every_rule_also_those_that_do_not_hear_the_event() {
    let rules = "version: 1\nrules:\n  heard:\n    on: { github.push: { branches: [main] } }\n    steps: []\n  \
        other:\n    on: { github.release: }\n    steps: []\n  off:\n    enabled: false\n    on: { github.push: }\n    steps: []\n";
    let folder = folder(&[("rules.yaml", rules), ("push.yaml", "with: { branch: next }\n")]);
    let (out, why, status) = said(folder.path(), &["explain", "--event", "github.push", "--payload", "push.yaml", "rules.yaml"]);
    assert_eq!(status, Some(0), "{why}");
    let expected = "no match heard\n    ✔ event github.push\n    ✘ branches: [main]      (event.branch = \"next\", no pattern matches)\n\
        no match other: event github.release (this is github.push)\n\
        no match off: enabled (the rule is switched off by `enabled: false`)\n";
    assert_eq!(out, expected);
}

#[test]
fn a_payload_of_a_test_is_completed_and_a_whole_one_is_not() {
    let rules = "version: 1\nrules:\n  r:\n    on: { github.pull_request: }\n    if: event.payload.pull_request.state != 'closed' && event.payload.number == 7\n    steps: []\n\
        tests:\n  - { name: open, event: github.pull_request, with: { number: 7 }, expect: { matched: [r] } }\n  \
        - { name: closed, event: github.pull_request, with: { number: 7, payload: { pull_request: { state: closed } } }, expect: { matched: [] } }\n";
    let end = |repository: &str| {
        format!(r#"{{ "ref": "x", "sha": "{}", "repo": {{ "id": {repository}, "full_name": "acme/web" }} }}"#, "1".repeat(40))
    };
    // GitHub's description promises `state`, and here it is not.
    let body = format!(
        r#"{{ "action": "opened", "number": 7, "pull_request": {{ "number": 7, "title": "t", "html_url": "https://x", "head": {}, "base": {} }},
            "repository": {{ "id": 1, "name": "web", "full_name": "acme/web", "default_branch": "main", "private": true, "html_url": "https://x", "owner": {{ "login": "acme" }} }},
            "sender": {{ "login": "mona", "id": 1, "type": "User" }} }}"#,
        end("1"),
        end("1")
    );
    let folder = folder(&[("rules.yaml", rules), ("opened.json", &body)]);
    let (out, why, status) = said(folder.path(), &["test", "rules.yaml"]);
    assert_eq!(status, Some(0), "{out}{why}");
    let arguments = ["explain", "--event", "github.pull_request", "--payload", "opened.json", "rules.yaml"];
    let (out, why, _) = said(folder.path(), &arguments);
    assert!(out.contains("ERROR    r") && out.contains("`event.payload.pull_request.state` is missing"), "{out}{why}");
}

#[test]
fn bodies_are_explained_as_their_providers_send_them() {
    let rules = "version: 1\nrules:\n  image:\n    on: { gcp.image: { source: s } }\n    if: event.tag == \"v1\"\n    steps: [{ uses: log, with: { message: x } }]\n  \
        talk:\n    on: { dialogflow.intent: { source: s, intents: [hours] } }\n    reply: { text: hello }\n  \
        say:\n    on: { slack.command: { source: s, command: deploy } }\n    if: event.args.size() == 1\n    reply: { text: done }\n  \
        news:\n    on: { pubsub.message: { source: s } }\n    if: event.attributes.k == \"v\"\n    steps: [{ uses: log, with: { message: x } }]\n";
    // {"action":"INSERT","digest":"e.dev/b/web/web@sha256:111…","tag":"e.dev/b/web/web:v1"}
    let notice = serde_json::json!({
        "action": "INSERT",
        "digest": format!("e.dev/b/web/web@sha256:{}", "1".repeat(64)),
        "tag": "e.dev/b/web/web:v1",
    });
    let pushed = |data: &str| {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, data);
        let message = serde_json::json!({ "data": data, "messageId": "1", "publishTime": "2026-11-24T06:00:00Z", "attributes": { "k": "v" } });
        serde_json::json!({ "message": message, "subscription": "projects/p/subscriptions/s" }).to_string()
    };
    let es = r#"{ "session": "projects/p/agent/sessions/s", "queryResult": { "queryText": "when?", "intent": { "displayName": "hours" } } }"#;
    let cx =
        r#"{ "sessionInfo": { "session": "s" }, "intentInfo": { "displayName": "hours", "confidence": 0.9 }, "text": "when?" }"#;
    let slack = "command=%2Fdeploy&text=web&user_id=U1&channel_id=C1&team_id=T1&trigger_id=1\n";
    let folder = folder(&[
        ("rules.yaml", rules),
        ("image.json", &pushed(&notice.to_string())),
        ("news.json", &pushed("hello")),
        ("es.json", es),
        ("cx.json", cx),
        ("slack", slack),
    ]);
    for (event, payload, rule) in [
        ("gcp.image", "image.json", "image"),
        ("dialogflow.intent", "es.json", "talk"),
        ("dialogflow.intent", "cx.json", "talk"),
        ("slack.command", "slack", "say"),
        ("pubsub.message", "news.json", "news"),
    ] {
        let arguments = ["explain", "--event", event, "--payload", payload, "--format", "json", "rules.yaml"];
        let (out, why, status) = said(folder.path(), &arguments);
        assert_eq!(status, Some(0), "{payload}: {why}");
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        let trace = answer["traces"].as_array().expect("traces").iter().find(|trace| trace["rule"] == rule);
        assert!(trace.is_some_and(|trace| trace["verdict"] == "matched"), "{payload}: {answer:#}");
    }
    let (_, why, status) = said(folder.path(), &["explain", "--event", "gcp.image", "--payload", "es.json", "rules.yaml"]);
    assert!(status == Some(2) && why.contains("es.json: "), "{why}");
}

#[test]
fn every_format_is_one_document_and_leaves_the_exit_status_alone() {
    let folder = folder(&[("a.yaml", RIGHT), ("b.yaml", WRONG)]);
    let printed = |format: &str, files: &[&str], expected: i32| {
        let (out, _, status) = said(folder.path(), &[&["check", "--format", format], files].concat());
        assert_eq!(status, Some(expected), "{format}: {out}");
        out
    };
    let read = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")) };

    let json = read(&printed("json", &["a.yaml", "b.yaml"], 1));
    assert_eq!(json["files"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["files"][1]["errors"], 1);
    assert_eq!(json["diagnostics"][0]["file"], "b.yaml");
    assert_eq!(json["diagnostics"][0]["code"], "unknown-key");
    assert_eq!(read(&printed("json", &["a.yaml"], 0))["diagnostics"], serde_json::json!([]));

    let sarif = read(&printed("sarif", &["a.yaml", "b.yaml"], 1));
    let results = &sarif["runs"][0]["results"];
    assert_eq!(results.as_array().map(Vec::len), Some(1));
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "b.yaml");
    assert_eq!(read(&printed("sarif", &["a.yaml"], 0))["runs"][0]["results"], serde_json::json!([]));

    let github = printed("github", &["a.yaml", "b.yaml"], 1);
    assert!(github.starts_with("::error file=b.yaml,line=4,endLine=4,col=26,endColumn=34,title=unknown-key::"), "{github}");
    assert_eq!(printed("github", &["a.yaml"], 0), "");
}

#[test]
fn an_empty_settings_file_is_a_fault_of_its_own() {
    let folder = folder(&[("declic.yaml", ""), ("a.yaml", RIGHT)]);
    for arguments in [&["check"] as &[&str], &["check", "a.yaml"]] {
        let (out, _, status) = said(folder.path(), arguments);
        assert!(status == Some(2) && out.contains("declic.yaml: 1 error, 0 warnings"), "{out}");
    }
    fs::remove_file(folder.path().join("declic.yaml")).expect("removed");
    let (_, why, status) = said(folder.path(), &["check"]);
    assert!(status == Some(2) && why.contains("there is no declic.yaml here"), "{why}");
}

#[test]
fn paths_beside_the_settings_that_lead_nowhere_are_warned_of() {
    let settings = "version: 1
store: { sqlite: data/declic.db }
secrets:
  a: { from: file, path: a.txt }
  b: { from: file, path: /run/secrets/b }
google: { credentials: key.json }
";
    let folder = folder(&[("declic.yaml", settings)]);
    let (out, _, status) = said(folder.path(), &["check", "declic.yaml"]);
    assert_eq!(status, Some(0), "warnings do not stop anybody: {out}");
    for part in [
        "warning[path]: there is no folder data for the store\n --> declic.yaml:2:18",
        "warning[path]: the file of the secret `a`, a.txt, is not there\n --> declic.yaml:4:26",
        "warning[path]: the key file, key.json, is not there\n --> declic.yaml:6:24",
        "declic.yaml: 0 errors, 3 warnings",
    ] {
        assert!(out.contains(part), "{part}\n\n{out}");
    }
    fs::create_dir(folder.path().join("data")).expect("a folder");
    fs::write(folder.path().join("a.txt"), "x").expect("a file");
    fs::write(folder.path().join("key.json"), "{}").expect("a file");
    let (out, _, _) = said(folder.path(), &["check", "declic.yaml"]);
    assert_eq!(out, "declic.yaml: 0 errors, 0 warnings\n", "an absolute path belongs to the machine that serves");
}

#[test]
fn tests_can_be_read_by_machines() {
    let tests = "tests:\n  - { name: it starts, event: github.push, with: { branch: main }, expect: { matched: [right] } }\n  - { name: \"it <never> starts\", event: github.push, with: { branch: main }, expect: { matched: [] } }\n";
    let folder = folder(&[("a.yaml", &format!("{RIGHT}{tests}"))]);
    let (json, _, status) = said(folder.path(), &["test", "a.yaml", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(status, Some(1));
    let passed = |number: usize| json["files"][0]["tests"][number]["passed"].as_bool();
    assert_eq!((passed(0), passed(1)), (Some(true), Some(false)), "{json}");
    let (junit, _, status) = said(folder.path(), &["test", "a.yaml", "--format", "junit"]);
    assert_eq!(status, Some(1));
    assert!(junit.contains("tests=\"2\" failures=\"1\" errors=\"0\""), "{junit}");
    assert!(junit.contains("it &lt;never&gt; starts") && !junit.contains("<never>"), "{junit}");
}

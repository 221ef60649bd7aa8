//! `exec/run`: exactly what the operator allows, never a shell, and nothing left behind.

use std::path::Path;
use std::time::{Duration, Instant};

use declic_actions::action::{Failure, STOPPED, Stop};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::actor::{Actor, code};

const KIND: &str = "exec/run";

async fn allowing(more: Value) -> Actor {
    let mut connection = json!({ "type": "command", "program": "/bin/sh" });
    connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut actor = Actor::new().await;
    actor.connection = Some(connection);
    actor
}

#[tokio::test]
async fn arguments_are_words_whatever_is_in_them_and_the_environment_is_empty() {
    let script = r#"for word in "$@"; do echo "<$word>"; done; /usr/bin/env; cat"#;
    let mut actor = allowing(json!({ "arguments": ["-c", script, "sh"], "more-arguments": 5,
        "environment": { "LANG": "C" }, "secrets": { "KEY": "deploy_key" } }))
    .await;
    actor.secrets.insert("deploy_key".into(), Secret::new("hush-hush"));
    let hostile = ["$(touch /tmp/pwned)", "; rm -rf /", "a b\nc", "`id`", "feature/x && y"];
    let outcome = actor.run(KIND, "d1-e-1", json!({ "arguments": hostile, "stdin": { "order": 17 } })).await.unwrap();
    let said = outcome.outputs["stdout"].as_str().unwrap();
    for word in hostile {
        assert!(said.contains(&format!("<{word}>")), "{said}");
    }
    assert!(said.contains("LANG=C") && said.contains("{\"order\":17}"), "{said}");
    assert!(said.contains("KEY=[secret]") && !said.contains("hush"), "{said}");
    assert!(!said.contains("PATH=/") && !said.contains("HOME="), "{said}");
    assert!(!Path::new("/tmp/pwned").exists());
}

#[tokio::test]
async fn what_the_operator_does_not_allow_is_refused_before_anything_starts() {
    let actor = allowing(json!({ "more-arguments": 1 })).await;
    for arguments in [json!(["a", "b"]), json!(["--privileged"]), json!(["-c"]), json!(["a\u{0}b"])] {
        assert!(actor.prepare(KIND, "d1-e-1", json!({ "arguments": arguments })).is_err(), "{arguments}");
    }
    let actor = allowing(json!({ "program": "sh" })).await;
    assert!(actor.prepare(KIND, "d1-e-1", json!({})).is_err(), "nothing is looked for in a path");
    let actor = allowing(json!({ "program": "/no/such/program" })).await;
    assert_eq!(code(&actor.run(KIND, "d1-e-1", json!({})).await), ("not-started", false));
    let mut actor = allowing(json!({})).await;
    actor.connection = None;
    assert!(actor.prepare(KIND, "d1-e-1", json!({})).is_err());
}

#[tokio::test]
async fn output_is_cut_and_statuses_tell_failures_apart() {
    let actor = allowing(json!({ "arguments": ["-c", "head -c 300000 /dev/zero | tr '\\0' x"], "output": 1000,
        "environment": { "PATH": "/usr/bin:/bin" } }))
    .await;
    let outcome = actor.run(KIND, "d1-e-1", json!({})).await.unwrap();
    assert_eq!((outcome.outputs["stdout"].as_str().unwrap().len(), &outcome.outputs["truncated"]), (1000, &json!(true)));
    for (script, expected) in [("echo no >&2; exit 3", ("exit-status", false)), ("exit 75", ("temporary", true))] {
        let actor = allowing(json!({ "arguments": ["-c", script] })).await;
        let result = actor.run(KIND, "d1-e-1", json!({})).await;
        assert_eq!(code(&result), expected, "{script}");
    }
}

/// A command that starts another one, which would write after a second.
async fn starter(folder: &Path) -> Actor {
    let script = format!("(sleep 1; echo late > {0}/late) & echo started > {0}/started; wait", folder.display());
    allowing(json!({ "arguments": ["-c", script], "environment": { "PATH": "/usr/bin:/bin" } })).await
}

#[tokio::test]
async fn at_the_deadline_everything_it_started_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = starter(folder.path()).await;
    actor.patience = Duration::from_millis(300);
    let begun = Instant::now();
    assert_eq!(code(&actor.run(KIND, "d1-e-1", json!({})).await), ("timeout", false));
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert!(folder.path().join("started").exists() && !folder.path().join("late").exists());
}

#[tokio::test]
async fn a_run_that_is_no_longer_wanted_stops_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let mut actor = starter(folder.path()).await;
    let (ask, stop) = Stop::new();
    actor.stop = stop;
    let asking = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        ask.send_replace(true);
    };
    let (result, ()) = tokio::join!(actor.run(KIND, "d1-e-1", json!({})), asking);
    assert!(matches!(&result, Err(Failure::Final { why }) if why.code == STOPPED), "{result:?}");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(!folder.path().join("late").exists());
}

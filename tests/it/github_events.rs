//! GitHub's payloads as rules see them: what is read from them, and when a list of files can be relied on.

use declic::clock::Timestamp;
use declic::event::Event;
use declic::journal::record::{Delivery, NewDelivery};
use declic::sources::github::push::push_event_fields;
use serde_json::{Value, json};

use crate::support::service::{github, push};

fn decode(event_type: &str, body: &Value) -> Result<Option<Event>, String> {
    let content = NewDelivery {
        share: "github".to_owned(),
        source: "github".to_owned(),
        delivery_id: "1".to_owned(),
        event_type: event_type.to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes().into(),
        received_at: Timestamp(1_800_000_000_000),
        trace: String::new(),
        verified: String::new(),
    };
    github().decode(&Delivery { id: "d1".to_owned(), content, replay: false, learned: None }, false)
}

fn repository() -> Value {
    json!({ "id": 1, "full_name": "acme/web", "private": false, "default_branch": "main", "html_url": "https://github.com/acme/web" })
}

fn sender() -> Value {
    json!({ "login": "mona", "id": 2, "type": "User" })
}

#[test]
fn a_push_has_the_fields_of_the_registry() {
    let body: Value = serde_json::from_slice(&push("feature/a")).unwrap();
    let event = decode("push", &body).unwrap().unwrap();
    assert_eq!(event.kind, "github.push");
    assert_eq!(event.repository(), Some("acme/web"));
    let expected = json!({
        "ref": "refs/heads/feature/a", "branch": "feature/a", "sha": "b".repeat(40), "before": "a".repeat(40),
        "created": false, "deleted": false, "forced": false, "files": ["src/main.rs"], "files_complete": true,
        "message": "Fix login", "commits": [{ "sha": "b".repeat(40), "message": "Fix login", "author": "mona" }],
    });
    assert_eq!(event.event, expected);
    assert_eq!(event.actor, json!({ "login": "mona", "id": 2, "type": "user" }));
    assert_eq!(event.repo["default_branch"], "main");
    assert_eq!(
        event.delivery,
        json!({ "id": "d1", "source": "github", "received_at": "2027-01-15T08:00:00.000Z", "replay": false })
    );
}

#[test]
fn the_list_of_files_is_complete_only_where_github_lists_all() {
    let commit = |files: usize| json!({ "modified": (0..files).map(|number| format!("f{number}")).collect::<Vec<_>>() });
    let base = json!({
        "ref": "refs/heads/main", "before": "a".repeat(40), "after": "b".repeat(40),
        "created": false, "deleted": false, "forced": false, "commits": [commit(3)],
    });
    let complete = |key: &str, value: Value| {
        let mut push = base.clone();
        push[key] = value;
        push_event_fields(&push).unwrap()["files_complete"].as_bool().unwrap()
    };
    assert!(complete("forced", json!(false)));
    assert!(!complete("forced", json!(true)));
    assert!(!complete("created", json!(true)));
    assert!(!complete("ref", json!("refs/tags/v1")));
    assert!(complete("commits", json!([commit(2999)])));
    assert!(!complete("commits", json!([commit(3000)])));
    assert!(complete("commits", Value::from(vec![commit(1); 1000])));
    assert!(!complete("commits", Value::from(vec![commit(1); 1001])));
    assert!(!complete("commits", Value::from(vec![commit(1); 2048])));
}

#[test]
fn a_reference_with_strange_characters_stays_as_it_is() {
    for strange in ["ma\0in", "ma\u{202e}in\u{200b}", "cafe\u{301}", "x\r\nX-Evil: 1"] {
        let mut body: Value = serde_json::from_slice(&push("main")).unwrap();
        body["ref"] = json!(format!("refs/heads/{strange}"));
        assert_eq!(decode("push", &body).unwrap().unwrap().event["branch"], strange);
    }
}

#[test]
fn a_wrong_shape_is_an_error_that_quotes_nothing() {
    let good: Value = serde_json::from_slice(&push("main")).unwrap();
    let cases = [
        ("/ref", json!(1)),
        ("/ref", json!("main")),
        ("/after", json!("HEAD")),
        ("/commits", json!({})),
        ("/commits/0/added", json!("x")),
        ("/repository", Value::Null),
        ("/repository/full_name", json!("acme/web/../../x")),
        ("/repository/id", json!("hush-hush")),
        ("/sender/login", json!(["hush-hush"])),
    ];
    for (place, value) in cases {
        let mut body = good.clone();
        *body.pointer_mut(place).unwrap() = value;
        let why = decode("push", &body).expect_err(place);
        assert!(!why.contains("hush-hush"), "{why}");
    }
}

fn pull_request(action: &str) -> Value {
    json!({
        "action": action,
        "pull_request": {
            "number": 7, "title": "Title", "body": null, "draft": false, "merged": false,
            "html_url": "https://github.com/acme/web/pull/7", "labels": [{ "name": "preview" }],
            "head": { "ref": "fix", "sha": "c".repeat(40), "repo": { "id": 1, "full_name": "acme/web" } },
            "base": { "ref": "main", "sha": "a".repeat(40), "repo": { "id": 1, "full_name": "acme/web" } },
            "user": { "login": "mona" }
        },
        "repository": repository(), "sender": sender(),
    })
}

#[test]
fn a_pull_request_from_another_or_a_deleted_repository_is_a_fork() {
    let event = decode("pull_request", &pull_request("opened")).unwrap().unwrap();
    assert_eq!(
        (event.kind.as_str(), &event.event["fork"], &event.event["labels"]),
        ("github.pull_request", &json!(false), &json!(["preview"]))
    );
    for repo in [json!({ "id": 9, "full_name": "mallory/web" }), Value::Null] {
        let mut body = pull_request("synchronize");
        body["pull_request"]["head"]["repo"] = repo;
        assert_eq!(decode("pull_request", &body).unwrap().unwrap().event["fork"], true);
    }
    assert_eq!(decode("pull_request", &pull_request("assigned")), Ok(None));
}

#[test]
fn a_created_comment_with_a_command_is_one_and_an_edited_one_is_not() {
    let comment = |action: &str, body: &str| {
        json!({
            "action": action, "issue": { "number": 7, "title": "Title", "pull_request": {} },
            "comment": { "id": 5, "html_url": "https://github.com/acme/web/pull/7#issuecomment-5", "body": body },
            "repository": repository(), "sender": sender(),
        })
    };
    let event = decode("issue_comment", &comment("created", "/deploy staging\r\nthanks")).unwrap().unwrap();
    assert_eq!(event.kind, "github.command");
    assert_eq!(
        (&event.event["command"], &event.event["args"], &event.event["on"]),
        (&json!("deploy"), &json!(["staging"]), &json!("pull_request"))
    );
    for (action, body) in [("edited", "/deploy staging"), ("created", "please /deploy")] {
        let event = decode("issue_comment", &comment(action, body)).unwrap().unwrap();
        assert_eq!((event.kind.as_str(), event.event), ("github.issue_comment", json!({ "action": action })));
    }
}

#[test]
fn only_a_workflow_run_that_ended_is_an_event() {
    let run = |action: &str, conclusion: Value| {
        json!({
            "action": action,
            "workflow_run": {
                "name": "CI", "conclusion": conclusion, "head_branch": "main", "head_sha": "c".repeat(40), "event": "push",
                "html_url": "https://github.com/acme/web/actions/runs/1", "head_repository": { "id": 1 }
            },
            "repository": repository(), "sender": sender(),
        })
    };
    let event = decode("workflow_run", &run("completed", json!("failure"))).unwrap().unwrap();
    assert_eq!((&event.event["conclusion"], &event.event["fork"]), (&json!("failure"), &json!(false)));
    assert_eq!(decode("workflow_run", &run("requested", Value::Null)), Ok(None));
    assert_eq!(decode("workflow_run", &run("completed", json!("exploded"))), Ok(None));
}

#[test]
fn any_other_webhook_is_an_event_with_its_action_and_payload() {
    let event =
        decode("issues", &json!({ "action": "opened", "repository": repository(), "sender": sender() })).unwrap().unwrap();
    assert_eq!((event.kind.as_str(), &event.event), ("github.issues", &json!({ "action": "opened" })));
    assert_eq!((event.repository(), &event.actor["login"]), (Some("acme/web"), &json!("mona")));
    let event = decode("org_block", &json!({ "action": "blocked", "sender": sender() })).unwrap().unwrap();
    assert_eq!((event.kind.as_str(), event.repository()), ("github.org_block", None));
    for event_type in ["command", "something_new"] {
        assert_eq!(decode(event_type, &json!({ "sender": sender() })), Ok(None), "{event_type}");
    }
    let crooked = json!({ "action": "opened", "repository": { "id": 1, "full_name": "acme/web/.." } });
    assert!(decode("issues", &crooked).is_err());
}

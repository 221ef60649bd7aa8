//! Did an effect of ours cause the event? The marks that our effects leave are read here.
//!
//! Anybody can write such a mark. It only keeps rules from starting, and it counts only in what was written by whoever caused the event:
//! nobody can hide what another does. Pushes, pull requests and issues are never judged, since they hold text of many people.

use declic_actions::hops;
use serde_json::{Map, Value};

use crate::event::{HOPS, OWN};

/// Where a kind of event holds its mark.
enum Mark {
    /// In a text, written by the account with the id at the second place.
    Text(&'static str, &'static str),
    /// In a deployment's payload.
    Deployment,
    /// In a check run's `external_id`. It says how many hops there were, and keeps nobody from hearing of the check.
    CheckRun,
    /// Among these properties, which are of whoever sent the event.
    Properties(&'static str),
}

fn mark_of(kind: &str) -> Option<Mark> {
    Some(match kind.strip_prefix("github.")? {
        "command" | "issue_comment" | "commit_comment" | "pull_request_review_comment" | "discussion_comment" => {
            Mark::Text("/comment/body", "/comment/user/id")
        }
        "pull_request_review" => Mark::Text("/review/body", "/review/user/id"),
        "deployment" | "deployment_status" => Mark::Deployment,
        "check_run" => Mark::CheckRun,
        "repository_dispatch" => Mark::Properties("/client_payload"),
        "workflow_dispatch" => Mark::Properties("/inputs"),
        _ => return None,
    })
}

/// The part of the `delivery` context that the body decides: `own` and `hops`, each only where there is something to say.
pub(super) fn read(kind: &str, body: &[u8]) -> Value {
    let Some(mark) = mark_of(kind) else { return Value::Null };
    // The body was decoded before, so it is JSON.
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return Value::Null };
    let by_sender = |path: &str| body.pointer(path).is_some_and(|id| id.is_u64() && Some(id) == body.pointer("/sender/id"));
    let (own, hops) = match mark {
        Mark::Text(text, author) => {
            let text = body.pointer(text).and_then(Value::as_str).unwrap_or_default();
            let own = text.contains(hops::COMMENT) && by_sender(author);
            (own, if own { hops::of_comment(text) } else { 0 })
        }
        Mark::Deployment => match of_a_run(body.pointer("/deployment/payload")) {
            Some(hops) if by_sender("/deployment/creator/id") => (true, hops),
            _ => (false, 0),
        },
        Mark::CheckRun => {
            let id = body.pointer("/check_run/external_id").and_then(Value::as_str).unwrap_or_default();
            (false, hops::of_check_run(id))
        }
        Mark::Properties(path) => properties(body.pointer(path)),
    };
    let mut lineage = Map::new();
    if own {
        lineage.insert(OWN.to_owned(), true.into());
    }
    if hops > 0 {
        lineage.insert(HOPS.to_owned(), hops.into());
    }
    Value::Object(lineage)
}

/// The hops in a deployment's payload, if a run made it. GitHub gives the payload as it was sent, or as text that holds it.
fn of_a_run(payload: Option<&Value>) -> Option<u64> {
    let hops = |payload: &Value| {
        let marked = payload.get(hops::RUN).is_some_and(Value::is_string);
        marked.then(|| payload.get(hops::HOPS).and_then(Value::as_u64).unwrap_or(0))
    };
    match payload? {
        Value::String(text) => hops(&serde_json::from_str(text).ok()?),
        payload => hops(payload),
    }
}

/// Inputs of a workflow are texts; empty ones were not filled in.
fn properties(properties: Option<&Value>) -> (bool, u64) {
    let field = |name: &str| properties.and_then(|properties| properties.get(name));
    let hops = field(hops::HOPS).and_then(|hops| hops.as_u64().or_else(|| hops.as_str()?.parse().ok())).unwrap_or(0);
    let keyed = field(hops::KEY).and_then(Value::as_str).is_some_and(|key| !key.is_empty());
    (keyed || hops > 0, hops)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_of(kind: &str, body: &Value) -> Value {
        read(kind, body.to_string().as_bytes())
    }

    #[test]
    fn deployments_of_runs_are_ours_while_who_made_them_acts() {
        let event = |payload: Value, sender: u64| {
            let deployment = json!({ "payload": payload, "creator": { "id": 1 } });
            read_of("github.deployment_status", &json!({ "deployment": deployment, "sender": { "id": sender } }))
        };
        let own = json!({ "own": true });
        assert_eq!(event(json!({ "declic_run": "r1" }), 1), own);
        assert_eq!(event(json!("{\"declic_run\":\"r1\"}"), 1), own);
        assert_eq!(event(json!({ "declic_run": "r1", "declic_hops": 2 }), 1), json!({ "own": true, "hops": 2 }));
        assert_eq!(event(json!({ "declic_run": "r1", "declic_hops": 2 }), 2), json!({}));
        assert_eq!(event(json!({ "declic_run": "r1" }), 2), json!({}));
        assert_eq!(event(json!({}), 1), json!({}));
        assert_eq!(event(json!("declic_run"), 1), json!({}));
    }

    #[test]
    fn a_check_run_of_ours_is_heard_and_counts() {
        let event =
            |id: Value| read_of("github.check_run", &json!({ "check_run": { "external_id": id }, "sender": { "id": 1 } }));
        assert_eq!(event(json!("declic:d1-1:0123456789ab:4")), json!({ "hops": 4 }));
        for id in [json!(null), json!(""), json!("declic:"), json!("declic:d1-1:x"), json!("other:4"), json!("declic:a:-1")] {
            assert_eq!(event(id.clone()), json!({}), "{id}");
        }
    }

    #[test]
    fn a_workflow_started_by_hand_is_nobodys_effect() {
        let event = |inputs: Value| read_of("github.workflow_dispatch", &json!({ "inputs": inputs, "sender": { "id": 1 } }));
        assert_eq!(event(json!({ "declic_hops": "3" })), json!({ "own": true, "hops": 3 }));
        assert_eq!(event(json!({ "declic_key": "d-1" })), json!({ "own": true }));
        for inputs in [json!(null), json!({}), json!({ "declic_hops": "", "declic_key": "" }), json!({ "declic_hops": "-1" })] {
            assert_eq!(event(inputs), json!({}));
        }
    }

    #[test]
    fn text_of_pull_requests_pushes_and_issues_is_never_looked_at() {
        let marked = hops::comment("d-1", 3);
        let user = json!({ "id": 1 });
        let text = json!({ "body": marked, "user": user });
        let body = json!({ "pull_request": text, "issue": text, "comment": text, "review": text, "sender": user });
        for kind in ["github.pull_request", "github.push", "github.issues", "github.status", "github.check_suite", "http.webhook"]
        {
            assert_eq!(read_of(kind, &body), Value::Null, "{kind}");
        }
        for kind in ["github.command", "github.issue_comment", "github.commit_comment", "github.pull_request_review"] {
            assert_eq!(read_of(kind, &body), json!({ "own": true, "hops": 3 }), "{kind}");
        }
        let quoted = json!({ "comment": { "body": marked, "user": { "id": 2 } }, "sender": user });
        assert_eq!(read_of("github.issue_comment", &quoted), json!({}), "who quotes a mark has no hops");
        let nobodys = json!({ "comment": { "body": marked } });
        assert_eq!(read_of("github.issue_comment", &nobodys), json!({}));
    }
}

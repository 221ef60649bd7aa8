//! What a person who gives a command in a comment sees at once: a reaction that it was taken up, or how it is written.

use std::sync::Arc;
use std::time::Duration;

use declic_actions::action::{Call, Origin};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::aside::act;
use super::shared::Shared;
use crate::event::Event;
use crate::journal::record::{Decision, Delivery, Verdict};
use crate::matching::{Index, Misused};
use crate::repositories::review::code;

/// How long GitHub may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers the comment of a command. Nothing of it decides anything, and a failure is only logged.
pub(super) async fn heed(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    event: &Event,
    decision: &Decision,
    indices: impl Iterator<Item = &Arc<Index>>,
) {
    // Who repeats a delivery by hand does not speak to whoever wrote the comment.
    let quiet = delivery.replay || shared.policy.dry_run || !shared.clients.github.has_token();
    if event.kind != "github.command" || event.is_own() || quiet {
        return;
    }
    if let Verdict::Runs(runs) = &decision.verdict {
        if runs.iter().any(|run| run.failure.is_none() && !run.dry) {
            // At once, and in nobody's way.
            let (shared, call) = (Arc::clone(shared), call(delivery, event, "eyes", json!({ "reaction": "eyes" })));
            tokio::spawn(async move { told(&shared, "github/react", call).await });
        }
        return;
    }
    let misused = indices.into_iter().find_map(|index| index.misused(event));
    let Some(Misused { usage, found }) = misused else { return };
    let command = event.event.get("command").and_then(Value::as_str).unwrap_or_default();
    let body = format!("{} was not started: {}\n\nIt is written {}", code(&format!("/{command}")), code(&found), code(&usage));
    // Before the delivery is decided: after a crash the comment is found by its marker.
    told(shared, "github/comment", call(delivery, event, "help", json!({ "body": body }))).await;
}

async fn told(shared: &Shared, action: &str, call: Call) {
    let repository = call.origin.repository.clone();
    if let Err(failure) = act(shared, action, call, Instant::now() + PATIENCE).await {
        tracing::warn!(repository, action, "a command in a comment is not answered: {}", failure.why().message);
    }
}

fn call(delivery: &Delivery, event: &Event, what: &str, params: Value) -> Call {
    let number = |name: &str| event.event.get(name).and_then(Value::as_u64);
    let origin = Origin {
        delivery: delivery.id.clone(),
        rule: "command".to_owned(),
        step: what.to_owned(),
        repository: event.repository().map(str::to_owned),
        number: number("number"),
        comment: number("comment_id"),
        trace: Some(delivery.content.trace.clone()),
        hops: event.hops(),
        ..Origin::default()
    };
    // One answer for each comment, however often it is delivered.
    let key = format!("command-{what}-{}", number("comment_id").unwrap_or_default());
    Call { key, params: params.as_object().cloned().unwrap_or_default(), target: None, connection: None, origin }
}

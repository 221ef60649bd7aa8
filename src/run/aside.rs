//! Effects that belong to no run: they are about a delivery, or about rules that are not in force. Made by the actions that steps are made by.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::{Call, Context, Failure, Progress, Stop};
use declic_actions::http::traced;
use serde_json::Value;
use tokio::time::Instant;

use super::shared::Shared;

/// Waits before the second and the third time.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(3)];

/// Makes the effect, as often as it takes within the time. It was perhaps made before: actions that can tell look for it.
pub(super) async fn act(shared: &Shared, name: &str, call: Call, deadline: Instant) -> Result<(), Failure> {
    let Some(action) = shared.action(name) else { return Err(Failure::last("not-found", format!("there is no action {name}"))) };
    let trace = call.origin.trace.clone();
    let intent = action.prepare(call).map_err(|why| Failure::Final { why: why.into() })?;
    let (secrets, stop) = (BTreeMap::new(), Stop::never());
    let mut waits = WAITS.iter();
    loop {
        let context = Context {
            clients: &shared.clients,
            deadline: deadline.into_std(),
            attempt: 2,
            is_last: false,
            saved: None,
            progress: &Unsaved,
            secrets: &secrets,
            stop: &stop,
            waited: Duration::ZERO,
            answer: None,
            streak: None,
        };
        let failure = match traced(trace.as_deref(), action.run(&context, &intent)).await {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        let again = matches!(failure, Failure::Retry { .. });
        let Some(wait) = waits.next().filter(|wait| again && Instant::now() + **wait < deadline) else { return Err(failure) };
        tokio::time::sleep(*wait).await;
    }
}

/// What is made once more is made from its beginning.
struct Unsaved;

#[async_trait]
impl Progress for Unsaved {
    fn stage(&self, _name: &'static str, _line: &str) {}

    async fn save(&self, _saved: Value) -> Result<(), Failure> {
        Ok(())
    }
}

//! `/changes`: what happens, as server-sent events, while somebody listens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use poem::web::Data;
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use poem_openapi::types::ToJSON;
use poem_openapi::{Object, OpenApi};
use tokio::sync::broadcast::error::RecvError;

use super::problem::Failure;
use super::state::State;
use super::words::Moment;
use crate::access::Viewer;
use crate::run::observe::Stage;

/// A silent connection is told from a dead one this often; proxies cut silent ones off after a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Something that happened.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct Change {
    /// Our id of the delivery; empty if some changes were missed: look anew then.
    delivery: String,
    /// Id of the run; none while the delivery is matched.
    run: Option<String>,
    /// Name of the rule.
    rule: Option<String>,
    /// Id or number of the step.
    step: Option<String>,
    /// Stable word: `journaled`, `matched`, `started`, `succeeded`, `failed`, `finished`, …
    name: String,
    /// One line for people.
    line: String,
    /// When.
    at: Moment,
}

/// The operations.
pub(super) struct ChangesApi(pub Arc<State>);

#[OpenApi]
impl ChangesApi {
    /// Listen to what happens, as server-sent events: each `data` is a change as JSON
    #[oai(path = "/changes", method = "get", operation_id = "listenToChanges")]
    async fn listen(&self, viewer: Data<&Viewer>) -> Result<EventStream<BoxStream<'static, Change>>, Failure> {
        let changes = changes(Arc::clone(&self.0), (*viewer).clone());
        Ok(EventStream::new(changes)
            .to_event(|change| Event::message(change.to_json_string()).event_type("change"))
            .keep_alive(KEEP_ALIVE))
    }
}

fn changes(state: Arc<State>, viewer: Viewer) -> BoxStream<'static, Change> {
    let stages = state.parts.observer.listen();
    let mut stop = state.parts.stop.clone();
    let changes = stream::unfold((stages, state, viewer), |(mut stages, state, viewer)| async move {
        loop {
            let change = match stages.recv().await {
                Ok(stage) if may_be_told(&state, &viewer, &stage).await => shown(stage, &state),
                Ok(_) => continue,
                Err(RecvError::Lagged(missed)) => behind(missed),
                Err(RecvError::Closed) => return None,
            };
            return Some((change, (stages, state, viewer)));
        }
    });
    let stopping = async move {
        // An error means that nobody can say stop any more: the service is gone.
        let _ = stop.wait_for(|stopping| *stopping).await;
    };
    changes.take_until(stopping).boxed()
}

/// What a delivery is about is known once it was matched: before, those who do not see everything hear nothing of it.
async fn may_be_told(state: &State, viewer: &Viewer, stage: &Stage) -> bool {
    viewer.sees_all() || state.shows_of(viewer, &stage.delivery).await.unwrap_or(false)
}

fn shown(stage: Stage, state: &State) -> Change {
    Change {
        delivery: stage.delivery,
        run: stage.run,
        rule: stage.rule,
        step: stage.step,
        name: stage.name,
        line: state.redaction.text(stage.line),
        at: Moment(stage.at),
    }
}

fn behind(missed: u64) -> Change {
    let line = format!("{missed} changes were missed");
    let at = Moment(crate::clock::Timestamp::now());
    Change { delivery: String::new(), run: None, rule: None, step: None, name: "missed".to_owned(), line, at }
}

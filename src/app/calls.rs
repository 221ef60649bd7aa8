//! A queue on one side, the engine and the front door on the other.

use std::sync::Arc;

use crate::dispatch::queue::{Call, Queue, Settings};
use crate::receive::Handed;
use crate::receive::dispatch::{Called, Work};
use crate::run::on_call::{self, Answered, OnCall};
use crate::verify::jwt::Scheme;
use crate::verify::trust::Trust;

/// Asks for the call of a delivery that is on disk, before its sender is answered.
pub(super) fn handed(queue: Arc<Queue>) -> Handed {
    Arc::new(move |delivery: String| {
        let queue = Arc::clone(&queue);
        Box::pin(async move {
            // The delivery is on disk: a call that cannot be asked for does not change the answer.
            ask(&queue, &OnCall::of_delivery(&delivery)).await;
        })
    })
}

/// Asks for a look at what a person changed, as far as the host lets it: the sweep finds it at the latest.
pub(super) fn by_hand(queue: &Arc<Queue>) {
    let queue = Arc::clone(queue);
    tokio::spawn(async move { ask(&queue, &on_call::by_hand()).await });
}

/// Asks for a call. True if it will come.
async fn ask(queue: &Queue, call: &Call) -> bool {
    let asked = queue.call(call).await;
    if let Err(why) = &asked {
        tracing::warn!(subject = ?call.subject, "a call could not be asked for, the sweep has to find it: {why}");
    }
    asked.is_ok()
}

/// What a queue's call does: the work, and asking for the calls that go on from there.
pub(super) fn called(described: &Settings, queue: Arc<Queue>, on_call: OnCall, trust: Arc<Trust>) -> Called {
    let work: Work = Arc::new(move |subject, until| {
        let (queue, on_call) = (Arc::clone(&queue), on_call.clone());
        Box::pin(async move {
            match on_call.answer(&subject, until.into()).await {
                Ok(Answered::Done(calls)) => {
                    let mut all = true;
                    for call in calls {
                        all &= ask(&queue, &call).await;
                    }
                    all
                }
                Ok(Answered::Busy) => false,
                Err(error) => {
                    tracing::error!(?subject, "a call cannot be answered: {error}");
                    false
                }
            }
        })
    });
    let scheme = Scheme {
        issuers: vec!["https://accounts.google.com".to_owned(), "accounts.google.com".to_owned()],
        audiences: vec![described.audience.clone()],
        email: Some(described.account.clone()),
        keys_url: described.keys_url.clone(),
        trust,
    };
    Called { scheme, deadline: described.deadline, work }
}

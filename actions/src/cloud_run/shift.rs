//! Moves traffic between revisions that exist: what `rollback` and `traffic` have in common.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Context, Failure};
use crate::cloud_run::traffic::{self, Share};
use crate::cloud_run::{Api, Ended, Readiness, readiness, text};

/// What the traffic is to be, and what it was when that was decided. Saved before anything is changed, so that a later attempt
/// neither aims at something else nor overrides what somebody chose since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aim {
    pub(crate) revision: String,
    pub(crate) percent: i64,
    /// The revision that served before.
    pub(crate) from: String,
    pub(crate) before: Vec<Share>,
}

/// One attempt to get there.
pub(crate) struct Shift<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) api: &'a Api<'a>,
}

impl Shift<'_> {
    /// What an earlier attempt decided.
    pub(crate) fn saved(&self) -> Result<Option<Aim>, Failure> {
        let read = |saved: &Value| serde_json::from_value(saved.clone());
        self.context
            .saved
            .as_ref()
            .map(read)
            .transpose()
            .map_err(|error| Failure::last("invalid", format!("What an earlier attempt saved cannot be read: {error}")))
    }

    /// Sees the traffic to its aim; gives the address of the service.
    pub(crate) async fn to(&self, aim: &Aim) -> Result<String, Failure> {
        let until = self.context.deadline;
        self.servable(aim).await?;
        let saved = serde_json::to_value(aim).map_err(|error| Failure::last("invalid", error.to_string()))?;
        self.context.progress.save(saved).await?;
        if let Some(operation) = self.api.change_traffic(until, |service| allocation(service, aim)).await? {
            match self.api.wait(&operation, until).await? {
                Ended::Failed(message) => {
                    return Err(Failure::last("not-ready", format!("Cloud Run did not move the traffic: {message}")));
                }
                Ended::Succeeded | Ended::Forgotten | Ended::Late => {}
            }
        }
        let settled = self.api.until(until, |service| {
            let moving = service.get("reconciling").and_then(Value::as_bool).unwrap_or(false);
            let there = traffic::routed(service, &aim.revision) == aim.percent;
            (there && !moving).then(|| text(service, "uri").to_owned())
        });
        let late = || Failure::retry("timeout", "The traffic was not moved in time; another attempt goes on from here");
        let url = settled.await?.ok_or_else(late)?;
        self.context.progress.stage("traffic shifted", &format!("{} has {} %", aim.revision, aim.percent));
        Ok(url)
    }

    /// A revision that cannot serve gets no traffic.
    async fn servable(&self, aim: &Aim) -> Result<(), Failure> {
        if aim.percent == 0 {
            return Ok(());
        }
        let until: Instant = self.context.deadline;
        match self.api.revision(&aim.revision, until).await?.as_ref().map(readiness) {
            None => Err(Failure::last("not-found", format!("The service has no revision `{}`", aim.revision))),
            Some(Readiness::Failed(why)) => Err(Failure::Final { why }),
            Some(Readiness::Pending) => {
                Err(Failure::retry("not-ready", format!("The revision `{}` is not ready yet", aim.revision)))
            }
            Some(Readiness::Ready) => Ok(()),
        }
    }
}

/// The new allocation, or `None` if it is there already.
fn allocation(service: &Value, aim: &Aim) -> Result<Option<Value>, Failure> {
    let now = traffic::pinned(service);
    if traffic::percent_of(&now, &aim.revision) == aim.percent {
        // "The latest" is this revision now, but would not be after the next deploy.
        let floats = traffic::read(service) != now && aim.percent > 0;
        return Ok(floats.then(|| traffic::write(&now)));
    }
    if traffic::weights(&now) != traffic::weights(&aim.before) {
        let message = "Somebody else moved the traffic of the service meanwhile; it was left alone";
        return Err(Failure::last("superseded", message));
    }
    let rest = 100 - traffic::percent_of(&now, &aim.revision);
    if rest == 0 {
        let message = format!("`{}` is the only revision with traffic; send traffic to another one instead", aim.revision);
        return Err(Failure::last("invalid", message));
    }
    Ok(Some(traffic::write(&traffic::shifted(&now, &aim.revision, aim.percent, "", false))))
}

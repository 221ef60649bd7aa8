//! What the interface works with.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use declic_actions::action::Clients;
use declic_actions::http::Unsent;
use tokio::sync::watch;

use super::problem::Failure;
use super::redact::Redaction;
use crate::access::session::Session;
use crate::access::visibility::Visibility;
use crate::access::{Role, Viewer};
use crate::event::Event;
use crate::journal::acts::accounted;
use crate::journal::record::{Counts, Delivery, DeliveryRecord, RunRecord, StepRecord};
use crate::journal::sqlite::ReadOnly;
use crate::journal::{Journal, SIGNED_OUT};
use crate::reload::Rules;
use crate::repositories::Repositories;
use crate::run::gate::Gates;
use crate::run::observe::Observer;
use crate::settings::Settings;
use crate::sources::Source;
use crate::sources::rotation::Watched;

/// What the interface is made of.
pub struct Parts {
    /// The store.
    pub journal: Arc<dyn Journal>,
    /// The rules in force.
    pub rules: Arc<Rules>,
    /// Rules that repositories bring themselves.
    pub repositories: Arc<Repositories>,
    /// The entry points: they decode.
    pub sources: Vec<Arc<dyn Source>>,
    /// The operator's settings, without the values of secrets.
    pub settings: Settings,
    /// Who tells what happens.
    pub observer: Observer,
    /// The gates before targets.
    pub gates: Gates,
    /// The secrets of sources, for telling which of their values are in use.
    pub watched: Vec<Watched>,
    /// Who asks GitHub what people may see, if they do not see everything.
    pub visibility: Option<Visibility>,
    /// Opens the store for looking into it at length.
    pub look: Arc<dyn Fn() -> Result<ReadOnly, String> + Send + Sync>,
    /// Makes clients that send nothing.
    pub unsent: Arc<dyn Fn() -> Result<(Clients, Unsent), String> + Send + Sync>,
    /// Called when there is something to do.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// True once the service is stopping: open streams end then.
    pub stop: watch::Receiver<bool>,
}

/// Shared by API and console.
pub struct State {
    pub(crate) parts: Parts,
    /// What is hidden before it is shown.
    pub redaction: Redaction,
    /// How many there were of each state, and until when that is good enough.
    pub(super) counted: Mutex<Option<(Instant, Counts)>>,
}

impl State {
    /// From its parts.
    pub fn new(parts: Parts) -> Self {
        let admin = &parts.settings.admin;
        let redaction = Redaction::new(&admin.hidden_headers, &admin.hidden_fields);
        Self { redaction, parts, counted: Mutex::default() }
    }

    /// The store.
    pub fn journal(&self) -> &dyn Journal {
        self.parts.journal.as_ref()
    }

    /// A delivery with what was decided, if whoever asks may see it.
    pub async fn delivery(&self, viewer: &Viewer, id: &str) -> Result<(DeliveryRecord, Vec<crate::matching::Trace>), Failure> {
        let found = self.journal().delivery_record(id).await?;
        let (record, traces) = found.ok_or_else(|| Failure::not_found("delivery"))?;
        let record = self.redaction.delivery(record);
        if !self.shows(viewer, &record.about).await {
            return Err(Failure::not_found("delivery"));
        }
        // Reasons that another version wrote otherwise are left out: everything else can still be shown.
        let traces: Vec<crate::matching::Trace> =
            traces.and_then(|traces| serde_json::from_value(traces).ok()).unwrap_or_default();
        Ok((record, traces.into_iter().map(|trace| self.redaction.trace(trace)).collect()))
    }

    /// Headers and body of a delivery that may be seen.
    pub async fn content(&self, id: &str) -> Result<Delivery, Failure> {
        self.journal().delivery(id).await?.ok_or_else(|| Failure::not_found("delivery"))
    }

    /// A run with its steps, if whoever asks may see it.
    pub async fn run(&self, viewer: &Viewer, id: &str) -> Result<(RunRecord, Vec<StepRecord>), Failure> {
        let (run, steps) = self.journal().run(id).await?.ok_or_else(|| Failure::not_found("run"))?;
        if self.shows_of(viewer, &run.delivery).await? {
            Ok((self.redaction.run(run), steps))
        } else {
            Err(Failure::not_found("run"))
        }
    }

    /// A kept delivery as rules see it. The error is for people.
    pub fn decode(&self, delivery: &Delivery) -> Result<Option<Event>, String> {
        let name = &delivery.content.source;
        match self.parts.sources.iter().find(|source| source.name() == name) {
            Some(source) => source.decode(delivery, true),
            None => Err(format!("there is no source `{name}` in declic.yaml any more")),
        }
    }

    /// Does something that an operator asks for: written down before it is done, and what came of it after.
    pub async fn act<T>(
        &self,
        viewer: &Viewer,
        act: &str,
        subject: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        operator(viewer)?;
        let result = accounted(self.journal(), [&viewer.who, act, subject], work, |failure| failure.detail().to_owned()).await;
        (self.parts.wake)();
        result
    }
}

/// Name of the mark of a session that somebody ended; its moment is when it would have ended by itself.
fn over(session: &Session) -> String {
    format!("{SIGNED_OUT}{}", session.id)
}

impl State {
    /// Ends a session for every instance: a cookie that somebody copied opens nothing any more.
    pub async fn sign_out(&self, viewer: &Viewer, session: &Session) -> Result<(), Failure> {
        let number = self.journal().audit(&viewer.who, "sign-out", viewer.role.word()).await?;
        self.journal().set_mark(&over(session), session.until).await?;
        Ok(self.journal().audited(number, "done").await?)
    }

    /// Did somebody end this session?
    pub async fn is_over(&self, session: &Session) -> Result<bool, Failure> {
        Ok(self.journal().mark(&over(session)).await?.is_some())
    }

    /// Writes down that somebody signed in.
    pub async fn signed_in(&self, viewer: &Viewer) -> Result<(), Failure> {
        let number = self.journal().audit(&viewer.who, "sign-in", viewer.role.word()).await?;
        Ok(self.journal().audited(number, "done").await?)
    }

    /// Writes down that somebody is known and may not come in.
    pub async fn turned_away(&self, who: &str) {
        let written = async {
            let number = self.journal().audit(who, "sign-in", "").await?;
            self.journal().audited(number, "refused: neither an operator nor a viewer").await
        };
        tracing::warn!(who, "somebody is neither an operator nor a viewer, and was not let in");
        if let Err(error) = written.await {
            tracing::error!(%error, "that somebody was not let in cannot be written into the audit log");
        }
    }
}

/// Only an operator may go on.
pub fn operator(viewer: &Viewer) -> Result<(), Failure> {
    if viewer.role == Role::Operator {
        Ok(())
    } else {
        Err(Failure::forbidden("You may look, but only an operator may do this."))
    }
}

//! Yes or no to runs that ask a person, and where each target stands.

use std::sync::Arc;

use declic_actions::action::Answer;
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::problem::Failure;
use super::state::State;
use crate::access::Viewer;
use crate::run::approval;

/// What somebody adds to an answer.
#[derive(Debug, Default, Object)]
#[oai(deny_unknown_fields, nullable_all)]
pub(super) struct Comment {
    /// For the record.
    comment: Option<String>,
}

/// A run that was answered.
#[derive(Debug, Object)]
pub(super) struct Answered {
    /// The run.
    run: String,
    /// Was it approved?
    approved: bool,
}

/// The gate before a target: whether it is asked at the moment.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Breaker {
    /// `target web_staging`, `connection slack_eng`, `github`, `host api.example.com`.
    pub target: String,
    /// `closed`: it is asked; `open`: it is not; `half-open`: one attempt tries it.
    pub breaker: String,
    /// Failures in a row.
    pub failures: u32,
    /// Why it is not asked.
    pub reason: Option<String>,
    /// Seconds until it is tried again.
    pub tries_in: Option<u64>,
    /// Steps that are at it now.
    pub in_hand: u64,
    /// Runs that wait for it.
    pub waiting: u64,
}

#[derive(Debug, Object)]
pub(super) struct Breakers {
    /// Those that this process has met.
    items: Vec<Breaker>,
}

/// The operations.
pub(super) struct ApprovalsApi(pub Arc<State>);

#[OpenApi]
impl ApprovalsApi {
    /// Say yes to a run that asks a person
    #[oai(path = "/runs/:id/approve", method = "post", operation_id = "approveRun")]
    async fn approve(
        &self,
        viewer: Data<&Viewer>,
        /// `DELIVERY-N`
        id: Path<String>,
        comment: Json<Comment>,
    ) -> Result<Json<Answered>, Failure> {
        self.0.answer_run(&viewer, &id, true, comment.0.comment).await?;
        Ok(Json(Answered { run: id.0, approved: true }))
    }

    /// Say no to a run that asks a person
    #[oai(path = "/runs/:id/reject", method = "post", operation_id = "rejectRun")]
    async fn reject(
        &self,
        viewer: Data<&Viewer>,
        /// `DELIVERY-N`
        id: Path<String>,
        comment: Json<Comment>,
    ) -> Result<Json<Answered>, Failure> {
        self.0.answer_run(&viewer, &id, false, comment.0.comment).await?;
        Ok(Json(Answered { run: id.0, approved: false }))
    }

    /// Where each target stands: whether it is asked at the moment, and who waits for it
    #[oai(path = "/breakers", method = "get", operation_id = "listBreakers")]
    async fn breakers(&self, _viewer: Data<&Viewer>) -> Result<Json<Breakers>, Failure> {
        Ok(Json(Breakers { items: self.0.breakers() }))
    }
}

impl State {
    /// Yes or no to a run's question.
    pub(crate) async fn answer_run(
        &self,
        viewer: &Viewer,
        id: &str,
        approved: bool,
        comment: Option<String>,
    ) -> Result<(), Failure> {
        self.run(viewer, id).await?;
        let answer = Answer { approved, via: "api".to_owned(), by: viewer.who.clone(), comment };
        let act = if approved { "approve" } else { "reject" };
        self.act(viewer, act, id, async { Ok(approval::answer(self.journal(), id, answer).await?) }).await
    }

    /// The gates of this process.
    pub(crate) fn breakers(&self) -> Vec<Breaker> {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let shown = |state: crate::run::gate::TargetState| Breaker {
            target: state.target,
            breaker: state.breaker.to_owned(),
            failures: state.failures,
            reason: state.reason,
            tries_in: state.tries_in,
            in_hand: count(state.in_hand),
            waiting: count(state.waiting),
        };
        self.parts.gates.states().into_iter().map(shown).collect()
    }
}

//! `/runs`: what was done, step by step, and what people ask of it.

use std::sync::Arc;
use std::time::Duration;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::deliveries::PAGE;
use super::problem::Failure;
use super::shapes::{Run, RunDetail, Step};
use super::sight::Page;
use super::state::{State, operator};
use super::words::{Moment, Word};
use crate::access::Viewer;
use crate::clock::Timestamp;
use crate::journal::record::{GroupMode, Listing, RunRecord, RunState, Selection};

/// Runs whose groups are shown, at most.
pub(super) const OPEN: usize = 2000;
/// Dead runs that one redrive takes, at most.
const REDRIVE: usize = 1000;

/// A page of runs, newest first.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct Runs {
    /// The runs.
    items: Vec<Run>,
    /// `cursor` of the next page; none if this is the last one.
    next: Option<String>,
}

/// The steps of a run.
#[derive(Debug, Object)]
pub(super) struct Steps {
    /// In the order in which they are done.
    items: Vec<Step>,
}

/// What a run was asked for.
#[derive(Debug, Object)]
pub(super) struct Asked {
    /// The run.
    run: String,
    /// Is it over already? Otherwise it stops at its next safe point.
    over: bool,
}

/// A run that is queued again.
#[derive(Debug, Object)]
pub(super) struct Queued {
    /// The run.
    run: String,
}

/// Which dead runs are redriven.
#[derive(Debug, Default, Object)]
#[oai(deny_unknown_fields, nullable_all)]
pub(super) struct Redrive {
    /// Only those of this source.
    source: Option<String>,
    /// Only those of this event: `github.push`, or the provider's word.
    event: Option<String>,
    /// Only those about this repository, `owner/name`.
    repository: Option<String>,
    /// Only those of this rule.
    rule: Option<String>,
    /// Only those with this text in an id, a rule, a group or a reason.
    text: Option<String>,
    /// Only those that failed then or later.
    since: Option<Moment>,
    /// At most so many; 1000 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
    limit: Option<usize>,
    /// Only say which.
    dry_run: Option<bool>,
}

/// Which runs were queued again, or would be.
#[derive(Debug, Object)]
pub(super) struct Redriven {
    /// Their ids, oldest first.
    runs: Vec<String>,
    /// Those that could not be, with the reason.
    refused: Vec<RefusedRun>,
}

/// A run that was not queued again.
#[derive(Debug, Object)]
pub(super) struct RefusedRun {
    /// The run.
    run: String,
    /// Why.
    why: String,
}

/// A concurrency group with open runs.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct OpenGroup {
    /// Its rendered name.
    pub key: String,
    /// What happens to those that wait.
    pub mode: Word<GroupMode>,
    /// The run that has it to itself.
    pub holder: Option<String>,
    /// Those that wait for it, oldest first.
    pub waiting: Vec<String>,
}

/// All of them.
#[derive(Debug, Object)]
pub(super) struct Groups {
    /// By name.
    items: Vec<OpenGroup>,
}

/// The operations.
pub(super) struct RunsApi(pub Arc<State>);

#[OpenApi]
impl RunsApi {
    /// List runs, newest first
    #[oai(path = "/runs", method = "get", operation_id = "listRuns")]
    #[expect(clippy::too_many_arguments, reason = "each is a filter of its own in the address")]
    async fn list(
        &self,
        viewer: Data<&Viewer>,
        /// Only those after this place, from `next` of a page.
        #[oai(validator(pattern = r"^[0-9a-hj-km-np-tv-z]{13}-[0-9]{1,9}$"))]
        cursor: Query<Option<String>>,
        /// At most so many.
        #[oai(validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<Option<usize>>,
        /// Only those in one of these states.
        state: Query<Vec<Word<RunState>>>,
        /// Only those of this source.
        source: Query<Option<String>>,
        /// Only those of this event: `github.push`, or the provider's word.
        event: Query<Option<String>>,
        /// Only those about this repository, `owner/name`.
        repository: Query<Option<String>>,
        /// Only those of this rule.
        rule: Query<Option<String>>,
        /// Only those whose delivery was received then or later.
        since: Query<Option<Moment>>,
        /// Only those whose delivery was received before.
        until: Query<Option<Moment>>,
        /// Only those with this text in an id, a rule, a group or a reason.
        text: Query<Option<String>>,
    ) -> Result<Json<Runs>, Failure> {
        let listing = Listing {
            before: cursor.0,
            limit: limit.0.unwrap_or(PAGE) + 1,
            states: state.0.into_iter().map(|word| word.0).collect(),
            source: source.0,
            event: event.0,
            repository: repository.0,
            rule: rule.0,
            since: since.0.map(|moment| moment.0),
            until: until.0.map(|moment| moment.0),
            text: text.0.filter(|text| !text.is_empty()),
        };
        let (items, next) = self.0.runs(&viewer, listing).await?;
        Ok(Json(Runs { items: items.into_iter().map(Run::from).collect(), next }))
    }

    /// List runs that failed for good, newest first: what `redrive` takes
    #[oai(path = "/dead", method = "get", operation_id = "listDeadRuns")]
    #[expect(clippy::too_many_arguments, reason = "each is a filter of its own in the address")]
    async fn dead(
        &self,
        viewer: Data<&Viewer>,
        /// Only those after this place, from `next` of a page.
        #[oai(validator(pattern = r"^[0-9a-hj-km-np-tv-z]{13}-[0-9]{1,9}$"))]
        cursor: Query<Option<String>>,
        /// At most so many.
        #[oai(validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<Option<usize>>,
        /// Only those of this source.
        source: Query<Option<String>>,
        /// Only those of this event: `github.push`, or the provider's word.
        event: Query<Option<String>>,
        /// Only those about this repository, `owner/name`.
        repository: Query<Option<String>>,
        /// Only those of this rule.
        rule: Query<Option<String>>,
        /// Only those whose delivery was received then or later.
        since: Query<Option<Moment>>,
        /// Only those whose delivery was received before.
        until: Query<Option<Moment>>,
        /// Only those with this text in an id, a rule, a group or a reason.
        text: Query<Option<String>>,
    ) -> Result<Json<Runs>, Failure> {
        let states = dead_states().iter().map(|state| Word::new(state)).collect();
        self.list(viewer, cursor, limit, Query(states), source, event, repository, rule, since, until, text).await
    }

    /// Show a run: every step and every attempt with its reason
    #[oai(path = "/runs/:id", method = "get", operation_id = "getRun")]
    async fn show(
        &self,
        viewer: Data<&Viewer>,
        /// `DELIVERY-N`
        id: Path<String>,
    ) -> Result<Json<RunDetail>, Failure> {
        let (run, steps) = self.0.run(&viewer, &id).await?;
        Ok(Json(RunDetail::new(run, steps, self.0.parts.observer.lately(&id), &self.0.redaction)))
    }

    /// The steps of a run with their attempts
    #[oai(path = "/runs/:id/steps", method = "get", operation_id = "listSteps")]
    async fn steps(
        &self,
        viewer: Data<&Viewer>,
        /// `DELIVERY-N`
        id: Path<String>,
    ) -> Result<Json<Steps>, Failure> {
        let (_, steps) = self.0.run(&viewer, &id).await?;
        Ok(Json(Steps { items: steps.into_iter().map(|step| Step::new(step, &self.0.redaction)).collect() }))
    }

    /// Do a run again that failed, was stopped or was not needed; what it did stays done
    #[oai(path = "/runs/:id/retry", method = "post", operation_id = "retryRun")]
    async fn retry(
        &self,
        viewer: Data<&Viewer>,
        /// `DELIVERY-N`
        id: Path<String>,
    ) -> Result<Json<Queued>, Failure> {
        self.0.retry(&viewer, &id).await?;
        Ok(Json(Queued { run: id.0 }))
    }

    /// Stop a run at its next safe point
    #[oai(path = "/runs/:id/cancel", method = "post", operation_id = "cancelRun")]
    async fn cancel(
        &self,
        viewer: Data<&Viewer>,
        /// `DELIVERY-N`
        id: Path<String>,
    ) -> Result<Json<Asked>, Failure> {
        let over = self.0.cancel(&viewer, &id).await?;
        Ok(Json(Asked { run: id.0, over }))
    }

    /// Queue many dead runs again
    #[oai(path = "/redrive", method = "post", operation_id = "redrive")]
    async fn redrive(&self, viewer: Data<&Viewer>, which: Json<Redrive>) -> Result<Json<Redriven>, Failure> {
        let Redrive { source, event, repository, rule, text, since, limit, dry_run } = which.0;
        let text = text.filter(|text| !text.is_empty());
        let among = Listing { source, event, repository, rule, text, ..Listing::default() };
        let (runs, refused) = self.0.redrive(&viewer, among, since, limit, dry_run == Some(true)).await?;
        let refused = refused.into_iter().map(|(run, why)| RefusedRun { run, why }).collect();
        Ok(Json(Redriven { runs, refused }))
    }

    /// Concurrency groups with open runs: who has each, and who waits
    #[oai(path = "/groups", method = "get", operation_id = "listGroups")]
    async fn groups(&self, viewer: Data<&Viewer>) -> Result<Json<Groups>, Failure> {
        Ok(Json(Groups { items: self.0.groups(&viewer).await? }))
    }
}

/// The states of runs that failed for good.
pub(crate) fn dead_states() -> Vec<String> {
    [RunState::Failed, RunState::Dead].map(|state| state.word().to_owned()).to_vec()
}

/// The states of runs that are not over.
pub(crate) fn open_states() -> Vec<String> {
    [RunState::Queued, RunState::Running, RunState::Waiting].map(|state| state.word().to_owned()).to_vec()
}

impl State {
    /// Runs that may be seen, and where the next page begins. `listing.limit` is one more than wanted.
    pub(crate) async fn runs(&self, viewer: &Viewer, mut listing: Listing) -> Result<(Vec<RunRecord>, Option<String>), Failure> {
        let mut page = Page::of(&listing);
        loop {
            let items = self.journal().runs(listing.clone()).await?;
            let mut shown = Vec::new();
            for item in &items {
                shown.push(self.shows_of(viewer, &item.delivery).await?);
            }
            let items = items.into_iter().map(|item| self.redaction.run(item)).collect();
            listing.before = page.add(items, &shown, |item| &item.id);
            if listing.before.is_none() {
                return Ok(page.done());
            }
        }
    }

    /// Queues a run again.
    pub(crate) async fn retry(&self, viewer: &Viewer, id: &str) -> Result<(), Failure> {
        self.run(viewer, id).await?;
        self.act(viewer, "retry", id, async { Ok(self.journal().retry(id).await?) }).await
    }

    /// Stops a run; true if it is over.
    pub(crate) async fn cancel(&self, viewer: &Viewer, id: &str) -> Result<bool, Failure> {
        self.run(viewer, id).await?;
        self.act(viewer, "cancel", id, async { Ok(self.journal().cancel(id).await?) }).await
    }

    /// Queues dead runs again, and answers which, and which could not be.
    pub(crate) async fn redrive(
        &self,
        viewer: &Viewer,
        among: Listing,
        since: Option<Moment>,
        limit: Option<usize>,
        dry_run: bool,
    ) -> Result<(Vec<String>, Vec<(String, String)>), Failure> {
        operator(viewer)?;
        let age = since.map(|since| {
            let age = Timestamp::now().0.saturating_sub(since.0.0);
            Duration::from_millis(u64::try_from(age).unwrap_or(0))
        });
        let selection = Selection { among, since: age, limit: limit.unwrap_or(REDRIVE) };
        let (mut queued, mut refused) = (Vec::new(), Vec::new());
        for id in self.journal().dead(selection).await? {
            // Nothing is said of what may not be seen. The id of a run begins with that of its delivery.
            if !self.shows_of(viewer, id.split('-').next().unwrap_or_default()).await? {
                continue;
            }
            if dry_run {
                queued.push(id);
                continue;
            }
            match self.retry(viewer, &id).await {
                Ok(()) => queued.push(id),
                // Somebody else was faster, or it was removed: the others still count.
                Err(failure @ (Failure::Conflict(_) | Failure::NotFound(_))) => refused.push((id, failure.detail().to_owned())),
                Err(failure) => return Err(failure),
            }
        }
        Ok((queued, refused))
    }

    /// The groups of open runs.
    pub(crate) async fn groups(&self, viewer: &Viewer) -> Result<Vec<OpenGroup>, Failure> {
        let listing = Listing { limit: OPEN + 1, states: open_states(), ..Listing::default() };
        let (runs, _) = self.runs(viewer, listing).await?;
        Ok(grouped(runs))
    }
}

/// The groups of open runs, which come newest first.
pub(super) fn grouped(runs: Vec<RunRecord>) -> Vec<OpenGroup> {
    let mut groups: Vec<OpenGroup> = Vec::new();
    // Newest first: from the other end, those that wait come in their order.
    for run in runs.into_iter().rev() {
        let Some(group) = run.group else { continue };
        let position = groups.iter().position(|known| known.key == group.key).unwrap_or_else(|| {
            let mode = Word::new(group.mode.word());
            groups.push(OpenGroup { key: group.key.clone(), mode, holder: None, waiting: Vec::new() });
            groups.len() - 1
        });
        let Some(known) = groups.get_mut(position) else { continue };
        if run.state.holds_group() {
            known.holder = Some(run.id);
        } else {
            known.waiting.push(run.id);
        }
    }
    groups.sort_by(|one, other| one.key.cmp(&other.key));
    groups
}

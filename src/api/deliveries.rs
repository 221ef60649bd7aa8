//! `/deliveries`: what came in, why each rule matched or did not, and once more.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, Json};
use poem_openapi::types::Any;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde_json::Value;

use super::decisions::Decision;
use super::problem::Failure;
use super::redact::{Body, Redaction};
use super::shapes::{Delivery, Run};
use super::sight::Page;
use super::state::{State, operator};
use super::words::{Moment, Word};
use crate::access::Viewer;
use crate::journal::record::{self, DeliveryState, Listing};
use crate::matching::Index;

/// Items of a page, if not asked otherwise.
pub(super) const PAGE: usize = 50;

/// A page of deliveries, newest first.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct Deliveries {
    /// The deliveries.
    items: Vec<Delivery>,
    /// `cursor` of the next page; none if this is the last one.
    next: Option<String>,
}

/// A header.
#[derive(Debug, Clone, Object)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// Its value, redacted.
    pub value: String,
}

/// A delivery with its request, decisions and runs.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct DeliveryDetail {
    /// The delivery.
    delivery: Delivery,
    /// Headers that were kept, redacted.
    headers: Vec<Header>,
    /// The body, redacted, if it is JSON or a form.
    body: Option<Any<Value>>,
    /// The body, if it is other text.
    text: Option<String>,
    /// Every rule that was looked at: why it matched, or why not.
    decisions: Vec<Decision>,
    /// The runs that it started, in the order of the rules.
    runs: Vec<Run>,
}

/// What rules make of a delivery.
#[derive(Debug, Object)]
pub(super) struct Decisions {
    /// The rule set that decided.
    revision: String,
    /// Every rule that was looked at.
    items: Vec<Decision>,
}

/// A delivery that was taken in once more.
#[derive(Debug, Object)]
pub(super) struct Replayed {
    /// Our id of the new one.
    delivery: String,
}

/// The bytes of a body.
#[derive(ApiResponse)]
pub(super) enum Raw {
    /// As they came in.
    #[oai(status = 200)]
    Bytes(Binary<Vec<u8>>),
}

/// Which rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, poem_openapi::Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum By {
    /// Those of then: what was decided.
    Then,
    /// Those in force: what would be decided.
    Now,
}

/// The operations.
pub(super) struct DeliveriesApi(pub Arc<State>);

#[OpenApi]
impl DeliveriesApi {
    /// List deliveries, newest first
    #[oai(path = "/deliveries", method = "get", operation_id = "listDeliveries")]
    #[expect(clippy::too_many_arguments, reason = "each is a filter of its own in the address")]
    async fn list(
        &self,
        viewer: Data<&Viewer>,
        /// Only those after this place, from `next` of a page.
        #[oai(validator(pattern = r"^[0-9a-hj-km-np-tv-z]{13}$"))]
        cursor: Query<Option<String>>,
        /// At most so many.
        #[oai(validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<Option<usize>>,
        /// Only those in one of these states.
        state: Query<Vec<Word<DeliveryState>>>,
        /// Only those of this source.
        source: Query<Option<String>>,
        /// Only those of this event: `github.push`, or the provider's word.
        event: Query<Option<String>>,
        /// Only those about this repository, `owner/name`.
        repository: Query<Option<String>>,
        /// Only those that started this rule.
        rule: Query<Option<String>>,
        /// Only those received then or later.
        since: Query<Option<Moment>>,
        /// Only those received before.
        until: Query<Option<Moment>>,
        /// Only those with this text in an id, a title, a repository or a reason.
        text: Query<Option<String>>,
    ) -> Result<Json<Deliveries>, Failure> {
        let limit = limit.0.unwrap_or(PAGE);
        let listing = Listing {
            before: cursor.0,
            limit: limit + 1,
            states: state.0.into_iter().map(|word| word.0).collect(),
            source: source.0,
            event: event.0,
            repository: repository.0,
            rule: rule.0,
            since: since.0.map(|moment| moment.0),
            until: until.0.map(|moment| moment.0),
            text: text.0.filter(|text| !text.is_empty()),
        };
        let (items, next) = self.0.deliveries(&viewer, listing).await?;
        Ok(Json(Deliveries { items: items.into_iter().map(Delivery::from).collect(), next }))
    }

    /// Show a delivery: how it was verified, its request, why each rule matched or did not, and its runs
    #[oai(path = "/deliveries/:id", method = "get", operation_id = "getDelivery")]
    async fn show(
        &self,
        viewer: Data<&Viewer>,
        /// Our id of it.
        id: Path<String>,
    ) -> Result<Json<DeliveryDetail>, Failure> {
        let (delivery, traces) = self.0.delivery(&viewer, &id).await?;
        let content = self.0.content(&id).await?;
        let (body, text) = match self.0.redaction.body(&content.content.body) {
            Body::Json(value) => (Some(Any(value)), None),
            Body::Text(text) => (None, Some(text)),
            Body::Binary => (None, None),
        };
        let runs = self.0.runs_of(&id).await?;
        Ok(Json(DeliveryDetail {
            delivery: delivery.into(),
            headers: headers(&content, &self.0.redaction),
            body,
            text,
            decisions: traces.into_iter().map(Decision::from).collect(),
            runs: runs.into_iter().map(Run::from).collect(),
        }))
    }

    /// The body of a delivery, byte by byte and not redacted; for operators, and written into the audit log
    #[oai(path = "/deliveries/:id/body", method = "get", operation_id = "getDeliveryBody")]
    async fn body(
        &self,
        viewer: Data<&Viewer>,
        /// Our id of it.
        id: Path<String>,
    ) -> Result<Raw, Failure> {
        operator(&viewer)?;
        self.0.delivery(&viewer, &id).await?;
        let read = self.0.act(&viewer, "read-body", &id, async { self.0.content(&id).await });
        Ok(Raw::Bytes(Binary(read.await?.content.body.to_vec())))
    }

    /// Why each rule matched or did not: by the rules of then, or by those in force
    #[oai(path = "/deliveries/:id/decisions", method = "get", operation_id = "getDecisions")]
    async fn decisions(
        &self,
        viewer: Data<&Viewer>,
        /// Our id of it.
        id: Path<String>,
        /// Which rules decide; `then` if not given.
        rules: Query<Option<By>>,
    ) -> Result<Json<Decisions>, Failure> {
        let (_, traces) = self.0.delivery(&viewer, &id).await?;
        if rules.0 == Some(By::Now) {
            let content = self.0.content(&id).await?;
            let index = self.0.parts.rules.current().load_full();
            return self.0.decide(&content, &index).map(Json);
        }
        let revision = self.0.journal().runs_of(&id).await?.into_iter().next().map(|run| run.revision).unwrap_or_default();
        Ok(Json(Decisions { revision, items: traces.into_iter().map(Decision::from).collect() }))
    }

    /// Take a delivery in once more: the rules in force decide, and effects are made anew
    #[oai(path = "/deliveries/:id/replay", method = "post", operation_id = "replayDelivery")]
    async fn replay(
        &self,
        viewer: Data<&Viewer>,
        /// Our id of it.
        id: Path<String>,
    ) -> Result<Json<Replayed>, Failure> {
        self.0.replay(&viewer, &id).await.map(|delivery| Json(Replayed { delivery }))
    }
}

impl State {
    /// Deliveries that may be seen, and where the next page begins. `listing.limit` is one more than wanted.
    pub(crate) async fn deliveries(
        &self,
        viewer: &Viewer,
        mut listing: Listing,
    ) -> Result<(Vec<record::DeliveryRecord>, Option<String>), Failure> {
        let mut page = Page::of(&listing);
        loop {
            let items = self.journal().deliveries(listing.clone()).await?;
            let mut shown = Vec::new();
            for item in &items {
                shown.push(self.shows(viewer, &item.about).await);
            }
            let items = items.into_iter().map(|item| self.redaction.delivery(item)).collect();
            listing.before = page.add(items, &shown, |item| &item.id);
            if listing.before.is_none() {
                return Ok(page.done());
            }
        }
    }

    /// The runs of a delivery that may be seen, in the order of the rules.
    pub(crate) async fn runs_of(&self, id: &str) -> Result<Vec<record::RunRecord>, Failure> {
        Ok(self.journal().runs_of(id).await?.into_iter().map(|run| self.redaction.run(run)).collect())
    }

    /// Takes a delivery in once more. Answers the id of the new one.
    pub(crate) async fn replay(&self, viewer: &Viewer, id: &str) -> Result<String, Failure> {
        self.delivery(viewer, id).await?;
        self.act(viewer, "replay", id, async { Ok(self.journal().replay(id).await?) }).await
    }

    fn decide(&self, delivery: &record::Delivery, index: &Index) -> Result<Decisions, Failure> {
        let event = self.decode(delivery).map_err(Failure::conflict)?;
        let decisions = event.map(|event| index.decide_all(&event)).unwrap_or_default();
        let traces = decisions.traces.into_iter().map(|trace| self.redaction.trace(trace));
        let items = traces.map(Decision::from).collect();
        Ok(Decisions { revision: index.rules().revision.clone(), items })
    }
}

/// Headers that were kept, as they may be shown.
pub(crate) fn headers(delivery: &record::Delivery, redaction: &Redaction) -> Vec<Header> {
    let shown = |(name, value): &(String, String)| Header { name: name.clone(), value: redaction.header(name, value) };
    delivery.content.headers.iter().map(shown).collect()
}

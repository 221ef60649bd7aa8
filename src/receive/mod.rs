//! The front door: one HTTP endpoint over all sources, and the server under it.
//!
//! Nothing is parsed before it verified, nothing is acknowledged before it is journaled, and what is refused leaves no trace but a
//! count and, at most every few seconds, a line in the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderMap, Method, header};
use poem::{Endpoint, Request, Response};
use serde_json::Value;
use tracing::Instrument;

use dispatch::Called;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::inbound::Inbound;
use crate::journal::record::{Appended, Listing, NewDelivery};
use crate::journal::{Journal, JournalError};
use crate::report::metrics::{DeliveryLabels, Metrics, SecretLabels};
use crate::run::Fresh;
use crate::sources::replies::Said;
use crate::sources::rotation::Evidence;
use crate::sources::{self, Answer, Identity, Outcome, Source, Taken};
use crate::verify::{Refusal, Verified};

mod answer;
mod body;
pub mod dispatch;
mod framing;
mod limits;
mod outward;
mod recent;
mod refusals;
mod room;
mod server;
mod trace;

pub use limits::Limits;
pub use outward::{Outward, Reveal};
pub use server::serve;

/// Deliveries that are looked at together at the start.
const PAGE: usize = 500;

/// What `/readyz` tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// Can deliveries be taken in?
    pub ready: bool,
    /// An object for people: revision of the rules, last error of a reload. Told on this machine only: a fault shows lines of the rules.
    pub detail: Value,
}

/// Source and id of a delivery, and until when its sender is to be answered.
pub type Replies = Arc<dyn Fn(String, String, Instant) -> BoxFuture<'static, Said> + Send + Sync>;

/// Tells of a delivery, by its id.
pub type Handed = Arc<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// What the front door is made of.
pub struct Parts {
    /// The entry points.
    pub sources: Vec<Arc<dyn Source>>,
    /// Where deliveries go.
    pub journal: Arc<dyn Journal>,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// Asked for every `/readyz`.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Called with the id of every delivery that is to be claimed, after it is on disk. Must not block.
    pub wake: Arc<dyn Fn(&str) + Send + Sync>,
    /// Done with the id of every delivery that is to be claimed, after it is on disk and before it is answered: where nothing is done between
    /// requests, whoever wakes must be told now.
    pub handed: Option<Handed>,
    /// `/internal/dispatch`, if a queue calls.
    pub called: Option<Called>,
    /// Where deliveries that nobody waits for are matched straight from memory; without it the worker claims them.
    pub fresh: Option<Fresh>,
    /// Asked what the rules say to a delivery whose sender waits, after it is on disk; answers when the time is up at the latest. Without
    /// it nobody replies.
    pub replies: Option<Replies>,
    /// Told which secret of a source matched; without it only the metrics know.
    pub evidence: Option<Arc<Evidence>>,
    /// Everything else the service answers (API, console); without it, or where it has no route, the answer is our 404.
    pub rest: Option<BoxEndpoint<'static, Response>>,
    /// Fetches what some sources need; without it, those refuse for now.
    pub outward: Option<Arc<Outward>>,
    /// Bounds.
    pub limits: Limits,
}

/// The endpoint over all sources.
pub struct Front {
    parts: Parts,
    by_path: HashMap<String, Arc<dyn Source>>,
    /// Folders that sources are in: nothing else answers there, so that nobody learns which names almost exist.
    folders: HashSet<String>,
    refusals: refusals::Log,
    budget: body::Budget,
    recent: recent::Bodies,
}

impl Front {
    /// Puts the parts together; an error if two sources have the same path, or one has a path of our own.
    pub fn new(parts: Parts) -> Result<Self, String> {
        let mut by_path: HashMap<String, Arc<dyn Source>> = HashMap::new();
        for source in &parts.sources {
            let path = &source.entry().path;
            if !path.starts_with('/') || matches!(path.as_str(), "/" | "/livez" | "/readyz" | "/healthz" | "/metrics") {
                return Err(format!("the source {} cannot have the path {path}", source.name()));
            }
            if let Some(other) = by_path.insert(path.clone(), Arc::clone(source)) {
                return Err(format!("the sources {} and {} have the same path {path}", other.name(), source.name()));
            }
        }
        let folders = by_path.keys().map(|path| folder(path).to_owned()).filter(|folder| !folder.is_empty()).collect();
        let budget = body::Budget::new(parts.limits.buffered);
        Ok(Self { parts, by_path, folders, refusals: refusals::Log::default(), budget, recent: recent::Bodies::default() })
    }

    /// Remembers what the journal keeps for the time after a restart: which secrets matched when, and the bodies of the last minutes, of which
    /// none may be sent again under another id.
    pub async fn remember(&self) -> Result<(), JournalError> {
        if let Some(evidence) = &self.parts.evidence {
            for (source, place, last) in evidence.begin(Timestamp::now()).await? {
                let labels = SecretLabels { source, secret: place as u64 };
                self.parts.metrics.secret_last_matched.get_or_create(&labels).set(last.seconds());
            }
        }
        let since = recent::begin(Timestamp::now());
        for source in self.parts.sources.iter().filter(|source| source.knows_bodies()) {
            let mut before = None;
            loop {
                let listing = Listing {
                    before: before.take(),
                    limit: PAGE,
                    source: Some(source.name().to_owned()),
                    since: Some(since),
                    ..Listing::default()
                };
                let page = self.parts.journal.deliveries(listing).await?;
                for record in &page {
                    // A replay by hand is no delivery of the provider's.
                    let kept = self.parts.journal.delivery(&record.id).await?.filter(|kept| !kept.replay);
                    if let Some(NewDelivery { source, delivery_id, body, received_at, .. }) = kept.map(|kept| kept.content) {
                        self.recent.remember(&source, &body, &delivery_id, received_at);
                    }
                }
                match page.last() {
                    Some(last) if page.len() == PAGE => before = Some(last.id.clone()),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    async fn answer(&self, request: Request) -> Response {
        if request.extensions().get::<framing::Framing>().is_some_and(framing::Framing::is_ambiguous) {
            return self.refuse("unknown", &Refusal::malformed("both Transfer-Encoding and Content-Length: request smuggling"));
        }
        if let Some(source) = self.source(request.uri().path()) {
            return match self.take_in(source.as_ref(), request).await {
                Ok(response) => response,
                Err(refusal) => {
                    let refused = self.refuse(source.name(), &refusal);
                    said(source.as_ref(), outcome_of(&refusal), refused)
                }
            };
        }
        if let (dispatch::PATH, Some(called)) = (request.uri().path(), &self.parts.called) {
            let answered = self.called(called, request).await;
            return answered.unwrap_or_else(|refusal| self.refuse("dispatch", &refusal));
        }
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match request.uri().path() {
            "/livez" | "/readyz" | "/metrics" if !read => answer::method_not_allowed("GET, HEAD"),
            "/livez" => answer::text("ok\n"),
            "/readyz" => answer::readiness(&(self.parts.readiness)(), is_on_this_machine(&request)),
            "/metrics" => answer::metrics(self.parts.metrics.render()),
            path if self.folders.contains(folder(path)) => answer::not_found(),
            _ => match &self.parts.rest {
                Some(rest) => rest.get_response(request).await,
                None => answer::not_found(),
            },
        }
    }

    async fn called(&self, called: &Called, request: Request) -> Result<Response, Refusal> {
        let began = Instant::now();
        let method = request.method().clone();
        let inbound = self.read(dispatch::LARGEST, request).await?;
        if let (Some(want), Some(outward)) = (called.scheme.wants(&inbound), &self.parts.outward) {
            outward.fetch(want).await;
        }
        called.answer(&method, &inbound, began).await
    }

    /// The source at a path, or the one whose secret may be the path's last segment.
    fn source(&self, path: &str) -> Option<&Arc<dyn Source>> {
        let exact = self.by_path.get(path).filter(|source| !source.entry().below);
        exact.or_else(|| {
            let (above, _) = path.rsplit_once('/')?;
            self.by_path.get(above).filter(|source| source.entry().below)
        })
    }

    async fn take_in(&self, source: &dyn Source, request: Request) -> Result<Response, Refusal> {
        let entry = source.entry();
        if !entry.methods.contains(&request.method().as_str()) {
            self.count(source.name(), "refused");
            return Ok(answer::method_not_allowed(&entry.methods.join(", ")));
        }
        if request.headers().contains_key(header::CONTENT_ENCODING) {
            // What would the signature be over: these bytes or the inflated ones? And how many would those be?
            return Err(Refusal::media_type("the body is compressed"));
        }
        let trace = trace::of(request.headers());
        let inbound = self.read(entry.body_limit, request).await?;
        let read_at = Instant::now();
        if let (Some(want), Some(outward)) = (source.wants(&inbound), &self.parts.outward) {
            outward.fetch(want).await;
        }
        match sources::take(source, inbound)? {
            Taken::Challenge(answer, secret) => {
                if let Some(secret) = secret {
                    self.matched(source, secret);
                }
                self.meet(source, answer).await
            }
            Taken::Delivery(verified, mut identity) => {
                // What has no body is told apart by its id alone.
                if source.knows_bodies() && !verified.inbound().body.is_empty() {
                    let inbound = verified.inbound();
                    let id = &identity.delivery_id;
                    identity.delivery_id = self.recent.first_id(source.name(), &inbound.body, id, inbound.received_at);
                }
                self.matched(source, verified.secret());
                Ok(self.deliver(source, verified, identity, trace, read_at).await)
            }
        }
    }

    /// Does what a challenge asks for besides its answer.
    async fn meet(&self, source: &dyn Source, answer: Answer) -> Result<Response, Refusal> {
        match (&answer.then_get, &self.parts.outward) {
            (Some(url), Some(outward)) => outward.confirm(url).await?,
            (Some(_), None) => return Err(Refusal::not_now("nothing can be fetched here")),
            (None, _) => {}
        }
        if let (Some(secret), Some(outward)) = (&answer.reveal, &self.parts.outward) {
            outward.reveal(source.name(), secret);
        }
        self.count(source.name(), "challenge");
        Ok(answer::made(answer))
    }

    /// Journals a delivery and answers it.
    async fn deliver(
        &self,
        source: &dyn Source,
        verified: Verified,
        identity: Identity,
        trace: String,
        read_at: Instant,
    ) -> Response {
        let span = tracing::info_span!("delivery", trace);
        let (delivery, event) = new_delivery(source, &verified, identity, trace);
        let outcome = self.append(source, delivery, event).instrument(span.clone()).await;
        self.parts.metrics.accept_seconds.observe(read_at.elapsed().as_secs_f64());
        let (outcome, id, acknowledgement) = span.in_scope(|| self.acknowledge(source.name(), outcome));
        let Some(id) = id else { return said(source, Some(outcome), acknowledgement) };
        if let Some(reply) = self.reply(source, &verified, id.clone(), read_at).instrument(span).await {
            return reply;
        }
        match source.told(outcome, Some(&verified)) {
            Some(told) => answer::named(answer::made(told), &id),
            None => acknowledgement,
        }
    }

    /// Appends, and hands what is new to the matchers, if they have room.
    async fn append(
        &self,
        source: &dyn Source,
        delivery: NewDelivery,
        event: Option<Box<Event>>,
    ) -> Result<Appended, JournalError> {
        // Where the sender waits, the delivery is matched on its behalf.
        let fresh = self.parts.fresh.as_ref().filter(|_| source.conversation().is_none());
        let Some(mut place) = fresh.and_then(|fresh| fresh.place(delivery.body.len(), &delivery.share, event)) else {
            let appended = self.parts.journal.append(delivery).await?;
            if let Appended::New { id } | Appended::Revived { id } = &appended {
                (self.parts.wake)(id);
                if let Some(handed) = &self.parts.handed {
                    handed(id.clone()).await;
                }
            }
            return Ok(appended);
        };
        let taking = place.taking(&delivery);
        let asked = Instant::now();
        let (appended, left) = self.parts.journal.append_as(delivery, taking).await?;
        if let Appended::New { id } | Appended::Revived { id } = &appended {
            place.fill(id, left, asked.into());
        }
        Ok(appended)
    }

    /// What the rules say to a sender that waits. `None`: an acknowledgement will do.
    async fn reply(&self, source: &dyn Source, verified: &Verified, id: String, read_at: Instant) -> Option<Response> {
        let conversation = source.conversation()?;
        let said = match &self.parts.replies {
            Some(replies) => replies(source.name().to_owned(), id.clone(), read_at + conversation.budget()).await,
            None => Said::Nothing,
        };
        let words = conversation.form.words(&said, &verified.inbound().body)?;
        Some(answer::reply(words, &id))
    }

    fn matched(&self, source: &dyn Source, secret: usize) {
        let now = Timestamp::now();
        if let Some(evidence) = &self.parts.evidence {
            evidence.matched(source.name(), secret, now);
        }
        let labels = SecretLabels { source: source.name().to_owned(), secret: secret as u64 };
        self.parts.metrics.secrets.get_or_create(&labels).inc();
        self.parts.metrics.secret_last_matched.get_or_create(&labels).set(now.seconds());
    }

    async fn read(&self, limit: usize, request: Request) -> Result<Inbound, Refusal> {
        let (parts, body) = request.into_parts();
        let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let body = body::read(body, announced, limit, self.parts.limits.body, &self.budget).await?;
        Ok(Inbound {
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: headers(&parts.headers),
            body,
            received_at: Timestamp::now(),
        })
    }

    /// How it ended, our id of it if it is on disk, and what the sender is told if nothing else.
    fn acknowledge(&self, source: &str, outcome: Result<Appended, JournalError>) -> (Outcome, Option<String>, Response) {
        let (id, duplicate, word) = match outcome {
            Ok(Appended::New { id }) => (id, false, "accepted"),
            Ok(Appended::Revived { id }) => (id, true, "revived"),
            Ok(Appended::Duplicate { id }) => (id, true, "duplicate"),
            Err(JournalError::Full) => {
                self.count(source, "full");
                self.refusals.note(source, 429, "the queue in front of the store is full");
                return (Outcome::Busy, None, answer::busy());
            }
            Err(JournalError::Down(why)) => {
                self.count(source, "down");
                self.refusals.note(source, 503, &format!("the store failed: {why}"));
                return (Outcome::Down, None, answer::store_down());
            }
        };
        self.count(source, word);
        tracing::debug!(source, delivery = id, outcome = word, "delivery taken in");
        let acknowledgement = answer::accepted(&id, duplicate);
        (if duplicate { Outcome::Duplicate } else { Outcome::Accepted }, Some(id), acknowledgement)
    }

    fn refuse(&self, source: &str, refusal: &Refusal) -> Response {
        self.count(source, "refused");
        self.refusals.note(source, refusal.status, &refusal.private);
        answer::refusal(refusal)
    }

    fn count(&self, source: &str, outcome: &'static str) {
        self.parts.metrics.deliveries.get_or_create(&DeliveryLabels { source: source.to_owned(), outcome }).inc();
    }
}

/// A path without its last segment.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

/// What is refused, in the words that the provider wants, if it wants certain ones.
fn said(source: &dyn Source, outcome: Option<Outcome>, refused: Response) -> Response {
    match outcome.and_then(|outcome| source.told(outcome, None)) {
        Some(told) => answer::reworded(refused, told),
        None => refused,
    }
}

/// The outcome of a refusal that a provider may want to read in its own words. What a path hides, and what the server itself refuses, has one form.
fn outcome_of(refusal: &Refusal) -> Option<Outcome> {
    match refusal.status {
        400 => Some(Outcome::Malformed),
        401 => Some(Outcome::Unverified),
        503 => Some(Outcome::Down),
        _ => None,
    }
}

impl Endpoint for Front {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(self.answer(request).await)
    }
}

/// Did somebody on this machine ask, and not a proxy on it for somebody else?
pub fn is_on_this_machine(request: &Request) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip", "via"].iter().any(|name| request.headers().contains_key(*name));
    !forwarded && request.remote_addr().as_socket_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}

fn headers(map: &HeaderMap) -> Vec<(String, bytes::Bytes)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), bytes::Bytes::copy_from_slice(value.as_bytes()))).collect()
}

/// A delivery that was fetched, as it goes into the journal: under a trace of its own.
pub(crate) fn to_journal(source: &dyn Source, verified: &Verified, identity: Identity) -> NewDelivery {
    new_delivery(source, verified, identity, trace::of(&HeaderMap::new())).0
}

fn new_delivery(
    source: &dyn Source,
    verified: &Verified,
    identity: Identity,
    trace: String,
) -> (NewDelivery, Option<Box<Event>>) {
    let inbound = verified.inbound();
    let repository = identity.event.as_deref().and_then(Event::repository);
    let delivery = NewDelivery {
        share: repository.unwrap_or(source.name()).to_owned(),
        source: source.name().to_owned(),
        delivery_id: identity.delivery_id,
        event_type: identity.event_type,
        headers: source.kept(inbound),
        body: inbound.body.clone(),
        received_at: inbound.received_at,
        trace,
        verified: verified.how().to_owned(),
    };
    (delivery, identity.event)
}

//! The list of sources: one file a provider, most of them data on top of [`crate::verify`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use declic_actions::action::Answer as PersonAnswer;
use declic_actions::hops;
use declic_actions::secret::Secret;
use serde_json::{Map, Value, json};

use crate::event::{self, Event};
use crate::inbound::Inbound;
use crate::journal::record::{Delivery, NewDelivery};
use crate::settings::SourceSettings;
use crate::verify::trust::Want;
use crate::verify::{Refusal, Verified};
use replies::Conversation;

pub mod catalogue;
pub mod events;
pub mod form;
pub mod github;
mod kinds;
mod outcome;
pub mod replies;
pub mod rotation;

pub use catalogue::Around;
pub use kinds::KINDS;
pub use outcome::Outcome;

/// Body cap where the settings say nothing: GitHub's own limit.
pub const BODY_LIMIT: usize = 25 * 1024 * 1024;

/// Longest id of a delivery that is taken from a request.
const MAX_ID: usize = 255;

/// What a source reads from a verified request before it is journaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The provider's id of the delivery.
    pub delivery_id: String,
    /// The provider's word for the event.
    pub event_type: String,
    /// What the strict look at the body made of it, for whoever matches it at once: nothing has to be read twice. Without payload, and
    /// without the `delivery` context, which only the journal makes.
    pub event: Option<Box<Event>>,
}

/// An answer that is made here and not by a rule: to an ownership challenge, a ping, a delivery whose sender wants certain words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body; empty if there is none.
    pub content_type: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// An address to get before the answer is sent: the confirmation of a subscription.
    pub then_get: Option<String>,
    /// A secret that the provider made for the operator. It is shown to them once and never logged.
    pub reveal: Option<Secret>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Taken {
    /// An ownership challenge or a ping, with its answer. The secret that proved it, if it was proved.
    Challenge(Answer, Option<usize>),
    /// A delivery.
    Delivery(Verified, Identity),
}

/// Looks at a request: challenge, delivery, or neither. Pure: what must be fetched before was told by [`Source::wants`].
pub fn take(source: &dyn Source, inbound: Inbound) -> Result<Taken, Refusal> {
    if let Some(answer) = source.greet(&inbound) {
        return answer.map(|answer| Taken::Challenge(answer, None));
    }
    let verified = source.authenticate(inbound)?;
    let identity = source.identify(&verified)?;
    match source.challenge(&verified, &identity) {
        Some(answer) => answer.map(|answer| Taken::Challenge(answer, Some(verified.secret()))),
        None => Ok(Taken::Delivery(verified, identity)),
    }
}

/// What the receiver must know of a source before it has read a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name in `declic.yaml`.
    pub name: String,
    /// The whole path; compared byte by byte, never decoded.
    pub path: String,
    /// Is there one more segment below the path, which is a secret?
    pub below: bool,
    /// Methods it answers to.
    pub methods: Vec<&'static str>,
    /// Most bytes of a body.
    pub body_limit: usize,
}

/// A configured entry point. Does no IO and parses nothing before it verified.
pub trait Source: Send + Sync {
    /// Where it listens.
    fn entry(&self) -> &Entry;

    /// Its name in `declic.yaml`.
    fn name(&self) -> &str {
        &self.entry().name
    }

    /// What must be fetched before this request can be checked: keys that its sender publishes.
    fn wants(&self, _inbound: &Inbound) -> Option<Want> {
        None
    }

    /// The answer to an ownership challenge that nobody signs. `None`: the request is something else.
    fn greet(&self, _inbound: &Inbound) -> Option<Result<Answer, Refusal>> {
        None
    }

    /// Checks the raw bytes.
    fn authenticate(&self, inbound: Inbound) -> Result<Verified, Refusal>;

    /// What the provider's own API handed out to us, as a delivery; `by` says where it was read. An error: it hands nothing out.
    fn fetched(&self, _inbound: Inbound, _by: &str) -> Result<Verified, Refusal> {
        Err(Refusal::unverified("this provider's deliveries cannot be fetched"))
    }

    /// Id and type, after a strict look at the body: what cannot be decoded later is refused now with a 400.
    fn identify(&self, verified: &Verified) -> Result<Identity, Refusal>;

    /// The answer to a verified request that is not an event: a ping, an ownership challenge. It is not journaled.
    fn challenge(&self, _verified: &Verified, _identity: &Identity) -> Option<Result<Answer, Refusal>> {
        None
    }

    /// Are the same bytes the same delivery for a while, whatever id they come with?
    fn knows_bodies(&self) -> bool {
        false
    }

    /// What the provider wants to read when a request ended so; `delivery` is what was taken in, if it was. `None`: any answer of that class
    /// will do.
    fn told(&self, _outcome: Outcome, _delivery: Option<&Verified>) -> Option<Answer> {
        None
    }

    /// What is kept of a request besides its body: headers by name in lower case. Never a credential or a signature.
    fn kept(&self, inbound: &Inbound) -> Vec<(String, String)>;

    /// Changes a request into what the provider would send for this event and delivery id, signature included: for `declic send`.
    /// `private` is a key made for tests, where only the provider has the real one.
    fn sign(&self, inbound: &mut Inbound, event: &str, id: &str, private: Option<&Secret>) -> Result<(), Refusal>;

    /// The event as rules see it, from the journal. `None`: a kind of event no rule can ask for.
    /// `payload` asks for the whole body as `event.payload`.
    fn decode(&self, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String>;

    /// How the sender wants to be answered, if it waits for what a rule says.
    fn conversation(&self) -> Option<&Conversation> {
        None
    }

    /// What a person says with a delivery to a run that asks, and which run.
    fn answered(&self, _delivery: &Delivery) -> Option<(String, PersonAnswer)> {
        None
    }

    /// Where further answers to a delivery go: an address that is a secret.
    fn respond_to(&self, _delivery: &Delivery) -> Option<Secret> {
        None
    }
}

/// Makes a source from its settings. `secrets` are the values of `secrets:`, newest first. Errors are for the operator and name
/// what to mend; the caller adds which source it is.
pub fn build(
    settings: &SourceSettings,
    secrets: &BTreeMap<String, Vec<Secret>>,
    around: &Around,
) -> Result<Arc<dyn Source>, String> {
    match settings.kind.as_str() {
        "github" | "github-app" => Ok(Arc::new(github::GitHub::new(settings, secrets)?)),
        _ => Ok(Arc::new(catalogue::CatalogueSource::new(settings, secrets, around)?)),
    }
}

/// Reads stored deliveries and can do nothing else: no secret is needed for that, so none is there to verify or to sign with.
pub struct Decoder(Option<events::Decode>);

impl Decoder {
    /// From a source's settings.
    pub fn new(settings: &SourceSettings) -> Result<Self, String> {
        Ok(Self(match settings.kind.as_str() {
            "github" | "github-app" => None,
            _ => Some(catalogue::decode_of(settings)),
        }))
    }

    /// The event as rules see it, with its payload; as [`Source::decode`].
    pub fn decode(&self, delivery: &Delivery) -> Result<Option<Event>, String> {
        match self.0 {
            None => github::event(delivery, true),
            Some(decode) => events::event(decode, delivery, true),
        }
    }
}

/// The values of the secret that the key `field` names.
fn secrets_of<'s>(
    fields: &Map<String, Value>,
    field: &str,
    secrets: &'s BTreeMap<String, Vec<Secret>>,
) -> Result<&'s [Secret], String> {
    let Some(name) = fields.get(field).and_then(Value::as_str) else {
        return Err(format!("has no {field}: without one nobody could be verified"));
    };
    match secrets.get(name).map(Vec::as_slice) {
        None | Some([]) => Err(format!("names the secret {name}, which has no value")),
        Some(values) => Ok(values),
    }
}

/// An id from outside: something short and visible that stays the same when the delivery is repeated. It is only ever compared.
fn opaque_id(text: &str) -> Result<String, Refusal> {
    let visible = !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if visible {
        Ok(text.to_owned())
    } else {
        Err(Refusal::malformed("the delivery's id is missing, too long or not plain text"))
    }
}

/// The media type of a request without its parameters, in lower case.
fn media_type(content_type: &str) -> Cow<'_, str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(essence.to_ascii_lowercase())
    } else {
        Cow::Borrowed(essence)
    }
}

/// Completes an event whose delivery is about to be journaled: with the `delivery` context, but for the id that it does not have yet.
pub fn arriving(event: &mut Event, delivery: &NewDelivery) {
    let mut context = arrival_context(delivery);
    if let (Value::Object(context), Value::Object(lineage)) = (&mut context, event.delivery.take()) {
        context.extend(lineage);
    }
    event.delivery = context;
}

/// Completes an event that was read before its delivery was journaled: with the `delivery` context, and with what its provider was asked.
pub fn journaled(mut event: Event, delivery: &Delivery) -> Event {
    let mut context = delivery_context(delivery);
    if let (Value::Object(context), Value::Object(lineage)) = (&mut context, event.delivery.take()) {
        context.extend(lineage);
    }
    event.delivery = context;
    for (name, context) in [("event", &mut event.event), ("actor", &mut event.actor)] {
        let learned = delivery.learned.as_ref().and_then(|learned| learned.get(name)).and_then(Value::as_object);
        if let (Value::Object(context), Some(learned)) = (context, learned) {
            context.extend(learned.clone());
        }
    }
    event
}

fn delivery_context(delivery: &Delivery) -> Value {
    let mut context = arrival_context(&delivery.content);
    context["id"] = delivery.id.as_str().into();
    context["replay"] = delivery.replay.into();
    context
}

fn arrival_context(delivery: &NewDelivery) -> Value {
    let mut context = json!({
        "source": delivery.source,
        "received_at": delivery.received_at.rfc3339(),
        "replay": false,
    });
    // GitHub's deliveries carry theirs in the body.
    if let Some(hops) = kept(delivery, hops::HEADER).and_then(|text| text.parse::<u32>().ok()).filter(|hops| *hops > 0) {
        context[event::HOPS] = hops.into();
    }
    context
}

/// A kept header of a delivery.
fn kept<'d>(delivery: &'d NewDelivery, name: &str) -> Option<&'d str> {
    delivery.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

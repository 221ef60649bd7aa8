//! The list of sources: one file a provider, most of them data on top of [`crate::verify`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use declic_actions::action::Field;
use declic_actions::secret::Secret;
use declic_actions::targets::SettingKind;
use serde_json::{Map, Value, json};

use crate::event::Event;
use crate::inbound::Inbound;
use crate::journal::record::Delivery;
use crate::settings::SourceSettings;
use crate::verify::{Refusal, Verified};
use replies::Conversation;

pub mod events;
pub mod form;
pub mod github;
pub mod replies;

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
}

/// An answer that is not "accepted": an ownership challenge, a ping.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// What the receiver must know of a source before it has read a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name in `declic.yaml`.
    pub name: String,
    /// The whole path; compared byte by byte, never decoded.
    pub path: String,
    /// Methods it answers to.
    pub methods: &'static [&'static str],
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

    /// Checks the raw bytes.
    fn authenticate(&self, inbound: Inbound) -> Result<Verified, Refusal>;

    /// Id and type, after a strict look at the body: what cannot be decoded later is refused now with a 400.
    fn identify(&self, verified: &Verified) -> Result<Identity, Refusal>;

    /// The answer to a verified request that is not an event: a ping, an ownership challenge. It is not journaled.
    fn challenge(&self, _verified: &Verified, _identity: &Identity) -> Option<Answer> {
        None
    }

    /// Names of the headers (lower case) that are kept with the delivery. Never one with a credential or a signature.
    fn kept_headers(&self) -> &'static [&'static str];

    /// The headers that the provider would set for this event and delivery id, signature included: for `declic send`.
    fn sign(&self, inbound: &Inbound, event: &str, id: &str) -> Result<Vec<(String, String)>, Refusal>;

    /// The event as rules see it, from the journal. `None`: a kind of event no rule can ask for.
    /// `payload` asks for the whole body as `event.payload`.
    fn decode(&self, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String>;

    /// How the sender wants to be answered, if it waits for what a rule says.
    fn conversation(&self) -> Option<&Conversation> {
        None
    }

    /// Where further answers to a delivery go: an address that is a secret.
    fn respond_to(&self, _delivery: &Delivery) -> Option<Secret> {
        None
    }
}

/// What can stand under `auth:` where more than one way exists.
const AUTH: &str = "{ hmac: { secret: secret, header: string, algorithm: sha256|sha1|sha512?, prefix: string?, encoding: hex|base64?, \
    timestamp-header: string?, max-age: duration? }?, basic: secret?, token: { header: string, secret: secret }?, \
    oidc: { audience: string, email: string }? }";

const fn field(name: &'static str, shape: &'static str, summary: &'static str) -> Field {
    Field { name, shape, summary }
}

const DEADLINE: Field = field("deadline", "duration?", "How long the sender waits for an answer.");

/// Values of `type:` under `sources:` and their keys besides `type` and `path`.
pub static KINDS: &[SettingKind] = &[
    SettingKind {
        name: "github-app",
        summary: "Deliveries of a GitHub App.",
        fields: &[
            field("app-id", "int", "The App's number."),
            field("key", "secret", "The App's private key, PEM."),
            field("secret", "secret", "The App's webhook secret."),
        ],
    },
    SettingKind {
        name: "github",
        summary: "A webhook of a GitHub repository or organisation.",
        fields: &[field("secret", "secret", "The webhook's secret.")],
    },
    SettingKind {
        name: "slack",
        summary: "Events, slash commands and interactivity of a Slack app.",
        fields: &[
            field("signing-secret", "secret", "The app's signing secret."),
            field("max-age", "duration?", "How old a request may be; 5m if not set."),
        ],
    },
    SettingKind {
        name: "dialogflow-es",
        summary: "Dialogflow ES fulfillment.",
        fields: &[field("auth", AUTH, "How Dialogflow proves that it is asking."), DEADLINE],
    },
    SettingKind {
        name: "dialogflow-cx",
        summary: "Dialogflow CX fulfillment.",
        fields: &[field("auth", AUTH, "How Dialogflow proves that it is asking."), DEADLINE],
    },
    SettingKind {
        name: "pubsub-push",
        summary: "A Pub/Sub push subscription.",
        fields: &[
            field("auth", AUTH, "How Pub/Sub proves that it is pushing."),
            field("format", "artifact-registry|monitoring|message?", "What the messages hold; message if not set."),
        ],
    },
    SettingKind {
        name: "webhook",
        summary: "Any other sender, described by how it signs.",
        fields: &[field("auth", AUTH, "How the sender proves who it is."), DEADLINE],
    },
];

/// Makes a source from its settings. `secrets` are the values of `secrets:`, newest first. Errors are for the operator and name
/// what to mend; the caller adds which source it is.
pub fn build(settings: &SourceSettings, secrets: &BTreeMap<String, Vec<Secret>>) -> Result<Arc<dyn Source>, String> {
    match settings.kind.as_str() {
        "github" | "github-app" => Ok(Arc::new(github::GitHub::new(settings, secrets)?)),
        kind if KINDS.iter().any(|known| known.name == kind) => {
            Err(format!("sources of type {kind} are not built yet; take this entry out to start"))
        }
        kind => Err(format!("there is no source type {kind}")),
    }
}

/// Reads stored deliveries and can do nothing else: no secret is needed for that, so none is there to verify or to sign with.
pub struct Decoder(Arc<dyn Source>);

impl Decoder {
    /// From a source's settings.
    pub fn new(settings: &SourceSettings) -> Result<Self, String> {
        let names = settings.fields.values().flat_map(texts);
        let stand_in = |name: &str| (name.to_owned(), vec![Secret::new("in place of a secret, only for decoding")]);
        build(settings, &names.map(stand_in).collect()).map(Self)
    }

    /// The event as rules see it, with its payload; as [`Source::decode`].
    pub fn decode(&self, delivery: &Delivery) -> Result<Option<Event>, String> {
        self.0.decode(delivery, true)
    }
}

/// Every text in a value, whatever it is: among them are the names of secrets.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
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

/// The `delivery` context.
fn delivery_context(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "source": delivery.content.source,
        "received_at": delivery.content.received_at.rfc3339(),
        "replay": delivery.replay,
    })
}

/// A kept header of a delivery.
fn kept<'d>(delivery: &'d Delivery, name: &str) -> Option<&'d str> {
    delivery.content.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

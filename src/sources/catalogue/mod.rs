//! Sources that are data: a provider is a file in `providers/`, and the settings of an entry say the rest.

use std::borrow::Cow;
use std::sync::Arc;

use declic_actions::action::Answer as PersonAnswer;
use declic_actions::secret::Secret;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::events::{self, Decode};
use super::replies::Conversation;
use super::{Answer, BODY_LIMIT, Entry, Identity, Outcome, Source, form, media_type};
use crate::event::Event;
use crate::inbound::Inbound;
use crate::journal::record::{Delivery, NewDelivery};
use crate::json;
use crate::settings::SourceSettings;
use crate::verify::trust::{Trust, Want};
use crate::verify::{Refusal, Scheme, Verified};

pub mod auth;
mod building;
pub mod challenge;
pub mod definition;
pub mod extract;
mod providers;
pub mod reply;

use auth::Auth;
use building::Building;
use challenge::Challenge;
use definition::{Body, Dedup, Definition, Method};
use extract::{Pattern, Token, View};
use reply::Reply;

pub use providers::PROVIDERS;

/// Bytes of a body that is looked at for an ownership challenge before anything is proved.
const LARGEST_GREETING: usize = 16 * 1024;

/// Longest id and type that are taken from a request as they are.
const LONGEST_WORD: usize = 255;

/// What the whole service has, for sources that need it.
#[derive(Debug, Clone)]
pub struct Around {
    /// Address providers reach us at, without a slash at the end.
    pub public_url: Option<String>,
    /// Base address of the keys that Google signs ID tokens with, without a slash at the end.
    pub google_certs_url: String,
    /// Keys that others publish.
    pub trust: Arc<Trust>,
}

impl Default for Around {
    fn default() -> Self {
        Self { public_url: None, google_certs_url: "https://www.googleapis.com".to_owned(), trust: Arc::default() }
    }
}

/// A source of any provider in the catalogue.
pub struct CatalogueSource {
    entry: Entry,
    /// Methods that bring deliveries; others are for challenges.
    methods: Vec<Method>,
    scheme: Scheme,
    require: Vec<(String, String)>,
    body: Body,
    payload: Option<String>,
    event: Vec<Pattern>,
    event_names: std::collections::BTreeMap<String, String>,
    delivery_id: Vec<Pattern>,
    dedup: Dedup,
    challenges: Vec<Challenge>,
    replies: Vec<Reply>,
    /// Names of headers and parameters that hold credentials.
    hidden: Vec<String>,
    conversation: Option<Conversation>,
    /// Does a delivery say where further answers go?
    responds: bool,
    decode: Decode,
}

/// How the stored deliveries of a source are read.
pub fn decode_of(settings: &SourceSettings) -> Decode {
    let format = settings.fields.get("format").and_then(Value::as_str);
    match (settings.kind.as_str(), format) {
        ("slack", _) => events::slack::decode,
        ("dialogflow-es", _) => events::dialogflow::es,
        ("dialogflow-cx", _) => events::dialogflow::cx,
        ("pubsub-push", Some("artifact-registry")) => events::image::decode,
        ("pubsub-push", Some("monitoring")) => events::alert::by_pubsub,
        ("pubsub-push", _) => events::pubsub::decode,
        ("google-cloud-monitoring", _) => events::alert::direct,
        ("cloudevents", _) => events::cloudevents::decode,
        _ => events::webhook::decode,
    }
}

impl CatalogueSource {
    /// From the file of its kind and its settings. Errors are for the operator.
    pub fn new(
        settings: &SourceSettings,
        secrets: &std::collections::BTreeMap<String, Vec<Secret>>,
        around: &Around,
    ) -> Result<Self, String> {
        let kind = settings.kind.as_str();
        let file = PROVIDERS.iter().find(|(name, _)| *name == kind);
        let (_, file) = file.ok_or_else(|| format!("there is no source type {kind}"))?;
        let definition = Definition::read(kind, file, &settings.fields)?;
        let methods = definition.methods.list();
        let methods = if methods.is_empty() { vec![Method::Post] } else { methods };
        let building = Building { secrets, around, path: &settings.path, methods: &methods };
        let ways = definition.auth.list();
        let proving = if let [way] = ways.as_slice() { way.secret() } else { None };
        let challenges = definition.challenge.list().into_iter().map(|form| Challenge::new(form, &building, proving));
        let challenges: Vec<Challenge> = challenges.collect::<Result<_, _>>()?;
        let signs_for_anybody = challenges.iter().any(Challenge::signs_for_anybody);
        if signs_for_anybody && (methods.contains(&Method::Get) || ways.iter().any(Auth::signs_fields)) {
            return Err(
                "has a challenge that signs a token for whoever asks, and takes in deliveries that are no more than such a token"
                    .to_owned(),
            );
        }
        let scheme = building.scheme(ways)?;
        // A token that anybody has signed must not be a body that is taken in: an object or a list cannot be made of a token's characters.
        let body = if signs_for_anybody && definition.body == Body::Any { Body::Json } else { definition.body };
        let replies = definition.answer.list().into_iter().map(Reply::new);
        let chosen = settings.fields.get("dedup").and_then(|word| serde_json::from_value(word.clone()).ok());
        Ok(Self {
            entry: Entry {
                name: settings.name.clone(),
                path: settings.path.clone(),
                below: scheme.in_path(),
                methods: answered(&methods, &challenges),
                body_limit: BODY_LIMIT,
            },
            methods,
            scheme,
            require: definition.require.into_iter().collect(),
            body,
            payload: definition.payload,
            event: patterns(definition.event.list())?,
            event_names: definition.event_names,
            delivery_id: patterns(definition.delivery_id.list())?,
            dedup: chosen.or(definition.dedup).unwrap_or(Dedup::Id),
            challenges,
            replies: replies.collect::<Result<_, String>>()?,
            hidden: hidden(&settings.fields),
            conversation: Conversation::of(settings),
            responds: settings.kind == "slack",
            decode: decode_of(settings),
        })
    }

    /// What was sent, read strictly: the body, or the query of what has none. What cannot be read is `null` where anything may come.
    fn document(&self, inbound: &Inbound) -> Result<Value, Refusal> {
        if inbound.method == "GET" && inbound.body.is_empty() {
            return self.fields(inbound.query.as_bytes());
        }
        let content_type = inbound.header("content-type").map(media_type);
        let is_form = content_type.as_deref() == Some("application/x-www-form-urlencoded");
        let is_json = content_type.as_deref().is_none_or(|word| {
            matches!(word, "application/json" | "text/plain" | "text/json")
                || (word.starts_with("application/") && word.ends_with("+json"))
        });
        match self.body {
            Body::Json if !is_json => return Err(Refusal::media_type("this provider sends JSON")),
            Body::Form if !is_form => return Err(Refusal::media_type("this provider sends forms")),
            Body::Either if !is_form && !is_json => return Err(Refusal::media_type("this provider sends JSON or forms")),
            Body::Any if inbound.body.is_empty() || !(is_form || is_json) => return Ok(Value::Null),
            _ => {}
        }
        if is_form {
            return self.fields(&inbound.body);
        }
        match json::parse(&inbound.body) {
            Ok(document @ (Value::Object(_) | Value::Array(_))) => Ok(document),
            Ok(_) | Err(_) if self.body == Body::Any => Ok(Value::Null),
            Ok(_) => Err(Refusal::malformed("the body is neither an object nor a list")),
            Err(flaw) => Err(Refusal::malformed(format!("the body is not acceptable JSON: {flaw}"))),
        }
    }

    /// A form as an object of its fields, or as the JSON in one of them.
    fn fields(&self, encoded: &[u8]) -> Result<Value, Refusal> {
        let fields = form::fields(encoded).map_err(Refusal::malformed)?;
        if let Some(payload) = &self.payload
            && fields.iter().any(|(name, _)| name == payload)
        {
            let text = form::only(encoded, payload).map_err(Refusal::malformed)?;
            let parsed = json::parse(text.as_bytes());
            return parsed.map_err(|flaw| Refusal::malformed(format!("the form's JSON is not acceptable: {flaw}")));
        }
        Ok(Value::Object(fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect()))
    }

    /// Can this request bring a delivery?
    fn delivers(&self, inbound: &Inbound) -> bool {
        self.methods.iter().any(|method| method.word() == inbound.method)
    }

    fn view<'i>(&self, inbound: &'i Inbound) -> Result<View<'i>, Refusal> {
        Ok(View { inbound, document: self.document(inbound)? })
    }

    fn event_type(&self, view: &View<'_>) -> Result<String, Refusal> {
        let found = self.event.iter().find_map(|pattern| pattern.render(view, Token::default()));
        let Some(found) = found else {
            return Err(if self.body == Body::Any {
                Refusal::media_type("the request names no type of event")
            } else {
                Refusal::malformed("the request names no type of event")
            });
        };
        let found = self.event_names.get(&found).cloned().unwrap_or(found);
        if is_word(&found) { Ok(found) } else { Err(Refusal::malformed("the event's type is too long or not plain text")) }
    }

    /// Can the delivery be read later? What cannot is refused now.
    fn check_shape(&self, verified: &Verified, identity: &Identity) -> Result<(), Refusal> {
        let inbound = verified.inbound();
        let content = NewDelivery {
            share: self.entry.name.clone(),
            source: self.entry.name.clone(),
            delivery_id: identity.delivery_id.clone(),
            event_type: identity.event_type.clone(),
            headers: self.kept(inbound),
            body: inbound.body.clone(),
            received_at: inbound.received_at,
            trace: String::new(),
            verified: String::new(),
        };
        (self.decode)(&content, false).map(|_| ()).map_err(|why| Refusal::malformed(format!("it cannot be read: {why}")))
    }

    /// The provider's id, or the body's hash. An id that is too long or not plain is hashed: it only ever is compared.
    fn id(&self, view: &View<'_>) -> String {
        let digest = |bytes: &[u8]| format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        let found = self.delivery_id.iter().find_map(|pattern| pattern.render(view, Token::default()));
        match (self.dedup, found) {
            (Dedup::None, _) => ulid::Ulid::new().to_string().to_lowercase(),
            (Dedup::Id | Dedup::Both, Some(id)) if is_word(&id) => id,
            (Dedup::Id | Dedup::Both, Some(id)) => digest(id.as_bytes()),
            // What has no body is told apart by its address.
            (Dedup::Body, _) | (_, None) if view.inbound.body.is_empty() => digest(view.inbound.query.as_bytes()),
            (Dedup::Body, _) | (_, None) => digest(&view.inbound.body),
        }
    }
}

/// Headers and parameters that the settings name as the place of a credential or a signature.
fn hidden(fields: &serde_json::Map<String, Value>) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest: Vec<&Value> = fields.get("auth").into_iter().collect();
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => {
                let named = ["header", "name", "query"].into_iter().filter_map(|key| fields.get(key)?.as_str());
                names.extend(named.map(str::to_owned));
                rest.extend(fields.values());
            }
            _ => {}
        }
    }
    names
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_WORD && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn patterns(texts: Vec<String>) -> Result<Vec<Pattern>, String> {
    texts.iter().map(|text| Pattern::read(text)).collect()
}

/// Methods that are answered, in order.
fn answered(methods: &[Method], challenges: &[Challenge]) -> Vec<&'static str> {
    let known = ["GET", "OPTIONS", "POST", "PUT"].into_iter();
    let delivers = |word: &str| methods.iter().any(|method| method.word() == word);
    known.filter(|word| delivers(word) || challenges.iter().any(|challenge| challenge.method == *word)).collect()
}

impl Source for CatalogueSource {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn wants(&self, inbound: &Inbound) -> Option<Want> {
        self.scheme.wants(inbound)
    }

    fn greet(&self, inbound: &Inbound) -> Option<Result<Answer, Refusal>> {
        let delivers = self.delivers(inbound);
        if delivers && !self.challenges.iter().any(|challenge| challenge.unsigned && challenge.method == inbound.method) {
            return None;
        }
        // Nothing is proved yet: what cannot be read is left to the verification.
        let short = delivers && inbound.body.len() <= LARGEST_GREETING;
        let document = if short { self.document(inbound).unwrap_or_default() } else { Value::Null };
        let view = View { inbound, document };
        let mut unsigned = self.challenges.iter().filter(|challenge| challenge.unsigned);
        let answer = unsigned.find_map(|challenge| challenge.answer(&view, delivers, None));
        let lost = !delivers && answer.is_none();
        if lost { Some(Err(Refusal::malformed("this method is for a challenge only"))) } else { answer }
    }

    fn authenticate(&self, inbound: Inbound) -> Result<Verified, Refusal> {
        if !self.delivers(&inbound) || (inbound.method == "GET" && !inbound.body.is_empty()) {
            return Err(Refusal::unverified("no delivery comes by this method, or none with a body"));
        }
        for (name, wanted) in &self.require {
            let holds = inbound.header(name).is_some_and(|value| value.split([',', ';', ' ']).any(|item| item.trim() == wanted));
            if !holds {
                return Err(Refusal::unverified(format!("the header {name} does not say {wanted}")));
            }
        }
        self.scheme.verify(inbound)
    }

    fn identify(&self, verified: &Verified) -> Result<Identity, Refusal> {
        let view = self.view(verified.inbound())?;
        let identity = Identity { event_type: self.event_type(&view)?, delivery_id: self.id(&view), event: None };
        self.check_shape(verified, &identity)?;
        Ok(identity)
    }

    fn challenge(&self, verified: &Verified, _identity: &Identity) -> Option<Result<Answer, Refusal>> {
        let signed: Vec<&Challenge> = self.challenges.iter().filter(|challenge| !challenge.unsigned).collect();
        if signed.is_empty() {
            return None;
        }
        let view = self.view(verified.inbound()).ok()?;
        signed.into_iter().find_map(|challenge| challenge.answer(&view, true, Some(verified.secret())))
    }

    fn knows_bodies(&self) -> bool {
        self.dedup == Dedup::Both
    }

    fn told(&self, outcome: Outcome, delivery: Option<&Verified>) -> Option<Answer> {
        if !self.replies.iter().any(|reply| reply.fits(outcome, None)) {
            return None;
        }
        let view = delivery.map(|verified| {
            let inbound = verified.inbound();
            View { inbound, document: self.document(inbound).unwrap_or_default() }
        });
        self.replies.iter().find(|reply| reply.fits(outcome, view.as_ref())).map(Reply::answer)
    }

    fn kept(&self, inbound: &Inbound) -> Vec<(String, String)> {
        let mut inbound = Cow::Borrowed(inbound);
        if self.entry.below {
            // The last segment is the secret.
            inbound.to_mut().path.clone_from(&self.entry.path);
        }
        events::kept::whole(&inbound, &self.hidden.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn sign(&self, inbound: &mut Inbound, event: &str, id: &str, private: Option<&Secret>) -> Result<(), Refusal> {
        // A structured CloudEvent has its attributes in the body, and not twice.
        let structured = self.document(inbound).is_ok_and(|document| document.pointer("/specversion").is_some());
        for (patterns, value) in [(&self.event, event), (&self.delivery_id, id)] {
            let names = patterns.first().map(Pattern::only_headers).unwrap_or_default();
            for (index, name) in names.iter().enumerate().filter(|(_, name)| !(structured && name.starts_with("ce-"))) {
                let value = if index + 1 == names.len() { value } else { "/declic/send" };
                let there = inbound.headers.iter().any(|(other, _)| other == name);
                if !value.is_empty() && !there {
                    inbound.headers.push(((*name).to_owned(), value.to_owned().into()));
                }
            }
        }
        for (name, wanted) in &self.require {
            inbound.headers.push((name.clone(), wanted.clone().into()));
        }
        if let Some(field) = &self.payload {
            form::pack(inbound, field);
        }
        if let Some(method) = self.methods.first().filter(|_| !self.methods.contains(&Method::Post)) {
            method.word().clone_into(&mut inbound.method);
        }
        if inbound.method == "GET" {
            let fields = std::mem::take(&mut inbound.body);
            inbound.query = String::from_utf8_lossy(&fields).into_owned();
        }
        self.scheme.sign(inbound, private)
    }

    fn decode(&self, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String> {
        events::event(self.decode, delivery, payload)
    }

    fn conversation(&self) -> Option<&Conversation> {
        self.conversation.as_ref()
    }

    fn answered(&self, delivery: &Delivery) -> Option<(String, PersonAnswer)> {
        if self.responds { events::slack::answered(&delivery.content) } else { None }
    }

    fn respond_to(&self, delivery: &Delivery) -> Option<Secret> {
        if self.responds { events::slack::respond_to(&delivery.content) } else { None }
    }
}

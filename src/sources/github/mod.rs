//! GitHub: repository, organisation and App webhooks. The event and id headers are not signed, the body is.

use std::collections::BTreeMap;

use declic_actions::secret::Secret;
use serde::Deserialize;
use serde_json::Value;

use super::{Answer, BODY_LIMIT, Entry, Identity, Source, form, journaled, kept, media_type, opaque_id, secrets_of};
use crate::event::Event;
use crate::inbound::Inbound;
use crate::journal::record::Delivery;
use crate::json;
use crate::rules::registry;
use crate::settings::SourceSettings;
use crate::verify::hmac::{self, Algorithm, KeyForm, Template};
use crate::verify::signature::{Encoding, Layout};
use crate::verify::signed::{Envelope, Parts, Site};
use crate::verify::{Refusal, Scheme, Verified};

mod command;
pub mod context;
mod general;
mod lineage;
mod object;
mod pull_request;
pub mod push;
mod workflow_run;

use context::Contexts;
use object::Object;

/// A webhook of GitHub.
#[derive(Debug)]
pub struct GitHub {
    entry: Entry,
    scheme: Scheme,
    knows_bodies: bool,
}

/// How GitHub signs. The SHA-1 header beside it is ignored: accepting it would let an attacker choose the weaker hash.
fn template() -> Template {
    Template {
        algorithm: Algorithm::Sha256,
        key: KeyForm::Text,
        envelope: Envelope {
            site: Site::Header("x-hub-signature-256".to_owned()),
            layout: Layout::Prefixed("sha256=".to_owned()),
            encoding: Encoding::Hex,
            signed: Parts::body(),
            timestamp: None,
            url: None,
        },
    }
}

impl GitHub {
    /// From `secret:`.
    pub fn new(settings: &SourceSettings, secrets: &BTreeMap<String, Vec<Secret>>) -> Result<Self, String> {
        let values = secrets_of(&settings.fields, "secret", secrets)?;
        Ok(Self {
            entry: Entry {
                name: settings.name.clone(),
                path: settings.path.clone(),
                below: false,
                methods: vec!["POST"],
                body_limit: BODY_LIMIT,
            },
            scheme: Scheme::Hmac(hmac::Scheme::new(template(), values)?),
            knows_bodies: settings.fields.get("dedup").and_then(Value::as_str) == Some("both"),
        })
    }
}

/// Is the body a form with the JSON in its field `payload`? GitHub signs the form as it is sent.
fn is_form(content_type: Option<&str>) -> Result<bool, Refusal> {
    match content_type.map(media_type).as_deref() {
        Some("application/json") => Ok(false),
        Some("application/x-www-form-urlencoded") => Ok(true),
        _ => Err(Refusal::media_type("GitHub sends application/json or application/x-www-form-urlencoded")),
    }
}

/// GitHub's word for an event: `pull_request`, `projects_v2`.
fn event_word(text: &str) -> Result<String, Refusal> {
    let word = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if word { Ok(text.to_owned()) } else { Err(Refusal::malformed("X-GitHub-Event is not the name of an event")) }
}

/// Can this body be decoded later? Whole and strict: what passes here never fails in matching.
fn check_shape(event_type: &str, body: &[u8]) -> Result<Option<(&'static str, Contexts)>, Refusal> {
    match json::check(body) {
        Ok(json::Kind::Object) => {}
        Ok(_) => return Err(Refusal::malformed("the body is not a JSON object")),
        Err(flaw) => return Err(Refusal::malformed(format!("the body is not acceptable JSON: {flaw}"))),
    }
    decode(event_type, body).map_err(|why| Refusal::malformed(format!("the body is not a {event_type} event of GitHub: {why}")))
}

/// The kind of event and its contexts. `None` if no rule can ask for it.
pub fn decode(event_type: &str, body: &[u8]) -> Result<Option<(&'static str, Contexts)>, String> {
    let (kind, contexts) = match event_type {
        "push" => ("github.push", Some(push::Push::read(body)?.contexts()?)),
        "pull_request" => ("github.pull_request", pull_request::contexts(body)?),
        "workflow_run" => ("github.workflow_run", workflow_run::contexts(body)?),
        "issue_comment" => match command::contexts(body)? {
            Some(contexts) => ("github.command", Some(contexts)),
            None => ("github.issue_comment", Some(general::contexts(body)?)),
        },
        other => match registry::event(&format!("github.{other}")) {
            // `github.command` is no word of GitHub's.
            Some(spec) if registry::github_event_type(spec.name) == Some(other) => (spec.name, Some(general::contexts(body)?)),
            _ => return Ok(None),
        },
    };
    Ok(contexts.map(|contexts| (kind, contexts)))
}

/// Reads the fields that are needed. The error names the field and never quotes a value: logs hold nothing of a body.
fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, String> {
    serde_json::from_slice::<Object<T>>(body).map(|object| object.0).map_err(|error| {
        let text = error.to_string();
        if text.starts_with("missing field") {
            text
        } else {
            format!("a field has the wrong type at line {} column {}", error.line(), error.column())
        }
    })
}

impl Source for GitHub {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn authenticate(&self, inbound: Inbound) -> Result<Verified, Refusal> {
        self.scheme.verify(inbound)
    }

    fn fetched(&self, inbound: Inbound, by: &str) -> Result<Verified, Refusal> {
        Ok(self.scheme.fetched(inbound, by))
    }

    fn knows_bodies(&self) -> bool {
        self.knows_bodies
    }

    fn identify(&self, verified: &Verified) -> Result<Identity, Refusal> {
        let inbound = verified.inbound();
        let form = is_form(inbound.header("content-type"))?;
        let event_type = event_word(inbound.header("x-github-event").unwrap_or_default())?;
        let delivery_id = opaque_id(inbound.header("x-github-delivery").unwrap_or_default())?;
        let body = form::json_of(&inbound.body, form, "payload").map_err(Refusal::malformed)?;
        let decoded = check_shape(&event_type, &body)?;
        let event = decoded.map(|(kind, contexts)| Box::new(made(kind, contexts, &self.entry.name, &body)));
        Ok(Identity { delivery_id, event_type, event })
    }

    fn challenge(&self, _verified: &Verified, identity: &Identity) -> Option<Result<Answer, Refusal>> {
        let pong = || Answer {
            status: 200,
            content_type: "application/json".to_owned(),
            body: br#"{"pong":true}"#.to_vec(),
            ..Answer::default()
        };
        (identity.event_type == "ping").then(|| Ok(pong()))
    }

    fn kept(&self, inbound: &Inbound) -> Vec<(String, String)> {
        let kept = [
            "content-type",
            "user-agent",
            "x-github-event",
            "x-github-hook-id",
            "x-github-hook-installation-target-id",
            "x-github-hook-installation-target-type",
            "x-github-enterprise-host",
            "x-github-enterprise-version",
        ];
        kept.iter().filter_map(|name| Some(((*name).to_owned(), inbound.header(name)?.to_owned()))).collect()
    }

    fn sign(&self, inbound: &mut Inbound, event: &str, id: &str, private: Option<&Secret>) -> Result<(), Refusal> {
        inbound.headers.push(("x-github-event".to_owned(), event_word(event)?.into()));
        inbound.headers.push(("x-github-delivery".to_owned(), opaque_id(id)?.into()));
        form::pack(inbound, "payload");
        self.scheme.sign(inbound, private)
    }

    fn decode(&self, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String> {
        event(delivery, payload)
    }
}

/// The event of a stored delivery.
pub fn event(delivery: &Delivery, payload: bool) -> Result<Option<Event>, String> {
    let form = is_form(kept(&delivery.content, "content-type")).map_err(|refusal| refusal.private)?;
    let body = form::json_of(&delivery.content.body, form, "payload")?;
    let Some((kind, mut contexts)) = decode(&delivery.content.event_type, &body)? else { return Ok(None) };
    if payload {
        contexts.event.insert("payload".to_owned(), json::parse(&body).map_err(|flaw| flaw.to_string())?);
    }
    Ok(Some(journaled(made(kind, contexts, &delivery.content.source, &body), delivery)))
}

/// The `delivery` context holds only what the body says of it, until the delivery is journaled.
fn made(kind: &str, contexts: Contexts, source: &str, body: &[u8]) -> Event {
    let Contexts { event, repo, actor } = contexts;
    Event {
        kind: kind.to_owned(),
        source: source.to_owned(),
        event: Value::Object(event),
        repo,
        actor,
        delivery: lineage::read(kind, body),
    }
}

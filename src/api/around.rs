//! What is around deliveries and runs: sources, targets, what is deployed, counts, who did what, and what is hidden.

use std::collections::BTreeMap;
use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::{Map, Value};

use super::approvals::Breaker;
use super::deliveries::PAGE;
use super::overview::Overview;
use super::problem::Failure;
use super::redact;
use super::state::{State, operator};
use super::words::Moment;
use crate::access::Viewer;
use crate::clock::Timestamp;
use crate::journal::record::{self, LastDone, StepState};
use crate::settings::SourceSettings;
use crate::sources::rotation::{Rotation, Watched};

/// An entry point.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Source {
    /// Its name in `declic.yaml`.
    pub name: String,
    /// Its `type:`.
    pub kind: String,
    /// Where it listens.
    pub path: String,
    /// Its other settings; secrets by name, never by value.
    pub settings: Any<Value>,
    /// The secrets that prove its deliveries.
    pub secrets: Vec<SourceSecret>,
    /// The values of its secret, the newest first: which of them matched, and when last.
    pub values: Vec<SecretValue>,
    /// How far the change of its secret has come, one line for people.
    pub rotation: Option<String>,
    /// `nothing-to-remove`, `not-changed-yet`, `wait`, `safe-to-remove`: whether older values of its secret can go.
    pub advice: Option<String>,
}

/// One of the values of a secret; never the value itself.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct SecretValue {
    /// Since when this service has had it.
    pub known_since: Option<Moment>,
    /// When a request was last verified with it, to the minute.
    pub last_matched: Option<Moment>,
    /// `not-changed-yet`, `wait`, `safe-to-remove`; of the newest value always `nothing-to-remove`.
    pub advice: String,
}

/// A secret of a source, by name.
#[derive(Debug, Clone, Object)]
pub struct SourceSecret {
    /// The entry of `secrets:`.
    pub name: String,
    /// Is an older value still accepted?
    pub rotating: bool,
}

#[derive(Debug, Object)]
pub(super) struct Sources {
    /// In the order of the settings.
    items: Vec<Source>,
}

/// What a deploy may touch.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Target {
    /// Its name in `declic.yaml`.
    pub name: String,
    /// Its settings; secrets by name, never by value.
    pub settings: Any<Value>,
    /// What was last deployed there.
    pub deployed: Option<Deployed>,
    /// Previews beside it.
    pub previews: Vec<Deployed>,
    /// The gate before it, if this process has met it: whether it is asked at the moment.
    pub breaker: Option<Breaker>,
}

/// What serves somewhere.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Deployed {
    /// The target, with `#TAG` behind it for a preview.
    pub name: String,
    /// The run that did it.
    pub run: String,
    /// Our id of the delivery that caused it.
    pub delivery: String,
    /// The repository of its commit.
    pub repository: Option<String>,
    /// The reference of its commit.
    pub reference: Option<String>,
    /// The commit.
    pub sha: Option<String>,
    /// What came of the step, in one line.
    pub summary: Option<String>,
    /// Where it can be seen.
    pub url: Option<String>,
    /// The outputs of the step: revision, image, addresses.
    pub outputs: Option<Any<Value>>,
    /// When the step ended.
    pub at: Option<Moment>,
}

#[derive(Debug, Object)]
pub(super) struct Targets {
    /// By name.
    items: Vec<Target>,
}

/// Who asked for what.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct AuditEntry {
    /// Grows with time.
    pub number: i64,
    /// When.
    pub at: Moment,
    /// Who.
    pub who: String,
    /// What: `retry`, `cancel`, `replay`, `read-body`, `approve`, `sign-in`, …
    pub act: String,
    /// Of what.
    pub subject: String,
    /// What came of it; none if the process ended before it could be written down.
    pub outcome: Option<String>,
}

#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct AuditLog {
    /// Newest first.
    items: Vec<AuditEntry>,
    /// `cursor` of the next page; none if this is the last one.
    next: Option<i64>,
}

/// What is hidden before anything is shown.
#[derive(Debug, Object)]
pub struct Hidden {
    /// Values of headers whose names contain one of these words.
    pub headers: Vec<String>,
    /// Values of fields whose names, without `-` and `_`, contain one of these words.
    pub fields: Vec<String>,
    /// What is hidden wherever it stands in a text, also in JSON inside a text.
    pub anywhere: Vec<String>,
}

/// Who asks.
#[derive(Debug, Object)]
pub(super) struct Me {
    /// An e-mail address, or how they were let in.
    who: String,
    /// `viewer` or `operator`.
    role: String,
}

/// The operations.
pub(super) struct AroundApi(pub Arc<State>);

#[OpenApi]
impl AroundApi {
    /// What is going on: counts of the last day, what is open, what failed
    #[oai(path = "/overview", method = "get", operation_id = "getOverview")]
    async fn overview(&self, viewer: Data<&Viewer>) -> Result<Json<Overview>, Failure> {
        Ok(Json(self.0.overview(&viewer).await?))
    }

    /// List the sources
    #[oai(path = "/sources", method = "get", operation_id = "listSources")]
    async fn sources(&self, viewer: Data<&Viewer>) -> Result<Json<Sources>, Failure> {
        Ok(Json(Sources { items: self.0.sources(&viewer).await? }))
    }

    /// List the targets with what is deployed there
    #[oai(path = "/targets", method = "get", operation_id = "listTargets")]
    async fn targets(&self, viewer: Data<&Viewer>) -> Result<Json<Targets>, Failure> {
        Ok(Json(Targets { items: self.0.targets(&viewer).await? }))
    }

    /// Who asked for what, newest first; for operators
    #[oai(path = "/audit", method = "get", operation_id = "listAudit")]
    async fn audit(
        &self,
        viewer: Data<&Viewer>,
        /// Only those after this place, from `next` of a page.
        #[oai(validator(minimum(value = "1")))]
        cursor: Query<Option<i64>>,
        /// At most so many.
        #[oai(validator(minimum(value = "1"), maximum(value = "500")))]
        limit: Query<Option<usize>>,
    ) -> Result<Json<AuditLog>, Failure> {
        let (items, next) = self.0.audit(&viewer, cursor.0, limit.0.unwrap_or(PAGE)).await?;
        Ok(Json(AuditLog { items, next }))
    }

    /// What is hidden of bodies, headers, parameters and outputs before they are shown
    #[oai(path = "/redaction", method = "get", operation_id = "getRedaction")]
    async fn redaction(&self, _viewer: Data<&Viewer>) -> Result<Json<Hidden>, Failure> {
        Ok(Json(self.0.hidden()))
    }

    /// Who you are, and what you may do
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(&self, viewer: Data<&Viewer>) -> Result<Json<Me>, Failure> {
        Ok(Json(Me { who: viewer.who.clone(), role: viewer.role.word().to_owned() }))
    }
}

impl State {
    /// The sources, with secrets by name. Their settings name repositories: they are for those who see everything.
    pub(crate) async fn sources(&self, viewer: &Viewer) -> Result<Vec<Source>, Failure> {
        let settings = &self.parts.settings;
        let shown = |source: &SourceSettings| {
            let mut names = Vec::new();
            let mut walk = |text: &str| {
                if settings.secret_entries.contains_key(text) && !names.iter().any(|known| known == text) {
                    names.push(text.to_owned());
                }
            };
            source.fields.values().for_each(|value| texts(value, &mut walk));
            let secrets = names.into_iter().map(|name| {
                let rotating = settings.secret_entries.get(&name).is_some_and(|entry| !entry.previous.is_empty());
                SourceSecret { name, rotating }
            });
            Source {
                name: source.name.clone(),
                kind: source.kind.clone(),
                path: source.path.clone(),
                secrets: secrets.collect(),
                settings: Any(Value::Object(if viewer.sees_all() { source.fields.clone() } else { Map::new() })),
                values: Vec::new(),
                rotation: None,
                advice: None,
            }
        };
        let mut sources: Vec<Source> = settings.sources.iter().map(shown).collect();
        for watched in &self.parts.watched {
            let Some(source) = sources.iter_mut().find(|source| source.name == watched.source) else { continue };
            let now = Timestamp::now();
            let rotation = self.rotation(watched).await?;
            let uses = rotation.uses.iter().enumerate();
            source.values = uses
                .map(|(index, one)| SecretValue {
                    known_since: one.known_since.map(Moment),
                    last_matched: one.last_matched.map(Moment),
                    advice: rotation.advice_on(index, now).word().to_owned(),
                })
                .collect();
            source.rotation = Some(rotation.say(now));
            source.advice = Some(rotation.advice(now).word().to_owned());
        }
        Ok(sources)
    }

    async fn rotation(&self, watched: &Watched) -> Result<Rotation, Failure> {
        let mut names = Vec::new();
        watched.read::<Failure>(|name| {
            names.push(name.to_owned());
            Ok(None)
        })?;
        let mut marks = BTreeMap::new();
        for name in names {
            let mark = self.journal().mark(&name).await?;
            marks.insert(name, mark);
        }
        watched.read(|name| Ok(marks.get(name).copied().flatten()))
    }

    /// The targets with what is deployed there.
    pub(crate) async fn targets(&self, viewer: &Viewer) -> Result<Vec<Target>, Failure> {
        let mut deployed = Vec::new();
        for last in self.journal().last_done().await? {
            if self.sees(viewer, last.line.as_ref().map(|line| line.repository.as_str())).await {
                deployed.push(self.deployed(last).await?);
            }
        }
        let settings = &self.parts.settings.offer.targets;
        let breakers = self.breakers();
        let target = |(name, settings): (&String, &Value)| {
            let preview = format!("{name}#");
            Target {
                name: name.clone(),
                settings: Any(self.redaction.value(settings.clone())),
                deployed: deployed.iter().find(|one| one.name == *name).cloned(),
                breaker: breakers.iter().find(|breaker| breaker.target == format!("target {name}")).cloned(),
                previews: deployed.iter().filter(|one| one.name.starts_with(&preview)).cloned().collect(),
            }
        };
        Ok(settings.iter().map(target).collect())
    }

    async fn deployed(&self, last: LastDone) -> Result<Deployed, Failure> {
        let steps = self.journal().run(&last.run).await?.map(|(_, steps)| steps).unwrap_or_default();
        let target = last.name.split('#').next().unwrap_or_default().to_owned();
        let names_target = |step: &&crate::journal::record::StepRecord| {
            let params = step.intent.as_ref().map(|intent| &intent.call.params);
            params.and_then(|params| params.get("target")).and_then(Value::as_str) == Some(&target)
        };
        let step = steps.into_iter().rev().filter(|step| step.state == StepState::Succeeded).find(|step| names_target(&step));
        let unknown = step.is_none().then(|| "not known: the deploy was given up, and may have come through".to_owned());
        let at = step.as_ref().and_then(|step| step.finished_at).map(Moment);
        let outcome = step.and_then(|step| step.outcome);
        let line = last.line;
        Ok(Deployed {
            name: last.name,
            run: last.run,
            delivery: last.delivery,
            repository: line.as_ref().map(|line| line.repository.clone()),
            reference: line.as_ref().map(|line| line.reference.clone()),
            sha: line.map(|line| line.after),
            summary: outcome.as_ref().map(|outcome| outcome.summary.clone()).or(unknown),
            url: outcome.as_ref().and_then(|outcome| outcome.url.clone()),
            outputs: outcome.map(|outcome| Any(self.redaction.value(outcome.outputs))),
            at,
        })
    }

    /// Who asked for what, and where the next page begins.
    pub(crate) async fn audit(
        &self,
        viewer: &Viewer,
        before: Option<i64>,
        limit: usize,
    ) -> Result<(Vec<AuditEntry>, Option<i64>), Failure> {
        operator(viewer)?;
        let mut items = self.journal().audit_log(before, limit + 1).await?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|last| last.number);
        let mut shown = Vec::new();
        for entry in items {
            if !self.shows_entry(viewer, &entry).await? {
                continue;
            }
            shown.push(AuditEntry {
                number: entry.number,
                at: Moment(entry.at),
                who: entry.who,
                act: entry.act,
                subject: entry.subject,
                outcome: entry.outcome,
            });
        }
        Ok((shown, next))
    }

    /// Their own acts, and those on what they see. The subject is the id of a delivery or of a run, which begins with it.
    async fn shows_entry(&self, viewer: &Viewer, entry: &record::AuditEntry) -> Result<bool, Failure> {
        let delivery = entry.subject.split('-').next().unwrap_or_default();
        Ok(viewer.sees_all() || entry.who == viewer.who || self.shows_of(viewer, delivery).await?)
    }

    /// What is hidden.
    pub(crate) fn hidden(&self) -> Hidden {
        let all =
            |ours: &[&str], theirs: &[String]| ours.iter().map(|word| (*word).to_owned()).chain(theirs.iter().cloned()).collect();
        Hidden {
            headers: all(redact::HEADERS, &self.redaction.headers),
            fields: all(redact::FIELDS, &self.redaction.fields),
            anywhere: all(redact::KINDS, &[]),
        }
    }
}

/// Every text in a value.
fn texts(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, visit)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

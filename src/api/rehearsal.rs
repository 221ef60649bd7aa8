//! What edited rule files would do: checked, played, held against what was recorded. Without effects.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use serde_json::Value;

use super::decisions::Decision;
use super::problem::Failure;
use super::rendered::{Rendered, RenderedRequest};
use super::rules::File;
use super::shapes::Delivery;
use super::state::{State, operator};
use super::words::Moment;
use crate::access::Viewer;
use crate::backtest::records::{Records, Report, look};
use crate::clock::Timestamp;
use crate::happening::{from_body, known};
use crate::matching::Index;
use crate::rules::diagnostic::{self, Diagnostic};
use crate::rules::load;
use crate::rules::model::{RuleFile, RuleSet};
use crate::rules::testing::{Happening, Played, PlayedCall, play, play_event};

/// Deliveries that one backtest looks at, at most.
const BACKTEST: usize = 2000;
/// Files and bytes of what is tried out.
const FILES: usize = 200;
const BYTES: usize = 2 << 20;

/// Rule files to be looked at in place of those in force.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
pub(super) struct Files {
    /// The files.
    #[oai(validator(max_items = 200))]
    files: Vec<File>,
}

/// Something that is wrong with a rule file, or should be looked at.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Fault {
    /// `error` or `warning`.
    pub severity: String,
    /// Stable word for it.
    pub code: String,
    /// The file.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What is wrong with rule files.
#[derive(Debug, Object)]
pub(super) struct Faults {
    /// Can they be used?
    usable: bool,
    /// Errors and warnings, in the order of files and lines.
    items: Vec<Fault>,
}

/// What is to be played through rules.
#[derive(Debug, Default, Object)]
#[oai(deny_unknown_fields, nullable_all)]
pub(super) struct Play {
    /// Rule files in place of those in force.
    files: Option<Vec<File>>,
    /// A kept delivery, by our id of it.
    delivery: Option<String>,
    /// A kind of event as in `on:`, for `payload` or `with`.
    event: Option<String>,
    /// A body as the provider sends it.
    payload: Option<Any<Value>>,
    /// The fields of the event that matter, as in `tests:`.
    with: Option<Any<Value>>,
}

/// A call that would be made.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Call {
    /// The rule.
    pub rule: String,
    /// Id of the step, or its number.
    pub step: String,
    /// The action.
    pub uses: String,
    /// Its filled-in parameters, redacted.
    pub with: Any<Value>,
    /// What it would do, in one line.
    pub summary: Option<String>,
    /// What it would send, in order, until an answer is needed to go on.
    pub requests: Vec<RenderedRequest>,
    /// What is to be said of these requests, or of there being none.
    pub note: Option<String>,
}

/// What would happen.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Outcome {
    /// What is wrong with the files; with errors, nothing was played.
    pub faults: Vec<Fault>,
    /// Every rule that was looked at: why it matches, or why not.
    pub decisions: Vec<Decision>,
    /// The calls that would be made, in order.
    pub calls: Vec<Call>,
    /// What would be replied.
    pub reply: Option<Any<Value>>,
    /// Values that could not be computed, calls that an action refuses.
    pub problems: Vec<String>,
}

/// Rule files to be held against what was recorded.
#[derive(Debug, Default, Object)]
#[oai(deny_unknown_fields, nullable_all)]
pub(super) struct Backtest {
    /// Rule files in place of those in force; those in force if not given.
    files: Option<Vec<File>>,
    /// Only deliveries received then or later; the last 7 days if not given.
    since: Option<Moment>,
    /// At most so many, the newest; 2000 if not given.
    #[oai(validator(minimum(value = "1"), maximum(value = "2000")))]
    limit: Option<usize>,
}

/// One delivery for which something would be different.
#[derive(Debug, Clone, Object)]
pub struct Differing {
    /// The delivery.
    pub delivery: Delivery,
    /// What would be different: `{ rule, change: would-fire | would-not-fire | other-inputs | would-fail, … }`.
    pub differences: Vec<Any<Value>>,
}

/// What would be different.
#[derive(Debug, Object)]
pub struct Difference {
    /// What is wrong with the files; with errors, nothing was compared.
    pub faults: Vec<Fault>,
    /// Deliveries that were compared.
    pub looked_at: u64,
    /// Rules that would start and did not.
    pub would_fire: u64,
    /// Rules that would not start and did.
    pub would_not_fire: u64,
    /// Rules that would make other calls.
    pub other_inputs: u64,
    /// Rules that could not be evaluated.
    pub would_fail: u64,
    /// Those for which something would be different, newest first.
    pub deliveries: Vec<Differing>,
    /// Deliveries that could not be compared, with the reason.
    pub unreadable: Vec<String>,
}

/// The operations.
pub(super) struct RehearsalApi(pub Arc<State>);

#[OpenApi]
impl RehearsalApi {
    /// Check rule files against the settings in force
    #[oai(path = "/check", method = "post", operation_id = "checkRules")]
    async fn check(&self, viewer: Data<&Viewer>, files: Json<Files>) -> Result<Json<Faults>, Failure> {
        operator(&viewer)?;
        let loaded = self.0.load(Some(files.0.files)).await?;
        Ok(Json(Faults { usable: loaded.set.is_some(), items: loaded.faults }))
    }

    /// Play an event through rules: why each matches or not, and the calls with the requests that they would send, without sending them
    #[oai(path = "/play", method = "post", operation_id = "play")]
    async fn play(&self, viewer: Data<&Viewer>, what: Json<Play>) -> Result<Json<Outcome>, Failure> {
        operator(&viewer)?;
        let what = what.0;
        let loaded = self.0.load(what.files).await?;
        let occasion = match (what.delivery, what.event, what.payload, what.with) {
            (Some(id), None, None, None) => Occasion::Delivery(id),
            (None, Some(event), Some(payload), None) => {
                let event = known(&event).map_err(Failure::malformed)?;
                Occasion::Happening(Box::new(from_body(event, &payload.0.to_string(), payload.0).map_err(Failure::malformed)?))
            }
            (None, Some(event), None, with) => {
                let event = known(&event).map_err(Failure::malformed)?.to_owned();
                let with = with.map_or_else(|| Value::Object(serde_json::Map::new()), |with| with.0);
                Occasion::Happening(Box::new(Happening { event, with, ..Happening::default() }))
            }
            _ => return Err(Failure::malformed("Name a `delivery`, or an `event` with its `payload` or `with`.")),
        };
        Ok(Json(self.0.play(&viewer, loaded, occasion).await?))
    }

    /// Hold rule files against recorded deliveries: what they would do otherwise
    #[oai(path = "/backtest", method = "post", operation_id = "backtest")]
    async fn backtest(&self, viewer: Data<&Viewer>, what: Json<Backtest>) -> Result<Json<Difference>, Failure> {
        operator(&viewer)?;
        let Backtest { files, since, limit } = what.0;
        let loaded = self.0.load(files).await?;
        Ok(Json(self.0.backtest(&viewer, loaded, since.map(|since| since.0), limit).await?))
    }
}

/// Files after checking.
pub(crate) struct Loaded {
    /// None with errors.
    pub set: Option<Arc<RuleSet>>,
    /// Errors and warnings.
    pub faults: Vec<Fault>,
}

/// What is played.
pub(crate) enum Occasion {
    /// A kept delivery.
    Delivery(String),
    /// An event that was made up.
    Happening(Box<Happening>),
}

impl State {
    /// Checks files; those in force if there are none.
    pub(crate) async fn load(&self, files: Option<Vec<File>>) -> Result<Loaded, Failure> {
        let files = match files {
            Some(files) => files.into_iter().map(|file| RuleFile { path: file.path, text: file.text }).collect(),
            None => self.files().await?,
        };
        if files.len() > FILES || files.iter().map(|file| file.text.len()).sum::<usize>() > BYTES {
            return Err(Failure::malformed("These are too many files, or too large ones."));
        }
        let offer = self.parts.settings.offer.clone();
        // A large file takes a while to check.
        let checked = tokio::task::spawn_blocking(move || {
            let loaded = load::load(&files, Some(&offer));
            let sources: Vec<diagnostic::Source<'_>> =
                files.iter().map(|file| diagnostic::Source { path: &file.path, text: &file.text }).collect();
            match loaded {
                Ok(loaded) => Loaded { set: Some(Arc::new(loaded.set)), faults: faults(&loaded.warnings, &sources) },
                Err(found) => Loaded { set: None, faults: faults(&found, &sources) },
            }
        });
        checked.await.map_err(|_| Failure::malformed("These files cannot be checked."))
    }

    /// What is to be said of one file of the rules in force.
    pub(crate) async fn faults_of(&self, file: Option<&File>) -> Result<Vec<Fault>, Failure> {
        let Some(file) = file else { return Ok(Vec::new()) };
        let mut faults = self.load(None).await?.faults;
        faults.retain(|fault| fault.file == file.path);
        Ok(faults)
    }

    /// Plays an event through checked rules, as it is shown at the API.
    async fn play(&self, viewer: &Viewer, loaded: Loaded, occasion: Occasion) -> Result<Outcome, Failure> {
        let faults = loaded.faults.clone();
        let played = self.rehearse(viewer, loaded, occasion).await?;
        let rendered = self.rendered(&played.calls).await;
        Ok(outcome(faults, played, rendered))
    }

    /// Plays an event through checked rules; nothing comes of rules with errors.
    pub(crate) async fn rehearse(&self, viewer: &Viewer, loaded: Loaded, occasion: Occasion) -> Result<Played, Failure> {
        let Some(set) = loaded.set else { return Ok(Played::default()) };
        let offer = &self.parts.settings.offer;
        let mut played = match occasion {
            Occasion::Happening(happening) => play(&happening, &set, Some(offer)),
            Occasion::Delivery(id) => {
                self.delivery(viewer, &id).await?;
                let delivery = self.content(&id).await?;
                let event = self.decode(&delivery).map_err(Failure::conflict)?;
                let Some(event) = event else { return Ok(Played::default()) };
                let mut played = play_event(&event, &set, Some(offer));
                played.traces = played.traces.into_iter().map(|trace| self.redaction.trace(trace)).collect();
                played
            }
        };
        for call in &mut played.calls {
            call.with = self.redaction.value(std::mem::take(&mut call.with));
        }
        Ok(played)
    }

    /// Holds checked rules against recorded deliveries.
    pub(crate) async fn backtest(
        &self,
        viewer: &Viewer,
        loaded: Loaded,
        since: Option<Timestamp>,
        limit: Option<usize>,
    ) -> Result<Difference, Failure> {
        let Loaded { set, faults } = loaded;
        let mut difference = Difference {
            faults,
            looked_at: 0,
            would_fire: 0,
            would_not_fire: 0,
            other_inputs: 0,
            would_fail: 0,
            deliveries: Vec::new(),
            unreadable: Vec::new(),
        };
        let Some(set) = set else { return Ok(difference) };
        let (settings, store) = (self.parts.settings.clone(), Arc::clone(&self.parts.look));
        let since = since.unwrap_or_else(|| Timestamp::now().before(std::time::Duration::from_secs(7 * 86_400)));
        let report = tokio::task::spawn_blocking(move || {
            let records = Records::of(store()?, &settings);
            look(since, limit.unwrap_or(BACKTEST), &records, &Index::new(set), &settings.offer)
        });
        let report = report.await.map_err(|_| Failure::conflict("The comparison broke off."))?.map_err(Failure::conflict)?;
        let report = self.seen_of(viewer, report).await?;
        let [fire, not, other, fail] = report.counts().map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        difference.looked_at = u64::try_from(report.looked_at).unwrap_or(u64::MAX);
        (difference.would_fire, difference.would_not_fire) = (fire, not);
        (difference.other_inputs, difference.would_fail) = (other, fail);
        difference.unreadable = report.unreadable.into_iter().map(|(id, why)| format!("{id}: {why}")).collect();
        difference.deliveries = report
            .differing
            .into_iter()
            .map(|differing| Differing {
                delivery: differing.delivery.into(),
                differences: differing
                    .differences
                    .iter()
                    .map(|one| Any(self.redaction.value(serde_json::to_value(one).unwrap_or_default())))
                    .collect(),
            })
            .collect();
        Ok(difference)
    }
}

impl State {
    /// Without what may not be seen.
    async fn seen_of(&self, viewer: &Viewer, mut report: Report) -> Result<Report, Failure> {
        if viewer.sees_all() {
            return Ok(report);
        }
        let (differing, unreadable) = (std::mem::take(&mut report.differing), std::mem::take(&mut report.unreadable));
        for one in differing {
            if self.shows(viewer, &one.delivery.about).await {
                report.differing.push(one);
            }
        }
        for one in unreadable {
            if self.shows_of(viewer, &one.0).await? {
                report.unreadable.push(one);
            }
        }
        Ok(report)
    }
}

fn outcome(faults: Vec<Fault>, played: Played, rendered: Vec<Rendered>) -> Outcome {
    let call = |(call, rendered): (PlayedCall, Rendered)| {
        let Rendered { summary, requests, note } = rendered;
        Call { rule: call.rule, step: call.step, uses: call.uses, with: Any(call.with), summary, requests, note }
    };
    Outcome {
        faults,
        decisions: played.traces.into_iter().map(Decision::from).collect(),
        calls: played.calls.into_iter().zip(rendered).map(call).collect(),
        reply: played.reply.map(Any),
        problems: played.faults,
    }
}

fn faults(found: &[Diagnostic], sources: &[diagnostic::Source<'_>]) -> Vec<Fault> {
    let shown = |fault: &Diagnostic| {
        let text = sources.iter().find(|source| source.path == fault.file).map_or("", |source| source.text);
        let (line, column) = diagnostic::position(text, fault.span.start);
        Fault {
            severity: fault.severity.word().to_owned(),
            code: fault.code.to_owned(),
            file: fault.file.clone(),
            line: u64::try_from(line).unwrap_or(1),
            column: u64::try_from(column).unwrap_or(1),
            message: fault.message.clone(),
            help: fault.help.clone(),
        }
    };
    found.iter().map(shown).collect()
}

//! Updates of a service: merge, check, make a revision, start an operation.

use std::time::{Duration, Instant};

use rand::Rng;
use serde_json::{Map, Value, json};

use super::ResolveImage;
use super::check::{self, Refusal, SHAPES};
use super::state::{Ending, Health, Operation, Readiness, Revision, Service, State};
use super::traffic;
use crate::clock::Timestamp;
use crate::demo::stand_ins::ledger::Ledger;

/// An update as it was asked for.
pub(super) struct Update<'a> {
    pub(super) name: &'a str,
    pub(super) body: Map<String, Value>,
    pub(super) mask: Vec<Vec<String>>,
    pub(super) force_new_revision: bool,
    pub(super) validate_only: bool,
    pub(super) allow_missing: bool,
    pub(super) by: &'a str,
}

/// How what it starts will go.
pub(super) struct Course {
    pub(super) ending: Ending,
    pub(super) health: Health,
    pub(super) polls: u32,
    pub(super) duration: Duration,
}

/// Carries an update out; gives the operation as the API shows it.
pub(super) fn apply(
    state: &mut State,
    ledger: &Ledger,
    update: Update<'_>,
    course: Course,
    images: Option<&ResolveImage>,
) -> Result<Value, Refusal> {
    let short = update.name.rsplit('/').next().unwrap_or_default().to_owned();
    let before = match state.services.get(update.name) {
        Some(service) => service.clone(),
        None if update.allow_missing => fresh(state, update.name, &short, update.by)?,
        None => return Err(Refusal::new(404, format!("Resource '{short}' of kind 'SERVICE' was not found."))),
    };
    check_etag(&before, &update.body)?;
    check_carried_name(&before, &update)?;

    let mut after = before.clone();
    check::merge(&mut after.body, &update.body, &update.mask);
    check::service(&short, &after.body)?;
    let plan = plan_revision(&before, &after, update.force_new_revision)?;
    let named = plan.name(&before);
    let exists = |name: &str| before.revision(name).is_some() || named.as_deref() == Some(name);
    traffic::check(&short, after.targets(), exists)?;

    if update.validate_only {
        let shown = state.render(&after);
        let name = operation_name(update.name, "validate");
        let kind = "type.googleapis.com/google.cloud.run.v2.Service";
        let response = with_type(kind, shown);
        return Ok(json!({ "name": name, "done": true, "metadata": response, "response": response }));
    }
    Ok(commit(state, ledger, &update, (after, plan), course, images))
}

fn commit(
    state: &mut State,
    ledger: &Ledger,
    update: &Update<'_>,
    (mut service, plan): (Service, Plan),
    course: Course,
    images: Option<&ResolveImage>,
) -> Value {
    state.sequence += 1;
    service.generation += 1;
    service.etag = etag(service.generation, state.sequence);
    service.updated = Timestamp::now();
    service.modifier = update.by.to_owned();
    let mut ending = course.ending;
    let mut made = None;
    match plan {
        // Scenarios are about revisions; an update that makes none just works.
        Plan::Keep => ending = Ending::Success,
        Plan::Reuse(name) => {
            ending = Ending::Success;
            service.latest_created = Some(name);
        }
        Plan::Make(name) => {
            let name = name.unwrap_or_else(|| generated_name(&service.short, service.generation));
            let template = template_of(&service.body);
            let digests = resolve(&template, images);
            if let Err(image) = &digests {
                let message = format!("Image '{image}' not found.");
                ending = Ending::Failure { reason: "CONTAINER_MISSING".to_owned(), message };
            }
            let digests = digests.unwrap_or_default();
            ledger.effect("revision.created", &name, json!({ "service": service.short, "digests": digests }));
            service.revisions.push(revision(&name, template, digests, course.health));
            service.latest_created = Some(name.clone());
            made = Some(name);
        }
    }
    let operation = Operation {
        name: operation_name(&service.name, &format!("{:06}", state.sequence)),
        service: service.name.clone(),
        revision: made,
        generation: service.generation,
        ready_at: Instant::now() + course.duration,
        polls_left: course.polls,
        ending,
        result: None,
    };
    state.services.insert(service.name.clone(), service);
    state.operations.insert(operation.name.clone(), operation.clone());
    state.render_operation(&operation)
}

/// What an update does about revisions.
enum Plan {
    /// The template is as it was.
    Keep,
    /// It names a revision that exists and is equal.
    Reuse(String),
    /// A new one; by its explicit name, or by a generated one.
    Make(Option<String>),
}

impl Plan {
    fn name(&self, before: &Service) -> Option<String> {
        match self {
            Self::Keep => before.latest_created.clone(),
            Self::Reuse(name) => Some(name.clone()),
            Self::Make(name) => name.clone(),
        }
    }
}

fn plan_revision(before: &Service, after: &Service, force: bool) -> Result<Plan, Refusal> {
    let template = template_of(&after.body);
    let latest = before.latest_created.as_deref().and_then(|name| before.revision(name));
    let explicit = explicit_name(&after.body);
    if let Some(existing) = explicit.and_then(|name| before.revision(name)) {
        if existing.template != template || force {
            return Err(name_taken(&existing.name));
        }
        let latest = latest.is_some_and(|latest| latest.name == existing.name);
        return Ok(if latest { Plan::Keep } else { Plan::Reuse(existing.name.clone()) });
    }
    let unchanged = latest.is_some_and(|latest| latest.template == template) && explicit.is_none();
    if unchanged && !force { Ok(Plan::Keep) } else { Ok(Plan::Make(explicit.map(str::to_owned))) }
}

fn name_taken(name: &str) -> Refusal {
    Refusal::already_exists(format!("Revision named '{name}' with different configuration already exists."))
}

fn check_etag(before: &Service, body: &Map<String, Value>) -> Result<(), Refusal> {
    match body.get("etag").and_then(Value::as_str).filter(|etag| !etag.is_empty()) {
        Some(etag) if etag != before.etag => {
            let message = "version '{}' was specified but current version is '{}'.";
            let message = message.replacen("{}", etag, 1).replacen("{}", &before.etag, 1);
            Err(Refusal::new(409, format!("Conflict for resource '{}': {message}", before.short)))
        }
        _ => Ok(()),
    }
}

/// The API refuses an update that does not touch the template, but carries one with the name of an existing revision.
fn check_carried_name(before: &Service, update: &Update<'_>) -> Result<(), Refusal> {
    let touches = update.mask.iter().any(|path| path.first().is_some_and(|field| field == "template"));
    match explicit_name(&update.body).and_then(|name| before.revision(name)) {
        Some(existing) if !touches => Err(name_taken(&existing.name)),
        _ => Ok(()),
    }
}

fn explicit_name(body: &Map<String, Value>) -> Option<&str> {
    body.get("template")?.get("revision")?.as_str().filter(|name| !name.is_empty())
}

fn template_of(body: &Map<String, Value>) -> Map<String, Value> {
    let mut template = body.get("template").and_then(Value::as_object).cloned().unwrap_or_default();
    template.shift_remove("revision");
    template
}

/// Digest of each container's image, or the image that does not exist.
fn resolve(template: &Map<String, Value>, images: Option<&ResolveImage>) -> Result<Vec<String>, String> {
    let containers = template.get("containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let digest = |container: &Value| {
        let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
        let digest = match images {
            Some(resolve) => resolve(image),
            None => image.split_once('@').map(|(_, digest)| digest.to_owned()).or_else(|| Some(String::new())),
        };
        let bare = image.split_once('@').map_or(image, |(bare, _)| bare);
        digest.map(|digest| format!("{bare}@{digest}")).ok_or_else(|| image.to_owned())
    };
    containers.iter().map(digest).collect()
}

fn revision(name: &str, template: Map<String, Value>, digests: Vec<String>, health: Health) -> Revision {
    Revision {
        name: name.to_owned(),
        template,
        readiness: Readiness::Pending,
        digests,
        health,
        created: Timestamp::now(),
        uid: ulid::Ulid::new().to_string().to_lowercase(),
    }
}

/// As the platform names revisions: `web-00007-kuz`.
fn generated_name(short: &str, generation: u64) -> String {
    let mut random = rand::rng();
    let letters: String = (0..3).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect();
    format!("{short}-{generation:05}-{letters}")
}

/// The quotes are part of an etag's value: a client must send it back as it came.
fn etag(generation: u64, sequence: u64) -> String {
    format!("\"{generation:x}-{sequence:08x}\"")
}

fn operation_name(service: &str, id: &str) -> String {
    let parent = service.split_once("/services/").map_or(service, |(parent, _)| parent);
    format!("{parent}/operations/{id}-{}", ulid::Ulid::new().to_string().to_lowercase())
}

fn with_type(kind: &str, value: Value) -> Value {
    let mut typed = Map::new();
    typed.insert("@type".into(), kind.into());
    typed.extend(value.as_object().cloned().unwrap_or_default());
    Value::Object(typed)
}

fn fresh(state: &State, name: &str, short: &str, by: &str) -> Result<Service, Refusal> {
    if !check::dns_label(short) || short.len() >= 50 {
        return Err(Refusal::invalid("service.name", format!("'{short}' is not a valid service name.")));
    }
    let now = Timestamp::now();
    Ok(Service {
        name: name.to_owned(),
        short: short.to_owned(),
        body: Map::new(),
        generation: 0,
        observed: 0,
        etag: etag(0, state.sequence),
        uid: ulid::Ulid::new().to_string().to_lowercase(),
        created: now,
        updated: now,
        modifier: by.to_owned(),
        revisions: Vec::new(),
        latest_created: None,
        latest_ready: None,
        statuses: Vec::new(),
        served: 0,
    })
}

/// A service that has been there for a while.
pub(super) fn seed(state: &mut State, body: Map<String, Value>) -> Result<(), String> {
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let [_, _, _, _, _, short] = name.split('/').collect::<Vec<_>>()[..] else {
        return Err(format!("a service to seed needs its full name, not `{name}`"));
    };
    let short = short.to_owned();
    SHAPES.check("Service", &body).map_err(|violation| format!("{}: {:?}", violation.path, violation.problem))?;
    check::service(&short, &body).map_err(|refusal| format!("{refusal:?}"))?;
    state.sequence += 1;
    let mut service = fresh(state, &name, &short, "seed@example.com").map_err(|refusal| format!("{refusal:?}"))?;
    let revision_name = explicit_name(&body).map_or_else(|| generated_name(&short, 1), str::to_owned);
    let template = template_of(&body);
    let digests = resolve(&template, None).unwrap_or_default();
    service.revisions.push(Revision { readiness: Readiness::Ready, ..revision(&revision_name, template, digests, Health::FINE) });
    service.latest_created = Some(revision_name.clone());
    service.latest_ready = Some(revision_name);
    service.body = body;
    for key in ["name", "etag"] {
        service.body.shift_remove(key);
    }
    (service.generation, service.observed) = (1, 1);
    traffic::check(&short, service.targets(), |name| service.revision(name).is_some())
        .map_err(|refusal| format!("{refusal:?}"))?;
    service.statuses = traffic::statuses(&state.base, &short, service.targets(), service.latest_ready.as_deref());
    state.services.insert(name, service);
    Ok(())
}

/// What another writer does between our read and our write.
pub(super) fn edit(state: &mut State, name: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
    state.sequence += 1;
    let sequence = state.sequence;
    if let Some(service) = state.services.get_mut(name) {
        edit(&mut service.body);
        service.generation += 1;
        service.observed = service.generation;
        service.etag = etag(service.generation, sequence);
        service.updated = Timestamp::now();
        "another-writer@example.com".clone_into(&mut service.modifier);
    }
}

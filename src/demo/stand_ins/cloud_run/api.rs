//! Routes, authorization and parameters of the Admin API, and the addresses of the services.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::CloudRun;
use super::check::{self, Refusal};
use super::patch::{self, Course, Update};
use super::state::{Ending, Readiness, State};
use super::traffic;
use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::ledger::lock;
use crate::demo::stand_ins::server::Api;

/// Scopes that may write.
const WRITE: [&str; 2] = ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/run"];
/// The scope that may only read.
const READ: &str = "https://www.googleapis.com/auth/run.readonly";
/// Parameters that every Google API takes.
const COMMON_PARAMETERS: [&str; 3] = ["alt", "prettyPrint", "quotaUser"];

#[async_trait]
impl Api for CloudRun {
    async fn answer(&self, request: &Request) -> Answer {
        if let ["serve", host, ..] = request.segments()[..] {
            return self.serve(host, request);
        }
        match self.admin(request).await {
            Ok(value) => Answer::json(200, &value),
            Err(refusal) => refusal.answer(),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

impl CloudRun {
    async fn admin(&self, request: &Request) -> Result<Value, Refusal> {
        let by = self.authorize(request)?;
        let segments = request.segments();
        let ["v2", "projects", project, "locations", location, rest @ ..] = &segments[..] else {
            return Err(Refusal::new(404, format!("The requested URL {} was not found.", request.path)));
        };
        let parent = format!("projects/{project}/locations/{location}");
        match (request.method.as_str(), rest) {
            ("GET", ["services", service]) => {
                parameters(request, &[])?;
                self.get(&format!("{parent}/services/{service}"))
            }
            ("PATCH", ["services", service]) => self.patch(request, &format!("{parent}/services/{service}"), &by),
            ("GET", ["services", service, "revisions"]) => self.list_revisions(request, &format!("{parent}/services/{service}")),
            ("GET", ["services", service, "revisions", revision]) => {
                parameters(request, &[])?;
                self.get_revision(&format!("{parent}/services/{service}"), revision)
            }
            (_, ["jobs", job, rest @ ..]) => self.answer_job(request, &format!("{parent}/jobs/{job}"), rest, &by),
            ("GET", ["operations", id]) => {
                parameters(request, &[])?;
                self.get_operation(&format!("{parent}/operations/{id}"))
            }
            ("POST", ["operations", id]) if id.ends_with(":wait") => {
                parameters(request, &[])?;
                self.wait(request, &format!("{parent}/operations/{}", id.trim_end_matches(":wait"))).await
            }
            _ => Err(Refusal::new(404, format!("Method not found: {} {}", request.method, request.path))),
        }
    }

    /// The caller's identity.
    fn authorize(&self, request: &Request) -> Result<String, Refusal> {
        let unauthenticated = || {
            Refusal::new(
                401,
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid \
                 authentication credential.",
            )
        };
        let grant = request.bearer().and_then(|token| self.tokens.check(token)).ok_or_else(unauthenticated)?;
        let reads = request.method == "GET" && grant.scopes.iter().any(|scope| scope == READ);
        if !reads && !grant.scopes.iter().any(|scope| WRITE.contains(&scope.as_str())) {
            return Err(Refusal::new(403, "Request had insufficient authentication scopes."));
        }
        let allowed = lock(&self.scenario).allowed.clone();
        if allowed.is_empty() || allowed.contains(&grant.identity) {
            return Ok(grant.identity);
        }
        let verb = if request.method == "GET" { "get" } else { "update" };
        let resource = request.path.trim_start_matches("/v2/");
        let message = format!("Permission 'run.services.{verb}' denied on resource '{resource}' (or resource may not exist).");
        Err(Refusal::new(403, message))
    }

    fn get(&self, name: &str) -> Result<Value, Refusal> {
        let mut state = lock(&self.state);
        state.look(|operation| operation.service == name);
        state.settle(&self.ledger);
        let service = state.services.get(name).ok_or_else(|| not_found("SERVICE", name))?;
        Ok(state.render(service))
    }

    fn patch(&self, request: &Request, name: &str, by: &str) -> Result<Value, Refusal> {
        parameters(request, &["updateMask", "allowMissing", "validateOnly", "forceNewRevision"])?;
        let body = check::service_body(&request.body)?;
        let named = body.get("name").and_then(Value::as_str).filter(|named| !named.is_empty());
        if named.is_some_and(|named| named != name) {
            return Err(Refusal::invalid("service.name", "is not the service of the address."));
        }
        let update = Update {
            name,
            mask: check::mask(request.parameter("updateMask"))?,
            force_new_revision: flag(request, "forceNewRevision")?,
            validate_only: flag(request, "validateOnly")?,
            allow_missing: flag(request, "allowMissing")?,
            by,
            body,
        };
        let images = lock(&self.images).clone();
        let mut state = lock(&self.state);
        state.settle(&self.ledger);
        let course = self.course(&mut state, name);
        patch::apply(&mut state, &self.ledger, update, course, images.as_deref())
    }

    /// How the next update goes; the other writer of a conflict strikes here.
    fn course(&self, state: &mut State, name: &str) -> Course {
        let mut scenario = lock(&self.scenario);
        if scenario.conflicts > 0 {
            scenario.conflicts -= 1;
            patch::edit(state, name, |body| {
                let annotations = body.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(annotations) = annotations {
                    annotations.insert("example.com/edited-by".into(), "another-writer".into());
                }
            });
        }
        Course { ending: scenario.ending.clone(), health: scenario.health, polls: scenario.polls, duration: scenario.duration }
    }

    fn list_revisions(&self, request: &Request, name: &str) -> Result<Value, Refusal> {
        parameters(request, &["pageSize", "pageToken", "showDeleted"])?;
        let number = |key: &str| match request.parameter(key).filter(|text| !text.is_empty()) {
            Some(text) => text.parse::<usize>().map_err(|_| Refusal::invalid(key, "is not a number the API gave out.")),
            None => Ok(0),
        };
        let (size, from) = (number("pageSize")?, number("pageToken")?);
        let size = if size == 0 { 100 } else { size };
        let mut state = lock(&self.state);
        state.settle(&self.ledger);
        let service = state.services.get(name).ok_or_else(|| not_found("SERVICE", name))?;
        // Newest first, as the API lists them.
        let newest = service.revisions.iter().rev().skip(from);
        let page: Vec<Value> = newest.take(size).map(|revision| State::render_revision(service, revision)).collect();
        let mut list = json!({ "revisions": page });
        if let Some(object) = list.as_object_mut().filter(|_| from + size < service.revisions.len()) {
            object.insert("nextPageToken".into(), (from + size).to_string().into());
        }
        Ok(list)
    }

    fn get_revision(&self, name: &str, revision: &str) -> Result<Value, Refusal> {
        let mut state = lock(&self.state);
        state.look(|operation| operation.service == name);
        state.settle(&self.ledger);
        let service = state.services.get(name).ok_or_else(|| not_found("SERVICE", name))?;
        let revision = service.revision(revision).ok_or_else(|| not_found("REVISION", revision))?;
        Ok(State::render_revision(service, revision))
    }

    fn get_operation(&self, name: &str) -> Result<Value, Refusal> {
        if let Some(operation) = self.job_operation(name) {
            return Ok(operation);
        }
        let mut state = lock(&self.state);
        state.look(|operation| operation.name == name);
        state.settle(&self.ledger);
        let operation = state.operations.get(name).ok_or_else(|| not_found("OPERATION", name))?;
        Ok(state.render_operation(operation))
    }

    async fn wait(&self, request: &Request, name: &str) -> Result<Value, Refusal> {
        let timeout = wait_timeout(&request.body)?;
        if let Some(operation) = self.job_operation(name) {
            return Ok(operation);
        }
        // Waiting is best effort: with looks left it returns early and unfinished.
        let pause = {
            let mut state = lock(&self.state);
            state.look(|operation| operation.name == name);
            let operation = state.operations.get(name);
            let never = operation.is_some_and(|operation| operation.ending == Ending::Never);
            let early = operation.is_none_or(|operation| operation.polls_left > 0 || operation.result.is_some());
            match (never, early) {
                (true, _) => timeout.min(Duration::from_millis(200)),
                (false, true) => Duration::ZERO,
                (false, false) => state.remaining(name).min(timeout),
            }
        };
        tokio::time::sleep(pause).await;
        let mut state = lock(&self.state);
        state.settle(&self.ledger);
        let operation = state.operations.get(name).ok_or_else(|| not_found("OPERATION", name))?;
        Ok(state.render_operation(operation))
    }

    /// Answers as the service itself, or as the revision behind a tag.
    fn serve(&self, host: &str, request: &Request) -> Answer {
        let mut state = lock(&self.state);
        state.settle(&self.ledger);
        let base = state.base.clone();
        let (tag, short) = host.split_once("---").map_or((None, host), |(tag, short)| (Some(tag), short));
        let Some(service) = state.services.values_mut().find(|service| service.short == short) else {
            return Answer::text(404, "Error 404: the requested URL was not found on this server.");
        };
        if lock(&self.scenario).private {
            let audience = request.bearer().and_then(|token| lock(&self.id_tokens).as_ref().and_then(|check| check(token)));
            let own = format!("{base}/serve/{short}");
            match audience {
                None => return Answer::text(403, "Error: Forbidden. Your client does not have permission to get this URL."),
                Some(audience) if audience != own => return Answer::text(401, "Error: Unauthorized."),
                Some(_) => {}
            }
        }
        let tagged = |status: &&Value| status.get("tag").and_then(Value::as_str) == tag;
        let revision = match tag {
            Some(_) => service.statuses.iter().find(tagged).and_then(revision_of),
            None => {
                service.served += 1;
                share_of(&service.statuses, service.served)
            }
        };
        let Some(revision) = revision.and_then(|name| service.revision_mut(&name)) else {
            return Answer::text(404, "Error 404: no revision is served here.");
        };
        if revision.readiness != Readiness::Ready {
            return Answer::text(503, "Service Unavailable");
        }
        let path = request.path.trim_start_matches("/serve/").split_once('/').map_or("", |(_, path)| path);
        let body = json!({ "service": short, "revision": revision.name, "path": format!("/{path}") });
        Answer::json(revision.health.answer(), &body).with_header("x-served-by", revision.name.clone())
    }
}

fn revision_of(status: &Value) -> Option<String> {
    status.get("revision").and_then(Value::as_str).map(str::to_owned)
}

/// The revision that answers the n-th request when requests are spread by percentage.
fn share_of(statuses: &[Value], number: u64) -> Option<String> {
    let mut point = i64::try_from(number.wrapping_mul(37) % 100).unwrap_or_default();
    for status in statuses {
        point -= traffic::percent(status);
        if point < 0 {
            return revision_of(status);
        }
    }
    None
}

pub(super) fn not_found(kind: &str, name: &str) -> Refusal {
    let short = name.rsplit('/').next().unwrap_or(name);
    Refusal::new(404, format!("Resource '{short}' of kind '{kind}' was not found."))
}

pub(super) fn parameters(request: &Request, known: &[&str]) -> Result<(), Refusal> {
    let unknown = |name: &str| !known.contains(&name) && !COMMON_PARAMETERS.contains(&name);
    match request.query.iter().find(|(name, _)| unknown(name)) {
        Some((name, _)) => {
            let message = format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter.");
            Err(Refusal::new(400, message))
        }
        None => Ok(()),
    }
}

fn flag(request: &Request, name: &str) -> Result<bool, Refusal> {
    match request.parameter(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Refusal::new(400, format!("Invalid value at '{name}' (TYPE_BOOL), \"{other}\""))),
    }
}

fn wait_timeout(body: &[u8]) -> Result<Duration, Refusal> {
    let refused = |what: &str| Refusal::new(400, format!("Invalid JSON payload received. {what}"));
    if body.is_empty() {
        return Ok(Duration::from_secs(10));
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| refused(&error.to_string()))?;
    let object = value.as_object().ok_or_else(|| refused("Root element must be a message."))?;
    if let Some(unknown) = object.keys().find(|key| *key != "timeout") {
        return Err(refused(&format!("Unknown name \"{unknown}\": Cannot find field.")));
    }
    let Some(timeout) = object.get("timeout") else { return Ok(Duration::from_secs(10)) };
    let seconds = timeout.as_str().and_then(|text| text.strip_suffix('s')).and_then(|text| text.parse::<f64>().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| refused("Invalid value at 'timeout' (type.googleapis.com/google.protobuf.Duration)."))
}

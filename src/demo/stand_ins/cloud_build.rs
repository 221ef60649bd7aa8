//! A stand-in for Cloud Build: triggers that exist, builds that take their time and push an image.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::exchange::{Answer, Request};
use super::ledger::{Ledger, lock};
use super::server::Api;
use super::tokens::Tokens;

/// Pushes an image by its name with tag; gives its digest.
pub type PushImage = dyn Fn(&str) -> String + Send + Sync;

/// State and scenarios of the stand-in.
pub struct CloudBuild {
    tokens: Tokens,
    ledger: Ledger,
    state: Mutex<State>,
    push: Mutex<Option<Arc<PushImage>>>,
}

struct State {
    /// Name of a trigger -> image that it pushes.
    triggers: BTreeMap<String, String>,
    builds: Vec<Build>,
    duration: Duration,
    /// How builds end, if not well.
    fault: Option<(String, String)>,
}

struct Build {
    id: String,
    shown: Map<String, Value>,
    done_at: Instant,
    image: String,
    fault: Option<(String, String)>,
    digest: Option<String>,
}

impl CloudBuild {
    pub(super) fn new(ledger: &Ledger, tokens: Tokens) -> Self {
        let state = State { triggers: BTreeMap::new(), builds: Vec::new(), duration: Duration::from_millis(20), fault: None };
        Self { tokens, ledger: ledger.clone(), state: Mutex::new(state), push: Mutex::default() }
    }

    /// Images that builds push go here.
    pub fn push_images_with(&self, push: Arc<PushImage>) {
        *lock(&self.push) = Some(push);
    }

    /// Adds a trigger that pushes this image, named with its tag.
    pub fn add_trigger(&self, name: &str, image: &str) {
        lock(&self.state).triggers.insert(name.to_owned(), image.to_owned());
    }

    /// Builds from now on take so long.
    pub fn builds_take(&self, duration: Duration) {
        lock(&self.state).duration = duration;
    }

    /// Builds from now on end with this status and detail.
    pub fn builds_end(&self, status: &str, detail: &str) {
        lock(&self.state).fault = Some((status.to_owned(), detail.to_owned()));
    }

    /// Builds as the API shows them, oldest first.
    pub fn builds(&self) -> Vec<Value> {
        let mut state = lock(&self.state);
        (0..state.builds.len()).filter_map(|index| state.builds.get_mut(index).map(|build| self.shown(build))).collect()
    }

    fn shown(&self, build: &mut Build) -> Value {
        let mut shown = build.shown.clone();
        if build.done_at > Instant::now() {
            shown.insert("status".into(), "WORKING".into());
            return Value::Object(shown);
        }
        if let Some((status, detail)) = &build.fault {
            shown.insert("status".into(), status.clone().into());
            shown.insert("failureInfo".into(), json!({ "type": "USER_BUILD_STEP", "detail": detail }));
            return Value::Object(shown);
        }
        let image = build.image.clone();
        let push = lock(&self.push).clone();
        let digest =
            build.digest.get_or_insert_with(|| push.map_or_else(|| format!("sha256:{}", "0".repeat(64)), |push| push(&image)));
        shown.insert("status".into(), "SUCCESS".into());
        shown.insert("results".into(), json!({ "images": [{ "name": image, "digest": digest }] }));
        Value::Object(shown)
    }

    fn respond(&self, request: &Request) -> Answer {
        if request.bearer().and_then(|token| self.tokens.check(token)).is_none() {
            return Answer::google_error(401, "Request had invalid authentication credentials.");
        }
        let body = request.json().unwrap_or_default();
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["v1", "projects", project, "locations", region, "triggers", trigger]) => {
                self.run_trigger((project, region), trigger, &body)
            }
            ("POST", ["v1", "projects", project, "locations", region, "builds"]) => self.create((project, region), &body),
            ("POST", ["v1", "projects", _, "locations", _, "builds", id]) if id.ends_with(":cancel") => {
                self.cancel(id.trim_end_matches(":cancel"))
            }
            ("GET", ["v1", "projects", _, "locations", _, "builds"]) => {
                self.list(request.parameter("filter").unwrap_or_default())
            }
            ("GET", ["v1", "projects", _, "locations", _, "builds", id]) => {
                let mut state = lock(&self.state);
                match state.builds.iter_mut().find(|build| build.id == *id) {
                    Some(build) => Answer::json(200, &self.shown(build)),
                    None => Answer::google_error(404, "Requested entity was not found."),
                }
            }
            _ => Answer::google_error(404, "Not found."),
        }
    }

    fn cancel(&self, id: &str) -> Answer {
        let mut state = lock(&self.state);
        let Some(build) = state.builds.iter_mut().find(|build| build.id == id) else {
            return Answer::google_error(404, "Requested entity was not found.");
        };
        if build.done_at <= Instant::now() {
            return Answer::google_error(400, "cannot cancel a build that is done");
        }
        build.done_at = Instant::now();
        build.fault = Some(("CANCELLED".to_owned(), "cancelled".to_owned()));
        self.ledger.effect("build.cancelled", id, json!({}));
        Answer::json(200, &self.shown(build))
    }

    fn run_trigger(&self, place: (&str, &str), trigger: &str, body: &Value) -> Answer {
        let name = trigger.trim_end_matches(":run");
        let source = body.get("source").cloned().unwrap_or_default();
        let Some(image) = lock(&self.state).triggers.get(name).cloned() else {
            return Answer::google_error(404, "Requested entity was not found.");
        };
        let Some(sha) = source.get("commitSha").and_then(Value::as_str) else {
            return Answer::google_error(400, "source: one of branchName, tagName, commitSha is required");
        };
        let mut substitutions = source.get("substitutions").and_then(Value::as_object).cloned().unwrap_or_default();
        substitutions.insert("TRIGGER_NAME".into(), name.into());
        substitutions.insert("COMMIT_SHA".into(), sha.into());
        let more =
            json!({ "substitutions": substitutions, "images": [image], "steps": [{ "name": "gcr.io/cloud-builders/docker" }] });
        self.begin(place, image, more)
    }

    fn create(&self, place: (&str, &str), body: &Value) -> Answer {
        let steps = body.get("steps").and_then(Value::as_array).is_some_and(|steps| !steps.is_empty());
        let image = body.pointer("/images/0").and_then(Value::as_str);
        let source = body.get("source").and_then(Value::as_object).is_some_and(|source| source.len() == 1);
        match image {
            _ if !steps => Answer::google_error(400, "invalid build: must specify at least one step"),
            _ if !source => Answer::google_error(400, "invalid build: exactly one source"),
            _ if body.get("serviceAccount").is_some() && body.pointer("/options/logging").is_none() => Answer::google_error(
                400,
                "invalid build: if 'build.service_account' is specified, the build must say where its logs go",
            ),
            Some(image) => self.begin(place, image.to_owned(), body.clone()),
            None => Answer::google_error(400, "the stand-in builds images only"),
        }
    }

    fn begin(&self, (project, region): (&str, &str), image: String, shown: Value) -> Answer {
        let id = ulid::Ulid::new().to_string().to_lowercase();
        let mut state = lock(&self.state);
        let mut shown = shown.as_object().cloned().unwrap_or_default();
        shown.insert("id".into(), id.clone().into());
        shown.insert("name".into(), format!("projects/{project}/locations/{region}/builds/{id}").into());
        shown.insert("logUrl".into(), format!("https://console.cloud.google.com/cloud-build/builds;region={region}/{id}").into());
        shown.insert("status".into(), "QUEUED".into());
        self.ledger.effect("build.started", &id, json!({ "image": image }));
        let build = Value::Object(shown.clone());
        let done_at = Instant::now() + state.duration;
        let fault = state.fault.clone();
        state.builds.push(Build { id: id.clone(), shown, done_at, image, fault, digest: None });
        let metadata =
            json!({ "@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata", "build": build });
        Answer::json(
            200,
            &json!({ "name": format!("projects/{project}/locations/{region}/operations/{id}"), "metadata": metadata }),
        )
    }

    /// Terms `field="value"`, joined by `AND`, over tags and substitutions.
    fn list(&self, filter: &str) -> Answer {
        let terms: Vec<(&str, &str)> = filter
            .split(" AND ")
            .filter_map(|term| term.split_once('='))
            .map(|(field, value)| (field.trim(), value.trim().trim_matches('"')))
            .collect();
        let fits = |build: &Value| {
            terms.iter().all(|(field, value)| match field.strip_prefix("substitutions.") {
                Some(name) => build.pointer(&format!("/substitutions/{name}")).and_then(Value::as_str) == Some(*value),
                None => {
                    let tags = build.get(*field).and_then(Value::as_array);
                    tags.is_some_and(|tags| tags.iter().any(|tag| tag.as_str() == Some(*value)))
                }
            })
        };
        let builds: Vec<Value> = self.builds().into_iter().rev().filter(fits).collect();
        Answer::json(200, &json!({ "builds": builds }))
    }
}

#[async_trait]
impl Api for CloudBuild {
    async fn answer(&self, request: &Request) -> Answer {
        self.respond(request)
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

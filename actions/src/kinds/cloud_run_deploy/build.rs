//! `build:`: the image is built first, by a Cloud Build trigger or from source, and taken by its digest.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::action::{Call, Context, Failure, Why};
use crate::cloud_run::{Target, text};
use crate::given::{Given, invalid};
use crate::http::{HttpError, Method, Request, shown};
use crate::kinds::cloud_run_deploy::plan::{Plan, short_hash};
use crate::kinds::cloud_run_deploy::save;
use crate::kinds::cloud_run_deploy::steps::stopped;
use crate::registry::{Image, is_digest};

/// One call may take so long, of the time that is left.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Failed looks in a row that are borne: a build of minutes must not be lost to a stumble.
const FAILED_LOOKS: u32 = 6;
const BUILDER: &str = "gcr.io/cloud-builders/docker";

/// What is built, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Build {
    /// The commit.
    sha: String,
    way: Way,
    /// Tells our build from others.
    mark: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Way {
    Trigger { name: String, substitutions: BTreeMap<String, String> },
    Source { source: String, dir: Option<String>, dockerfile: String, service_account: Option<String> },
}

/// What a later attempt must know: it was asked for, and perhaps its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    id: Option<String>,
    /// It was found and may be somebody else's: nobody but its owner stops it.
    #[serde(default)]
    found: bool,
}

impl fmt::Display for Build {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.sha.get(..7).unwrap_or(&self.sha);
        match &self.way {
            Way::Trigger { name, .. } => write!(formatter, "the trigger {name} at {short}"),
            Way::Source { source, .. } => write!(formatter, "a build of {source} at {short}"),
        }
    }
}

impl Build {
    pub(super) fn read(call: &Call, given: &Given<'_>, target: &Target, image: &Image) -> Result<Option<Self>, Why> {
        let Some(asked) = given.inner("build")? else { return Ok(None) };
        let builds = target.builds.as_ref();
        let builds = builds.ok_or_else(|| Why::new("not-allowed", "the target does not offer builds; add `builds` to it"))?;
        if image.digest.is_some() {
            return Err(invalid("with `build` the image is named without a digest: the build makes it"));
        }
        let sha = crate::kinds::github::sha(call)?;
        let mut substitutions = BTreeMap::new();
        for (name, value) in asked.optional_object("substitutions")?.into_iter().flatten() {
            let fits = name.starts_with('_')
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
            let value = value.as_str().filter(|_| fits);
            let value = value.ok_or_else(|| {
                invalid("`build.substitutions` are texts whose names begin with `_` and have capitals, digits and `_`")
            })?;
            substitutions.insert(name.clone(), value.to_owned());
        }
        let inside = |name: &str| -> Result<Option<String>, Why> {
            let Some(path) = asked.optional_text(name)? else { return Ok(None) };
            let fits = !path.starts_with(['/', '-']) && path.split('/').all(|part| !part.is_empty() && part != "..");
            if fits { Ok(Some(path.to_owned())) } else { Err(invalid(format!("`build.{name}` is a path inside the source"))) }
        };
        let (dir, dockerfile) = (inside("dir")?, inside("dockerfile")?);
        let way = match asked.optional_text("trigger")? {
            Some(name) => {
                if !builds.triggers.iter().any(|allowed| allowed == name) || !is_name(name) {
                    let message = format!("the trigger `{}` is not among the `triggers` that the target allows", shown(name));
                    return Err(Why::new("not-allowed", message));
                }
                if dir.is_some() || dockerfile.is_some() {
                    return Err(invalid("a trigger knows its own `dir` and `dockerfile`"));
                }
                Way::Trigger { name: name.to_owned(), substitutions }
            }
            None if !substitutions.is_empty() => return Err(invalid("`build.substitutions` need a `trigger`")),
            None => {
                let source = builds.source.clone();
                let source = source
                    .ok_or_else(|| Why::new("not-allowed", "the target has no `source` to build from; name a `trigger`"))?;
                let dockerfile = dockerfile.unwrap_or_else(|| "Dockerfile".into());
                Way::Source { source, dir, dockerfile, service_account: builds.service_account.clone() }
            }
        };
        Ok(Some(Self { sha, way, mark: format!("declic-{}", short_hash(&call.key)) }))
    }

    /// Body of `builds.create`.
    fn body(&self, plan: &Plan) -> Option<Value> {
        let Way::Source { source, dir, dockerfile, service_account } = &self.way else { return None };
        let image = format!("{}:{}", plan.image.name(), plan.image.tag.as_deref().unwrap_or(&self.sha));
        let mut place = json!({ "revision": self.sha });
        let kind = if source.starts_with("https://") { ("gitSource", "url") } else { ("connectedRepository", "repository") };
        place[kind.1] = source.clone().into();
        if let Some(dir) = dir {
            place["dir"] = dir.clone().into();
        }
        let mut body = json!({
            "source": { kind.0: place },
            "steps": [{ "name": BUILDER, "args": ["build", "-t", image, "-f", dockerfile, "."] }],
            "images": [image],
            "tags": ["declic", self.mark],
        });
        if let Some(account) = service_account {
            body["serviceAccount"] = format!("projects/{}/serviceAccounts/{account}", plan.target.project).into();
            // Builds of an own account must say where their logs go.
            body["options"] = json!({ "logging": "CLOUD_LOGGING_ONLY" });
        }
        Some(body)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Cloud Build, for one deploy.
pub(super) struct CloudBuild<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    build: &'a Build,
    until: Instant,
    parent: String,
}

impl<'a> CloudBuild<'a> {
    pub(super) fn new(context: &'a Context<'a>, plan: &'a Plan, build: &'a Build, until: Instant) -> Self {
        let region = plan.target.builds.as_ref().map_or(plan.target.region.as_str(), |builds| &builds.region);
        let parent = format!("projects/{}/locations/{region}", plan.target.project);
        Self { context, plan, build, until, parent }
    }

    async fn call(&self, method: Method, path: &str, query: &[(&str, &str)], body: Option<&Value>) -> Result<Value, HttpError> {
        let google = &self.context.clients.google;
        let address = format!("{}/v1/{}/{path}", google.settings().cloud_build_url, self.parent);
        let mut request = Request::to(method, &address, self.until.min(Instant::now() + CALL_TIMEOUT));
        request = query.iter().fold(request, |request, (name, value)| request.query(name, value));
        if let Some(body) = body {
            request = request.json(body);
        }
        google.send(self.plan.target.deploy_as.as_deref(), request).await?.json()
    }

    /// The digest of what the build makes: started once, and waited for by whichever attempt comes. `begun` is where the attempt's state
    /// says how far it got.
    pub(super) async fn digest<S: Serialize + Send + Sync>(
        &self,
        state: &mut S,
        begun: fn(&mut S) -> &mut Option<Begun>,
    ) -> Result<String, Failure> {
        let known = begun(state).clone();
        let (id, found) = match self.earlier(known.as_ref()).await? {
            Some(earlier) => earlier,
            None if self.context.stop.is_asked() => return Err(stopped()),
            None => {
                *begun(state) = Some(Begun { id: None, found: false });
                save(self.context, state).await?;
                (self.start().await?, false)
            }
        };
        *begun(state) = Some(Begun { id: Some(id.clone()), found });
        save(self.context, state).await?;
        tokio::select! {
            biased;
            () = self.context.stop.asked() => self.cancel(&id, found).await,
            digest = self.wait(&id) => digest,
        }
    }

    /// The id of the build that an earlier attempt started, if it did, and whether it may be another's.
    async fn earlier(&self, begun: Option<&Begun>) -> Result<Option<(String, bool)>, Failure> {
        match begun {
            None => Ok(None),
            Some(Begun { id: Some(id), found }) => Ok(Some((id.clone(), *found))),
            Some(Begun { id: None, .. }) => {
                let found = matches!(self.build.way, Way::Trigger { .. });
                Ok(self.search().await?.map(|id| (id, found)))
            }
        }
    }

    /// The run is no longer wanted, so its build is not either.
    async fn cancel(&self, id: &str, found: bool) -> Result<String, Failure> {
        if found {
            return Err(stopped());
        }
        match self.call(Method::POST, &format!("builds/{id}:cancel"), &[], Some(&json!({}))).await {
            Ok(_) => self.context.progress.stage("build cancelled", id),
            Err(error) if error.is_retryable() => return Err(error.into_failure("Cloud Build")),
            // It is over by now.
            Err(error) => self.context.progress.stage("build not cancelled", &error.into_failure("Cloud Build").why().message),
        }
        Err(stopped())
    }

    /// Starts it; gives its id. That it may have been started is saved before.
    async fn start(&self) -> Result<String, Failure> {
        let (path, body) = match (&self.build.way, self.build.body(self.plan)) {
            (Way::Trigger { name, substitutions }, _) => {
                let source = json!({ "commitSha": self.build.sha, "substitutions": substitutions });
                (
                    format!("triggers/{name}:run"),
                    json!({ "projectId": self.plan.target.project, "triggerId": name, "source": source }),
                )
            }
            (Way::Source { .. }, body) => ("builds".to_owned(), body.unwrap_or_default()),
        };
        let operation =
            self.call(Method::POST, &path, &[], Some(&body)).await.map_err(|error| error.into_failure("Cloud Build"))?;
        let id = operation.pointer("/metadata/build/id").and_then(Value::as_str).filter(|id| is_name(id));
        let id = id.ok_or_else(|| HttpError::BadAnswer("names no build".into()).into_failure("Cloud Build"))?;
        self.context.progress.stage("build started", &format!("{} as {id}", self.build));
        Ok(id.to_owned())
    }

    /// A build that an earlier attempt may have started. Builds of a trigger carry no mark of ours; one of the same trigger and
    /// commit makes the same image, whoever started it.
    async fn search(&self) -> Result<Option<String>, Failure> {
        let filter = match &self.build.way {
            Way::Source { .. } => format!("tags=\"{}\"", self.build.mark),
            Way::Trigger { name, .. } => {
                format!("substitutions.TRIGGER_NAME=\"{name}\" AND substitutions.COMMIT_SHA=\"{}\"", self.build.sha)
            }
        };
        let query = [("filter", filter.as_str()), ("pageSize", "20")];
        let list = self.call(Method::GET, "builds", &query, None).await.map_err(|error| error.into_failure("Cloud Build"))?;
        let usable = |build: &&Value| matches!(text(build, "status"), "PENDING" | "QUEUED" | "WORKING" | "SUCCESS");
        let found = list.get("builds").and_then(Value::as_array).into_iter().flatten().find(usable);
        Ok(found.map(|build| text(build, "id").to_owned()).filter(|id| is_name(id)))
    }

    /// Until it has ended; gives the digest of the image.
    async fn wait(&self, id: &str) -> Result<String, Failure> {
        let (mut looks, mut failed, mut told) = (0, 0, String::new());
        loop {
            match self.call(Method::GET, &format!("builds/{id}"), &[], None).await {
                Ok(build) => {
                    failed = 0;
                    match text(&build, "status") {
                        "SUCCESS" => return self.made(&build),
                        status @ ("PENDING" | "QUEUED" | "WORKING") if status != told => {
                            status.clone_into(&mut told);
                            self.context
                                .progress
                                .stage("building", &format!("{} ({})", status.to_lowercase(), text(&build, "logUrl")));
                        }
                        "PENDING" | "QUEUED" | "WORKING" => {}
                        status => return Err(broken(&build, status)),
                    }
                }
                Err(error) if error.is_retryable() && failed < FAILED_LOOKS => failed += 1,
                Err(error) => return Err(error.into_failure("Cloud Build")),
            }
            looks += 1;
            let pause = Duration::from_millis(100).saturating_mul(1 << looks.min(8)).min(LONGEST_PAUSE);
            if self.until.saturating_duration_since(Instant::now()) < pause {
                return Err(Failure::retry(
                    "timeout",
                    format!("The build {id} has not ended in time; another attempt goes on waiting"),
                ));
            }
            sleep(pause).await;
        }
    }

    fn made(&self, build: &Value) -> Result<String, Failure> {
        let images = build.pointer("/results/images").and_then(Value::as_array);
        let wanted = self.plan.image.name();
        let ours = |image: &&Value| Image::parse(text(image, "name")).is_ok_and(|image| image.name() == wanted);
        let digest =
            images.into_iter().flatten().find(ours).map(|image| text(image, "digest")).filter(|digest| is_digest(digest));
        digest.map(str::to_owned).ok_or_else(|| {
            let message = format!("The build worked, but pushed no image {wanted}; name in `image` what the build pushes");
            Failure::last("image-missing", message)
        })
    }
}

fn broken(build: &Value, status: &str) -> Failure {
    let detail = build.pointer("/failureInfo/detail").and_then(Value::as_str).unwrap_or_else(|| text(build, "statusDetail"));
    let detail = if detail.is_empty() { String::new() } else { format!(": {}", shown(detail)) };
    let log = Some(text(build, "logUrl")).filter(|log| !log.is_empty()).map(|log| format!("; its log is at {log}"));
    let message = format!("The build ended with {}{detail}{}", shown(status), log.unwrap_or_default());
    if status == "INTERNAL_ERROR" { Failure::retry("build-failed", message) } else { Failure::last("build-failed", message) }
}

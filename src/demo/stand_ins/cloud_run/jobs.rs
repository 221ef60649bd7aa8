//! Jobs of the stand-in: their executions and tasks, and how time moves them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::CloudRun;
use super::api::{not_found, parameters};
use super::check::{self, Refusal, SHAPES};
use crate::clock::Timestamp;
use crate::demo::stand_ins::exchange::Request;
use crate::demo::stand_ins::ledger::lock;

/// What only the server writes is taken over from a body by no job.
const WRITABLE: [&str; 8] =
    ["annotations", "binaryAuthorization", "client", "clientVersion", "functionalType", "labels", "launchStage", "template"];

/// How the next executions go.
#[derive(Debug, Clone)]
pub struct Course {
    /// They take so long.
    pub duration: Duration,
    /// Tasks (from 0) that end with this exit code.
    pub failing: BTreeMap<usize, i64>,
}

/// Everything the stand-in knows of jobs.
#[derive(Debug)]
pub(super) struct Jobs {
    jobs: BTreeMap<String, Job>,
    operations: BTreeMap<String, Value>,
    course: Course,
    sequence: u64,
}

impl Default for Jobs {
    fn default() -> Self {
        let course = Course { duration: Duration::from_millis(20), failing: BTreeMap::new() };
        Self { jobs: BTreeMap::new(), operations: BTreeMap::new(), course, sequence: 0 }
    }
}

#[derive(Debug)]
struct Job {
    name: String,
    body: Map<String, Value>,
    generation: u64,
    etag: String,
    /// Why it cannot be run, if the last write left it so.
    fault: Option<(String, String)>,
    executions: Vec<Execution>,
}

#[derive(Debug)]
struct Execution {
    name: String,
    template: Value,
    tasks: usize,
    failing: BTreeMap<usize, i64>,
    created: Timestamp,
    done_at: Instant,
    cancelled: bool,
}

impl Job {
    fn shown(&self) -> Value {
        let mut shown = Map::from_iter([("name".to_owned(), Value::from(self.name.clone()))]);
        shown.extend(self.body.clone());
        let condition = match &self.fault {
            None => json!({ "type": "Ready", "state": "CONDITION_SUCCEEDED" }),
            Some((reason, message)) => {
                json!({ "type": "Ready", "state": "CONDITION_FAILED", "reason": reason, "message": message })
            }
        };
        let more = json!({
            "uid": format!("{:x}", self.name.len()), "generation": self.generation.to_string(),
            "observedGeneration": self.generation.to_string(), "terminalCondition": condition, "etag": self.etag,
            "executionCount": self.executions.len(),
        });
        shown.extend(more.as_object().cloned().unwrap_or_default());
        Value::Object(shown)
    }
}

impl Execution {
    fn is_done(&self) -> bool {
        self.cancelled || self.done_at <= Instant::now()
    }

    fn shown(&self, job: &str) -> Value {
        let short = self.name.rsplit('/').next().unwrap_or_default();
        let done = self.is_done();
        let (failed, cancelled) = match (done, self.cancelled) {
            (false, _) => (0, 0),
            (true, true) => (0, self.tasks),
            (true, false) => (self.failing.len(), 0),
        };
        let mut shown = json!({
            "name": self.name, "job": job, "taskCount": self.tasks, "createTime": self.created.rfc3339(),
            "startTime": self.created.rfc3339(), "template": self.template,
            "logUri": format!("https://console.cloud.google.com/logs/viewer?resource=cloud_run_job&execution={short}"),
        });
        let Some(object) = shown.as_object_mut() else { return shown };
        // Protobuf's JSON leaves a zero out.
        let counts = [
            ("runningCount", if done { 0 } else { self.tasks }),
            ("succeededCount", if done { self.tasks - failed - cancelled } else { 0 }),
            ("failedCount", failed),
            ("cancelledCount", cancelled),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            object.insert(name.into(), count.into());
        }
        if done {
            object.insert("completionTime".into(), Timestamp::now().rfc3339().into());
        }
        shown
    }

    fn task(&self, index: usize) -> Value {
        let code = self.failing.get(&index).copied();
        let state = match (self.is_done(), code) {
            (false, _) => "CONDITION_RECONCILING",
            (true, Some(_)) => "CONDITION_FAILED",
            (true, None) => "CONDITION_SUCCEEDED",
        };
        let mut shown = json!({
            "name": format!("{}/tasks/{index}", self.name), "index": index,
            "conditions": [{ "type": "Completed", "state": state, "message": if code.is_some() { "The task failed." } else { "" } }],
            "logUri": format!("https://console.cloud.google.com/logs/viewer?resource=cloud_run_job&task={index}"),
        });
        if let (Some(code), Some(object)) = (code, shown.as_object_mut()) {
            object.insert("lastAttemptResult".into(), json!({ "exitCode": code }));
        }
        shown
    }
}

impl CloudRun {
    /// Puts a job there as it would be fetched; by its full name.
    ///
    /// # Errors
    /// What the API would refuse.
    pub fn seed_job(&self, job: &Value) -> Result<(), String> {
        let mut body = job.as_object().cloned().unwrap_or_default();
        SHAPES.check("Job", &body).map_err(|violation| format!("{}: {:?}", violation.path, violation.problem))?;
        let name = body.shift_remove("name").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let mut jobs = lock(&self.jobs);
        jobs.sequence += 1;
        let etag = format!("\"job-{}\"", jobs.sequence);
        jobs.jobs.insert(name.clone(), Job { name, body, generation: 1, etag, fault: None, executions: Vec::new() });
        Ok(())
    }

    /// The job as the API shows it.
    pub fn job(&self, name: &str) -> Option<Value> {
        lock(&self.jobs).jobs.get(name).map(Job::shown)
    }

    /// Its executions as the API shows them, oldest first.
    pub fn executions(&self, job: &str) -> Vec<Value> {
        let jobs = lock(&self.jobs);
        let found = jobs.jobs.get(job).into_iter().flat_map(|found| &found.executions);
        found.map(|execution| execution.shown(job)).collect()
    }

    /// Executions that begin from now on go this way.
    pub fn executions_go(&self, course: Course) {
        lock(&self.jobs).course = course;
    }

    pub(super) fn job_operation(&self, name: &str) -> Option<Value> {
        lock(&self.jobs).operations.get(name).cloned()
    }

    pub(super) fn answer_job(&self, request: &Request, name: &str, rest: &[&str], by: &str) -> Result<Value, Refusal> {
        let (name, method) = match name.rsplit_once(':') {
            Some((name, method)) => (name, Some(method)),
            None => (name, None),
        };
        let mut jobs = lock(&self.jobs);
        if !jobs.jobs.contains_key(name) {
            return Err(not_found("JOB", name));
        }
        match (request.method.as_str(), rest, method) {
            ("GET", [], None) => {
                parameters(request, &[])?;
                jobs.jobs.get(name).map(Job::shown).ok_or_else(|| not_found("JOB", name))
            }
            ("PATCH", [], None) => self.write(&mut jobs, request, name, by),
            ("POST", [], Some("run")) => self.run(&mut jobs, request, name),
            ("GET", ["executions"], None) => {
                parameters(request, &["pageSize", "pageToken", "showDeleted"])?;
                let newest = jobs.jobs.get(name).into_iter().flat_map(|job| job.executions.iter().rev());
                Ok(json!({ "executions": newest.map(|execution| execution.shown(name)).collect::<Vec<_>>() }))
            }
            (verb, ["executions", id, rest @ ..], None) => self.answer_execution(&mut jobs, request, (verb, name, id, rest)),
            _ => Err(Refusal::new(404, format!("Method not found: {} {}", request.method, request.path))),
        }
    }

    fn answer_execution(&self, jobs: &mut Jobs, request: &Request, path: (&str, &str, &str, &[&str])) -> Result<Value, Refusal> {
        let (verb, job, id, rest) = path;
        let (id, method) = id.split_once(':').map_or((id, None), |(id, method)| (id, Some(method)));
        let full = format!("{job}/executions/{id}");
        let found = jobs.jobs.get_mut(job).and_then(|job| job.executions.iter_mut().find(|execution| execution.name == full));
        let execution = found.ok_or_else(|| not_found("EXECUTION", id))?;
        match (verb, rest, method) {
            ("GET", [], None) => Ok(execution.shown(job)),
            ("GET", ["tasks"], None) => {
                parameters(request, &["pageSize", "pageToken", "showDeleted"])?;
                Ok(json!({ "tasks": (0..execution.tasks).map(|index| execution.task(index)).collect::<Vec<_>>() }))
            }
            ("POST", [], Some("cancel")) => {
                if execution.is_done() {
                    return Err(Refusal::new(400, "The execution is not running."));
                }
                execution.cancelled = true;
                self.ledger.effect("execution.cancelled", id, json!({ "job": job }));
                Ok(json!({ "name": format!("{job}/operations/cancel"), "metadata": execution.shown(job) }))
            }
            _ => Err(Refusal::new(404, format!("Method not found: {} {}", request.method, request.path))),
        }
    }

    fn write(&self, jobs: &mut Jobs, request: &Request, name: &str, by: &str) -> Result<Value, Refusal> {
        // There is no update mask for jobs: what is not in the body is removed.
        parameters(request, &["allowMissing", "validateOnly"])?;
        let body = check::body(&request.body, "Job")?;
        let template = body.get("template").and_then(|template| template.get("template")).and_then(Value::as_object);
        let template = template.ok_or_else(|| Refusal::invalid("job.template", "a template is required."))?;
        let mut judged = template.clone();
        judged.entry("maxRetries").or_insert(3.into());
        check::containers(&judged)?;
        if body.contains_key("startExecutionToken") || body.contains_key("runExecutionToken") {
            return Err(Refusal::invalid("job", "the stand-in starts no execution with a write."));
        }
        let images = lock(&self.images).clone();
        let missing = template.get("containers").and_then(Value::as_array).into_iter().flatten().find_map(|container| {
            let image = container.get("image")?.as_str()?;
            images.as_ref().is_some_and(|known| known(image).is_none()).then(|| image.to_owned())
        });
        jobs.sequence += 1;
        let sequence = jobs.sequence;
        let job = jobs.jobs.get_mut(name).ok_or_else(|| not_found("JOB", name))?;
        if let Some(etag) = body.get("etag").and_then(Value::as_str).filter(|etag| !etag.is_empty() && *etag != job.etag) {
            let message =
                format!("Conflict for resource '{name}': version '{etag}' was specified but current version is '{}'.", job.etag);
            return Err(Refusal::new(409, message));
        }
        job.body = body.into_iter().filter(|(field, _)| WRITABLE.contains(&field.as_str())).collect();
        job.generation += 1;
        job.etag = format!("\"job-{sequence}\"");
        job.fault = missing.map(|image| ("CONTAINER_MISSING".to_owned(), format!("Image '{image}' not found.")));
        self.ledger.effect("job.changed", name.rsplit('/').next().unwrap_or(name), json!({ "by": by }));
        let shown = job.shown();
        let failed = job.fault.as_ref().map(|(_, message)| json!({ "code": 9, "message": message }));
        Ok(jobs.operation(name, "google.cloud.run.v2.Job", shown, failed))
    }

    fn run(&self, jobs: &mut Jobs, request: &Request, name: &str) -> Result<Value, Refusal> {
        let body = check::body(&request.body, "RunJobRequest")?;
        jobs.sequence += 1;
        let (sequence, course) = (jobs.sequence, jobs.course.clone());
        let job = jobs.jobs.get_mut(name).ok_or_else(|| not_found("JOB", name))?;
        if let Some(etag) = body.get("etag").and_then(Value::as_str).filter(|etag| !etag.is_empty() && *etag != job.etag) {
            return Err(Refusal::new(409, format!("Conflict for resource '{name}': version '{etag}' is not the current one.")));
        }
        if let Some((_, message)) = &job.fault {
            return Err(Refusal::new(400, format!("The job is not ready: {message}")));
        }
        let overrides = body.get("overrides").cloned().unwrap_or_default();
        let template = overridden(job.body.get("template").and_then(|outer| outer.get("template")), &overrides)?;
        let tasks = overrides.get("taskCount").or_else(|| job.body.get("template")?.get("taskCount"));
        let tasks = tasks.and_then(Value::as_u64).and_then(|tasks| usize::try_from(tasks).ok()).unwrap_or(1);
        let short = name.rsplit('/').next().unwrap_or(name);
        let execution = Execution {
            name: format!("{name}/executions/{short}-{sequence:05}"),
            template,
            tasks,
            failing: course.failing.into_iter().filter(|(index, _)| *index < tasks).collect(),
            created: Timestamp::now(),
            done_at: Instant::now() + course.duration,
            cancelled: false,
        };
        let shown = execution.shown(name);
        let id = execution.name.rsplit('/').next().unwrap_or_default().to_owned();
        self.ledger.effect("execution.created", &id, json!({ "job": short, "tasks": tasks, "overrides": overrides }));
        job.executions.push(execution);
        let operation = format!("{}/operations/run-{sequence}", name.split_once("/jobs/").map_or(name, |(parent, _)| parent));
        Ok(json!({ "name": operation, "metadata": typed("google.cloud.run.v2.Execution", shown) }))
    }
}

impl Jobs {
    /// An operation that is over.
    fn operation(&mut self, job: &str, kind: &str, shown: Value, failed: Option<Value>) -> Value {
        let parent = job.split_once("/jobs/").map_or(job, |(parent, _)| parent);
        let name = format!("{parent}/operations/job-{}", self.sequence);
        let mut operation = json!({ "name": name, "metadata": typed(kind, shown.clone()), "done": true });
        if let Some(object) = operation.as_object_mut() {
            match failed {
                Some(error) => object.insert("error".into(), error),
                None => object.insert("response".into(), typed(kind, shown)),
            };
        }
        self.operations.insert(name, operation.clone());
        operation
    }
}

fn typed(kind: &str, value: Value) -> Value {
    let mut typed = Map::from_iter([("@type".to_owned(), Value::from(format!("type.googleapis.com/{kind}")))]);
    typed.extend(value.as_object().cloned().unwrap_or_default());
    Value::Object(typed)
}

/// The template of tasks with what one run changes.
fn overridden(template: Option<&Value>, overrides: &Value) -> Result<Value, Refusal> {
    let mut template = template.cloned().unwrap_or_default();
    for change in overrides.get("containerOverrides").and_then(Value::as_array).into_iter().flatten() {
        let name = change.get("name").and_then(Value::as_str);
        let containers = template.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten();
        let mut named = containers.filter(|container| name.is_none() || container.get("name").and_then(Value::as_str) == name);
        let container = named.next().and_then(Value::as_object_mut);
        let container =
            container.ok_or_else(|| Refusal::invalid("overrides.containerOverrides.name", "is no container of the job."))?;
        if change.get("clearArgs").and_then(Value::as_bool) == Some(true) {
            container.shift_remove("args");
        }
        if let Some(args) = change.get("args") {
            container.insert("args".into(), args.clone());
        }
        let list = container.entry("env").or_insert_with(|| json!([]));
        for entry in change.get("env").and_then(Value::as_array).into_iter().flatten() {
            if let Some(list) = list.as_array_mut() {
                list.retain(|old| old.get("name") != entry.get("name"));
                list.push(entry.clone());
            }
        }
    }
    if let (Some(timeout), Some(template)) = (overrides.get("timeout"), template.as_object_mut()) {
        template.insert("timeout".into(), timeout.clone());
    }
    Ok(template)
}

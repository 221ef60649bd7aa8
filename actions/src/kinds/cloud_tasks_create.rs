//! `cloud-tasks/create`: a request that Cloud Tasks makes later, and again until it works.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::hops;
use crate::http::{HttpError, Method, Request, shown_url};
use crate::kinds::{address, google};

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Cloud Tasks' own limits; larger payloads belong into a store, and a reference to them into the task.
const LARGEST_BODY: usize = 100_000;
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 24 * 3600);
const SHORTEST_DISPATCH: Duration = Duration::from_secs(15);
const LONGEST_DISPATCH: Duration = Duration::from_secs(30 * 60);

/// The action.
pub struct CloudTasksCreate;

static SPEC: Spec = Spec {
    name: "cloud-tasks/create",
    summary: "Puts a task into a Cloud Tasks queue: a request to the connection's API, made at its time and again until it works",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The queues, by their name under `connections:`" },
        Field { name: "queue", shape: "string", summary: "Name of the queue, one of the connection's `queues`" },
        Field { name: "path", shape: "url-path", summary: "Path below the connection's base-url" },
        Field { name: "method", shape: "GET|POST|PUT|PATCH|DELETE?", summary: "POST if left out" },
        Field { name: "headers", shape: "{ \"*\": any }?", summary: "Headers" },
        Field { name: "body", shape: "any?", summary: "Sent as JSON" },
        Field { name: "delay", shape: "duration?", summary: "Not before so long from now, at most 30d" },
        Field { name: "at", shape: "timestamp?", summary: "Not before that time" },
        Field { name: "name", shape: "any?", summary: "What makes the task the same task: the call's key if left out" },
        Field { name: "deadline", shape: "duration?", summary: "How long the API may take to answer, 15s to 30m" },
    ],
    outputs: &[
        Field { name: "name", shape: "string", summary: "Full name of the task" },
        Field { name: "created", shape: "bool", summary: "False if there is, or was within the last hour, a task of that name" },
    ],
    example: "connection: later\nqueue: reminders\npath: /v1/remind\nbody: { order: 17 }\ndelay: 24h\nname: remind-17\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::Idempotent,
    repeat_how: "The task's name is a hash of `name` or of the call's key, and Cloud Tasks takes a name once",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    account: Option<String>,
    /// `projects/P/locations/L/queues/Q`
    queue: String,
    /// `…/tasks/T`
    name: String,
    request: Value,
    delay: Option<Duration>,
    at: Option<String>,
    deadline: Option<Duration>,
}

#[async_trait]
impl Action for CloudTasksCreate {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "cloud-tasks")?;
        let url = all((connection.text("base-url").and_then(address::base), given.text("path")));
        let url = url.and_then(|(base, path)| address::below(&base, path, None));
        let (queue, project, location, account, (delay, at), deadline, (url, request)) = all((
            google::listed(&given, "queue", &connection, "queues"),
            google::segment(&connection, "project"),
            google::segment(&connection, "location"),
            google::act_as(&connection),
            due(&given),
            deadline(&given),
            url.and_then(|url| request(&given, &connection, &url, hops::next(&call)?).map(|request| (url, request))),
        ))?;
        let queue = format!("projects/{project}/locations/{location}/queues/{queue}");
        let same = given.value("name").map(google::text_of).filter(|name| !name.is_empty()).unwrap_or_else(|| call.key.clone());
        // Hashed: names that begin alike make Cloud Tasks slow, and a name from outside may hold anything.
        let hash = hex::encode(Sha256::digest(same.as_bytes()));
        let plan = Plan {
            account,
            name: format!("{queue}/tasks/{}-declic", hash.get(..32).unwrap_or(&hash)),
            queue,
            request,
            delay,
            at: at.map(str::to_owned),
            deadline,
        };
        let summary = format!("task for {} in {}", shown_url(&url), plan.queue);
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let google = &context.clients.google;
        let mut task = json!({ "name": plan.name, "httpRequest": plan.request });
        if let Some(time) = time(&plan, google.now()) {
            task["scheduleTime"] = time.into();
        }
        if let Some(deadline) = plan.deadline {
            task["dispatchDeadline"] = format!("{}s", deadline.as_secs()).into();
        }
        let address = format!("{}/v2/{}/tasks", google.settings().cloud_tasks_url, plan.queue);
        let request = Request::to(Method::POST, &address, context.deadline).json(&json!({ "task": task }));
        let created = match google.send(plan.account.as_deref(), request).await {
            Ok(_) => true,
            Err(error) if exists(&error) => false,
            Err(error) => return Err(error.into_failure("Cloud Tasks")),
        };
        let summary = if created { "task created" } else { "the task is there already" };
        Ok(Outcome { outputs: json!({ "name": plan.name, "created": created }), summary: summary.to_owned(), url: None })
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let google = &context.clients.google;
        let address = format!("{}/v2/{}", google.settings().cloud_tasks_url, plan.name);
        match google.send(plan.account.as_deref(), Request::to(Method::GET, &address, context.deadline)).await {
            Ok(_) => {
                let outputs = json!({ "name": plan.name, "created": true });
                Ok(Some(Outcome { outputs, summary: "the task is there already".to_owned(), url: None }))
            }
            // One that is done is gone; its name says so when it is created again. And not every account may read.
            Err(HttpError::Status { status: 403 | 404, .. }) => Ok(None),
            Err(error) => Err(error.into_failure("Cloud Tasks")),
        }
    }
}

/// Is the name taken? Another conflict is a conflict.
fn exists(error: &HttpError) -> bool {
    let HttpError::Status { status: 409, response, .. } = error else { return false };
    let status = response.json().ok().and_then(|body| body.pointer("/error/status").and_then(Value::as_str).map(str::to_owned));
    status.as_deref() == Some("ALREADY_EXISTS")
}

/// Either, but not both.
fn due<'a>(given: &given::Given<'a>) -> Result<(Option<Duration>, Option<&'a str>), Faults> {
    let (delay, at) = all((delay(given), at(given)))?;
    if delay.is_some() && at.is_some() {
        return Err(invalid("a task has a `delay` or a time under `at`, not both").into());
    }
    Ok((delay, at))
}

fn delay(given: &given::Given<'_>) -> Result<Option<Duration>, Why> {
    let delay = given.duration("delay")?;
    let fits = delay.is_none_or(|delay| delay <= LONGEST_DELAY);
    if fits { Ok(delay) } else { Err(invalid("`with.delay` is at most 30d")) }
}

fn at<'a>(given: &given::Given<'a>) -> Result<Option<&'a str>, Why> {
    let at = given.optional_text("at")?;
    let fits = at.is_none_or(|at| chrono::DateTime::parse_from_rfc3339(at).is_ok());
    if fits { Ok(at) } else { Err(invalid("`with.at` is a time such as 2026-11-24T06:00:00Z")) }
}

fn deadline(given: &given::Given<'_>) -> Result<Option<Duration>, Why> {
    let deadline = given.duration("deadline")?;
    let fits = deadline.is_none_or(|deadline| (SHORTEST_DISPATCH..=LONGEST_DISPATCH).contains(&deadline));
    if fits { Ok(deadline) } else { Err(invalid("`with.deadline` is between 15s and 30m")) }
}

/// The task's `httpRequest`.
fn request(given: &given::Given<'_>, connection: &given::Given<'_>, url: &Url, hops: u32) -> Result<Value, Faults> {
    let headers = given.optional_object("headers").map_err(Faults::from).and_then(address::headers);
    let (method, headers, account, audience) = all((
        given.one_of("method", METHODS),
        headers,
        connection.optional_text("oidc-account").and_then(|email| email.map(crate::cloud_run::account).transpose()),
        connection.optional_text("audience"),
    ))?;
    let method = method.unwrap_or("POST");
    let mut headers: serde_json::Map<String, Value> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    let mut request = json!({ "url": url.as_str(), "httpMethod": method });
    if let Some(body) = given.value("body") {
        if matches!(method, "GET" | "DELETE") {
            return Err(invalid(format!("a {method} request of a task has no `body`")).into());
        }
        let body = body.to_string();
        if body.len() > LARGEST_BODY {
            let message = format!("`with.body` is longer than {LARGEST_BODY} bytes; store it, and send a reference to it");
            return Err(invalid(message).into());
        }
        headers.entry("content-type").or_insert_with(|| "application/json".into());
        request["body"] = STANDARD.encode(body).into();
    }
    headers.retain(|name, _| !name.eq_ignore_ascii_case(hops::HEADER));
    headers.insert(hops::HEADER.into(), hops.to_string().into());
    request["headers"] = Value::Object(headers);
    if let Some(account) = account {
        let mut token = json!({ "serviceAccountEmail": account });
        if let Some(audience) = audience {
            token["audience"] = audience.into();
        }
        request["oidcToken"] = token;
    }
    Ok(request)
}

fn time(plan: &Plan, now: i64) -> Option<String> {
    if let Some(at) = &plan.at {
        return Some(at.clone());
    }
    let seconds = i64::try_from(plan.delay?.as_secs()).ok()?;
    chrono::DateTime::from_timestamp(now + seconds, 0).map(|time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

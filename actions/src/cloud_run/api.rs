//! The calls: read, change under the etag, wait.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::action::{Context, Failure};
use crate::cloud_run::{Target, text};
use crate::google::Google;
use crate::http::{HttpError, Request};

/// One call may take so long, of the time that is left.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What `:wait` is asked to wait.
const WAIT: Duration = Duration::from_secs(10);
/// Other writers may come in between so often before we give the attempt up.
const CONFLICTS: u32 = 6;
/// Revisions that are looked through for the one before.
const REVISIONS: usize = 100;
/// While only looking, so many failed looks in a row are borne: giving up would leave a deploy half done.
const FAILED_LOOKS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The API for one service or job.
pub(crate) struct Api<'a> {
    google: &'a Google,
    account: Option<&'a str>,
    name: String,
    base: &'a str,
}

/// How an operation ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    Succeeded,
    /// With this message.
    Failed(String),
    /// The API does not know it any more; what came of it must be read from the service.
    Forgotten,
    /// Not before the time was up.
    Late,
}

impl<'a> Api<'a> {
    pub(crate) fn new(context: &Context<'a>, target: &'a Target) -> Self {
        let google = &context.clients.google;
        let base = google.settings().run_url.as_str();
        Self { google, account: target.deploy_as.as_deref(), name: target.name(), base }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>, until: Instant) -> Result<Value, HttpError> {
        let deadline = until.min(Instant::now() + CALL_TIMEOUT);
        let mut request = Request::to(method, &format!("{}/v2/{path}", self.base), deadline);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.google.send(self.account, request).await?.json()
    }

    fn failure(&self, error: HttpError) -> Failure {
        error.into_failure("Cloud Run")
    }

    /// Something below its name, such as `/executions`; none if it is not there.
    pub(crate) async fn below(&self, path: &str, until: Instant) -> Result<Option<Value>, Failure> {
        match self.call(Method::GET, &format!("{}{path}", self.name), None, until).await {
            Ok(value) => Ok(Some(value)),
            Err(HttpError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// A method of it, such as `:run`.
    pub(crate) async fn act(&self, method: &str, body: &Value, until: Instant) -> Result<Value, Failure> {
        let answer = self.call(Method::POST, &format!("{}{method}", self.name), Some(body), until).await;
        answer.map_err(|error| match error {
            HttpError::Status { status: 404, .. } => self.missing("job"),
            other => self.failure(other),
        })
    }

    /// Asks for the end of an execution; one that is over already is no error.
    pub(crate) async fn cancel(&self, execution: &str, until: Instant) -> Result<(), Failure> {
        let path = format!("{}/executions/{execution}:cancel", self.name);
        match self.call(Method::POST, &path, Some(&json!({})), until).await {
            Ok(_) | Err(HttpError::Status { status: 400 | 404 | 409, .. }) => Ok(()),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// The job as it is.
    pub(crate) async fn job(&self, until: Instant) -> Result<Value, Failure> {
        self.below("", until).await?.ok_or_else(|| self.missing("job"))
    }

    /// Writes a whole job: this API knows no update mask for jobs. Gives the operation's name; errors stay as they are.
    pub(crate) async fn write_job(&self, job: &Value, until: Instant) -> Result<String, HttpError> {
        let operation = self.call(Method::PATCH, &self.name, Some(job), until).await?;
        match text(&operation, "name") {
            "" => Err(HttpError::BadAnswer("names no operation".into())),
            name => Ok(name.to_owned()),
        }
    }

    fn missing(&self, kind: &str) -> Failure {
        let message = format!(
            "The {kind} `{}` does not exist, or may not be seen; create it once by hand, Declic then works with it",
            self.name
        );
        Failure::last("not-found", message)
    }

    /// The service as it is.
    pub(crate) async fn service(&self, until: Instant) -> Result<Value, Failure> {
        match self.call(Method::GET, &self.name, None, until).await {
            Err(HttpError::Status { status: 404, .. }) => Err(self.missing("service")),
            other => other.map_err(|error| self.failure(error)),
        }
    }

    /// One of its revisions, if it exists.
    pub(crate) async fn revision(&self, revision: &str, until: Instant) -> Result<Option<Value>, Failure> {
        match self.call(Method::GET, &format!("{}/revisions/{revision}", self.name), None, until).await {
            Ok(value) => Ok(Some(value)),
            Err(HttpError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// The newest revisions, newest first; older ones than the first page are of no interest to anybody here.
    pub(crate) async fn newest_revisions(&self, until: Instant) -> Result<Vec<Value>, Failure> {
        let path = format!("{}/revisions?pageSize={REVISIONS}", self.name);
        let list = self.call(Method::GET, &path, None, until).await.map_err(|error| self.failure(error))?;
        Ok(list.get("revisions").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Changes these fields of the service as it was read; gives the operation's name. Errors stay as they are, because
    /// conflicts are the caller's to judge.
    pub(crate) async fn patch(&self, service: &Value, fields: Map<String, Value>, until: Instant) -> Result<String, HttpError> {
        let mask: Vec<&str> = fields.keys().map(String::as_str).collect();
        let path = format!("{}?updateMask={}", self.name, mask.join(","));
        let mut body = Map::new();
        body.insert("name".into(), self.name.clone().into());
        body.insert("etag".into(), text(service, "etag").into());
        body.extend(fields);
        let operation = self.call(Method::PATCH, &path, Some(&Value::Object(body)), until).await?;
        match text(&operation, "name") {
            "" => Err(HttpError::BadAnswer("names no operation".into())),
            name => Ok(name.to_owned()),
        }
    }

    /// Reads the allocation, lets `edit` change it, writes it under the etag, and again if somebody else was faster.
    /// `edit` gives the new `traffic`, or `None` if it is right already. Gives the operation to wait for.
    pub(crate) async fn change_traffic(
        &self,
        until: Instant,
        edit: impl Fn(&Value) -> Result<Option<Value>, Failure>,
    ) -> Result<Option<String>, Failure> {
        let mut conflicts = 0;
        loop {
            let service = self.service(until).await?;
            let Some(traffic) = edit(&service)? else { return Ok(None) };
            // Only this field: a template that is sent along makes the API compare it with existing revisions.
            let fields = Map::from_iter([("traffic".to_owned(), traffic)]);
            match self.patch(&service, fields, until).await {
                Ok(operation) => return Ok(Some(operation)),
                Err(error) => self.after_conflict(error, &mut conflicts).await?,
            }
        }
    }

    /// After a write under the etag: waits before it is tried again, if others were faster. Any other error ends the attempt, and so does one
    /// conflict too many, which is worth another attempt later.
    pub(crate) async fn after_conflict(&self, error: HttpError, conflicts: &mut u32) -> Result<(), Failure> {
        if !is_conflict(&error) {
            return Err(self.failure(error));
        }
        if *conflicts >= CONFLICTS {
            return Err(Failure::retry("conflict", "Others keep changing the service at the same time"));
        }
        *conflicts += 1;
        sleep(pause(*conflicts)).await;
        Ok(())
    }

    /// Waits until an operation has ended.
    pub(crate) async fn wait(&self, operation: &str, until: Instant) -> Result<Ended, Failure> {
        let (mut looks, mut failed) = (0, 0);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(20) {
                return Ok(Ended::Late);
            }
            // A little less than what is left, so that the answer still arrives.
            let timeout = WAIT.min(left.mul_f64(0.8));
            let body = json!({ "timeout": format!("{:.3}s", timeout.as_secs_f64()) });
            match self.call(Method::POST, &format!("{operation}:wait"), Some(&body), until).await {
                Ok(found) if found.get("done").and_then(Value::as_bool) == Some(true) => return Ok(ended(&found)),
                Ok(_) => failed = 0,
                Err(HttpError::Status { status: 404, .. }) => return Ok(Ended::Forgotten),
                Err(HttpError::Timeout) if Instant::now() >= until => return Ok(Ended::Late),
                Err(error) if error.is_retryable() && failed < FAILED_LOOKS => failed += 1,
                Err(error) => return Err(self.failure(error)),
            }
            looks += 1;
            // Not beyond `until`: what comes after it is the caller's reserve.
            sleep(pause(looks).min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Looks at the service until `is` gives something; `None` if it does not before the time is up.
    pub(crate) async fn until<T>(&self, until: Instant, is: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Failure> {
        let (mut looks, mut failed) = (0, 0);
        loop {
            match self.service(until).await {
                Ok(service) => {
                    failed = 0;
                    if let Some(found) = is(&service) {
                        return Ok(Some(found));
                    }
                }
                Err(failure @ Failure::Final { .. }) => return Err(failure),
                Err(_) if Instant::now() >= until => return Ok(None),
                Err(failure) if failed >= FAILED_LOOKS => return Err(failure),
                Err(_) => failed += 1,
            }
            looks += 1;
            if until.saturating_duration_since(Instant::now()) < pause(looks) {
                return Ok(None);
            }
            sleep(pause(looks)).await;
        }
    }
}

/// 50 ms at first, doubling to two seconds: quick for what is quick, sparing for what takes minutes.
pub(crate) fn pause(number: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << number.min(10)).min(LONGEST_PAUSE)
}

fn ended(operation: &Value) -> Ended {
    match operation.get("error") {
        None => Ended::Succeeded,
        Some(error) => Ended::Failed(crate::http::shown(text(error, "message"))),
    }
}

/// Did somebody else change the service between our read and our write?
fn is_conflict(error: &HttpError) -> bool {
    matches!(error.status_code(), Some(409 | 412)) && !already_exists(error)
}

/// Is there a revision of that name?
pub(crate) fn already_exists(error: &HttpError) -> bool {
    let HttpError::Status { status: 409, message, response, .. } = error else { return false };
    let status = response.json().ok().and_then(|body| body.pointer("/error/status").and_then(Value::as_str).map(str::to_owned));
    status.as_deref() == Some("ALREADY_EXISTS") || message.contains("already exists")
}

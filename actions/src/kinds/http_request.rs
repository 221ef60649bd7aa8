//! `http/request`: a request to an HTTP API that the operator offers.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::hops;
use crate::http::{HttpError, Method, Request, Response, shown_url};
use crate::kinds::address;
use crate::kinds::auth::Auth;

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];
/// Outputs are journaled, so they must stay small.
const LONGEST_ANSWER: usize = 1024 * 1024;

/// The action.
pub struct HttpRequest;

static SPEC: Spec = Spec {
    name: "http/request",
    summary: "Sends a request to an HTTP connection and gives its answer",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The API, by its name under `connections:`" },
        Field { name: "method", shape: "GET|POST|PUT|PATCH|DELETE?", summary: "GET if left out, POST if there is a body" },
        Field { name: "path", shape: "url-path", summary: "Path below the connection's base-url" },
        Field { name: "query", shape: "{ \"*\": any }?", summary: "Query parameters; a list repeats the name" },
        Field { name: "headers", shape: "{ \"*\": any }?", summary: "Headers" },
        Field { name: "body", shape: "any?", summary: "Sent as JSON" },
        Field { name: "token", shape: "secret?", summary: "Sent as a bearer token" },
        Field { name: "expect", shape: "[int]?", summary: "Statuses that are an answer: 2xx if left out" },
        Field { name: "response", shape: "any?", summary: "Shape that the JSON of the answer must have" },
    ],
    outputs: &[
        Field { name: "status", shape: "int", summary: "Status of the answer" },
        Field { name: "body", shape: "any", summary: "Its body: JSON if it is that, else text" },
        Field { name: "headers", shape: "{ \"*\": text }", summary: "Its headers" },
    ],
    example: r#"connection: orders_api
method: POST
path: /v1/risk
body: { order: 17 }
expect: [200, 404]
"#,
    deadline: Duration::from_secs(10),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "`Idempotency-Key` carries the call's key, by which an API can tell",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    method: String,
    url: Url,
    headers: Vec<(String, String)>,
    body: Option<String>,
    /// Name of the secret that goes along as a bearer token, in place of the connection's own authentication.
    token: Option<String>,
    auth: Auth,
    expect: Vec<u16>,
}

#[async_trait]
impl Action for HttpRequest {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "http")?;
        let path = all((given.text("path"), given.optional_object("query"))).and_then(|(path, query)| {
            let base = address::base(connection.text("base-url")?)?;
            address::below(&base, path, query)
        });
        let headers = given.optional_object("headers").map_err(Faults::from).and_then(address::headers);
        let (url, mut headers, method, token, auth, expect, hops) = all((
            path,
            headers,
            method(&given, &connection),
            given.optional_text("token"),
            Auth::read(&connection),
            statuses(given.value("expect")),
            hops::next(&call),
        ))?;
        let body = given.value("body").map(|body| payload(body, &mut headers));
        if !headers.iter().any(|(name, _)| name == "idempotency-key") {
            headers.push(("idempotency-key".into(), call.key.clone()));
        }
        headers.retain(|(name, _)| name != hops::HEADER);
        headers.push((hops::HEADER.into(), hops.to_string()));
        let plan = Plan { method: method.to_owned(), headers, body, token: token.map(str::to_owned), auth, expect, url };
        let summary = format!("{method} {}", shown_url(&plan.url));
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let method = Method::from_bytes(plan.method.as_bytes()).map_err(|error| Failure::last("invalid", error.to_string()))?;
        let mut request = Request::new(method, plan.url.clone(), context.deadline).cap(LONGEST_ANSWER);
        for (name, value) in &plan.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &plan.body {
            request = request.bytes(body.clone());
        }
        if !plan.expect.is_empty() {
            request = request.expect(&plan.expect);
        }
        let auth = plan.token.clone().map_or(plan.auth, Auth::Bearer);
        let target = plan.url.host_str().unwrap_or("The target").to_owned();
        let answer = auth.send(context, &intent.call.key, request).await.map_err(|error| error.into_failure(&target))?;
        outcome(&answer).map_err(|error| error.into_failure(&target))
    }
}

/// JSON, or text as it is where the rule says that it is something else.
fn payload(body: &Value, headers: &mut Vec<(String, String)>) -> String {
    let kind = headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.contains("json"));
    match (body, kind) {
        (Value::String(text), Some(false)) => text.clone(),
        (_, None) => {
            headers.push(("content-type".into(), "application/json".into()));
            body.to_string()
        }
        _ => body.to_string(),
    }
}

fn statuses(expect: Option<&Value>) -> Result<Vec<u16>, Why> {
    let Some(expect) = expect else { return Ok(Vec::new()) };
    let status =
        |value: &Value| value.as_u64().and_then(|status| u16::try_from(status).ok()).filter(|status| (200..600).contains(status));
    let list = expect.as_array().and_then(|list| list.iter().map(status).collect::<Option<Vec<_>>>());
    list.filter(|list| !list.is_empty()).ok_or_else(|| invalid("`with.expect` is a list of statuses between 200 and 599"))
}

fn outcome(answer: &Response) -> Result<Outcome, HttpError> {
    let kind = answer.header("content-type").unwrap_or_default();
    let text = || Value::String(String::from_utf8_lossy(&answer.body).into_owned());
    let body = if kind.contains("json") { answer.json()? } else { answer.json().unwrap_or_else(|_| text()) };
    let shown = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = value.to_str().ok().filter(|_| name != http::header::SET_COOKIE)?;
        Some((name.as_str().to_owned(), Value::from(value)))
    };
    let headers: Map<String, Value> = answer.headers.iter().filter_map(shown).collect();
    let outputs = json!({ "status": answer.status, "body": body, "headers": headers });
    Ok(Outcome { outputs, summary: format!("answered {}", answer.status), url: None })
}

fn method<'a>(given: &given::Given<'a>, connection: &given::Given<'_>) -> Result<&'a str, Why> {
    let has_body = given.value("body").is_some();
    let method = given.one_of("method", METHODS)?.unwrap_or(if has_body { "POST" } else { "GET" });
    if has_body && method == "GET" {
        return Err(invalid("a GET request has no `body`"));
    }
    if connection.optional_texts("methods")?.is_some_and(|allowed| !allowed.contains(&method)) {
        return Err(Why::new("method-not-allowed", format!("the connection does not allow {method}")));
    }
    Ok(method)
}

//! `http/request`: a request to an HTTP API that the operator offers.

use std::time::Duration;

use async_trait::async_trait;

use crate::action::{Action, Call, Class, Context, Failure, Field, Intent, Outcome, Repeat, Spec, Why};

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

#[async_trait]
impl Action for HttpRequest {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, _call: Call) -> Result<Intent, Why> {
        todo!()
    }

    async fn run(&self, _context: &Context<'_>, _intent: &Intent) -> Result<Outcome, Failure> {
        todo!()
    }
}

//! `/api/v1`: everything that can be seen and asked for, as JSON. The console and the command line work with the same.

mod approvals;
pub(crate) mod around;
mod changes;
mod decisions;
pub(crate) mod deliveries;
mod document;
pub(crate) mod overview;
pub mod problem;
pub mod redact;
pub(crate) mod rehearsal;
pub(crate) mod rendered;
pub(crate) mod repositories;
pub(crate) mod rules;
pub(crate) mod runs;
pub mod shapes;
mod sight;
mod state;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Body, Endpoint, EndpointExt, IntoEndpoint, Request, Response};
use poem_openapi::registry::{MetaApi, Registry};
use poem_openapi::{OpenApi, OpenApiService};
use sha2::{Digest, Sha256};

use approvals::ApprovalsApi;
use around::AroundApi;
use changes::ChangesApi;
use deliveries::DeliveriesApi;
use document::Methods;
pub use document::document;
use problem::Problem;
use rehearsal::RehearsalApi;
use repositories::RepositoriesApi;
use rules::RulesApi;
use runs::RunsApi;
pub(crate) use state::operator;
pub use state::{Parts, State};

/// Where the interface is.
pub const PREFIX: &str = "/api/v1";
/// Bytes of a body.
const LARGEST: usize = 4 << 20;

type Operations = (DeliveriesApi, RunsApi, ApprovalsApi, RulesApi, RepositoriesApi, RehearsalApi, AroundApi, ChangesApi);

/// The interface. Who asks is an extension of the request, put there by whoever let them in.
pub struct Api {
    inner: BoxEndpoint<'static, Response>,
    methods: Methods,
    document: Bytes,
}

impl Api {
    /// On top of what it shows.
    pub fn new(state: Arc<State>) -> Self {
        let document = document();
        let text = serde_json::to_vec_pretty(document).unwrap_or_default();
        Self { inner: service(operations(state)).into_endpoint().boxed(), methods: Methods::of(document), document: text.into() }
    }

    /// Answers a request whose path begins with [`PREFIX`].
    pub async fn answer(&self, mut request: Request) -> Response {
        let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if path == "/openapi.json" && reads {
            return finish(&request, json(self.document.clone())).await;
        }
        let Some(allowed) = self.methods.allowed(&path) else {
            return Problem::new(StatusCode::NOT_FOUND, "There is nothing here; /api/v1/openapi.json lists what there is.")
                .response();
        };
        let method = if *request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        if !allowed.split(", ").any(|name| name == method.as_str()) {
            let mut response =
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("This address answers to {allowed}.")).response();
            if let Ok(value) = HeaderValue::from_str(allowed) {
                response.headers_mut().insert(header::ALLOW, value);
            }
            return response;
        }
        if let Err(response) = bounded(&mut request).await {
            return response;
        }
        let condition = request.headers().get(header::IF_NONE_MATCH).cloned();
        let head = *request.method() == Method::HEAD;
        request.set_method(method);
        if let Some(uri) = inner_uri(request.uri(), &path) {
            *request.uri_mut() = uri;
        }
        let response = match self.inner.call(request).await {
            Ok(response) => response,
            // A failure of ours is a problem document already; what the operations' own parsing refuses is not.
            Err(error) if error.is_from_response() => error.into_response(),
            Err(error) => Problem::new(error.status(), sentence(&error.to_string())).response(),
        };
        marked(response, condition.as_ref(), head).await
    }
}

/// The path as the operations know it, with the query as it came.
fn inner_uri(uri: &poem::http::Uri, path: &str) -> Option<poem::http::Uri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

/// Reads the body under a limit, before anything parses it.
async fn bounded(request: &mut Request) -> Result<(), Response> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "The body has more than 4 MiB.").response();
    let announced = request.header(header::CONTENT_LENGTH).and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    let bytes = match request.take_body().into_bytes_limit(LARGEST).await {
        Ok(bytes) => bytes,
        Err(poem::error::ReadBodyError::PayloadTooLarge) => return Err(too_large()),
        Err(_) => return Err(Problem::new(StatusCode::BAD_REQUEST, "The body could not be read.").response()),
    };
    request.set_body(bytes);
    Ok(())
}

fn json(bytes: Bytes) -> Response {
    Response::builder().content_type("application/json; charset=utf-8").body(bytes)
}

async fn finish(request: &Request, response: Response) -> Response {
    marked(response, request.headers().get(header::IF_NONE_MATCH), *request.method() == Method::HEAD).await
}

/// With an ETag over what is said, and without the body if the other side has it already. Streams stay as they are.
async fn marked(mut response: Response, condition: Option<&HeaderValue>, head: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let streams = response.content_type().is_some_and(|kind| kind.starts_with("text/event-stream"));
    if streams || response.status() != StatusCode::OK {
        return response;
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    #[expect(clippy::disallowed_methods, reason = "it is our own answer, made a moment ago")]
    let bytes = response.take_body().into_bytes().await.unwrap_or_default();
    let hash = hex::encode(Sha256::digest(&bytes));
    let tag = format!("\"{}\"", hash.get(..32).unwrap_or_default());
    let known = condition
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*"));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    if known {
        response.set_status(StatusCode::NOT_MODIFIED);
        response.headers_mut().remove(header::CONTENT_TYPE);
    } else if !head {
        response.set_body(Body::from(bytes));
    }
    response
}

/// An error text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

fn operations(state: Arc<State>) -> Operations {
    (
        DeliveriesApi(Arc::clone(&state)),
        RunsApi(Arc::clone(&state)),
        ApprovalsApi(Arc::clone(&state)),
        RulesApi(Arc::clone(&state)),
        RepositoriesApi(Arc::clone(&state)),
        RehearsalApi(Arc::clone(&state)),
        AroundApi(Arc::clone(&state)),
        ChangesApi(state),
    )
}

fn service<O: OpenApi>(operations: O) -> OpenApiService<O, ()> {
    OpenApiService::new(operations, "Declic", "1").server(PREFIX).description(
        "Deliveries, decisions, runs, and what people ask of them. Times are RFC 3339 in UTC. Lists come in pages: pass `next` of a page as \
         `cursor`. Errors are RFC 9457 problem documents. Answers carry an ETag.",
    )
}

/// The operations without anything behind them: what they say of themselves needs no store.
struct Described;

impl OpenApi for Described {
    fn meta() -> Vec<MetaApi> {
        Operations::meta()
    }

    fn register(registry: &mut Registry) {
        Operations::register(registry);
    }

    fn add_routes(self, _route_table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

//! GitHub through octocrab, over our HTTP client: octocrab makes the requests, `Carrier` carries them, so that the egress
//! guard, deadlines and caps hold for them too.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, Full};
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use serde_json::Value;
use tower::Service;
use url::Url;

use crate::action::{Failure, Why};
use crate::http::{Http, HttpError, Request, Response, retry_after};
use crate::secret::Secret;

/// What GitHub asks callers to wait when it names no time for a secondary limit.
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// Where GitHub is, and who we are there.
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// `https://api.github.com`, or `https://HOST/api/v3`; no slash at the end.
    pub api_url: String,
    /// A token; none sends requests without one.
    pub token: Option<Secret>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct GitHub(Arc<Inner>);

struct Inner {
    http: Http,
    settings: GitHubSettings,
    base: http::Uri,
    /// Made at the first request: octocrab needs a running executor to be built.
    client: OnceLock<Octocrab>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GitHub").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl GitHub {
    /// Calls nobody yet. The error says what is wrong with the address.
    pub fn new(http: Http, settings: GitHubSettings) -> Result<Self, String> {
        let address = settings.api_url.trim_end_matches('/');
        let base = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
        let base = base.and_then(|url| url.as_str().trim_end_matches('/').parse::<http::Uri>().ok());
        let base = base.ok_or_else(|| format!("`{}` is not the address of a GitHub API", crate::http::shown(address)))?;
        Ok(Self(Arc::new(Inner { http, settings, base, client: OnceLock::new() })))
    }

    /// `GET` below the API's address; `path` begins with a slash.
    pub async fn get(&self, path: &str, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::GET, path, None, deadline).await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: &Value, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::POST, path, Some(body), deadline).await
    }

    /// `PATCH` of a JSON body.
    pub async fn patch(&self, path: &str, body: &Value, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::PATCH, path, Some(body), deadline).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>, deadline: Instant) -> Result<Response, Failure> {
        let builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header("accept", "application/vnd.github+json")
            .extension(Deadline(deadline));
        let client = self.0.client.get_or_init(|| self.octocrab());
        let request = client.build_request(builder, body).map_err(|error| unsent(&error))?;
        let answer = client.execute(request).await.map_err(|error| unsent(&error))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| unsent(&error))?.to_bytes();
        let answer = Response { status: parts.status.as_u16(), headers: parts.headers, body };
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(self.refused(answer)) }
    }

    fn octocrab(&self) -> Octocrab {
        let carrier = Carrier { http: self.0.http.clone(), token: self.0.settings.token.clone() };
        let auth = match self.0.settings.token.as_ref().and_then(Secret::expose_text) {
            Some(token) => AuthState::AccessToken { token: token.to_owned().into() },
            None => AuthState::None,
        };
        let built = OctocrabBuilder::new_empty()
            .with_service(carrier)
            .with_layer(&octocrab::service::middleware::base_uri::BaseUriLayer::new(self.0.base.clone()))
            .with_auth(auth)
            .build();
        match built {
            Ok(client) => client,
            Err(never) => match never {},
        }
    }

    fn refused(&self, answer: Response) -> Failure {
        let limit = limited(&answer);
        let secrets: Vec<Secret> = self.0.settings.token.iter().cloned().collect();
        let failure = HttpError::status(answer, &secrets).into_failure("GitHub");
        match limit {
            Some(after) => {
                let why = Why { code: "rate-limited".into(), ..failure.why().clone() };
                Failure::Retry { after: Some(after), why }
            }
            None => failure,
        }
    }
}

/// How long GitHub wants to be left alone, if that is what a refusal says. It says so with 403 as often as with 429.
fn limited(answer: &Response) -> Option<Duration> {
    if !matches!(answer.status, 403 | 429) {
        return None;
    }
    if let Some(after) = retry_after(&answer.headers) {
        return Some(after);
    }
    if answer.header("x-ratelimit-remaining") == Some("0") {
        return Some(until_reset(&answer.headers).unwrap_or(SECONDARY_LIMIT_WAIT));
    }
    let text = String::from_utf8_lossy(&answer.body);
    let secondary = text.contains("secondary rate limit") || text.contains("abuse detection");
    (secondary || answer.status == 429).then_some(SECONDARY_LIMIT_WAIT)
}

/// From the answer's own `Date` to `x-ratelimit-reset` (seconds since the epoch).
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset: i64 = headers.get("x-ratelimit-reset")?.to_str().ok()?.parse().ok()?;
    let sent = chrono::DateTime::parse_from_rfc2822(headers.get("date")?.to_str().ok()?).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(reset - sent).unwrap_or(0).min(3600) + 1))
}

/// Our own error from deep inside octocrab's, or what octocrab says.
fn unsent(error: &octocrab::Error) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<HttpError>() {
            return own.clone().into_failure("GitHub");
        }
        cause = current.source();
    }
    Failure::last("invalid", format!("The request to GitHub cannot be made: {}", crate::http::shown(&error.to_string())))
}

/// Travels with a request from [`GitHub::call`] through octocrab to [`Carrier`].
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

/// The service below octocrab.
#[derive(Clone)]
struct Carrier {
    http: Http,
    token: Option<Secret>,
}

impl Service<http::Request<OctoBody>> for Carrier {
    type Response = http::Response<Full<Bytes>>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OctoBody>) -> Self::Future {
        let Self { http, token } = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Some(Deadline(deadline)) = parts.extensions.get().copied() else {
                return Err(HttpError::Invalid("it has no deadline".into()));
            };
            let body = body.collect().await.map_err(|error| HttpError::Invalid(error.to_string()))?.to_bytes();
            let mut headers = parts.headers;
            headers.remove(http::header::CONTENT_LENGTH);
            let mut ours = Request::to(parts.method, &parts.uri.to_string(), deadline).headers(headers).expect_any();
            if !body.is_empty() {
                ours = ours.bytes(body);
            }
            if let Some(token) = &token {
                ours = ours.conceal(token);
            }
            let answer = http.send(ours).await?;
            let mut response = http::Response::new(Full::new(answer.body));
            *response.status_mut() =
                http::StatusCode::from_u16(answer.status).map_err(|error| HttpError::BadAnswer(error.to_string()))?;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

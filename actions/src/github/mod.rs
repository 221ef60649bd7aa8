//! GitHub through octocrab, over our HTTP client: octocrab makes the requests, `Carrier` carries them, so that the egress
//! guard, deadlines and caps hold for them too.

mod app;
mod carrier;
mod limits;
mod permissions;
mod remembered;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use http::Method;
use http_body_util::BodyExt;
use octocrab::{AuthState, Octocrab, OctocrabBuilder};
use serde_json::Value;
use url::Url;

use crate::action::{Failure, Why};
use crate::http::{Http, HttpError, Response};
use crate::secret::Secret;

use app::Installations;
pub use app::{App, app_token};
use carrier::{Carrier, Conditions};
use limits::{Meters, limited};
use remembered::Remembered;

/// Where GitHub is, and who we are there.
#[derive(Debug, Clone)]
pub struct GitHubSettings {
    /// `https://api.github.com`, or `https://HOST/api/v3`; no slash at the end.
    pub api_url: String,
    /// A token; none sends requests without one.
    pub token: Option<Secret>,
}

/// Cheap to clone; clones share what is known of limits and what was read before.
#[derive(Clone)]
pub struct GitHub {
    inner: Arc<Inner>,
    /// Its calls may use the share of the hourly limit that is kept for reports.
    reporting: bool,
}

struct Inner {
    http: Http,
    settings: GitHubSettings,
    /// Used where no token is given.
    app: Option<Installations>,
    base: http::Uri,
    /// Made at the first request: octocrab needs a running executor to be built.
    client: OnceLock<Octocrab>,
    meters: Mutex<Meters>,
    remembered: Mutex<Remembered>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What both hold is right at every moment, whoever broke off.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for GitHub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GitHub").field("settings", &self.inner.settings).finish_non_exhaustive()
    }
}

impl GitHub {
    /// Calls nobody yet. The error says what is wrong with the address.
    pub fn new(http: Http, settings: GitHubSettings) -> Result<Self, String> {
        let address = settings.api_url.trim_end_matches('/');
        let base = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
        let base = base.and_then(|url| url.as_str().trim_end_matches('/').parse::<http::Uri>().ok());
        let base = base.ok_or_else(|| format!("`{}` is not the address of a GitHub API", crate::http::shown(address)))?;
        let inner = Inner {
            http,
            settings,
            app: None,
            base,
            client: OnceLock::new(),
            meters: Mutex::default(),
            remembered: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), reporting: false })
    }

    /// The same, for requests without a token of their own as this App: each by a token of its installation on the repository or the
    /// organisation that the request is about, for that repository and the one permission that it needs.
    #[must_use]
    pub fn acting_as(self, app: App) -> Self {
        let Inner { http, settings, base, .. } = &*self.inner;
        let inner = Inner {
            http: http.clone(),
            settings: settings.clone(),
            app: Some(Installations::new(app)),
            base: base.clone(),
            client: OnceLock::new(),
            meters: Mutex::default(),
            remembered: Mutex::default(),
        };
        Self { inner: Arc::new(inner), reporting: self.reporting }
    }

    /// Is there a token, or an App that gets one? Without, GitHub says little, and nothing about people.
    pub fn has_token(&self) -> bool {
        self.inner.settings.token.is_some() || self.inner.app.is_some()
    }

    /// For calls that tell people what has happened: they may also use what is left of the hourly limit when the others may not.
    #[must_use]
    pub fn reporting(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), reporting: true }
    }

    /// `GET` below the API's address; `path` begins with a slash.
    pub async fn get(&self, path: &str, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::GET, path, None, deadline).await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: &Value, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::POST, path, Some(body), deadline).await
    }

    /// `POST` without a body.
    pub async fn post_empty(&self, path: &str, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::POST, path, None, deadline).await
    }

    /// `PATCH` of a JSON body.
    pub async fn patch(&self, path: &str, body: &Value, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::PATCH, path, Some(body), deadline).await
    }

    /// `PUT` of a JSON body.
    pub async fn put(&self, path: &str, body: &Value, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::PUT, path, Some(body), deadline).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str, deadline: Instant) -> Result<Response, Failure> {
        self.call(Method::DELETE, path, None, deadline).await
    }

    /// `GET`, for callers who remember by themselves what was answered under that ETag. `None`: it is as it was.
    pub async fn get_unless(&self, path: &str, etag: Option<&str>, deadline: Instant) -> Result<Option<Response>, Failure> {
        self.may_call(path)?;
        let answer = self.authorized(Method::GET, path, None, etag, deadline).await?;
        match answer.status {
            304 if etag.is_some() => Ok(None),
            200..300 => Ok(Some(answer)),
            _ => Err(self.refused(answer)),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>, deadline: Instant) -> Result<Response, Failure> {
        self.may_call(path)?;
        let reads = method == Method::GET;
        let known = if reads { lock(&self.inner.remembered).get(path) } else { None };
        let etag = known.as_ref().map(|(etag, _)| etag.as_str());
        let answer = self.authorized(method, path, body, etag, deadline).await?;
        match (answer.status, known) {
            // It is as it was, and asking cost nothing of the limit.
            (304, Some((_, before))) => Ok(before),
            (200..300, _) => {
                if reads {
                    lock(&self.inner.remembered).keep(path, &answer);
                }
                Ok(answer)
            }
            _ => Err(self.refused(answer)),
        }
    }

    /// Whose limit a request uses: the token's, or that of the App's installation on the account.
    fn account(&self, path: &str) -> Option<String> {
        if self.inner.settings.token.is_some() { None } else { app::account_of(path) }
    }

    fn may_call(&self, path: &str) -> Result<(), Failure> {
        match lock(&self.inner.meters).refuses(&self.account(path), self.reporting, Instant::now()) {
            Some((after, why)) => Err(Failure::Retry { after: Some(after), why }),
            None => Ok(()),
        }
    }

    /// With the token that fits the path, and once more with a new one if an installation's token is no longer taken.
    async fn authorized(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let token = self.token_for(&method, path, deadline).await?;
        let mut answer = self.exchange(method.clone(), path, body, token.as_ref(), etag, deadline).await?;
        if answer.status == 401
            && let Some(refused) = &token
            && self.forget_token(&method, path, refused).await
        {
            let token = self.token_for(&method, path, deadline).await?;
            answer = self.exchange(method, path, body, token.as_ref(), etag, deadline).await?;
        }
        lock(&self.inner.meters).note(self.account(path), &answer, Instant::now());
        Ok(answer)
    }

    /// One request and its answer, whatever that is.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&Secret>,
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let mut builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header("accept", "application/vnd.github+json")
            .extension(Conditions { deadline, token: token.cloned() });
        if let Some(etag) = etag {
            builder = builder.header("if-none-match", etag);
        }
        if let Some(token) = token {
            let bearer = [b"Bearer ".as_slice(), token.expose()].concat();
            let mut bearer = http::HeaderValue::from_bytes(&bearer)
                .map_err(|_| Failure::last("unauthorized", "the token for GitHub holds characters that no token has"))?;
            bearer.set_sensitive(true);
            builder = builder.header("authorization", bearer);
        }
        let client = self.inner.client.get_or_init(|| self.octocrab());
        let request = client.build_request(builder, body).map_err(|error| unsent(&error))?;
        let answer = client.execute(request).await.map_err(|error| unsent(&error))?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(|error| unsent(&error))?.to_bytes();
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Tokens are not its business: which one fits depends on the request.
    fn octocrab(&self) -> Octocrab {
        let built = OctocrabBuilder::new_empty()
            .with_service(Carrier { http: self.inner.http.clone() })
            .with_layer(&octocrab::service::middleware::base_uri::BaseUriLayer::new(self.inner.base.clone()))
            .with_auth(AuthState::None)
            .build();
        match built {
            Ok(client) => client,
            Err(never) => match never {},
        }
    }

    fn refused(&self, answer: Response) -> Failure {
        let limit = limited(&answer);
        let secrets: Vec<Secret> = self.inner.settings.token.iter().cloned().collect();
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

//! The one HTTP client: deadlines, capped bodies, checked status, no redirects, no proxies, and the egress guard.
//!
//! A [`Request`] is plain data, so that it can be sent again with a fresh token; only [`Http::send`] does IO, and it gives
//! back nothing but answers with an expected status.

mod error;
mod guard;
mod request;
mod resolve;
mod trace;
mod unsent;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

pub use error::{HttpError, retry_after};
pub use guard::{Guard, Passage, Refused, refuse_address};
pub use http::{HeaderMap, Method};
pub use request::{Request, Response, shown_url};
pub use resolve::{Lookup, SystemLookup};
pub use trace::traced;
pub use unsent::{Unsent, UnsentRequest};
pub use url::Url;

use error::classify;
use request::Expect;
pub(crate) use request::shown;
use resolve::Resolver;

/// How long a connection may take to come about, within the request's own deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are closed before the usual servers close them, so that few requests meet a dying one.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// What an operator decides about outgoing requests.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// `host` or `host:port` that may be reached although it is private.
    pub allow: Vec<String>,
    /// Sent as `User-Agent`.
    pub user_agent: String,
}

/// Cheap to clone; every clone shares the connection pools.
#[derive(Debug, Clone)]
pub struct Http(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Resolves names through the guard.
    guarded: Pool,
    /// For authorities that the operator named; a pool of its own, so that no connection crosses over.
    named: Pool,
    guard: Guard,
    user_agent: String,
    /// Where requests go that are not sent.
    unsent: Option<Unsent>,
}

impl Http {
    /// The client with the system's name resolution. The error says which entry of `allow` is malformed.
    pub fn new(settings: HttpSettings) -> Result<Self, String> {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    /// The same with another way to resolve names.
    pub fn with_lookup(settings: HttpSettings, lookup: Arc<dyn Lookup>) -> Result<Self, String> {
        Self::made(settings, lookup, None)
    }

    /// A client that sends nothing: it keeps what passes the guard, and every request fails.
    pub fn unsent(settings: HttpSettings) -> Result<(Self, Unsent), String> {
        let unsent = Unsent::default();
        Ok((Self::made(settings, Arc::new(SystemLookup), Some(unsent.clone()))?, unsent))
    }

    fn made(settings: HttpSettings, lookup: Arc<dyn Lookup>, unsent: Option<Unsent>) -> Result<Self, String> {
        let guard = Guard::new(&settings.allow)?;
        let guarded = Pool::new(Resolver::guarded(lookup.clone()));
        let named = Pool::new(Resolver::open(lookup));
        Ok(Self(Arc::new(Inner { guarded, named, guard, user_agent: settings.user_agent, unsent })))
    }

    /// The guard that decides about every address this client is asked to reach.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// Sends once and reads the whole answer, both before the request's deadline. Never follows a redirect and never retries.
    pub async fn send(&self, mut request: Request) -> Result<Response, HttpError> {
        if let Some(fault) = request.fault {
            return Err(HttpError::Invalid(fault));
        }
        let pool = match self.0.guard.judge(&request.url) {
            Ok(Passage::Public) => &self.0.guarded,
            Ok(Passage::Named) => &self.0.named,
            Err(_) if request.metadata_server => &self.0.named,
            Err(refused) => return Err(HttpError::Refused(refused)),
        };
        trace::mark(&mut request.headers);
        if let Some(unsent) = &self.0.unsent {
            return Err(unsent.keep(request));
        }
        let client = pool.client(&self.0.user_agent).map_err(HttpError::Invalid)?;
        let deadline = tokio::time::Instant::from_std(request.deadline);
        match tokio::time::timeout_at(deadline, exchange(client, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Timeout),
        }
    }
}

/// A client that is made when it is first used: reading the system's certificates takes longer than all the rest of a start.
#[derive(Debug)]
struct Pool {
    resolver: Resolver,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl Pool {
    fn new(resolver: Resolver) -> Self {
        Self { resolver, client: OnceLock::new() }
    }

    fn client(&self, user_agent: &str) -> Result<&reqwest::Client, String> {
        self.client.get_or_init(|| client(user_agent, self.resolver.clone())).as_ref().map_err(Clone::clone)
    }
}

fn client(user_agent: &str, resolver: Resolver) -> Result<reqwest::Client, String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    reqwest::Client::builder()
        .user_agent(user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(8)
        .tcp_nodelay(true)
        .dns_resolver(Arc::new(resolver))
        .build()
        .map_err(|error| format!("the HTTP client cannot be set up: {error}"))
}

async fn exchange(client: &reqwest::Client, request: Request) -> Result<Response, HttpError> {
    let Request { method, url, headers, body, cap, expect, secrets, deadline, .. } = request;
    let mut builder = client.request(method, url).headers(headers);
    if let Some(body) = body {
        builder = builder.body(body);
    }
    let answer = builder.send().await.map_err(|error| classify(&error, deadline))?;
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let expected = expect.holds(status);
    // Of an unexpected answer only the beginning is of interest, and its size must not hide its status.
    let body = match read(answer, cap, deadline).await {
        Err(HttpError::TooLarge(_)) if !expected => Bytes::new(),
        other => other?,
    };
    let response = Response { status, headers, body };
    if expected { Ok(response) } else { Err(HttpError::status(response, &secrets)) }
}

async fn read(answer: reqwest::Response, cap: usize, deadline: Instant) -> Result<Bytes, HttpError> {
    if answer.content_length().is_some_and(|length| length > cap as u64) {
        return Err(HttpError::TooLarge(cap));
    }
    let mut body = BytesMut::new();
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| classify(&error, deadline))?;
        if body.len() + chunk.len() > cap {
            return Err(HttpError::TooLarge(cap));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

impl Expect {
    fn holds(&self, status: u16) -> bool {
        match self {
            Self::Success => (200..300).contains(&status),
            Self::These(list) => list.contains(&status),
            Self::Any => true,
        }
    }
}

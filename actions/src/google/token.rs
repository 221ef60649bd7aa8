//! Tokens: where each kind comes from, and how long it is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::action::Failure;
use crate::google::credentials::{Credentials, ServiceAccount, User};
use crate::google::{Google, SCOPE, no_token};
use crate::http::{HttpError, Request};
use crate::secret::Secret;

/// A token is not used in its last minute: it could expire on the way.
const MARGIN: Duration = Duration::from_secs(60);
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// One token, under a lock that lets only one caller fetch it.
pub(super) type Cell = Arc<tokio::sync::Mutex<Option<Token>>>;

pub(super) struct Token {
    value: Secret,
    until: Instant,
}

/// Which token: whose, and for what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    account: Option<String>,
    audience: Option<String>,
}

impl Wanted {
    pub(super) fn access(account: Option<&str>) -> Self {
        Self { account: account.map(str::to_owned), audience: None }
    }

    pub(super) fn id(account: Option<&str>, audience: &str) -> Self {
        Self { account: account.map(str::to_owned), audience: Some(audience.to_owned()) }
    }
}

impl Google {
    pub(super) async fn token(&self, wanted: Wanted, deadline: Instant) -> Result<Secret, Failure> {
        if let Credentials::Given(token) = &self.0.credentials {
            return Ok(token.clone());
        }
        let cell = self.cell(&wanted);
        let late = || HttpError::Timeout.into_failure("The source of Google's tokens");
        let mut kept = tokio::time::timeout_at(deadline.into(), cell.lock()).await.map_err(|_| late())?;
        if let Some(token) = kept.as_ref().filter(|token| token.until > Instant::now()) {
            return Ok(token.value.clone());
        }
        let fetched = match (&wanted.account, &wanted.audience) {
            (None, _) => self.own(&wanted, deadline).await?,
            // Our own access token comes from another cell, so the lock held here cannot wait for itself.
            (Some(account), audience) => {
                let own = Box::pin(self.token(Wanted::access(None), deadline)).await?;
                match self.impersonate(account, audience.as_deref(), &own, deadline).await {
                    Err(HttpError::Status { status: 401, .. }) => {
                        self.forget(&Wanted::access(None), &own).await;
                        let own = Box::pin(self.token(Wanted::access(None), deadline)).await?;
                        self.impersonate(account, audience.as_deref(), &own, deadline).await
                    }
                    other => other,
                }
                .map_err(|error| error.into_failure(&format!("IAM, asked to act as `{account}`,")))?
            }
        };
        let value = fetched.value.clone();
        *kept = Some(fetched);
        Ok(value)
    }

    /// Drops a token that was refused, unless somebody has fetched a newer one already.
    pub(super) async fn forget(&self, wanted: &Wanted, refused: &Secret) {
        let cell = self.cell(wanted);
        let mut kept = cell.lock().await;
        if kept.as_ref().is_some_and(|token| token.value == *refused) {
            *kept = None;
        }
    }

    fn cell(&self, wanted: &Wanted) -> Cell {
        let mut tokens = self.0.tokens.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.entry(wanted.clone()).or_default().clone()
    }

    async fn own(&self, wanted: &Wanted, deadline: Instant) -> Result<Token, Failure> {
        let audience = wanted.audience.as_deref();
        match &self.0.credentials {
            Credentials::Metadata => self.ask_metadata(audience, deadline).await.map_err(|error| match error {
                // Where there is one it can be reached; where there is none, no patience helps.
                HttpError::Connect(_) => no_token(
                    "No Google credentials: there is no metadata server here. Outside Google Cloud set google.credentials to a key file",
                ),
                HttpError::Timeout => Failure::retry(
                    "unauthorized",
                    "No Google credentials: the metadata server did not answer in time. Outside Google Cloud set google.credentials to a key file",
                ),
                other => other.into_failure("Google's metadata server"),
            }),
            Credentials::Given(token) => Ok(Token { value: token.clone(), until: Instant::now() }),
            Credentials::ServiceAccount(account) => self.ask_with_key(account, audience, deadline).await,
            Credentials::User(user) => {
                if audience.is_some() {
                    return Err(no_token("A user's Google credentials give no ID tokens for others; use a service account"));
                }
                self.ask_with_refresh_token(user, deadline).await
            }
        }
    }

    /// The project this process runs in, as the metadata server says.
    pub async fn project(&self, deadline: Instant) -> Result<String, Failure> {
        let url = format!("http://{}/computeMetadata/v1/project/project-id", self.0.settings.metadata_host);
        let request = Request::to(Method::GET, &url, deadline).header("metadata-flavor", "Google").metadata_server();
        let answer = self.0.http.send(request).await.map_err(|error| error.into_failure("Google's metadata server"))?;
        match std::str::from_utf8(&answer.body).map(str::trim) {
            Ok(project) if is_project(project) => Ok(project.to_owned()),
            _ => Err(Failure::last("unexpected", "Google's metadata server did not name a project")),
        }
    }

    async fn ask_metadata(&self, audience: Option<&str>, deadline: Instant) -> Result<Token, HttpError> {
        let base = format!("http://{}/computeMetadata/v1/instance/service-accounts/default", self.0.settings.metadata_host);
        let (path, name, value) = match audience {
            None => ("token", "scopes", SCOPE),
            Some(audience) => ("identity", "audience", audience),
        };
        let mut request = Request::to(Method::GET, &format!("{base}/{path}"), deadline)
            .query(name, value)
            .header("metadata-flavor", "Google")
            .metadata_server();
        if audience.is_some() {
            request = request.query("format", "full");
        }
        let answer = self.0.http.send(request).await?;
        if audience.is_some() {
            return self.id(std::str::from_utf8(&answer.body).ok().map(str::trim));
        }
        access(&answer.json()?)
    }

    async fn ask_with_key(&self, account: &ServiceAccount, audience: Option<&str>, deadline: Instant) -> Result<Token, Failure> {
        let (claim, value) = audience.map_or(("scope", SCOPE), |audience| ("target_audience", audience));
        let assertion = account.assertion(claim, value, (self.0.now)()).map_err(no_token)?;
        let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose_text().unwrap_or_default())];
        let request = Request::to(Method::POST, &account.token_url, deadline).form(&form).conceal(&assertion);
        let answer = self.0.http.send(request).await.and_then(|answer| answer.json());
        let token = answer.and_then(|answer| match audience {
            None => access(&answer),
            Some(_) => self.id(answer.get("id_token").and_then(Value::as_str)),
        });
        token.map_err(|error| error.into_failure("Google's token endpoint"))
    }

    async fn ask_with_refresh_token(&self, user: &User, deadline: Instant) -> Result<Token, Failure> {
        let form = [
            ("grant_type", "refresh_token"),
            ("client_id", user.client_id.as_str()),
            ("client_secret", user.client_secret.expose_text().unwrap_or_default()),
            ("refresh_token", user.refresh_token.expose_text().unwrap_or_default()),
        ];
        let request = Request::to(Method::POST, &user.token_url, deadline)
            .form(&form)
            .conceal(&user.client_secret)
            .conceal(&user.refresh_token);
        let answer = self.0.http.send(request).await.and_then(|answer| answer.json());
        answer.and_then(|answer| access(&answer)).map_err(|error| error.into_failure("Google's token endpoint"))
    }

    async fn impersonate(
        &self,
        account: &str,
        audience: Option<&str>,
        own: &Secret,
        deadline: Instant,
    ) -> Result<Token, HttpError> {
        let (method, body) = match audience {
            None => ("generateAccessToken", json!({ "scope": [SCOPE], "lifetime": "3600s" })),
            Some(audience) => ("generateIdToken", json!({ "audience": audience, "includeEmail": true })),
        };
        let address = format!("{}/v1/projects/-/serviceAccounts/{account}:{method}", self.0.settings.iam_credentials_url);
        let request = Request::to(Method::POST, &address, deadline).json(&body).bearer(own);
        let answer = self.0.http.send(request).await?.json()?;
        if audience.is_some() {
            return self.id(answer.get("token").and_then(Value::as_str));
        }
        let value = answer.get("accessToken").and_then(Value::as_str);
        let until =
            answer.get("expireTime").and_then(Value::as_str).and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
        match (value, until) {
            (Some(value), Some(until)) => Ok(kept(value, until.timestamp() - (self.0.now)())),
            _ => Err(HttpError::BadAnswer("holds no access token".into())),
        }
    }

    /// An ID token says itself when it expires. It is ours to send on, not to trust, so its signature is not looked at.
    fn id(&self, value: Option<&str>) -> Result<Token, HttpError> {
        let expires = value
            .and_then(|value| value.split('.').nth(1))
            .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())
            .and_then(|claims| serde_json::from_slice::<Value>(&claims).ok())
            .and_then(|claims| claims.get("exp").and_then(Value::as_i64));
        match (value, expires) {
            (Some(value), Some(expires)) => Ok(kept(value, expires - (self.0.now)())),
            _ => Err(HttpError::BadAnswer("holds no ID token".into())),
        }
    }
}

/// Letters, digits, hyphens, and the domain in front of older ones.
fn is_project(text: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.');
    !text.is_empty() && text.len() <= 100 && text.bytes().all(part)
}

fn access(answer: &Value) -> Result<Token, HttpError> {
    let value = answer.get("access_token").and_then(Value::as_str).filter(|value| !value.is_empty());
    let seconds = answer.get("expires_in").and_then(Value::as_i64);
    match value {
        Some(value) => Ok(kept(value, seconds.unwrap_or(0))),
        None => Err(HttpError::BadAnswer("holds no access token".into())),
    }
}

fn kept(value: &str, seconds: i64) -> Token {
    let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(24 * 3600));
    Token { value: Secret::new(value), until: Instant::now() + lifetime.saturating_sub(MARGIN) }
}

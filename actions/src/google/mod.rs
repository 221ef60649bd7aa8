//! Google's base addresses, access tokens, and requests that carry them.

mod credentials;
mod secret_manager;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::action::{Failure, Why};
use crate::http::{Http, HttpError, Request, Response};
use crate::secret::Secret;

use credentials::Credentials;
use token::{Cell, Wanted};

/// The scope every call is made with; what a call may do is decided by the account's roles.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where Google is, and who we are there. Addresses have no slash at the end.
#[derive(Debug, Clone)]
pub struct GoogleSettings {
    /// Cloud Run Admin API.
    pub run_url: String,
    /// IAM Credentials API, for impersonation.
    pub iam_credentials_url: String,
    /// Secret Manager.
    pub secret_manager_url: String,
    /// Pub/Sub.
    pub pubsub_url: String,
    /// BigQuery.
    pub bigquery_url: String,
    /// Firebase Cloud Messaging.
    pub fcm_url: String,
    /// Cloud Build.
    pub cloud_build_url: String,
    /// Cloud Tasks.
    pub cloud_tasks_url: String,
    /// Dialogflow, in place of the address of each region.
    pub dialogflow_url: Option<String>,
    /// Host of the metadata server, with its port if that is not 80.
    pub metadata_host: String,
    /// Scheme and host in place of the registry of an image's name, for a mirror.
    pub registry_url: Option<String>,
    /// Text of a key file (`service_account`, or `authorized_user` as `gcloud auth application-default login` writes it);
    /// none means the metadata server.
    pub credentials: Option<Secret>,
}

impl Default for GoogleSettings {
    fn default() -> Self {
        Self {
            run_url: "https://run.googleapis.com".into(),
            iam_credentials_url: "https://iamcredentials.googleapis.com".into(),
            secret_manager_url: "https://secretmanager.googleapis.com".into(),
            pubsub_url: "https://pubsub.googleapis.com".into(),
            bigquery_url: "https://bigquery.googleapis.com".into(),
            fcm_url: "https://fcm.googleapis.com".into(),
            cloud_build_url: "https://cloudbuild.googleapis.com".into(),
            cloud_tasks_url: "https://cloudtasks.googleapis.com".into(),
            dialogflow_url: None,
            metadata_host: "metadata.google.internal".into(),
            registry_url: None,
            credentials: None,
        }
    }
}

/// Cheap to clone; every clone shares the tokens.
#[derive(Clone)]
pub struct Google(Arc<Inner>);

struct Inner {
    http: Http,
    settings: GoogleSettings,
    credentials: Credentials,
    /// Seconds since the Unix epoch.
    now: fn() -> i64,
    tokens: Mutex<BTreeMap<Wanted, Cell>>,
}

impl fmt::Debug for Google {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Google").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Google {
    /// Reads the credentials, and calls nobody yet. `now` gives the seconds since the Unix epoch: signed requests for tokens
    /// carry the time. The error says what is wrong with the key file.
    pub fn new(http: Http, settings: GoogleSettings, now: fn() -> i64) -> Result<Self, String> {
        let credentials = Credentials::read(settings.credentials.as_ref())?;
        Ok(Self(Arc::new(Inner { http, settings, credentials, now, tokens: Mutex::default() })))
    }

    /// With this token for everything, and nobody is asked for one. `settings.credentials` do not matter.
    pub fn with_token(http: Http, settings: GoogleSettings, token: Secret, now: fn() -> i64) -> Self {
        let credentials = Credentials::Given(token);
        Self(Arc::new(Inner { http, settings, credentials, now, tokens: Mutex::default() }))
    }

    /// The base addresses.
    pub fn settings(&self) -> &GoogleSettings {
        &self.0.settings
    }

    /// Seconds since the Unix epoch, by the clock that signed requests carry.
    pub(crate) fn now(&self) -> i64 {
        (self.0.now)()
    }

    /// An access token for Google's APIs, as `account` if one is given (by impersonation) and as ourselves otherwise.
    /// Kept until a minute before it expires; fetched once at a time.
    pub async fn access_token(&self, account: Option<&str>, deadline: Instant) -> Result<Secret, Failure> {
        self.token(Wanted::access(account), deadline).await
    }

    /// Another access token in place of one that was refused.
    pub async fn renewed_access_token(
        &self,
        account: Option<&str>,
        refused: &Secret,
        deadline: Instant,
    ) -> Result<Secret, Failure> {
        let wanted = Wanted::access(account);
        self.forget(&wanted, refused).await;
        self.token(wanted, deadline).await
    }

    /// An ID token for `audience`, as a service behind Cloud Run's or IAP's authentication expects it.
    pub async fn id_token(&self, account: Option<&str>, audience: &str, deadline: Instant) -> Result<Secret, Failure> {
        self.token(Wanted::id(account, audience), deadline).await
    }

    /// Sends a request with an access token. An answer 401 makes it fetch a new token and send once more: a token can be
    /// revoked before it expires, and a request refused for its token has had no effect.
    pub async fn send(&self, account: Option<&str>, request: Request) -> Result<Response, HttpError> {
        self.send_with(Wanted::access(account), request).await
    }

    /// The same with an ID token.
    pub async fn send_with_id_token(
        &self,
        account: Option<&str>,
        audience: &str,
        request: Request,
    ) -> Result<Response, HttpError> {
        self.send_with(Wanted::id(account, audience), request).await
    }

    async fn send_with(&self, wanted: Wanted, request: Request) -> Result<Response, HttpError> {
        let deadline = request.until();
        let token = self.token(wanted.clone(), deadline).await.map_err(HttpError::Token)?;
        match self.0.http.send(request.clone().bearer(&token)).await {
            Err(HttpError::Status { status: 401, .. }) => {}
            other => return other,
        }
        self.forget(&wanted, &token).await;
        let token = self.token(wanted, deadline).await.map_err(HttpError::Token)?;
        self.0.http.send(request.bearer(&token)).await
    }
}

/// No token can be had, and trying again will not help.
fn no_token(message: impl Into<String>) -> Failure {
    Failure::Final { why: Why::new("unauthorized", message) }
}

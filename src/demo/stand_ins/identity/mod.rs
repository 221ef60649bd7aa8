//! A stand-in for whoever issues Google tokens: the metadata server, the OAuth token endpoint, IAM Credentials.

mod iam;
mod keys;
mod metadata;
mod oauth;

use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use self::keys::SigningKey;
use super::exchange::{Answer, Request};
use super::ledger::{Ledger, lock};
use super::server::Api;
use super::tokens::Tokens;
use crate::clock::Timestamp;

/// Issuer of ID tokens.
pub const ISSUER: &str = "https://accounts.google.com";
/// The service account that a process gets from the metadata server.
pub const DEFAULT_ACCOUNT: &str = "declic@acme-ops.iam.gserviceaccount.com";
const DEFAULT_PROJECT: &str = "acme-ops";
const DEFAULT_PROJECT_NUMBER: &str = "482910376512";
const DEFAULT_REGION: &str = "europe-west1";

/// State of the stand-in.
pub struct Identity {
    base: String,
    ledger: Ledger,
    tokens: Tokens,
    settings: Mutex<IdentitySettings>,
    /// Signs ID tokens, as Google's keys do.
    google_key: OnceLock<SigningKey>,
    account_keys: Mutex<Vec<(String, Arc<SigningKey>)>>,
}

#[derive(Debug)]
struct IdentitySettings {
    valid_for: Duration,
    /// `(caller, target)` pairs that may impersonate; empty means everybody everybody.
    impersonation: Vec<(String, String)>,
}

impl Identity {
    pub(super) fn new(base: &str, ledger: &Ledger, tokens: Tokens) -> Self {
        Self {
            base: base.to_owned(),
            ledger: ledger.clone(),
            tokens,
            settings: Mutex::new(IdentitySettings { valid_for: Duration::from_secs(3600), impersonation: Vec::new() }),
            google_key: OnceLock::new(),
            account_keys: Mutex::new(Vec::new()),
        }
    }

    /// The tokens it issued.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Access tokens issued from now on say so and expire after this long.
    pub fn tokens_are_valid_for(&self, length: Duration) {
        lock(&self.settings).valid_for = length;
    }

    /// From now on only the allowed pairs can impersonate; this allows one.
    pub fn allow_impersonation(&self, caller: &str, target: &str) {
        lock(&self.settings).impersonation.push((caller.to_owned(), target.to_owned()));
    }

    /// Where a service-account key file sends its assertions.
    pub fn token_uri(&self) -> String {
        format!("{}/token", self.base)
    }

    /// A key file for a service account, as the console would download it.
    ///
    /// # Errors
    /// If no key can be made.
    pub fn key_file(&self, email: &str) -> io::Result<Value> {
        let id = ulid::Ulid::new().to_string().to_lowercase();
        let key = Arc::new(SigningKey::generate(&id)?);
        let pem = key.pem()?;
        lock(&self.account_keys).push((email.to_owned(), key));
        Ok(json!({
            "type": "service_account",
            "project_id": DEFAULT_PROJECT,
            "private_key_id": id,
            "private_key": pem,
            "client_email": email,
            "client_id": "104857600000000000000",
            "auth_uri": format!("{}/o/oauth2/auth", self.base),
            "token_uri": self.token_uri(),
            "auth_provider_x509_cert_url": format!("{}/oauth2/v1/certs", self.base),
            "universe_domain": "googleapis.com",
        }))
    }

    /// An ID token as Google issues it, valid for an hour from `issued` (seconds since the epoch).
    ///
    /// # Errors
    /// If no key can be made.
    pub fn id_token(&self, email: &str, audience: &str, issued: i64) -> io::Result<String> {
        let claims = json!({
            "iss": ISSUER, "aud": audience, "azp": email, "sub": "104857600000000000001",
            "email": email, "email_verified": true, "iat": issued, "exp": issued + 3600,
        });
        self.google_key()?.sign(&claims)
    }

    /// The audience of an ID token that was issued here and has not expired.
    pub fn audience_of(&self, token: &str) -> Option<String> {
        let claims = self.google_key().ok()?.verify(token).ok()?;
        let valid = claims.get("exp").and_then(Value::as_i64).is_some_and(|until| until > Timestamp::now().seconds());
        claims.get("aud").and_then(Value::as_str).filter(|_| valid).map(str::to_owned)
    }

    fn google_key(&self) -> io::Result<&SigningKey> {
        if self.google_key.get().is_none() {
            // Two callers may both make one; only the first is kept.
            let _ = self.google_key.set(SigningKey::generate("stand-in-google")?);
        }
        self.google_key.get().ok_or_else(|| io::Error::other("the key was not kept"))
    }

    /// Issues an access token and notes it.
    fn access_token(&self, email: &str, scopes: &[String]) -> (String, u64) {
        let valid_for = lock(&self.settings).valid_for;
        self.ledger.effect("token.issued", email, json!({ "scopes": scopes }));
        (self.tokens.issue(email, scopes, valid_for), valid_for.as_secs())
    }

    /// Issues an ID token that is valid from now.
    fn issue_id_token(&self, email: &str, audience: &str) -> io::Result<String> {
        self.ledger.effect("id-token.issued", email, json!({ "audience": audience }));
        self.id_token(email, audience, Timestamp::now().seconds())
    }
}

#[async_trait]
impl Api for Identity {
    async fn answer(&self, request: &Request) -> Answer {
        match (request.method.as_str(), &request.segments()[..]) {
            ("GET", ["computeMetadata", "v1", rest @ ..]) => metadata::answer(self, request, rest),
            ("GET", [""]) => Answer::text(200, "computeMetadata/\n").with_header("metadata-flavor", "Google"),
            ("POST", ["token"]) => oauth::answer(self, request),
            ("GET", ["oauth2", "v3", "certs"]) => match self.google_key() {
                Ok(key) => {
                    Answer::json(200, &json!({ "keys": [key.jwk()] })).with_header("cache-control", "public, max-age=3600")
                }
                Err(error) => Answer::text(500, error.to_string()),
            },
            ("POST", ["v1", "projects", "-", "serviceAccounts", call]) => iam::answer(self, request, call),
            _ => Answer::google_error(404, &format!("The requested URL {} was not found.", request.path)),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

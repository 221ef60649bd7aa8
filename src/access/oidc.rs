//! Signing in at an OpenID Connect issuer: authorization code with PKCE, state and nonce. Nothing is kept here between the two
//! requests of a person: a signed cookie of ten minutes holds a seed, from which all three are derived with our key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use declic_actions::http::{Http, Method, Request as Sent};
use declic_actions::secret::Secret;
use poem::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::issuers::Keys;
use super::people::Person;
use super::session::Sessions;
use crate::clock::Timestamp;
use crate::settings::OidcSettings;
use crate::verify::person::{self, Expected};

/// Where the issuer sends people back to, behind `public-url`.
pub const CALLBACK: &str = "/sign-in/callback";
/// Name of the cookie of somebody who is on the way, and the only path that it is sent to.
const COOKIE: &str = "declic_sign_in";
const PATH: &str = "/sign-in";
/// How long somebody may take at the issuer.
const ON_THE_WAY: Duration = Duration::from_secs(600);
/// How long the issuer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long its addresses are believed.
const FRESH: Duration = Duration::from_secs(3600);
/// How long it is left alone after it failed.
const PAUSE: Duration = Duration::from_secs(5);
/// Google signs with either name.
const GOOGLE: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];

/// Why somebody does not come in. Texts are for the log, not for whoever asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Denied {
    /// It was not begun here, or too long ago.
    NotBegun,
    /// The issuer says no, with its word for why.
    Refused(String),
    /// The issuer does not answer as it should.
    Unreachable(String),
    /// What it says cannot be believed.
    Unproved(String),
}

/// What the cookie says.
#[derive(Serialize, Deserialize)]
struct OnTheWay {
    seed: String,
    until: i64,
    to: String,
}

/// What the issuer says about itself.
#[derive(Debug, Clone, Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What was last heard of the issuer.
#[derive(Default)]
struct Known {
    found: Option<(Instant, Arc<Discovered>)>,
    failed: Option<(Instant, String)>,
}

/// One issuer.
pub struct Oidc {
    settings: OidcSettings,
    client_secret: Option<Secret>,
    login_claim: Option<String>,
    redirect: String,
    http: Http,
    keys: Arc<Keys>,
    /// Held while somebody asks, so that others wait for the answer.
    known: tokio::sync::Mutex<Known>,
}

impl Oidc {
    /// Asks nobody yet.
    pub fn new(
        settings: OidcSettings,
        client_secret: Option<Secret>,
        login_claim: Option<String>,
        public_url: &str,
        http: Http,
        keys: Arc<Keys>,
    ) -> Self {
        let redirect = format!("{public_url}{CALLBACK}");
        Self { settings, client_secret, login_claim, redirect, http, keys, known: tokio::sync::Mutex::default() }
    }

    /// Host of the issuer, for people.
    pub fn name(&self) -> String {
        let url = Url::parse(&self.settings.issuer).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Does it have accounts with addresses of organisations that do not run them?
    pub fn hosts_others(&self) -> bool {
        GOOGLE.contains(&self.settings.issuer.as_str())
    }

    /// Where to send somebody who wants to come in, and the cookie that goes with them.
    pub async fn begin(&self, sessions: &Sessions, to: &str, now: Timestamp) -> Result<(String, String), Denied> {
        let issuer = self.discovered().await?;
        let seed = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, sessions.derive("verifier", &seed).as_bytes()));
        let mut url = Url::parse(&issuer.authorization_endpoint)
            .map_err(|error| Denied::Unreachable(format!("its authorization_endpoint is no address: {error}")))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", &format!("openid {}", self.settings.scopes.join(" ")))
            .append_pair("state", &sessions.derive("state", &seed))
            .append_pair("nonce", &sessions.derive("nonce", &seed))
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let on_the_way = OnTheWay { seed, until: now.after(ON_THE_WAY).0, to: to.to_owned() };
        let body = serde_json::to_vec(&on_the_way).unwrap_or_default();
        let cookie = sessions.cookie(COOKIE, &sessions.seal("sign-in", &body), PATH, ON_THE_WAY.as_secs());
        Ok((url.into(), cookie))
    }

    /// The cookie that ends what was begun, however it ended.
    pub fn forget(sessions: &Sessions) -> String {
        sessions.cookie(COOKIE, "", PATH, 0)
    }

    /// Who came back, and where they wanted to go.
    pub async fn finish(&self, sessions: &Sessions, request: &Request, now: Timestamp) -> Result<(Person, String), Denied> {
        let on_the_way = sessions
            .open("sign-in", &super::session::cookie_of(request, COOKIE).ok_or(Denied::NotBegun)?)
            .and_then(|body| serde_json::from_slice::<OnTheWay>(&body).ok())
            .filter(|on_the_way| on_the_way.until > now.0)
            .ok_or(Denied::NotBegun)?;
        let query: Vec<(String, String)> =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
        let parameter = |name: &str| {
            let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            values.next().filter(|_| values.next().is_none())
        };
        let state = sessions.derive("state", &on_the_way.seed);
        let given = parameter("state").unwrap_or_default();
        if verify_slices_are_equal(state.as_bytes(), given.as_bytes()).is_err() {
            return Err(Denied::NotBegun);
        }
        let issuer = self.discovered().await?;
        // Which of two issuers answers must be said, so that one cannot pass off another's code as its own.
        match parameter("iss") {
            Some(name) if name != issuer.issuer => return Err(Denied::Unproved("another issuer answers".to_owned())),
            None if issuer.authorization_response_iss_parameter_supported => {
                return Err(Denied::Unproved("the answer does not name its issuer".to_owned()));
            }
            _ => {}
        }
        if let Some(error) = parameter("error") {
            return Err(Denied::Refused(error.chars().filter(|letter| letter.is_ascii_graphic()).take(60).collect()));
        }
        let code = parameter("code").filter(|code| !code.is_empty() && code.len() <= 4096);
        let code = code.ok_or_else(|| Denied::Unproved("the answer holds no code".to_owned()))?;
        let verifier = sessions.derive("verifier", &on_the_way.seed);
        let token = self.exchange(&issuer, code, &verifier).await?;
        let keys = self.keys.of(&issuer.jwks_uri, &token).await.map_err(Denied::Unproved)?;
        let names = if self.hosts_others() { GOOGLE.to_vec() } else { vec![issuer.issuer.as_str()] };
        let nonce = sessions.derive("nonce", &on_the_way.seed);
        let expected = Expected { issuers: &names, audience: &self.settings.client_id, nonce: Some(&nonce) };
        let claims = person::claims(&token, &expected, &keys, Timestamp::now())
            .map_err(|why| Denied::Unproved(format!("the ID token {why}")))?;
        Ok((Person::of_claims(&claims, &self.settings.groups_claim, self.login_claim.as_deref()), on_the_way.to))
    }

    /// Gives the code back for an ID token.
    async fn exchange(&self, issuer: &Discovered, code: &str, verifier: &str) -> Result<String, Denied> {
        let methods = issuer.token_endpoint_auth_methods_supported.as_deref();
        let in_the_body = methods.is_some_and(|methods| !methods.iter().any(|method| method == "client_secret_basic"));
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect),
            ("code_verifier", verifier),
        ];
        let secret = self.client_secret.as_ref().and_then(Secret::expose_text);
        let request = Sent::to(Method::POST, &issuer.token_endpoint, Instant::now() + PATIENCE).cap(256 * 1024);
        let request = match (&self.client_secret, secret) {
            (Some(_), Some(secret)) if !in_the_body => {
                // RFC 6749 has both written as in a form before they are joined.
                let written = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                request.basic(&written(&self.settings.client_id), &Secret::new(written(secret)))
            }
            (Some(concealed), Some(secret)) => {
                form.extend([("client_id", self.settings.client_id.as_str()), ("client_secret", secret)]);
                request.conceal(concealed)
            }
            _ => {
                form.push(("client_id", &self.settings.client_id));
                request
            }
        };
        let request = request.header("accept", "application/json").form(&form);
        let answer = self.http.send(request).await.map_err(|error| match error.status_code() {
            Some(400..=499) => Denied::Unproved(format!("the code was refused: {error}")),
            _ => Denied::Unreachable(error.to_string()),
        })?;
        let answer = answer.json().map_err(|error| Denied::Unreachable(error.to_string()))?;
        let token = answer.get("id_token").and_then(Value::as_str).map(str::to_owned);
        token.ok_or_else(|| Denied::Unproved("the issuer answers without an ID token".to_owned()))
    }

    /// What the issuer says about itself. While it does not answer, what it said before is believed.
    async fn discovered(&self) -> Result<Arc<Discovered>, Denied> {
        let mut known = self.known.lock().await;
        let old = match &known.found {
            Some((at, issuer)) if at.elapsed() < FRESH => return Ok(Arc::clone(issuer)),
            Some((_, issuer)) => Some(Arc::clone(issuer)),
            None => None,
        };
        if let Some((at, why)) = &known.failed
            && at.elapsed() < PAUSE
        {
            return old.ok_or_else(|| Denied::Unreachable(why.clone()));
        }
        match self.discover().await {
            Ok(found) => {
                let found = Arc::new(found);
                *known = Known { found: Some((Instant::now(), Arc::clone(&found))), failed: None };
                Ok(found)
            }
            Err(why) => {
                known.failed = Some((Instant::now(), why.clone()));
                old.ok_or(Denied::Unreachable(why))
            }
        }
    }

    async fn discover(&self) -> Result<Discovered, String> {
        let url = format!("{}/.well-known/openid-configuration", self.settings.issuer);
        let request = Sent::to(Method::GET, &url, Instant::now() + PATIENCE).cap(256 * 1024);
        let answer = self.http.send(request).await.map_err(|error| error.to_string())?;
        let found: Discovered = serde_json::from_slice(&answer.body).map_err(|error| format!("{url} cannot be read: {error}"))?;
        // Only the document of the very issuer may say where its keys are.
        if found.issuer.trim_end_matches('/') != self.settings.issuer {
            return Err(format!("{url} is of another issuer, `{}`", found.issuer));
        }
        let safe = self.settings.issuer.starts_with("https:");
        let addresses = [&found.authorization_endpoint, &found.token_endpoint, &found.jwks_uri];
        match addresses.iter().find(|address| safe && !address.starts_with("https:")) {
            Some(address) => Err(format!("{url} names an address without TLS, {address}")),
            None => Ok(found),
        }
    }
}

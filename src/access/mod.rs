//! Who may look, and who may act.

pub mod attempts;
pub mod door;
mod iap;
mod issuers;
pub mod oidc;
mod people;
pub mod session;
pub mod visibility;

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use declic_actions::http::Http;
use poem::Request;
use poem::http::{StatusCode, header};
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;
use crate::clock::Timestamp;
use crate::receive::{Outward, is_on_this_machine};
use crate::settings::{AdminSettings, Settings};
use crate::verify::trust::Trust;
use attempts::Attempts;
use iap::Iap;
use issuers::Keys;
use oidc::{Denied, Oidc};
use people::Person;
use session::{Opened, Session, Sessions};

/// Bytes of a token at least: it can be tried from anywhere.
const SHORTEST: usize = 16;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
}

impl Role {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }

    /// The role of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator].into_iter().find(|role| role.word() == word)
    }
}

/// What somebody sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Everything.
    Everything,
    /// What is about repositories that this login may see at GitHub; without a login nothing of them.
    Repositories(Option<String>),
}

/// Somebody who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// Their address, or how they were let in: what the audit log shows.
    pub who: String,
    /// What they may do.
    pub role: Role,
    /// What they see.
    pub sight: Sight,
}

impl Viewer {
    /// Do they see everything?
    pub fn sees_all(&self) -> bool {
        self.sight == Sight::Everything
    }
}

/// A token by its digest, so that neither it nor its length is compared.
struct Token {
    digest: [u8; 32],
    role: Role,
    name: &'static str,
}

/// Whom it asks outside.
pub struct Outside {
    /// The guarded client.
    pub http: Http,
    /// What is known of keys.
    pub trust: Arc<Trust>,
    /// Who fetches them.
    pub outward: Arc<Outward>,
}

/// Who is let in, by `admin:`.
pub struct Access {
    admin: AdminSettings,
    tokens: Vec<Token>,
    /// Where people sign in.
    oidc: Option<Oidc>,
    iap: Option<Iap>,
    /// Who was wrong how often.
    pub attempts: Attempts,
    /// Nothing is set: this machine only.
    this_machine_only: bool,
    /// Browsers that are signed in.
    pub sessions: Sessions,
}

/// How somebody came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub viewer: Viewer,
    /// What forms must repeat, so that nobody else's page can send them.
    pub form_key: String,
    /// The session that can be ended, if there is one.
    pub session: Option<Session>,
}

impl Access {
    /// From the settings with their secrets. The error is for the operator.
    pub fn new(settings: &Settings, outside: Outside) -> Result<Self, String> {
        let admin = settings.admin.clone();
        let mut tokens = Vec::new();
        let mut secrets = Vec::new();
        for (entry, role, name) in
            [(&admin.token, Role::Operator, "operator token"), (&admin.viewer_token, Role::Viewer, "viewer token")]
        {
            let Some(entry) = entry else { continue };
            for value in settings.secrets.get(entry).into_iter().flatten() {
                if value.expose().len() < SHORTEST {
                    return Err(format!(
                        "the {name} `{entry}` is shorter than {SHORTEST} bytes: make one with `openssl rand -hex 24`"
                    ));
                }
                tokens.push(Token { digest: Sha256::digest(value.expose()).into(), role, name });
                secrets.push(value.expose().to_vec());
            }
        }
        for (digest, role, name) in
            [(admin.token_sha256, Role::Operator, "operator token"), (admin.viewer_token_sha256, Role::Viewer, "viewer token")]
        {
            tokens.extend(digest.map(|digest| Token { digest, role, name }));
        }
        let value = |entry: &Option<String>| entry.as_ref().and_then(|entry| settings.secrets.get(entry)?.first().cloned());
        let client_secret = admin.oidc.as_ref().and_then(|oidc| value(&oidc.client_secret));
        let session_key = value(&admin.session_key);
        if session_key.as_ref().is_some_and(|key| key.expose().len() < SHORTEST) {
            return Err(format!("`session-key` is shorter than {SHORTEST} bytes: make one with `openssl rand -hex 24`"));
        }
        secrets.extend(client_secret.iter().chain(&session_key).map(|secret| secret.expose().to_vec()));
        let keys = Arc::new(Keys::new(outside.trust, outside.outward));
        let iap = admin.iap.clone().map(|iap| Iap::new(iap, Arc::clone(&keys)));
        let login_claim = admin.visibility.as_ref().and_then(|visibility| visibility.login_claim.clone());
        let public_url = settings.public_url.as_deref().unwrap_or_default();
        let oidc = admin.oidc.clone().map(|oidc| Oidc::new(oidc, client_secret, login_claim, public_url, outside.http, keys));
        let who_may = format!("{:?} {:?} {:?} {:?}", admin.operators, admin.viewers, admin.visibility, admin.oidc);
        let sessions = Sessions::new(&secrets, &who_may, admin.session, public_url.starts_with("https:"));
        Ok(Self { this_machine_only: !admin.is_set(), tokens, oidc, iap, attempts: Attempts::default(), sessions, admin })
    }

    /// Is anybody asked who they are?
    pub fn asks(&self) -> bool {
        !self.this_machine_only
    }

    /// Who a token belongs to.
    pub fn by_token(&self, token: &str) -> Option<Viewer> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        // All of them, so that the time says nothing of which one it is.
        let found = self.tokens.iter().fold(None, |found, known| {
            let same = verify_slices_are_equal(&known.digest, &digest).is_ok();
            if same { Some(known) } else { found }
        });
        found.map(|known| Viewer { who: known.name.to_owned(), role: known.role, sight: Sight::Everything })
    }

    /// Can anybody sign in with a token?
    pub fn knows_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Where people sign in, if they do.
    pub fn oidc(&self) -> Option<&Oidc> {
        self.oidc.as_ref()
    }

    /// Who came back from the issuer, and where they wanted to go.
    pub async fn came_back(&self, request: &Request) -> Result<(Viewer, String), Refused> {
        let Some(oidc) = &self.oidc else { return Err(Refused::Denied(Denied::NotBegun)) };
        let (person, to) = oidc.finish(&self.sessions, request, Timestamp::now()).await.map_err(Refused::Denied)?;
        let viewer = people::viewer(&person, &self.admin, oidc.hosts_others());
        viewer.map(|viewer| (viewer, to)).ok_or_else(|| Refused::NotListed(person.who()))
    }

    /// Who asks. The problem is what they are told if they are not let in.
    pub async fn admit(&self, request: &Request) -> Result<Admitted, Problem> {
        if self.this_machine_only {
            return self.this_machine(request);
        }
        if let Some(iap) = &self.iap {
            match iap.person(request).await {
                Ok(Some(person)) => return self.through_the_proxy(request, &person),
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!("an assertion of the Identity-Aware Proxy is refused: {why}");
                    return Err(unknown());
                }
            }
        }
        if let Some(value) = request.header(header::AUTHORIZATION) {
            self.may_try(request)?;
            let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
            let Some(viewer) = token.and_then(|token| self.by_token(token.trim())) else {
                self.attempts.failed(request, Timestamp::now());
                return Err(unknown());
            };
            // A browser never sends this by itself: there is nothing to protect forms from.
            return Ok(Admitted { viewer, form_key: String::new(), session: None });
        }
        let Opened { viewer, form_key, session } = self.sessions.of(request, Timestamp::now()).ok_or_else(unknown)?;
        from_ourselves(request)?;
        Ok(Admitted { viewer, form_key, session: Some(session) })
    }

    /// May whoever asks try once more to say who they are?
    pub fn may_try(&self, request: &Request) -> Result<(), Problem> {
        self.attempts.allow(request, Timestamp::now()).map_err(|seconds| {
            let text = format!("Too many wrong attempts from there. Try again in {seconds} s.");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, text).after(seconds)
        })
    }

    fn through_the_proxy(&self, request: &Request, person: &Person) -> Result<Admitted, Problem> {
        from_ourselves(request)?;
        // The proxy admits accounts of Google, so its word for the organisation is what counts.
        let Some(viewer) = people::viewer(person, &self.admin, true) else {
            tracing::info!(who = person.who(), "somebody is neither an operator nor a viewer");
            return Err(not_listed());
        };
        let form_key = self.sessions.form_key(&format!("proxy {}", person.subject));
        Ok(Admitted { viewer, form_key, session: None })
    }

    /// Nobody is asked who they are on this machine, as long as nothing else is set; elsewhere nothing answers.
    fn this_machine(&self, request: &Request) -> Result<Admitted, Problem> {
        if !is_on_this_machine(request) || !names_this_machine(request) {
            return Err(nothing());
        }
        from_ourselves(request)?;
        let viewer = Viewer { who: "this machine".to_owned(), role: Role::Operator, sight: Sight::Everything };
        Ok(Admitted { viewer, form_key: self.sessions.form_key("this machine"), session: None })
    }
}

/// Why somebody who came back from the issuer does not come in.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// It is not known who they are.
    Denied(Denied),
    /// It is, and they are neither an operator nor a viewer.
    NotListed(String),
}

/// What somebody is told who is known and not among those who may.
pub fn not_listed() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "You are neither an operator nor a viewer here. Ask whoever keeps `declic.yaml`.")
}

/// The same for everything that is not there.
pub fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing here.")
}

pub(crate) fn unknown() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "Sign in, or send a token of `admin:` as `Authorization: Bearer`.")
}

/// A name that leads to this machine but belongs to somebody else would let their page read ours.
fn names_this_machine(request: &Request) -> bool {
    let Some(host) = request.header(header::HOST) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Browsers say which page asks; other programs say nothing. What only reads may come from anywhere: nobody else's page can read it.
pub fn from_ourselves(request: &Request) -> Result<(), Problem> {
    if request.method().is_safe() {
        return Ok(());
    }
    let site = request.header("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin = request.header(header::ORIGIN).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == request.header(header::HOST)
    });
    if site && origin {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN, "This was asked for by a page of somebody else."))
    }
}

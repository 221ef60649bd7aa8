//! `admin:`: who may look and act, and what is hidden from them.

mod people;

use std::time::Duration;

use declic_actions::action::Field;
use serde_json::{Map, Value};

use super::read::Reader;
use super::sections::{field, length, text, texts};
use crate::rules::yaml::Entry;
pub use people::{IapSettings, OidcSettings, Permission, VisibilitySettings, Who, is_login};

/// `admin:`
pub static ADMIN: &[Field] = &[
    field("token", "secret?", "Entry of `secrets:` that holds the token of operators, 16 bytes or more"),
    field("token-sha256", "string?", "SHA-256 of the token of operators, in hexadecimal, where the token itself stays with them"),
    field("viewer-token", "secret?", "Entry of `secrets:` that holds the token of those who may only look"),
    field("viewer-token-sha256", "string?", "SHA-256 of the same, in hexadecimal"),
    field(
        "oidc",
        "{ issuer: string, client-id: string, client-secret: secret?, scopes: [string]?, groups-claim: string? }?",
        "People sign in at an OpenID Connect issuer, such as https://accounts.google.com, which sends them back to `public-url` with \
         /sign-in/callback; asked for are `scopes` (email and profile if not given), and `groups-claim` (groups) lists somebody's groups",
    ),
    field(
        "iap",
        "{ audience: string, keys-url: string? }?",
        "People come through Google's Identity-Aware Proxy, whose assertions are for this audience: \
         /projects/NUMBER/global/backendServices/ID",
    ),
    field(
        "operators",
        "{ emails: [string]?, domains: [string]?, groups: [string]? }?",
        "Those of `oidc` and `iap` who may look and act: by verified address, by organisation, by group",
    ),
    field("viewers", "{ emails: [string]?, domains: [string]?, groups: [string]? }?", "Those of them who may only look"),
    field(
        "visibility",
        "{ permission: read|triage|write|maintain|admin?, login-claim: string?, logins: { \"*\": string }? }?",
        "People see only what is about repositories in which GitHub gives them this permission (read); their login at GitHub is in \
         `logins`, by e-mail address, or in a claim of the ID token. Needs `github.token`",
    ),
    field(
        "session-key",
        "secret?",
        "Entry of `secrets:` that signs sessions; needed by several instances that share neither a token nor a client secret",
    ),
    field("session", "duration?", "How long a browser stays signed in, 12h if not given"),
    field(
        "redact",
        "{ headers: [string]?, fields: [string]? }?",
        "Further words: values of headers and fields whose names contain one of them are hidden",
    ),
];

const SESSION: Duration = Duration::from_secs(12 * 3600);

/// `admin:`
#[derive(Debug, Clone, PartialEq)]
pub struct AdminSettings {
    /// Entry of `secrets:` with the token of operators.
    pub token: Option<String>,
    /// SHA-256 of a token of operators.
    pub token_sha256: Option<[u8; 32]>,
    /// Entry of `secrets:` with the token of viewers.
    pub viewer_token: Option<String>,
    /// SHA-256 of a token of viewers.
    pub viewer_token_sha256: Option<[u8; 32]>,
    /// Where people sign in.
    pub oidc: Option<OidcSettings>,
    /// Through what people come.
    pub iap: Option<IapSettings>,
    /// Those of them who may act.
    pub operators: Who,
    /// Those of them who may look.
    pub viewers: Who,
    /// What of repositories they see; everything if it is not set.
    pub visibility: Option<VisibilitySettings>,
    /// Entry of `secrets:` that signs sessions.
    pub session_key: Option<String>,
    /// How long a session lasts.
    pub session: Duration,
    /// Further words in names of headers that are hidden.
    pub hidden_headers: Vec<String>,
    /// Further words in names of fields that are hidden.
    pub hidden_fields: Vec<String>,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            token: None,
            token_sha256: None,
            viewer_token: None,
            viewer_token_sha256: None,
            oidc: None,
            iap: None,
            operators: Who::default(),
            viewers: Who::default(),
            visibility: None,
            session_key: None,
            session: SESSION,
            hidden_headers: Vec::new(),
            hidden_fields: Vec::new(),
        }
    }
}

impl AdminSettings {
    /// Is there any way in from elsewhere? Without one, only this machine is answered.
    pub fn is_set(&self) -> bool {
        let hashes = [self.token_sha256, self.viewer_token_sha256];
        self.token.is_some() || self.viewer_token.is_some() || hashes.iter().any(Option::is_some) || self.knows_people()
    }

    /// Does anybody come as a person, rather than with a token?
    pub fn knows_people(&self) -> bool {
        self.oidc.is_some() || self.iap.is_some()
    }
}

/// What else is set, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// Is there a `public-url`?
    pub has_public_url: bool,
    /// Is there a `github.token`?
    pub has_github_token: bool,
}

impl Reader<'_> {
    /// `admin:`; `around` is what else is set.
    pub fn admin(&mut self, entry: Option<&Entry>, around: Around) -> AdminSettings {
        let Some(entry) = entry else { return AdminSettings::default() };
        let before = self.faults.errors();
        let fields = self.mapping(entry, ADMIN);
        let whole = self.faults.errors() == before;
        let redact = fields.get("redact").and_then(Value::as_object).cloned().unwrap_or_default();
        let settings = AdminSettings {
            token: text(&fields, "token"),
            token_sha256: self.digest(entry, &fields, "token-sha256"),
            viewer_token: text(&fields, "viewer-token"),
            viewer_token_sha256: self.digest(entry, &fields, "viewer-token-sha256"),
            oidc: self.oidc(entry, &fields, around.has_public_url),
            iap: self.iap(entry, &fields),
            operators: self.who(entry, &fields, "operators"),
            viewers: self.who(entry, &fields, "viewers"),
            visibility: self.visibility(entry, &fields),
            session_key: text(&fields, "session-key"),
            session: length(&fields, "session").unwrap_or(SESSION),
            hidden_headers: texts(&redact, "headers"),
            hidden_fields: texts(&redact, "fields"),
        };
        // A mapping with a fault reads as empty, which would be blamed as well.
        if whole {
            self.agree(entry, &settings, around);
        }
        settings
    }

    /// Settings that are wrong only together.
    fn agree(&mut self, entry: &Entry, settings: &AdminSettings, around: Around) {
        let mut wrong = |key: &str, message: &str, help: &str| {
            let span = entry.value.get(key).map_or_else(|| entry.span.clone(), |entry| entry.span.clone());
            self.faults.error("admin", span, message, Some(help.to_owned()));
        };
        if settings.token.is_some() && settings.token == settings.viewer_token {
            wrong("viewer-token", "operators and viewers have the same token", "give viewers a token of their own");
        }
        let nobody = settings.operators.is_nobody() && settings.viewers.is_nobody();
        let written = |key: &str| entry.value.get(key).is_some();
        for way in ["oidc", "iap"].into_iter().filter(|way| written(way) && nobody) {
            wrong(way, "nobody may come in this way", "name people in `operators` or `viewers`: emails, domains or groups");
        }
        for who in ["operators", "viewers", "visibility"] {
            if written(who) && !written("oidc") && !written("iap") {
                wrong(who, "this is about people, and none can sign in", "set `oidc` or `iap`; tokens say by themselves who may");
            }
        }
        if settings.visibility.is_some() && !around.has_github_token {
            wrong("visibility", "GitHub cannot be asked who may see what", "set `github: { token: … }`");
        }
    }

    fn digest(&mut self, section: &Entry, fields: &Map<String, Value>, key: &str) -> Option<[u8; 32]> {
        let written = text(fields, key)?;
        let digest = hex::decode(&written).ok().and_then(|bytes| bytes.try_into().ok());
        if digest.is_none() {
            let span = section.value.get(key).map_or_else(|| section.span.clone(), |entry| entry.value.span.clone());
            let help = "printf %s \"$TOKEN\" | sha256sum".to_owned();
            self.faults.error("type", span, format!("`{key}` must be the 64 hexadecimal digits of a SHA-256"), Some(help));
        }
        digest
    }
}

//! `admin:`: people who sign in somewhere else, who of them may come in, and what they see.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::Url;

use super::super::read::Reader;
use super::super::sections::{text, texts};
use crate::rules::yaml::Entry;

/// `admin.oidc`
#[derive(Debug, Clone, PartialEq)]
pub struct OidcSettings {
    /// Address of the issuer, without a slash at the end; its discovery document is below it.
    pub issuer: String,
    /// Our id there.
    pub client_id: String,
    /// Entry of `secrets:` with our secret there; none for a public client, which PKCE alone protects.
    pub client_secret: Option<String>,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// Claim that lists somebody's groups.
    pub groups_claim: String,
}

/// `admin.iap`
#[derive(Debug, Clone, PartialEq)]
pub struct IapSettings {
    /// `aud` of its assertions: `/projects/NUMBER/global/backendServices/ID`.
    pub audience: String,
    /// Where its keys are published.
    pub keys_url: String,
}

/// Some people.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Who {
    /// Addresses that the issuer verified, in lower case.
    pub emails: Vec<String>,
    /// Organisations, by their domain, in lower case.
    pub domains: Vec<String>,
    /// Groups, as the issuer writes them.
    pub groups: Vec<String>,
}

impl Who {
    /// Is it nobody?
    pub fn is_nobody(&self) -> bool {
        self.emails.is_empty() && self.domains.is_empty() && self.groups.is_empty()
    }
}

/// What somebody may do in a repository, by GitHub's word; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Look.
    Read,
    /// Sort issues.
    Triage,
    /// Push.
    Write,
    /// Manage.
    Maintain,
    /// Everything.
    Admin,
}

impl Permission {
    /// The permission of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "read" | "pull" => Self::Read,
            "triage" => Self::Triage,
            "write" | "push" => Self::Write,
            "maintain" => Self::Maintain,
            "admin" => Self::Admin,
            _ => return None,
        })
    }
}

/// `admin.visibility`: people see what is about repositories in which GitHub gives them this permission.
#[derive(Debug, Clone, PartialEq)]
pub struct VisibilitySettings {
    /// The least that is needed.
    pub permission: Permission,
    /// Claim of the ID token that holds the login at GitHub.
    pub login_claim: Option<String>,
    /// Logins at GitHub by e-mail address in lower case; they count before the claim.
    pub logins: BTreeMap<String, String>,
}

const GROUPS: &str = "groups";
const IAP_KEYS: &str = "https://www.gstatic.com/iap/verify/public_key-jwk";

impl Reader<'_> {
    pub(super) fn oidc(&mut self, section: &Entry, fields: &Map<String, Value>, has_public_url: bool) -> Option<OidcSettings> {
        let written = fields.get("oidc")?.as_object()?;
        let entry = section.value.get("oidc")?;
        let issuer = entry.value.get("issuer").and_then(|issuer| self.safe_address(issuer))?;
        if !has_public_url {
            let help = "write `public-url: https://…`: the issuer sends people back to it, at /sign-in/callback".to_owned();
            self.faults.error("missing", entry.span.clone(), "`oidc` needs `public-url`", Some(help));
        }
        let scopes = match texts(written, "scopes") {
            none if none.is_empty() => ["email", "profile"].map(str::to_owned).to_vec(),
            scopes => scopes,
        };
        Some(OidcSettings {
            issuer,
            client_id: text(written, "client-id").unwrap_or_default(),
            client_secret: text(written, "client-secret"),
            scopes,
            groups_claim: text(written, "groups-claim").unwrap_or_else(|| GROUPS.to_owned()),
        })
    }

    pub(super) fn iap(&mut self, section: &Entry, fields: &Map<String, Value>) -> Option<IapSettings> {
        let written = fields.get("iap")?.as_object()?;
        let keys = section.value.get("iap").and_then(|entry| entry.value.get("keys-url"));
        let keys_url = match keys {
            Some(entry) => self.safe_address(entry)?,
            None => IAP_KEYS.to_owned(),
        };
        Some(IapSettings { audience: text(written, "audience").unwrap_or_default(), keys_url })
    }

    /// Who says who somebody is must be reached safely: over TLS, or on this machine.
    fn safe_address(&mut self, entry: &Entry) -> Option<String> {
        let written = entry.value.scalar().map(|scalar| scalar.text.clone()).unwrap_or_default();
        let address = self.checked_address(entry, &written)?;
        let url = Url::parse(&address).ok()?;
        let here = match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if url.scheme() == "https" || here {
            return Some(address);
        }
        let message = format!("`{}` must be reached over https", entry.key);
        self.faults.error("type", entry.value.span.clone(), message, None);
        None
    }

    pub(super) fn who(&mut self, section: &Entry, fields: &Map<String, Value>, key: &str) -> Who {
        let Some(written) = fields.get(key).and_then(Value::as_object) else { return Who::default() };
        let lower = |name: &str| texts(written, name).into_iter().map(|text| text.to_lowercase()).collect::<Vec<_>>();
        let who = Who { emails: lower("emails"), domains: lower("domains"), groups: texts(written, "groups") };
        let span = section.value.get(key).map_or_else(|| section.span.clone(), |entry| entry.value.span.clone());
        let no_address =
            |text: &&String| !text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
        let wrong_email = who.emails.iter().find(no_address).map(|email| format!("`{email}` is no e-mail address"));
        let wrong_domain = who.domains.iter().find(|domain| !domain.contains('.') || domain.contains(['@', '*', '/']));
        let wrong_domain = wrong_domain.map(|domain| format!("`{domain}` is no domain: write it as example.com"));
        for message in wrong_email.into_iter().chain(wrong_domain) {
            self.faults.error("name", span.clone(), message, None);
        }
        who
    }

    pub(super) fn visibility(&mut self, section: &Entry, fields: &Map<String, Value>) -> Option<VisibilitySettings> {
        let written = fields.get("visibility")?.as_object()?;
        let logins = written.get("logins").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut known = BTreeMap::new();
        for (email, login) in logins {
            let login = login.as_str().unwrap_or_default();
            if !is_login(login) {
                let span = section.value.get("visibility").map_or_else(|| section.span.clone(), |entry| entry.value.span.clone());
                self.faults.error("name", span, format!("`{login}` cannot be a login at GitHub"), None);
            }
            known.insert(email.to_lowercase(), login.to_owned());
        }
        let permission = text(written, "permission").and_then(|word| Permission::of_word(&word));
        Some(VisibilitySettings {
            permission: permission.unwrap_or(Permission::Read),
            login_claim: text(written, "login-claim"),
            logins: known,
        })
    }
}

/// Can this be a login at GitHub? Those of managed users have a `_`.
pub fn is_login(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

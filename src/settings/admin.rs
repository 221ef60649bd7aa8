//! `admin:`: who may look and act, and what is hidden from them.

use std::time::Duration;

use declic_actions::action::Field;
use serde_json::{Map, Value};

use super::read::Reader;
use super::sections::{field, length, text, texts};
use crate::rules::yaml::Entry;

/// `admin:`
pub static ADMIN: &[Field] = &[
    field("token", "secret?", "Entry of `secrets:` that holds the token of operators, 16 bytes or more"),
    field("token-sha256", "string?", "SHA-256 of the token of operators, in hexadecimal, where the token itself stays with them"),
    field("viewer-token", "secret?", "Entry of `secrets:` that holds the token of those who may only look"),
    field("viewer-token-sha256", "string?", "SHA-256 of the same, in hexadecimal"),
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
        self.token.is_some() || self.viewer_token.is_some() || hashes.iter().any(Option::is_some)
    }
}

impl Reader<'_> {
    /// `admin:`
    pub fn admin(&mut self, entry: Option<&Entry>) -> AdminSettings {
        let Some(entry) = entry else { return AdminSettings::default() };
        let fields = self.mapping(entry, ADMIN);
        let redact = fields.get("redact").and_then(Value::as_object).cloned().unwrap_or_default();
        let settings = AdminSettings {
            token: text(&fields, "token"),
            token_sha256: self.digest(entry, &fields, "token-sha256"),
            viewer_token: text(&fields, "viewer-token"),
            viewer_token_sha256: self.digest(entry, &fields, "viewer-token-sha256"),
            session: length(&fields, "session").unwrap_or(SESSION),
            hidden_headers: texts(&redact, "headers"),
            hidden_fields: texts(&redact, "fields"),
        };
        if let (Some(token), Some(viewer)) = (&settings.token, &settings.viewer_token)
            && token == viewer
        {
            let message = "operators and viewers have the same token";
            self.faults.error("admin", entry.span.clone(), message, Some("give viewers a token of their own".to_owned()));
        }
        settings
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

//! The parts that all of GitHub's events share: the repository and who acted.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a decoded event brings.
#[derive(Debug, Clone, PartialEq)]
pub struct Contexts {
    /// Fields of the `event` context.
    pub event: Map<String, Value>,
    /// The `repo` context.
    pub repo: Value,
    /// The `actor` context.
    pub actor: Value,
}

impl Contexts {
    /// From the event's fields (an object) and the parts that all events share.
    pub(super) fn new(event: Value, repository: &Repository, sender: Option<&Sender>) -> Result<Self, String> {
        let Value::Object(event) = event else { return Err("the event has no fields".to_owned()) };
        Ok(Self { event, repo: repository.context()?, actor: sender.map_or(Value::Null, Sender::context) })
    }
}

/// Adds a field that may be missing.
pub(super) fn optional(event: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(fields), Some(value)) = (event.as_object_mut(), value) {
        fields.insert(name.to_owned(), value);
    }
}

/// `repository` of a payload.
#[derive(Debug, Clone, Deserialize)]
pub struct Repository {
    /// GitHub's number, which survives renaming.
    pub id: u64,
    /// `owner/name`.
    pub full_name: String,
    /// Left out in some payloads of older servers.
    #[serde(default)]
    pub default_branch: Option<String>,
    /// Is it private?
    #[serde(default)]
    pub private: bool,
    /// Address for people.
    #[serde(default)]
    pub html_url: Option<String>,
}

/// `sender` of a payload.
#[derive(Debug, Clone, Deserialize)]
pub struct Sender {
    /// Name.
    pub login: String,
    /// Number.
    pub id: u64,
    /// `User`, `Bot`, `Organization`, …
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
}

impl Repository {
    /// The `repo` context.
    pub fn context(&self) -> Result<Value, String> {
        let parts = self.full_name.split_once('/').filter(|(owner, name)| is_name(owner) && is_name(name));
        let Some((owner, name)) = parts else { return Err("repository.full_name is not owner/name".to_owned()) };
        let url = self.html_url.clone().unwrap_or_else(|| format!("https://github.com/{}", self.full_name));
        Ok(json!({
            "full_name": self.full_name, "owner": owner, "name": name, "id": self.id, "private": self.private,
            "default_branch": self.default_branch.as_deref().unwrap_or_default(), "url": url,
        }))
    }
}

/// Names go into addresses and into the key of the rule index, so they are only what GitHub allows in one.
fn is_name(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=100).contains(&text.len()) && text != "." && text != ".." && text.bytes().all(fine)
}

impl Sender {
    /// The `actor` context. `permission` is not in any payload: whoever needs it asks GitHub.
    pub fn context(&self) -> Value {
        let kind = match self.kind.as_deref() {
            Some("Bot") => "bot",
            _ => "user",
        };
        json!({ "login": self.login, "id": self.id, "type": kind })
    }
}

/// A full object id, SHA-1 or SHA-256.
pub fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

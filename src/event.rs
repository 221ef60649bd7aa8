//! A delivery as rules see it: typed, normalised, the same for every provider of a kind.

use serde_json::Value;

/// The contexts that expressions can read. The registry says which fields each event kind has and of what type;
/// a field that is optional there is left out or `null`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `github.push`, … as in `on:`.
    pub kind: String,
    /// Name of the source in `declic.yaml`.
    pub source: String,
    /// Fields of the kind; `payload` only if asked for when decoding.
    pub event: Value,
    /// `repo` context; `null` where the kind has none.
    pub repo: Value,
    /// `actor` context; `null` where the kind has none.
    pub actor: Value,
    /// `delivery` context: `id`, `source`, `received_at`, `replay`.
    pub delivery: Value,
}

impl Event {
    /// `owner/name` of the repository: part of the key of the rule index.
    pub fn repository(&self) -> Option<&str> {
        self.repo.get("full_name").and_then(Value::as_str)
    }
}

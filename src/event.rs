//! A delivery as rules see it: typed, normalised, the same for every provider of a kind.

use serde_json::Value;

/// Key in the `delivery` context: it is true for the event of an effect of ours.
pub const OWN: &str = "own";
/// Key in the `delivery` context: the number of hops, where it is not 0.
pub const HOPS: &str = "hops";

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
    /// `delivery` context: `id`, `source`, `received_at`, `replay`; also [`OWN`] and [`HOPS`], which rules cannot name.
    pub delivery: Value,
}

impl Event {
    /// `owner/name` of the repository: part of the key of the rule index.
    pub fn repository(&self) -> Option<&str> {
        self.repo.get("full_name").and_then(Value::as_str)
    }

    /// Did an effect of ours cause it, by the mark that it carries?
    pub fn is_own(&self) -> bool {
        self.delivery.get(OWN) == Some(&Value::Bool(true))
    }

    /// How many effects of ours led to it, one after the other. What outsiders write there counts no further than a number goes.
    pub fn hops(&self) -> u32 {
        self.delivery.get(HOPS).and_then(Value::as_u64).map_or(0, |hops| u32::try_from(hops).unwrap_or(u32::MAX))
    }
}

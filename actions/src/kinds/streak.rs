//! A message that stands for many: how it says so, and what of the one before is needed to put it in its place.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::github::cut;

/// So many characters are kept free for the count.
const ROOM: usize = 80;

/// How often something has happened, and what the message about it left behind ([`crate::action::Action::keeps`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Streak {
    /// How often, this time included.
    pub count: u64,
    /// Since when, for people.
    pub since: String,
    /// Is this the latest of them? Otherwise what was said last is said again, with the count of today.
    pub is_newest: bool,
    /// What the last message left.
    pub kept: Option<Value>,
}

impl Streak {
    /// What was kept, if this version can read it.
    pub(super) fn kept<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.kept.clone()?).ok()
    }

    /// The text with the count below it, in at most so many characters. In Markdown as in Slack's the count is in italics.
    pub(super) fn text(&self, text: &str, longest: usize) -> String {
        match self.count {
            0 | 1 => cut(text, longest),
            count => format!("{}\n\n_{count} times since {}_", cut(text, longest.saturating_sub(ROOM)), self.since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_so_that_the_count_is_seen() {
        let streak = Streak { count: 37, since: "2026-11-24 14:02 UTC".into(), is_newest: true, kept: None };
        let text = streak.text(&"x".repeat(3_000), 2_000);
        assert!(text.chars().count() <= 2_000 && text.ends_with("_37 times since 2026-11-24 14:02 UTC_"), "{text}");
        assert_eq!(Streak { count: 1, ..streak }.text("disk full", 2_000), "disk full");
    }
}

//! What a delivery is about, in one line for listings. Pure.

use serde_json::Value;

use crate::event::Event;
use crate::journal::record::About;

/// Letters of a title that are kept.
const LONGEST: usize = 120;

/// Fields that say where something happened, the first that is there.
const WHERE: &[&str] = &["branch", "tag", "number", "command", "intent"];
/// Fields that say what happened, the first that is there.
const WHAT: &[&str] = &["title", "message", "query", "text", "conclusion", "summary", "policy", "image", "body", "action"];

/// From the event as rules see it.
pub(super) fn of(event: &Event) -> About {
    let found = |names: &[&str]| names.iter().find_map(|name| line(name, event.event.get(*name)?));
    let title = match (found(WHERE), found(WHAT)) {
        (Some(place), Some(what)) => Some(format!("{place}: {what}")),
        (place, what) => place.or(what),
    };
    About {
        event: Some(event.kind.clone()),
        repository: event.repository().map(str::to_owned),
        title: title.map(|title| title.chars().take(LONGEST).collect()),
    }
}

/// The first line of a text, or a number; nothing of anything else.
fn line(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned),
        Value::Number(number) if name == "number" => Some(format!("#{number}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_title_is_one_short_line_of_what_and_where() {
        let about = |kind: &str, event: Value| {
            let repo = json!({ "full_name": "acme/web" });
            let (source, actor, delivery) = ("github".to_owned(), Value::Null, Value::Null);
            of(&Event { kind: kind.to_owned(), source, event, repo, actor, delivery })
        };
        let push = about("github.push", json!({ "branch": "main", "message": "Fix login\n\nAt last." }));
        assert_eq!(push.title.as_deref(), Some("main: Fix login"));
        assert_eq!((push.event.as_deref(), push.repository.as_deref()), (Some("github.push"), Some("acme/web")));
        let pull = about("github.pull_request", json!({ "number": 7, "title": "Add a door", "action": "opened" }));
        assert_eq!(pull.title.as_deref(), Some("#7: Add a door"));
        assert_eq!(about("http.webhook", json!({ "body": { "a": 1 } })).title, None);
        let long = about("http.webhook", json!({ "text": "é".repeat(500) }));
        assert_eq!(long.title.map(|title| title.chars().count()), Some(LONGEST));
    }
}

//! Filters of a trigger: `branches`, `paths`, `types`, …

use serde_json::Value;

use super::Check;
use crate::event::Event;
use crate::rules::expr::{near_miss, show};
use crate::rules::glob::GlobSet;
use crate::rules::model::{Filter, FilterTest, Trigger};

/// So many items are named of a list in which nothing matched.
const NAMED: usize = 3;

/// Holds a filter against the event. `None`: it does not apply, the other of `branches` and `tags` decides.
pub(super) fn check(filter: &Filter, trigger: &Trigger, event: &Event) -> Option<Check> {
    let text = text(filter);
    if event.kind == "github.push"
        && let Some(check) = push(filter, trigger, event, &text)
    {
        return check;
    }
    let value = value(event, filter.path).filter(|value| !value.is_null());
    if filter.path == "event.files" && event.event.get("files_complete") == Some(&Value::Bool(false)) {
        // Acting once too often is better than once too few.
        return Some(Check::new(true, text, "the list of changed files is incomplete, so this counts as a match"));
    }
    if let FilterTest::Flag(let_in) = &filter.test {
        let set = value == Some(&Value::Bool(true));
        return Some(Check::new(*let_in || !set, text, format!("{} = {set}", filter.path)));
    }
    let Some(value) = value else { return Some(Check::new(false, text, format!("{} is missing", filter.path))) };
    Some(match &filter.test {
        FilterTest::Glob(set) => glob(filter, set, value, text),
        FilterTest::AnyGlob(set) => any(filter, value, text, |item| {
            let (holds, pattern) = set.decide(item);
            (holds, pattern.map(|pattern| format!(" by \"{pattern}\"")).unwrap_or_default())
        }),
        FilterTest::In(words) => word(filter, words, value, text),
        FilterTest::AnyIn(words) => any(filter, value, text, |item| (words.iter().any(|word| word == item), String::new())),
        FilterTest::Is(word) => self::word(filter, std::slice::from_ref(word), value, text),
        FilterTest::Flag(_) => return None,
    })
}

/// GitHub's rules for pushes: only `branches` given lets no tag in and the other way round; tags have no changed files.
fn push(filter: &Filter, trigger: &Trigger, event: &Event, text: &str) -> Option<Option<Check>> {
    let has = |name: &str| trigger.filters.iter().any(|filter| filter.name == name);
    let named = |name: &str| event.event.get(name).filter(|value| value.is_string());
    let (branch, tag) = (named("branch"), named("tag"));
    match (filter.name, branch, tag) {
        ("paths", None, Some(_)) => Some(Some(Check::new(true, text, "a tag has no changed files, so this is not asked"))),
        ("branches", None, Some(_)) if has("tags") => Some(None),
        ("tags", Some(_), None) if has("branches") => Some(None),
        ("branches", None, Some(tag)) => Some(Some(only_the_other("tag", "branches", tag, text))),
        ("tags", Some(branch), None) => Some(Some(only_the_other("branch", "tags", branch, text))),
        _ => None,
    }
}

fn only_the_other(kind: &str, wanted: &str, name: &Value, text: &str) -> Check {
    Check::new(false, text, format!("event.{kind} = {}, and only {wanted} are asked for", show(name)))
}

/// As written in the rule file.
fn text(filter: &Filter) -> String {
    let name = &filter.name;
    match &filter.test {
        FilterTest::Glob(set) | FilterTest::AnyGlob(set) => {
            format!("{name}: [{}]", set.patterns().collect::<Vec<_>>().join(", "))
        }
        FilterTest::In(words) | FilterTest::AnyIn(words) => format!("{name}: [{}]", words.join(", ")),
        FilterTest::Flag(set) => format!("{name}: {set}"),
        FilterTest::Is(word) => format!("{name}: {word}"),
    }
}

/// A value of the event by its path: `event.base.branch`.
fn value<'a>(event: &'a Event, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let root = match names.next()? {
        "event" => &event.event,
        "repo" => &event.repo,
        "actor" => &event.actor,
        "delivery" => &event.delivery,
        _ => return None,
    };
    names.try_fold(root, |value, name| value.get(name))
}

fn glob(filter: &Filter, set: &GlobSet, value: &Value, text: String) -> Check {
    let shown = format!("{} = {}", filter.path, show(value));
    let Some(input) = value.as_str() else { return Check::new(false, text, shown) };
    let (holds, pattern) = set.decide(input);
    let found = match pattern {
        Some(pattern) => format!("{shown}, decided by \"{pattern}\""),
        None => format!("{shown}, no pattern matches"),
    };
    let hint = if pattern.is_some() { None } else { set.patterns().find_map(|pattern| near_miss(input, pattern)) };
    Check { hint, ..Check::new(holds, text, found) }
}

fn word(filter: &Filter, words: &[String], value: &Value, text: String) -> Check {
    let input = value.as_str().unwrap_or_default();
    let holds = words.iter().any(|word| word == input);
    let hint = if holds { None } else { words.iter().find_map(|word| near_miss(input, word)) };
    Check { hint, ..Check::new(holds, text, format!("{} = {}", filter.path, show(value))) }
}

/// A list of which any item must pass; says which one did.
fn any(filter: &Filter, value: &Value, text: String, passes: impl Fn(&str) -> (bool, String)) -> Check {
    let items: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let path = &filter.path;
    for item in &items {
        let (holds, by) = passes(item);
        if holds {
            return Check::new(true, text, format!("{path} = {}{by}", show(&Value::from(*item))));
        }
    }
    let noun = path.rsplit('.').next().unwrap_or_default();
    if items.is_empty() {
        return Check::new(false, text, format!("{path} has no {noun}"));
    }
    let first: Vec<String> = items.iter().take(NAMED).map(|item| show(&Value::from(*item))).collect();
    Check::new(false, text, format!("{path} = none of {} {noun}; first: {}", items.len(), first.join(", ")))
}

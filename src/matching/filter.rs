//! Filters of a trigger: `branches`, `paths`, `types`, …

use serde_json::Value;

use super::Check;
use crate::event::Event;
use crate::rules::expr::{near_miss, show};
use crate::rules::glob::GlobSet;
use crate::rules::model::{Filter, FilterTest, Trigger};

/// So many items are named of a list in which nothing matched.
const NAMED: usize = 3;
/// And so many are compared with what was asked for, to say what differs by very little.
const LOOKED_AT: usize = 100;

/// How a filter decided. Finding it makes no text: that is for reasons that somebody keeps.
pub(super) struct Answer<'a> {
    pub holds: bool,
    filter: &'a Filter,
    why: Why<'a>,
}

/// What decided.
enum Why<'a> {
    /// The list of changed files is not complete.
    Incomplete,
    /// A tag has no changed files.
    NoFiles,
    /// A tag where only branches are asked for, or the other way round.
    OnlyTheOther {
        kind: &'static str,
        wanted: &'static str,
        name: &'a Value,
    },
    Missing,
    Flag(bool),
    Pattern {
        value: &'a Value,
        by: Option<&'a str>,
    },
    Word(&'a Value),
    Item {
        item: &'a str,
        by: Option<&'a str>,
    },
    NoItem(&'a Value),
}

/// Holds a filter against the event. `None`: it does not apply, the other of `branches` and `tags` decides.
pub(super) fn decide<'a>(filter: &'a Filter, trigger: &Trigger, event: &'a Event) -> Option<Answer<'a>> {
    let answer = |holds: bool, why: Why<'a>| Some(Answer { holds, filter, why });
    if event.kind == "github.push" {
        match push(filter, trigger, event) {
            Push::Applies => {}
            Push::OtherDecides => return None,
            Push::Decided(holds, why) => return answer(holds, why),
        }
    }
    let value = value(event, filter.path).filter(|value| !value.is_null());
    if filter.path == "event.files" && event.event.get("files_complete") == Some(&Value::Bool(false)) {
        return answer(true, Why::Incomplete);
    }
    if let FilterTest::Flag(let_in) = &filter.test {
        // Only what is known not to be set is let in without being asked for.
        let set = value != Some(&Value::Bool(false));
        return answer(*let_in || !set, Why::Flag(set));
    }
    let Some(value) = value else { return answer(false, Why::Missing) };
    match &filter.test {
        FilterTest::Glob(set) => {
            let (holds, by) = value.as_str().map_or((false, None), |input| set.decide(input));
            answer(holds, Why::Pattern { value, by })
        }
        FilterTest::In(words) => answer(is_one_of(words, value), Why::Word(value)),
        FilterTest::Is(word) => answer(is_one_of(std::slice::from_ref(word), value), Why::Word(value)),
        FilterTest::AnyGlob(set) => {
            let found = items(value).find_map(|item| match set.decide(item) {
                (true, by) => Some((item, by)),
                (false, _) => None,
            });
            answer(found.is_some(), found.map_or(Why::NoItem(value), |(item, by)| Why::Item { item, by }))
        }
        FilterTest::AnyIn(words) => {
            let found = items(value).find(|item| words.iter().any(|word| word == item));
            answer(found.is_some(), found.map_or(Why::NoItem(value), |item| Why::Item { item, by: None }))
        }
        FilterTest::Flag(_) => None,
    }
}

enum Push<'a> {
    Applies,
    OtherDecides,
    Decided(bool, Why<'a>),
}

/// GitHub's rules for pushes: only `branches` given lets no tag in and the other way round; tags have no changed files.
fn push<'a>(filter: &Filter, trigger: &Trigger, event: &'a Event) -> Push<'a> {
    let has = |name: &str| trigger.filters.iter().any(|filter| filter.name == name);
    let named = |name: &str| event.event.get(name).filter(|value| value.is_string());
    let (branch, tag) = (named("branch"), named("tag"));
    let only = |kind, wanted, name| Push::Decided(false, Why::OnlyTheOther { kind, wanted, name });
    match (filter.name, branch, tag) {
        ("paths", None, Some(_)) => Push::Decided(true, Why::NoFiles),
        ("branches", None, Some(_)) if has("tags") => Push::OtherDecides,
        ("tags", Some(_), None) if has("branches") => Push::OtherDecides,
        ("branches", None, Some(tag)) => only("tag", "branches", tag),
        ("tags", Some(branch), None) => only("branch", "tags", branch),
        _ => Push::Applies,
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

fn items(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn is_one_of(words: &[String], value: &Value) -> bool {
    value.as_str().is_some_and(|input| words.iter().any(|word| word == input))
}

impl Answer<'_> {
    /// The reason, for people.
    pub fn check(&self) -> Check {
        let path = self.filter.path;
        let found = match &self.why {
            // Acting once too often is better than once too few.
            Why::Incomplete => "the list of changed files is incomplete, so this counts as a match".to_owned(),
            Why::NoFiles => "a tag has no changed files, so this is not asked".to_owned(),
            Why::OnlyTheOther { kind, wanted, name } => {
                format!("event.{kind} = {}, and only {wanted} are asked for", show(name))
            }
            Why::Missing => format!("{path} is missing"),
            Why::Flag(set) => format!("{path} = {set}"),
            Why::Pattern { value, .. } if !value.is_string() => format!("{path} = {}", show(value)),
            Why::Pattern { value, by: Some(pattern) } => format!("{path} = {}, decided by \"{pattern}\"", show(value)),
            Why::Pattern { value, by: None } => format!("{path} = {}, no pattern matches", show(value)),
            Why::Word(value) => format!("{path} = {}", show(value)),
            Why::Item { item, by } => {
                let by = by.map(|pattern| format!(" by \"{pattern}\"")).unwrap_or_default();
                format!("{path} = {}{by}", show(&Value::from(*item)))
            }
            Why::NoItem(list) => none_of(path, list),
        };
        Check { hint: self.hint(), ..Check::new(self.holds, text(self.filter), found) }
    }

    /// What a text that was refused differs from by very little.
    fn hint(&self) -> Option<String> {
        if self.holds {
            return None;
        }
        match (&self.why, &self.filter.test) {
            (Why::Pattern { value, by: None }, FilterTest::Glob(set)) => near(value, set.patterns()),
            (Why::Word(value), FilterTest::In(words)) => near(value, words.iter().map(String::as_str)),
            (Why::Word(value), FilterTest::Is(word)) => near(value, std::iter::once(word.as_str())),
            (Why::NoItem(list), FilterTest::AnyIn(words)) => {
                items(list).take(LOOKED_AT).find_map(|item| words.iter().find_map(|word| near_miss(item, word)))
            }
            (Why::NoItem(list), FilterTest::AnyGlob(set)) => {
                items(list).take(LOOKED_AT).find_map(|item| set.patterns().find_map(|pattern| near_pattern(item, pattern)))
            }
            _ => None,
        }
    }
}

fn near<'w>(value: &Value, mut words: impl Iterator<Item = &'w str>) -> Option<String> {
    let input = value.as_str().unwrap_or_default();
    words.find_map(|word| near_miss(input, word))
}

/// The same for a pattern, of which what stands before its first wildcard is compared.
fn near_pattern(item: &str, pattern: &str) -> Option<String> {
    near_miss(item, pattern).or_else(|| {
        let plain = pattern.split(['*', '?', '[', '+', '!']).next().unwrap_or_default();
        let begins = !plain.is_empty() && item.to_lowercase().starts_with(&plain.to_lowercase());
        (begins && !item.starts_with(plain))
            .then(|| format!("{} begins like `{pattern}` but for its case", show(&Value::from(item))))
    })
}

/// As written in the rule file.
fn text(filter: &Filter) -> String {
    let name = &filter.name;
    let patterns = |set: &GlobSet| format!("{name}: [{}]", set.patterns().collect::<Vec<_>>().join(", "));
    match &filter.test {
        FilterTest::Glob(set) | FilterTest::AnyGlob(set) => patterns(set),
        FilterTest::In(words) | FilterTest::AnyIn(words) => format!("{name}: [{}]", words.join(", ")),
        FilterTest::Flag(set) => format!("{name}: {set}"),
        FilterTest::Is(word) => format!("{name}: {word}"),
    }
}

/// A list in which nothing matched.
fn none_of(path: &str, list: &Value) -> String {
    let noun = path.rsplit('.').next().unwrap_or_default();
    let count = items(list).count();
    if count == 0 {
        return format!("{path} has no {noun}");
    }
    let first: Vec<String> = items(list).take(NAMED).map(|item| show(&Value::from(item))).collect();
    format!("{path} = none of {count} {noun}; first: {}", first.join(", "))
}

//! `on:`: events with their filters.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Checker, advice};
use crate::rules::glob::{GlobSet, Subject};
use crate::rules::model::{Argument, Filter, FilterTest, Trigger};
use crate::rules::registry::{self, Declares, EventSpec, FilterKind, FilterSpec};
use crate::rules::shapes;
use crate::rules::suggest::did_you_mean;
use crate::rules::types::Type;
use crate::rules::values::keys;
use crate::rules::yaml::{Entry, Node};

/// One entry of `on:` as later checks look at it.
pub struct Heard {
    /// The registry's entry; `None` if there is no such event.
    pub spec: Option<&'static EventSpec>,
    /// What the rule declares of its content.
    pub declared: Option<Type>,
    /// Filters that admit a single word.
    pub only_words: BTreeMap<&'static str, String>,
    /// Where `forks: true` stands.
    pub forks: Option<Range<usize>>,
    /// The source, if one is named.
    pub source: Option<String>,
    /// What goes into the rule; `None` after a fault.
    pub trigger: Option<Trigger>,
}

impl Checker<'_> {
    /// All of `on:`.
    pub fn triggers(&mut self, entry: &Entry) -> Vec<Heard> {
        let Some(entries) = entry.value.entries().filter(|entries| !entries.is_empty()) else {
            let help = entry.value.scalar().and_then(|scalar| registry::event(&scalar.text)).map_or_else(
                || "on: { github.push: { branches: [main] } }".to_owned(),
                |spec| format!("write `on: {{ {}: }}`", spec.name),
            );
            let message = format!("`on` must be a mapping of events, this is {}", entry.value.kind());
            self.faults.error("type", entry.value.span.clone(), message, Some(help));
            return Vec::new();
        };
        entries.iter().map(|entry| self.trigger(entry)).collect()
    }

    fn trigger(&mut self, entry: &Entry) -> Heard {
        let mut heard =
            Heard { spec: None, declared: None, only_words: BTreeMap::new(), forks: None, source: None, trigger: None };
        let Some(spec) = registry::event(&entry.key) else {
            let known = registry::events().map(|event| event.name);
            let help = advice::event(&entry.key).map(str::to_owned).or_else(|| did_you_mean(&entry.key, known));
            self.faults.error("unknown-event", entry.span.clone(), format!("there is no event `{}`", entry.key), help);
            return heard;
        };
        heard.spec = Some(spec);
        self.event_granted(entry.span.clone(), spec.name);
        if spec.name == "github.ping" {
            let message = "GitHub's ping is answered at once and starts no rule";
            self.faults.warning("never", entry.span.clone(), message, Some("take it out".to_owned()));
        }
        let entries = keys(&mut self.faults, &entry.value, &format!("`{}`", spec.name), &keys_of(spec), advice::trigger);
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);

        heard.source = find("source").and_then(|entry| self.source(&entry.value, spec));
        if !spec.github && find("source").is_none() {
            let help = "name the entry of `sources:` that it comes from".to_owned();
            self.faults.error("missing", entry.span.clone(), format!("`{}` needs `source`", spec.name), Some(help));
        }
        let own_events = find("own-events").and_then(|entry| self.flag(&entry.value, "own-events"));
        let mut filters = Vec::new();
        for filter in spec.filters {
            match find(filter.name) {
                Some(entry) => filters.extend(self.filter(spec, filter, &entry.value, &mut heard)),
                // Pull requests from forks are out unless the rule says otherwise.
                None if filter.name == "forks" => filters.push(made(filter, FilterTest::Flag(false))),
                None => {}
            }
        }
        let arguments = self.declarations(spec, entry, entries, &mut filters, &mut heard);
        let shapes = spec.declares.key().zip(heard.declared.clone()).map(|(key, shape)| (key.to_owned(), shape));
        heard.trigger = Some(Trigger {
            event: spec.name,
            source: heard.source.clone(),
            filters,
            own_events: own_events.unwrap_or(false),
            shapes: shapes.into_iter().collect(),
            arguments,
        });
        heard
    }

    /// `command:` and `args:`, `params:`, `body:`.
    fn declarations(
        &mut self,
        spec: &EventSpec,
        owner: &Entry,
        entries: &[Entry],
        filters: &mut Vec<Filter>,
        heard: &mut Heard,
    ) -> Vec<Argument> {
        let Some(key) = spec.declares.key() else { return Vec::new() };
        let declared = entries.iter().find(|entry| entry.key == key);
        if spec.declares != Declares::Command {
            heard.declared = declared.and_then(|entry| self.shape(&entry.value));
            if declared.is_some() && heard.declared.is_none() {
                heard.declared = Some(Type::Any);
            }
            return Vec::new();
        }
        match entries.iter().find(|entry| entry.key == "command") {
            Some(entry) => filters.extend(self.command(&entry.value)),
            None => {
                let message = format!("`{}` needs `command`", spec.name);
                self.faults.error("missing", owner.span.clone(), message, Some("command: deploy".to_owned()));
            }
        }
        let Some(arguments) = declared.and_then(|entry| self.arguments(&entry.value)) else {
            heard.declared = declared.map(|_| Type::Any);
            return Vec::new();
        };
        let fields = arguments.iter().map(|argument| (argument.name.clone(), argument.shape.clone()));
        heard.declared = Some(Type::Object(fields.collect()));
        arguments
    }

    fn command(&mut self, node: &Node) -> Option<Filter> {
        let text = self.plain_text(node, "command")?;
        let word = text.strip_prefix('/').unwrap_or(&text);
        let fits = !word.is_empty()
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
        if !fits {
            let message = format!("`{text}` cannot be a command");
            let help = "use lower-case letters, digits, - and _: `deploy`".to_owned();
            self.faults.error("id", node.span.clone(), message, Some(help));
            return None;
        }
        Some(Filter { name: "command", path: "event.command", test: FilterTest::Is(word.to_owned()) })
    }

    fn filter(&mut self, spec: &EventSpec, filter: &FilterSpec, node: &Node, heard: &mut Heard) -> Option<Filter> {
        let test = match filter.kind {
            FilterKind::Glob(subject) => FilterTest::Glob(self.globs(node, filter.name, subject)?),
            FilterKind::AnyGlob(subject) => FilterTest::AnyGlob(self.globs(node, filter.name, subject)?),
            FilterKind::In => {
                let words = self.words(node, filter, spec)?;
                if let [only] = words.as_slice() {
                    heard.only_words.insert(filter.name, only.clone());
                }
                FilterTest::In(words)
            }
            FilterKind::AnyIn => FilterTest::AnyIn(self.words(node, filter, spec)?),
            FilterKind::Flag => {
                let set = self.flag(node, filter.name)?;
                if filter.name == "forks" && set {
                    heard.forks = Some(node.span.clone());
                }
                FilterTest::Flag(set)
            }
        };
        Some(made(filter, test))
    }

    fn globs(&mut self, node: &Node, name: &str, subject: Subject) -> Option<Arc<GlobSet>> {
        let texts = self.texts(node, name);
        if texts.is_empty() {
            self.empty(node, name);
            return None;
        }
        let patterns: Vec<String> = texts.iter().map(|(_, text)| text.clone()).collect();
        let faults = match GlobSet::compile(&patterns, subject) {
            Ok(set) => return Some(Arc::new(set)),
            Err(faults) => faults,
        };
        for fault in faults {
            let (span, help) = if fault.message.starts_with("only excluding patterns") {
                // A fault of the whole list, whichever pattern is first.
                let all: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
                (node.span.clone(), Some(format!("put what to include first: {name}: [\"**\", {}]", all.join(", "))))
            } else {
                (texts.get(fault.index).map_or(node.span.clone(), |(node, _)| node.span.clone()), fault.help)
            };
            self.faults.error("bad-glob", span, fault.message, help);
        }
        None
    }

    fn words(&mut self, node: &Node, filter: &FilterSpec, spec: &EventSpec) -> Option<Vec<String>> {
        let texts = self.texts(node, filter.name);
        if texts.is_empty() {
            self.empty(node, filter.name);
            return None;
        }
        let field = filter.path.strip_prefix("event.").unwrap_or(filter.path);
        let known = match shapes::object(spec.fields).remove(field) {
            Some(Type::Enum(words)) => words,
            _ => return Some(texts.into_iter().map(|(_, text)| text).collect()),
        };
        let mut words = Vec::new();
        for (node, text) in texts {
            if known.contains(&text) {
                words.push(text);
                continue;
            }
            let help = did_you_mean(&text, known.iter().map(String::as_str))
                .or_else(|| Some(format!("it is one of {}", known.join(", "))));
            self.faults.error("filter", node.span.clone(), format!("`{}` is never `{text}`", filter.name), help);
        }
        Some(words)
    }

    fn empty(&mut self, node: &Node, name: &str) {
        let help = "leave it out to let everything in".to_owned();
        let message = format!("`{name}` lets nothing in");
        if node.items().is_some_and(<[Node]>::is_empty) {
            self.faults.error("filter", node.span.clone(), message, Some(help));
        }
    }
}

fn made(filter: &FilterSpec, test: FilterTest) -> Filter {
    Filter { name: filter.name, path: filter.path, test }
}

/// The keys that an event takes in `on:`.
pub fn keys_of(spec: &EventSpec) -> Vec<&'static str> {
    let mut known: Vec<&'static str> = spec.filters.iter().map(|filter| filter.name).collect();
    known.push("source");
    if registry::can_be_own(spec) {
        known.push("own-events");
    }
    if spec.declares == Declares::Command {
        known.push("command");
    }
    known.extend(spec.declares.key());
    known
}

//! What there is: events with their fields and filters, actions with their parameters. The one list behind checker, schema,
//! reference and sample events.

use std::time::Duration;

use declic_actions::action::{Field, Spec};
use declic_actions::kinds;

use crate::rules::github_payloads::{self, Words};
use crate::rules::glob::Subject;
use crate::rules::types::Type;

mod events;
mod github;

pub use events::{ACTOR, DELIVERY, EVENTS, FAILURE, REPOSITORY};
pub use github::{GENERAL, can_be_own, is_general, names_actor, open_to_strangers, repository_of};

/// The list entry of an event: everything that checker, schema, reference and tests know of it.
#[derive(Debug)]
pub struct EventSpec {
    /// As in `on:`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// Comes from GitHub: has the contexts `repo` and `actor`, and repositories may use it in rules of their own.
    pub github: bool,
    /// What a rule has to declare or may declare about its content.
    pub declares: Declares,
    /// What a rule can answer, if somebody waits.
    pub reply: Option<ReplySpec>,
    /// Filters in the order they are tried.
    pub filters: &'static [FilterSpec],
    /// Fields of the `event` context.
    pub fields: &'static [Field],
    /// Optional fields that are certain once a filter admits only one word.
    pub certain: &'static [Certain],
    /// Types of sources that it comes from.
    pub from: &'static [From],
}

/// What a rule says about content that nobody else declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declares {
    /// Nothing.
    Nothing,
    /// `command:` and `args:`; the latter become `event.args`.
    Command,
    /// `params:`, as `event.params`.
    Params,
    /// `body:`, as `event.body`.
    Body,
}

impl Declares {
    /// The key of the shape in `on:`, and of the field in the `event` context.
    pub fn key(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Command => Some("args"),
            Self::Params => Some("params"),
            Self::Body => Some("body"),
        }
    }
}

/// An optional field that is there whenever `filter` admits only `word`.
#[derive(Debug)]
pub struct Certain {
    /// The field of the `event` context.
    pub field: &'static str,
    /// The filter.
    pub filter: &'static str,
    /// The only word it admits.
    pub word: &'static str,
}

/// A type of source, and its `format:` where that decides what comes.
#[derive(Debug)]
pub struct From {
    /// `type:`
    pub kind: &'static str,
    /// `format:`
    pub format: Option<&'static str>,
}

/// An answer that somebody waits for.
#[derive(Debug)]
pub struct ReplySpec {
    /// How long, unless the source says otherwise.
    pub deadline: Duration,
    /// Is it a mistake to give none?
    pub expected: bool,
    /// What it can hold.
    pub fields: &'static [Field],
}

/// A key of an event in `on:` that narrows it down.
#[derive(Debug)]
pub struct FilterSpec {
    /// The key.
    pub name: &'static str,
    /// How it decides.
    pub kind: FilterKind,
    /// The path it looks at: `event.branch`.
    pub path: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
}

/// How a filter decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterKind {
    /// The text matches the patterns.
    Glob(Subject),
    /// Any text of the list matches the patterns.
    AnyGlob(Subject),
    /// The text is one of these.
    In,
    /// Any text of the list is one of these.
    AnyIn,
    /// `true` lets set and unset in, `false` only unset.
    Flag,
}

/// Every event: those with fields of their own, then the rest of GitHub's.
pub fn events() -> impl Iterator<Item = &'static EventSpec> {
    EVENTS.iter().chain(GENERAL.iter())
}

/// The event of that name.
pub fn event(name: &str) -> Option<&'static EventSpec> {
    EVENTS.iter().find(|event| event.name == name).or_else(|| GENERAL.iter().find(|event| event.name == name))
}

/// GitHub's word for the webhook behind an event: its payload has a known type.
pub fn github_event_type(event: &str) -> Option<&'static str> {
    match event {
        "github.push" => Some("push"),
        "github.command" => Some("issue_comment"),
        _ => self::event(event).filter(|spec| spec.github).and_then(|spec| spec.name.strip_prefix("github.")),
    }
}

/// The type of `event.payload`, where somebody described it: all of it, or what the words of a text can mean. It is built anew each time.
pub fn payload(event: &str, words: Option<&Words<'_>>) -> Option<Type> {
    github_event_type(event).and_then(|event_type| github_payloads::payload_type(event_type, words))
}

/// The event as which rules hear the same delivery too: a command is a comment as well.
pub fn also(event: &str) -> Option<&'static str> {
    (event == "github.command").then_some("github.issue_comment")
}

/// Can an event of this kind start a rule that asks for `wanted`?
pub fn is_heard_as(event: &str, wanted: &str) -> bool {
    event == wanted || also(event) == Some(wanted)
}

/// Every action, in the order of the reference.
pub fn actions() -> impl Iterator<Item = &'static Spec> {
    kinds::ALL.iter().map(|action| action.spec())
}

/// The action of that name.
pub fn action(name: &str) -> Option<&'static Spec> {
    actions().find(|spec| spec.name == name)
}

/// The kind of target or connection that an action works on, where it takes one; by its service.
pub fn kind_of_partner(action: &str) -> Option<&'static str> {
    const KINDS: &[(&str, &str)] = &[
        ("approve", "slack"),
        ("bigquery", "bigquery"),
        ("cloud-run", "cloud-run"),
        ("dialogflow", "dialogflow-fulfillment"),
        ("exec", "command"),
        ("fcm", "fcm"),
        ("http", "http"),
        ("pubsub", "pubsub"),
        ("slack", "slack"),
        ("wait", "http"),
        ("x", "x"),
    ];
    let service = action.split_once('/').map_or(action, |(service, _)| service);
    KINDS.iter().find(|(name, _)| *name == service).map(|(_, kind)| *kind)
}

/// The parameter in which a step declares the shape of the action's answer, and the output that has this shape then.
pub fn declared_output(action: &str) -> Option<(&'static str, &'static str)> {
    (action == "http/request").then_some(("response", "body"))
}

/// Can a source of this type and format bring the event? Types that no event names bring `http.webhook`.
pub fn can_come_from(event: &EventSpec, kind: &str, format: Option<&str>) -> bool {
    let named = |event: &EventSpec| event.from.iter().any(|from| from.kind == kind);
    if !EVENTS.iter().any(named) {
        return event.name == "http.webhook";
    }
    event.from.iter().any(|from| from.kind == kind && from.format == format)
}

//! Rules after checking: what matching and the engine work with. No positions, no YAML, nothing left to get wrong.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::rules::expr::Expression;
use crate::rules::glob::GlobSet;
use crate::rules::template::Template;

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name in the file; unique among the rules it was loaded with.
    pub name: String,
    /// The repository (`owner/name`) whose file it comes from; `None` for an operator's rule.
    pub owner: Option<String>,
    /// `file:line` of its name, for people.
    pub place: String,
    /// For people.
    pub description: Option<String>,
    /// `enabled: false` keeps it out of matching, but explained.
    pub enabled: bool,
    /// `dry-run: true`: its runs are rendered and recorded, and do nothing.
    pub dry_run: bool,
    /// What starts it: any of these.
    pub triggers: Vec<Trigger>,
    /// `if:`
    pub condition: Option<Expression>,
    /// `allow:`; none means anyone who could cause the event.
    pub allow: Option<Box<Allow>>,
    /// `environment:`
    pub environment: Option<Box<Environment>>,
    /// `concurrency:`
    pub concurrency: Option<Box<Concurrency>>,
    /// `collapse:`
    pub collapse: Option<Box<Collapse>>,
    /// `timeout:` of the whole run.
    pub timeout: Option<Duration>,
    /// `vars:` of file and rule, in order; later ones may read earlier ones.
    pub vars: Vec<(String, Template)>,
    /// `steps:`
    pub steps: Vec<Step>,
    /// `reply:`
    pub reply: Option<Box<Reply>>,
    /// `on-failure:`
    pub on_failure: Vec<Step>,
    /// `finally:`
    pub finally: Vec<Step>,
    /// Does any part of it read `event.payload`?
    pub reads_payload: bool,
    /// Does any part of it read `actor.permission`?
    pub reads_permission: bool,
    /// Does what decides whether and in which group it starts read `delivery.id`?
    pub reads_id: bool,
}

/// One entry of `on:`.
#[derive(Debug)]
pub struct Trigger {
    /// `github.push`, …
    pub event: &'static str,
    /// `source:`; `None` means any source of that event.
    pub source: Option<String>,
    /// Filters, in the registry's order; all must hold.
    pub filters: Vec<Filter>,
    /// `own-events: true`: effects of ours start it too.
    pub own_events: bool,
    /// Declared shapes of `params:`, `args:` or `body:`: the event must fit, or the rule does not match.
    pub shapes: Vec<(String, crate::rules::types::Type)>,
    /// `args:` of a command, in the order in which they stand behind it.
    pub arguments: Vec<Argument>,
}

/// One argument of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// Its name: `event.args.NAME`.
    pub name: String,
    /// What it must be.
    pub shape: crate::rules::types::Type,
    /// Its value where the command leaves it out.
    pub default: Option<Value>,
}

/// One filter of a trigger.
#[derive(Debug)]
pub struct Filter {
    /// Key in the rule file: `branches`.
    pub name: &'static str,
    /// Path it looks at: `event.branch`.
    pub path: &'static str,
    /// The test.
    pub test: FilterTest,
}

/// How a filter decides.
#[derive(Debug)]
pub enum FilterTest {
    /// A text, against patterns.
    Glob(Arc<GlobSet>),
    /// A list of texts, of which any must match the patterns.
    AnyGlob(Arc<GlobSet>),
    /// One of these words.
    In(Vec<String>),
    /// A list, of which any is one of these words.
    AnyIn(Vec<String>),
    /// A flag of the event: `true` lets both in, `false` lets only unset ones in.
    Flag(bool),
    /// Exactly this text (`command:`).
    Is(String),
}

/// `allow:`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allow {
    /// Least permission on the repository, in GitHub's words; `anyone` is `None`.
    pub permission: Option<String>,
    /// `org/team`, any of which will do.
    pub teams: Vec<String>,
    /// GitHub logins.
    pub users: Vec<String>,
    /// Slack user ids.
    pub slack_users: Vec<String>,
    /// Slack user groups.
    pub slack_groups: Vec<String>,
}

/// `environment:`, a GitHub deployment whose statuses follow the run.
#[derive(Debug)]
pub struct Environment {
    /// `name:`
    pub name: Template,
    /// `url:`, rendered once the steps are done.
    pub url: Option<Template>,
    /// `sha:`, the event's commit if not given.
    pub sha: Option<Template>,
    /// `transient:`
    pub transient: bool,
}

/// `concurrency:`
#[derive(Debug)]
pub struct Concurrency {
    /// `group:`
    pub group: Template,
    /// `mode:`
    pub mode: Mode,
}

/// `collapse:`, what happens again and again and is told once.
#[derive(Debug)]
pub struct Collapse {
    /// `key:`, what it is about.
    pub key: Template,
    /// `state:`, what is told of it; another one is told anew.
    pub state: Option<Template>,
    /// `repeats:`
    pub repeats: Repeats,
    /// `quiet:`, after so long without one the next is told anew; `None` is never.
    pub quiet: Option<Duration>,
}

/// What becomes of what was told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeats {
    /// The message is edited: it says how often.
    #[default]
    Edit,
    /// It is counted, and nothing is done.
    Drop,
}

/// What happens to runs of the same group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One runs, the newest waits, those between are covered by it.
    #[default]
    QueueLatest,
    /// One runs, all others wait in order.
    QueueAll,
    /// The newest stops the running one at its next safe point.
    Supersede,
    /// While one runs, others are dropped.
    Skip,
    /// No group.
    Parallel,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// `id:`; others can read its outputs by it.
    pub id: Option<String>,
    /// `name:` for people.
    pub name: Option<String>,
    /// `uses:`
    pub uses: String,
    /// `if:`
    pub condition: Option<Expression>,
    /// `with:`, an object.
    pub with: Template,
    /// `timeout:`, or the action's own deadline.
    pub timeout: Duration,
    /// `retry:`
    pub retry: Retry,
    /// `on-error: continue`
    pub continue_on_error: bool,
}

/// `retry:`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Wait before the second.
    pub wait: Duration,
    /// The doubling stops here.
    pub max_wait: Duration,
}

/// `reply:`
#[derive(Debug)]
pub struct Reply {
    /// `when: first`: before any step.
    pub first: bool,
    /// Fields of the source's reply.
    pub with: Template,
    /// `on-error:`
    pub on_error: Option<Template>,
}

/// All rules that are in force together, found by (source, event, repository).
#[derive(Debug, Default)]
pub struct RuleSet {
    /// In the order of files and lines: the first one replies.
    pub rules: Vec<Arc<Rule>>,
    /// Hash of the files they came from; every run is stamped with it.
    pub revision: String,
}

/// A rule file as it was read: what a run keeps, so that it ends with the rule it began with.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RuleFile {
    /// Path as the user gave it.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// What the operator's settings offer to rules: names, and what they are.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Entry of `targets:` -> its kind and settings.
    pub targets: std::collections::BTreeMap<String, Value>,
    /// Entry of `connections:` -> its kind and settings.
    pub connections: std::collections::BTreeMap<String, Value>,
    /// Entry of `sources:` -> its type and settings.
    pub sources: std::collections::BTreeMap<String, Value>,
    /// Names of `secrets:`.
    pub secrets: std::collections::BTreeSet<String>,
}

impl Offer {
    /// The connection whose bot knows who belongs to which group in the workspace of a source: the one that the source names, or the
    /// only one there is. With its settings.
    pub fn slack_of(&self, source: &str) -> Option<(&str, &Value)> {
        let is_slack = |settings: &&Value| settings.get("type").and_then(Value::as_str) == Some("slack");
        if let Some(named) = self.sources.get(source)?.get("connection").and_then(Value::as_str) {
            let (name, settings) = self.connections.get_key_value(named)?;
            return Some((name.as_str(), settings)).filter(|(_, settings)| is_slack(settings));
        }
        let mut all = self.connections.iter().filter(|(_, settings)| is_slack(settings));
        let (name, settings) = all.next()?;
        all.next().is_none().then_some((name.as_str(), settings))
    }
}

/// What the rules of a repository may use; nothing that is not listed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// Events by name.
    pub events: Vec<String>,
    /// Actions by name; `github/*` is all of a service.
    pub actions: Vec<String>,
    /// Entries of `targets:`.
    pub targets: Vec<String>,
    /// Entries of `connections:`.
    pub connections: Vec<String>,
    /// Entries of `sources:` besides the repository's own GitHub deliveries.
    pub sources: Vec<String>,
}

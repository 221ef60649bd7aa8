//! What rules read of an event of GitHub or Slack that its payload does not say.

use std::collections::BTreeSet;

use serde_json::Value;

use super::filter;
use crate::event::Event;
use crate::rules::model::{Rule, Trigger};

/// What GitHub or Slack is to be asked before the event is held against the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asks {
    /// What may the actor do in the repository: `actor.permission`.
    pub permission: bool,
    /// To which of these does the actor belong (`org/team`): `actor.teams`.
    pub teams: BTreeSet<String>,
    /// What does the pull request that a command was written on bring: `event.head`, `event.fork`.
    pub pull_request: bool,
    /// To which of these user groups does the person belong: `event.user.groups`, which only `allow:` reads.
    pub slack_groups: BTreeSet<String>,
}

impl Asks {
    /// Nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, and what others ask besides.
    pub fn join(&mut self, other: Self) {
        self.permission |= other.permission;
        self.teams.extend(other.teams);
        self.pull_request |= other.pull_request;
        self.slack_groups.extend(other.slack_groups);
    }

    /// What a rule needs to know, if one of these triggers hears the event as far as its filters can tell. Strangers can cause events, so
    /// nothing is asked for the sake of rules that would not start anyway.
    pub(super) fn add(&mut self, rule: &Rule, triggers: &[&Trigger], event: &Event) {
        let refused = |trigger: &Trigger| {
            let mut answers = trigger.filters.iter().filter_map(|filter| filter::decide(filter, trigger, event));
            event.is_own() && !trigger.own_events || answers.any(|answer| !answer.holds)
        };
        let (on_github, in_slack) = (event.kind.starts_with("github."), event.kind.starts_with("slack."));
        let on_pull_request =
            event.kind == "github.command" && event.event.get("on").and_then(Value::as_str) == Some("pull_request");
        let allow = rule.allow.as_deref();
        // Most rules ask for nothing: their filters are looked at once, when the event is decided.
        let asks = (on_github || in_slack) && (allow.is_some() || rule.reads_permission || on_pull_request);
        if !asks || triggers.iter().all(|trigger| refused(trigger)) {
            return;
        }
        if in_slack {
            self.slack_groups.extend(allow.into_iter().flat_map(|allow| allow.slack_groups.iter().cloned()));
            return;
        }
        // GitHub let the push in already.
        let held_up = event.kind != "github.push" && allow.is_some_and(|allow| allow.permission.is_some());
        self.permission |= held_up || rule.reads_permission;
        self.teams.extend(allow.into_iter().flat_map(|allow| allow.teams.iter().cloned()));
        self.pull_request |= on_pull_request;
    }
}

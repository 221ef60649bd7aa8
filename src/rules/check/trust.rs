//! Who could start a deploy.

use super::Checker;
use super::steps::Block;
use super::trigger::Heard;
use crate::rules::expr::Expression;
use crate::rules::model::Allow;
use crate::rules::registry;
use crate::rules::yaml::Entry;

/// What keeps people out of a rule.
pub struct Guard<'a> {
    /// `allow:` as written.
    pub allow_entry: Option<&'a Entry>,
    /// What it means.
    pub allow: &'a Allow,
    /// `if:` as written.
    pub condition_entry: Option<&'a Entry>,
    /// What it means; `None` after a fault too.
    pub condition: Option<&'a Expression>,
}

impl Checker<'_> {
    /// Strangers and forks never start a deploying rule.
    pub fn trust(&mut self, rule: &Entry, heard: &[Heard], guard: &Guard<'_>, blocks: &[&Block]) {
        let Guard { allow_entry, allow, .. } = *guard;
        if blocks.iter().all(|block| block.deploys.is_none()) {
            return;
        }
        for one in heard {
            let Some(spec) = one.spec else { continue };
            if let Some(forks) = &one.forks {
                let help = "leave out `forks: true`; a maintainer can use a /deploy command".to_owned();
                self.faults.error("trust", forks.clone(), "pull requests from forks could start a deploy", Some(help));
            }
            if spec.name == "github.workflow_run" {
                self.workflow_of_a_fork(rule, guard);
            }
            let strangers = match allow.permission.as_deref() {
                None => Some("everybody on GitHub"),
                Some("read") => Some("everybody who can read the repository"),
                _ => None,
            };
            let listed = spec.name != "github.command" && !(allow.users.is_empty() && allow.teams.is_empty());
            if (spec.name == "github.command" || registry::open_to_strangers(spec))
                && !listed
                && let Some(strangers) = strangers
            {
                let permission = allow_entry.and_then(|entry| entry.value.get("permission"));
                let span = permission.map_or(rule.span.clone(), |entry| entry.value.span.clone());
                let counts = if spec.name == "github.command" { ", which is also what counts if nothing is said" } else { "" };
                let help = format!("allow: {{ permission: write }}{counts}");
                self.faults.error("trust", span, format!("{strangers} could start a deploy"), Some(help));
            }
            if spec.name.starts_with("slack.") && allow.slack_users.is_empty() && allow.slack_groups.is_empty() {
                let help = "allow: { slack-groups: [deployers] }".to_owned();
                let message = "everyone in the Slack workspace could start a deploy";
                self.faults.error("trust", rule.span.clone(), message, Some(help));
            }
        }
    }

    /// Workflows run for pull requests from forks too, and a fork may call its branch what it likes: the branch says nothing.
    fn workflow_of_a_fork(&mut self, rule: &Entry, guard: &Guard<'_>) {
        let kept_out = match guard.condition {
            Some(condition) => condition.only_without(&["event", "fork"]),
            // A condition at fault is told of already.
            None => guard.condition_entry.is_some(),
        };
        if !kept_out {
            let span = guard.condition_entry.map_or(&rule.span, |entry| &entry.value.span).clone();
            let help = match guard.condition {
                Some(condition) => format!("if: '!event.fork && ({})'", condition.source()),
                None => "if: '!event.fork'".to_owned(),
            };
            self.faults.error("trust", span, "the workflow of a fork could start a deploy", Some(help));
        }
    }
}

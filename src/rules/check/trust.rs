//! Who could start a deploy.

use super::Checker;
use super::steps::Block;
use super::trigger::Heard;
use crate::rules::model::Allow;
use crate::rules::registry;
use crate::rules::yaml::Entry;

impl Checker<'_> {
    /// Strangers and forks never start a deploying rule.
    pub fn trust(&mut self, rule: &Entry, heard: &[Heard], allow_entry: Option<&Entry>, allow: &Allow, blocks: &[&Block]) {
        if blocks.iter().all(|block| block.deploys.is_none()) {
            return;
        }
        for one in heard {
            let Some(spec) = one.spec else { continue };
            if let Some(forks) = &one.forks {
                let help = "leave out `forks: true`; a maintainer can use a /deploy command".to_owned();
                self.faults.error("trust", forks.clone(), "pull requests from forks could start a deploy", Some(help));
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
            if spec.name == "slack.command" && allow.slack_users.is_empty() && allow.slack_groups.is_empty() {
                let help = "allow: { slack-groups: [deployers] }".to_owned();
                let message = "everyone in the Slack workspace could start a deploy";
                self.faults.error("trust", rule.span.clone(), message, Some(help));
            }
        }
    }
}

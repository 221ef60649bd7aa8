//! GitHub's other events: every webhook type that has no fields of its own here, made from GitHub's description of the payloads.

use std::sync::LazyLock;

use declic_actions::action::Field;

use super::events::{GITHUB, PAYLOAD, REPOS};
use super::{Declares, EVENTS, EventSpec, FilterKind, FilterSpec};
use crate::rules::github_payloads::{self, Presence};

/// One entry for each webhook type that is not in [`EVENTS`] under its own name, in alphabetical order.
pub static GENERAL: LazyLock<Vec<EventSpec>> = LazyLock::new(|| {
    let own = |event_type: &&str| !EVENTS.iter().any(|event| event.name.strip_prefix("github.") == Some(event_type));
    github_payloads::event_types().filter(own).map(general).collect()
});

const TYPES: FilterSpec =
    FilterSpec { name: "types", kind: FilterKind::In, path: "event.action", summary: "What happened: values of `action`" };

/// Types that nobody can cause who is not trusted with the repository, the organisation or the App already. All others are open
/// to strangers: who may only read, or whose pull request comes from a fork, can cause them.
const TRUSTED: &[&str] = &[
    "branch_protection_configuration",
    "branch_protection_rule",
    "create",
    "custom_property",
    "custom_property_values",
    "delete",
    "deploy_key",
    "deployment",
    "deployment_protection_rule",
    "deployment_review",
    "deployment_status",
    "installation",
    "installation_repositories",
    "installation_target",
    "label",
    "marketplace_purchase",
    "member",
    "membership",
    "merge_group",
    "meta",
    "milestone",
    "org_block",
    "organization",
    "package",
    "page_build",
    "ping",
    "public",
    "push",
    "registry_package",
    "release",
    "repository",
    "repository_dispatch",
    "repository_import",
    "repository_ruleset",
    "security_and_analysis",
    "team",
    "team_add",
    "workflow_dispatch",
];

/// Types that GitHub causes itself, so that nobody may be named. The description leaves open for many more whether there is a
/// `sender`, though all of their payloads have one.
const UNATTENDED: &[&str] = &["repository_advisory", "secret_scanning_alert", "secret_scanning_scan", "security_advisory"];

/// Does the event always name who caused it?
pub fn names_actor(spec: &EventSpec) -> bool {
    spec.github && !UNATTENDED.iter().any(|event_type| spec.name.strip_prefix("github.") == Some(event_type))
}

/// Is it one of GitHub's events without fields of their own?
pub fn is_general(spec: &EventSpec) -> bool {
    spec.github && !EVENTS.iter().any(|event| event.name == spec.name)
}

/// Could somebody without rights cause this event of GitHub's? Events with fields of their own have rules of their own for that.
pub fn open_to_strangers(spec: &EventSpec) -> bool {
    is_general(spec) && spec.name.strip_prefix("github.").is_some_and(|event_type| !TRUSTED.contains(&event_type))
}

/// Types that carry a mark if an effect of ours caused them.
const MARKED: &[&str] = &[
    "command",
    "commit_comment",
    "deployment",
    "deployment_status",
    "discussion_comment",
    "issue_comment",
    "pull_request_review",
    "pull_request_review_comment",
    "repository_dispatch",
    "workflow_dispatch",
];

/// Can the event be told as our own, so that `own-events:` makes a difference?
pub fn can_be_own(spec: &EventSpec) -> bool {
    spec.name == "slack.event" || spec.name.strip_prefix("github.").is_some_and(|event_type| MARKED.contains(&event_type))
}

/// Does the event name a repository? Events of an organisation or an App do not, or not always.
pub fn repository_of(spec: &EventSpec) -> Presence {
    if !spec.github {
        return Presence::Never;
    }
    // The description of `push` and its like leaves open what their decoders insist on.
    if !is_general(spec) {
        return Presence::Always;
    }
    spec.name.strip_prefix("github.").map_or(Presence::Never, |event_type| github_payloads::presence(event_type, "repository"))
}

/// Built once for the life of the process, so that these entries look like those that are written down.
fn general(event_type: &'static str) -> EventSpec {
    let mut filters = Vec::new();
    let mut fields = Vec::new();
    if github_payloads::presence(event_type, "repository") != Presence::Never {
        filters.push(REPOS);
    }
    if github_payloads::presence(event_type, "action") != Presence::Never {
        filters.push(TYPES);
        fields.push(Field { name: "action", shape: action(event_type), summary: "What happened" });
    }
    fields.push(PAYLOAD);
    EventSpec {
        name: kept(format!("github.{event_type}")),
        summary: kept(format!("GitHub's webhook `{event_type}`")),
        github: true,
        declares: Declares::Nothing,
        reply: None,
        filters: filters.leak(),
        fields: fields.leak(),
        certain: &[],
        from: GITHUB,
    }
}

/// The shape of `action`: its words, as far as GitHub says them.
fn action(event_type: &str) -> &'static str {
    match github_payloads::actions(event_type) {
        [] => "text",
        [only] => kept(format!("\"{only}\"")),
        words => kept(words.join("|")),
    }
}

fn kept(text: String) -> &'static str {
    text.leak()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::registry;

    #[test]
    fn every_webhook_type_is_an_event() {
        assert_eq!(GENERAL.len(), 72);
        for event_type in github_payloads::event_types() {
            let spec = registry::event(&format!("github.{event_type}")).expect(event_type);
            assert!(spec.fields.iter().any(|field| field.name == "payload"), "{event_type}");
            assert_eq!(registry::github_event_type(spec.name), Some(event_type));
        }
    }

    #[test]
    fn every_trusted_type_is_one_of_githubs() {
        for trusted in TRUSTED {
            assert!(github_payloads::event_types().any(|known| known == *trusted), "{trusted}");
        }
        let open = |name: &str| open_to_strangers(registry::event(name).expect(name));
        assert!(open("github.issues") && open("github.check_run") && open("github.issue_comment"));
        assert!(!open("github.release") && !open("github.push") && !open("pubsub.message"));
    }
}

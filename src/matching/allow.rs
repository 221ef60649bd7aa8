//! `allow:`: may the one who caused the event start the rule?

use serde_json::Value;

use super::Check;
use crate::event::Event;
use crate::rules::expr::show;
use crate::rules::model::Allow;

/// GitHub's permissions, from the least.
const PERMISSIONS: [&str; 6] = ["none", "read", "triage", "write", "maintain", "admin"];

/// Stands in a list of teams or groups for all of them: sample events of tests have it, no provider can send it.
pub(crate) const EVERY_GROUP: &str = "*";

/// Holds the actor against `allow:`: the permission, and, where names are listed, one of them. `None`: nobody is asked
/// and there is no GitHub permission to show.
pub(super) fn allowed(allow: Option<&Allow>, event: &Event) -> Option<Check> {
    const ANYONE: &Allow =
        &Allow { permission: None, teams: Vec::new(), users: Vec::new(), slack_users: Vec::new(), slack_groups: Vec::new() };
    let allow = allow.unwrap_or(ANYONE);
    let lists = allow.users.len() + allow.teams.len() + allow.slack_users.len() + allow.slack_groups.len();
    let on_github = event.kind.starts_with("github.");
    if allow.permission.is_none() && lists == 0 && !on_github {
        return None;
    }
    let mut text = Vec::new();
    let mut found = Vec::new();
    let mut holds = true;
    if on_github || allow.permission.is_some() {
        let (permitted, shown) = permission(allow.permission.as_deref(), event);
        text.push(format!("permission {}", allow.permission.as_deref().unwrap_or("anyone")));
        found.push(shown);
        holds = permitted;
    }
    if lists > 0 {
        let (listed, shown) = listed(allow, event);
        for (name, list) in [
            ("users", &allow.users),
            ("teams", &allow.teams),
            ("slack-users", &allow.slack_users),
            ("slack-groups", &allow.slack_groups),
        ] {
            if !list.is_empty() {
                text.push(format!("{name} [{}]", list.join(", ")));
            }
        }
        found.push(shown);
        holds &= listed;
    }
    Some(Check::new(holds, format!("allow: {}", text.join(", ")), found.join(", ")))
}

fn permission(wanted: Option<&str>, event: &Event) -> (bool, String) {
    let rank = |word: &str| PERMISSIONS.iter().position(|known| *known == word);
    let Some(has) = event.actor.get("permission").and_then(Value::as_str) else {
        return match wanted {
            None => (true, "anyone".to_owned()),
            Some(_) if event.kind == "github.push" => (true, "GitHub allowed the push already".to_owned()),
            Some(_) => (false, "actor.permission is not known: GitHub tells it only to a `token` under `github:`".to_owned()),
        };
    };
    let enough = match wanted {
        None => true,
        // A word that neither side knows is never enough.
        Some(wanted) => matches!((rank(has), rank(wanted)), (Some(has), Some(wanted)) if has >= wanted),
    };
    (enough, format!("actor.permission = {has}"))
}

/// Is the actor one of those listed? Groups that are not known are nobody's.
fn listed(allow: &Allow, event: &Event) -> (bool, String) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let user = event.event.get("user");
    let login = text(event.actor.get("login"));
    let slack_user = text(user.and_then(|user| user.get("id")));
    let groups = |value: Option<&Value>, wanted: &[String]| {
        let known = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mut known = known.filter(|_| !wanted.is_empty());
        known.any(|group| group == EVERY_GROUP || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(group)))
    };
    let listed = !login.is_empty() && allow.users.iter().any(|name| name.eq_ignore_ascii_case(&login))
        || !slack_user.is_empty() && allow.slack_users.contains(&slack_user)
        || groups(event.actor.get("teams"), &allow.teams)
        || groups(user.and_then(|user| user.get("groups")), &allow.slack_groups);
    let who = match (login.is_empty(), slack_user.is_empty()) {
        (false, _) => format!("actor.login = {}", show(&Value::from(login))),
        (true, false) => format!("event.user.id = {}", show(&Value::from(slack_user))),
        (true, true) => "nobody is named".to_owned(),
    };
    (listed, if listed { who } else { format!("{who}, not one of them as far as is known") })
}

//! Asks GitHub what a payload does not say and rules read: what the actor may do, and what a pull request brings.
//!
//! The answers are kept with the delivery, so that a run reads what its rule was matched with. Without an answer nothing is decided: a rule
//! must not start, or be refused, on a guess.

use std::time::Duration;

use declic_actions::action::Failure;
use declic_actions::github::GitHub;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::event::Event;
use crate::matching::Asks;
use crate::sources::github::context::is_commit;

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Waits before the second and the third time that a question is asked.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Words for what somebody may do. A role that an organisation made up is none of them; `permission` says what it comes to.
const ROLES: [&str; 6] = ["none", "read", "triage", "write", "maintain", "admin"];

/// What there is to learn. The error is for people: why it is not known.
pub(super) async fn ask(github: &GitHub, event: &Event, asks: &Asks) -> Result<Value, String> {
    let mut actor = Map::new();
    let mut learned = Map::new();
    let Some(repository) = event.repository().filter(|name| is_plain(name)) else { return Ok(json!({})) };
    let login = event.actor.get("login").and_then(Value::as_str);
    if let Some(login) = login.filter(|login| is_plain(&login.replace(['[', ']'], ""))) {
        let login = login.replace('[', "%5B").replace(']', "%5D");
        if asks.permission {
            let said = get(github, &format!("/repos/{repository}/collaborators/{login}/permission")).await?;
            actor.insert("permission".to_owned(), permission(said.as_ref()).into());
        }
        let mut teams = Vec::new();
        for team in &asks.teams {
            if is_member(github, team, &login).await? {
                teams.push(Value::from(team.as_str()));
            }
        }
        if !asks.teams.is_empty() {
            actor.insert("teams".to_owned(), teams.into());
        }
    }
    if asks.pull_request
        && let Some(number) = event.event.get("number").and_then(Value::as_u64)
    {
        let pull = get(github, &format!("/repos/{repository}/pulls/{number}")).await?;
        let pull = pull.ok_or_else(|| format!("GitHub knows no pull request #{number} of {repository}"))?;
        brings(&pull, &mut learned)?;
    }
    Ok(json!({ "actor": actor, "event": learned }))
}

/// `None`: there is no such thing, or nobody may know of it.
async fn get(github: &GitHub, path: &str) -> Result<Option<Value>, String> {
    let mut waits = WAITS.iter();
    loop {
        let failure = match github.get(path, (Instant::now() + PATIENCE).into_std()).await {
            Ok(answer) => {
                return serde_json::from_slice(&answer.body)
                    .map(Some)
                    .map_err(|_| format!("GitHub's answer to {path} is no JSON"));
            }
            Err(failure) if failure.why().code == "not-found" => return Ok(None),
            Err(failure) => failure,
        };
        let again = matches!(&failure, Failure::Retry { after, .. } if after.is_none_or(|after| after <= PATIENCE));
        let Some(wait) = waits.next().filter(|_| again) else { return Err(failure.why().message.clone()) };
        tokio::time::sleep(*wait).await;
    }
}

/// The actor's role. Who is not known to the repository has none.
fn permission(said: Option<&Value>) -> &'static str {
    let word = |field: &str| {
        let word = said.and_then(|said| said.get(field)).and_then(Value::as_str);
        word.and_then(|word| ROLES.into_iter().find(|role| *role == word))
    };
    word("role_name").or_else(|| word("permission")).unwrap_or("none")
}

async fn is_member(github: &GitHub, team: &str, login: &str) -> Result<bool, String> {
    let Some((organisation, slug)) = team.split_once('/').filter(|(organisation, slug)| is_plain(organisation) && is_plain(slug))
    else {
        return Ok(false);
    };
    let said = get(github, &format!("/orgs/{organisation}/teams/{slug}/memberships/{login}")).await?;
    // Who was invited and has not answered is no member yet.
    Ok(said.is_some_and(|said| said.get("state").and_then(Value::as_str) == Some("active")))
}

fn brings(pull: &Value, learned: &mut Map<String, Value>) -> Result<(), String> {
    let text = |pointer: &str| pull.pointer(pointer).and_then(Value::as_str);
    let (Some(branch), Some(sha)) = (text("/head/ref"), text("/head/sha").filter(|sha| is_commit(sha))) else {
        return Err("GitHub's answer does not name the head of the pull request".to_owned());
    };
    learned.insert("head".to_owned(), json!({ "branch": branch, "sha": sha }));
    // A fork that was deleted is a fork still.
    let fork = pull.pointer("/head/repo/id").is_none_or(|id| Some(id) != pull.pointer("/base/repo/id"));
    learned.insert("fork".to_owned(), fork.into());
    Ok(())
}

/// What can stand in a path as it is.
fn is_plain(text: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    !text.is_empty() && text.bytes().all(fine) && !text.split('/').any(|part| matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_an_organisations_own_counts_as_what_it_comes_to() {
        let said = |permission: &str, role: &str| permission_of(&json!({ "permission": permission, "role_name": role }));
        assert_eq!(said("write", "maintain"), "maintain");
        assert_eq!(said("read", "triage"), "triage");
        assert_eq!(said("write", "release-manager"), "write");
        assert_eq!(permission_of(&json!({ "permission": "owner" })), "none");
        assert_eq!(permission(None), "none");
    }

    fn permission_of(said: &Value) -> &'static str {
        permission(Some(said))
    }
}

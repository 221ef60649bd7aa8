//! What people do on GitHub, set by a test: their permissions and their comments.

use serde_json::{Value, json};

use super::answers::{Refusal, refused};
use super::state::State;
use super::{Call, GitHub, Reply, repository};
use crate::clock::Timestamp;
use crate::demo::stand_ins::ledger::lock;

impl GitHub {
    /// Gives somebody a role in a repository: `read`, `triage`, `write`, `maintain`, `admin`.
    pub fn permit(&self, repository: &str, login: &str, role: &str) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            repository.collaborators.insert(login.to_owned(), role.to_owned());
        }
    }

    /// Makes somebody a member of a team, `org/team`; a `pending` one was only invited.
    pub fn join(&self, team: &str, login: &str, pending: bool) {
        lock(&self.state).teams.insert((team.to_owned(), login.to_owned()), pending);
    }

    /// Somebody deletes all comments on issues.
    pub fn clear_comments(&self, repository: &str) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            repository.issue_comments.clear();
        }
    }

    /// A comment of a person; `edited` is one that was changed since.
    pub fn say(&self, repository: &str, issue: u64, login: &str, body: &str, edited: bool) {
        let mut state = lock(&self.state);
        let id = state.next_id();
        let now = Timestamp::now().rfc3339();
        let updated = if edited { "2999-01-01T00:00:00Z" } else { &now };
        let comment = json!({
            "id": id, "html_url": format!("{}/comment/{id}", self.base), "body": body, "author_association": "NONE",
            "user": { "login": login, "type": "User" }, "created_at": now, "updated_at": updated,
        });
        if let Some(repository) = state.repositories.get_mut(repository) {
            repository.issue_comments.insert(id, (issue, comment));
        }
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    match (call.request.method.as_str(), rest) {
        ("GET", ["collaborators", login, "permission"]) => Some(permission(call, state, login)),
        _ => None,
    }
}

/// `GET /orgs/{org}/teams/{team_slug}/memberships/{username}`
pub(super) fn membership(state: &State, base: &str, segments: &[&str]) -> Option<Result<Reply, Refusal>> {
    let ["orgs", organisation, "teams", team, "memberships", login] = segments else { return None };
    let pending = state.teams.get(&(format!("{organisation}/{team}"), (*login).to_owned()));
    let state = pending.map(|pending| if *pending { "pending" } else { "active" });
    let url = format!("{base}/{}", segments.join("/"));
    Some(
        state
            .map(|state| Reply::Ok(json!({ "url": url, "role": "member", "state": state })))
            .ok_or_else(|| refused(404, "Not Found")),
    )
}

/// `permission` knows only three words; `role_name` says more.
fn permission(call: &Call<'_>, state: &mut State, login: &str) -> Result<Reply, Refusal> {
    // Whoever is not a collaborator may read what is public.
    let role = repository(call, state)?.collaborators.get(login).cloned().unwrap_or_else(|| "read".into());
    let permission = match role.as_str() {
        "maintain" => "write",
        "triage" => "read",
        role => role,
    };
    let user: Value = json!({ "login": login, "id": 2, "type": "User" });
    Ok(Reply::Ok(json!({ "permission": permission, "role_name": role, "user": user })))
}

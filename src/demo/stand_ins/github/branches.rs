//! Branches, and what protects them: the older protection, and rulesets.

use serde_json::{Value, json};

use super::answers::{Refusal, refused};
use super::state::{Repository, State};
use super::{Call, GitHub, Reply, repository};
use crate::demo::stand_ins::ledger::lock;

/// How a branch is protected, set by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// The branch's own protection asks for so many approving reviews, perhaps of owners.
    Branch {
        /// Approving reviews.
        reviews: u64,
        /// Of the owners that CODEOWNERS names?
        owners: bool,
    },
    /// The same by a ruleset.
    Ruleset {
        /// Approving reviews.
        reviews: u64,
        /// Of the owners that CODEOWNERS names?
        owners: bool,
    },
    /// Protected, but not by reviews.
    WithoutReviews,
}

impl GitHub {
    /// Protects a branch, or takes the protection away.
    pub fn protect(&self, repository: &str, branch: &str, protection: Option<Protection>) {
        self.change(repository, |repository| match protection {
            Some(protection) => drop(repository.protections.insert(branch.to_owned(), protection)),
            None => drop(repository.protections.remove(branch)),
        });
    }

    /// Makes another branch the default one.
    pub fn set_default_branch(&self, repository: &str, branch: &str) {
        self.change(repository, |repository| branch.clone_into(&mut repository.default_branch));
    }

    /// Gives the repository the number that another one may have had.
    pub fn set_repository_id(&self, repository: &str, id: u64) {
        self.change(repository, |repository| repository.id = id);
    }

    /// Moves a branch to a commit, wherever it was before.
    pub fn move_branch(&self, repository: &str, branch: &str, sha: &str) {
        self.change(repository, |repository| drop(repository.branches.insert(branch.to_owned(), sha.to_owned())));
    }

    /// Renames or transfers a repository: its old name leads to it by a redirect.
    pub fn rename_repository(&self, from: &str, to: &str) {
        let mut state = lock(&self.state);
        if let Some(repository) = state.repositories.remove(from) {
            state.moved.insert(from.to_owned(), repository.id);
            state.repositories.insert(to.to_owned(), repository);
        }
    }

    fn change(&self, repository: &str, change: impl FnOnce(&mut Repository)) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            change(repository);
        }
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    // A branch's name may hold slashes.
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["branches", branch @ .., "protection"]) if !branch.is_empty() => protection(call, state, &branch.join("/")),
        ("GET", ["branches", branch @ ..]) if !branch.is_empty() => get(call, state, &branch.join("/")),
        ("GET", ["rules", "branches", branch @ ..]) if !branch.is_empty() => rules(call, state, &branch.join("/")),
        _ => return None,
    })
}

fn get(call: &Call<'_>, state: &mut State, name: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = repository.branches.get(name).cloned().ok_or_else(|| refused(404, "Branch not found"))?;
    let commit = repository.commits.get(&sha).ok_or_else(|| refused(404, "Branch not found"))?;
    let url = call.api_url(&format!("/branches/{name}"));
    let protected = repository.protections.contains_key(name);
    Ok(Reply::Ok(json!({
        "name": name, "commit": super::commits::shown_commit(call, &sha, commit), "protected": protected,
        "_links": { "self": url, "html": call.html_url(&format!("/tree/{name}")) },
        "protection": { "enabled": protected, "required_status_checks": { "enforcement_level": "off", "contexts": [], "checks": [] } },
        "protection_url": format!("{url}/protection"),
    })))
}

fn protection(call: &Call<'_>, state: &mut State, name: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let url = call.api_url(&format!("/branches/{name}/protection"));
    let mut shown = json!({ "url": url, "enforce_admins": { "url": format!("{url}/enforce_admins"), "enabled": true } });
    let (reviews, owners) = match repository.protections.get(name) {
        Some(Protection::Branch { reviews, owners }) => (*reviews, *owners),
        Some(Protection::WithoutReviews) => return Ok(Reply::Ok(shown)),
        // A ruleset is not a protection of the branch.
        Some(Protection::Ruleset { .. }) | None => return Err(refused(404, "Branch not protected")),
    };
    let asked = json!({
        "url": format!("{url}/required_pull_request_reviews"), "dismiss_stale_reviews": true,
        "require_code_owner_reviews": owners, "required_approving_review_count": reviews, "require_last_push_approval": false,
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("required_pull_request_reviews".into(), asked);
    }
    Ok(Reply::Ok(shown))
}

fn rules(call: &Call<'_>, state: &mut State, name: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let Some(Protection::Ruleset { reviews, owners }) = repository.protections.get(name) else {
        return Ok(Reply::List(Vec::new()));
    };
    let rule: Value = json!({
        "type": "pull_request", "ruleset_source_type": "Repository", "ruleset_source": call.full_name(), "ruleset_id": 7,
        "parameters": {
            "dismiss_stale_reviews_on_push": true, "require_code_owner_review": owners, "require_last_push_approval": false,
            "required_approving_review_count": reviews, "required_review_thread_resolution": false,
        },
    });
    Ok(Reply::List(vec![rule]))
}

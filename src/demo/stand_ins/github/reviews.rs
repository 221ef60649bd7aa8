//! Reviews of pull requests: what others say, set by a test.

use serde_json::{Value, json};

use super::answers::Refusal;
use super::issues::known;
use super::state::State;
use super::{Call, GitHub, Reply, repository};
use crate::clock::Timestamp;
use crate::demo::stand_ins::ledger::lock;

impl GitHub {
    /// Adds a review of a commit, by somebody with this association to the repository.
    pub fn add_review(&self, repository: &str, pull: u64, login: &str, association: &str, state: &str, sha: &str) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            let reviews = repository.reviews.entry(pull).or_default();
            reviews.push(json!({
                "id": reviews.len() + 1, "user": { "login": login }, "author_association": association, "state": state,
                "commit_id": sha, "submitted_at": Timestamp::now().rfc3339(),
            }));
        }
    }

    /// Sets fields of a pull request's document.
    pub fn set_pull(&self, repository: &str, pull: u64, fields: Value) {
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            repository.pulls.insert(pull, fields);
        }
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["pulls", pull, "reviews"]) => reviews(call, state, pull),
        _ => return None,
    })
}

fn reviews(call: &Call<'_>, state: &mut State, pull: &str) -> Result<Reply, Refusal> {
    let number = known(call, state, pull)?;
    Ok(Reply::List(repository(call, state)?.reviews.get(&number).cloned().unwrap_or_default()))
}

//! Check runs of commits and reviews of pull requests: what others say, set by a test.

use serde_json::{Value, json};

use super::answers::Refusal;
use super::commits::commit_of;
use super::issues::known;
use super::state::State;
use super::{Call, GitHub, Reply, repository};
use crate::clock::Timestamp;
use crate::demo::stand_ins::ledger::lock;

impl GitHub {
    /// Adds a check run; a conclusion means that it is completed.
    pub fn add_check_run(&self, repository: &str, sha: &str, name: &str, conclusion: Option<&str>) {
        let status = if conclusion.is_some() { "completed" } else { "in_progress" };
        if let Some(repository) = lock(&self.state).repositories.get_mut(repository) {
            let runs = repository.check_runs.entry(sha.to_owned()).or_default();
            runs.push(json!({ "id": runs.len() + 1, "name": name, "head_sha": sha, "status": status, "conclusion": conclusion }));
        }
    }

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
        ("GET", ["commits", reference @ .., "check-runs"]) => check_runs(call, state, &reference.join("/")),
        ("GET", ["pulls", pull, "reviews"]) => reviews(call, state, pull),
        _ => return None,
    })
}

/// A list inside a document, which is cut into pages all the same.
fn check_runs(call: &Call<'_>, state: &mut State, reference: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = commit_of(repository, reference)?;
    let runs = repository.check_runs.get(&sha).cloned().unwrap_or_default();
    let number = |name: &str, default: usize| call.request.parameter(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (size, page) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let shown: Vec<&Value> = runs.iter().skip((page - 1) * size).take(size).collect();
    Ok(Reply::Ok(json!({ "total_count": runs.len(), "check_runs": shown })))
}

fn reviews(call: &Call<'_>, state: &mut State, pull: &str) -> Result<Reply, Refusal> {
    let number = known(call, state, pull)?;
    Ok(Reply::List(repository(call, state)?.reviews.get(&number).cloned().unwrap_or_default()))
}

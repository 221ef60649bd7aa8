//! The repository itself, its commits, how they relate, and comments on them.

use serde_json::{Value, json};

use super::answers::{Refusal, body, invalid, refused, user};
use super::state::{Commit, Repository, State};
use super::{Call, Reply, number, repository, text};
use crate::clock::Timestamp;

/// Longest text of a comment, in characters.
pub(super) const LONGEST_COMMENT: usize = 65_536;

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", []) => repository(call, state).map(|repository| Reply::Ok(shown_repository(call, repository))),
        // A branch's name may hold slashes.
        ("GET", ["commits", reference @ .., "comments"]) => list_comments(call, state, &reference.join("/")),
        ("GET", ["commits", .., "status" | "statuses" | "check-runs"]) => return None,
        ("GET", ["commits", reference @ ..]) if !reference.is_empty() => get(call, state, &reference.join("/")),
        ("POST", ["commits", sha, "comments"]) => create_comment(call, state, sha),
        ("GET", ["comments", id]) => comment(call, state, id),
        ("PATCH", ["comments", id]) => update_comment(call, state, id),
        ("DELETE", ["comments", id]) => delete_comment(call, state, id),
        ("GET", ["compare", range @ ..]) if !range.is_empty() => compare(call, state, &range.join("/")),
        _ => return None,
    })
}

/// The full id of a commit that must be there.
pub(super) fn commit_of(repository: &Repository, reference: &str) -> Result<String, Refusal> {
    repository.resolve(reference).ok_or_else(|| refused(422, format!("No commit found for SHA: {reference}")))
}

fn shown_repository(call: &Call<'_>, repository: &Repository) -> Value {
    json!({
        "id": repository.id, "node_id": format!("R_{}", repository.id), "name": call.name, "full_name": call.full_name(),
        "owner": user(call.base), "private": false, "fork": false, "url": call.api_url(""), "html_url": call.html_url(""),
        "default_branch": repository.default_branch,
    })
}

pub(super) fn shown_commit(call: &Call<'_>, sha: &str, commit: &Commit) -> Value {
    let person = json!({ "name": "declic-bot", "email": "bot@example.com", "date": Timestamp::default().rfc3339() });
    let parent = |sha: &String| json!({ "sha": sha, "url": call.api_url(&format!("/commits/{sha}")), "html_url": call.html_url(&format!("/commit/{sha}")) });
    json!({
        "sha": sha, "node_id": format!("C_{sha}"), "url": call.api_url(&format!("/commits/{sha}")),
        "html_url": call.html_url(&format!("/commit/{sha}")), "comments_url": call.api_url(&format!("/commits/{sha}/comments")),
        "commit": {
            "author": person, "committer": person, "message": commit.message, "comment_count": 0,
            "url": call.api_url(&format!("/git/commits/{sha}")),
            "tree": { "sha": sha, "url": call.api_url(&format!("/git/trees/{sha}")) },
        },
        "author": user(call.base), "committer": user(call.base),
        "parents": commit.parents.iter().map(parent).collect::<Vec<_>>(),
    })
}

fn get(call: &Call<'_>, state: &mut State, reference: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = commit_of(repository, reference)?;
    let commit = repository.commits.get(&sha).ok_or_else(|| refused(404, "Not Found"))?;
    Ok(Reply::Ok(shown_commit(call, &sha, commit)))
}

fn compare(call: &Call<'_>, state: &mut State, range: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let (base, head) = range.split_once("...").ok_or_else(|| refused(404, "Not Found"))?;
    let known = |reference: &str| repository.resolve(reference).ok_or_else(|| refused(404, "Not Found"));
    let (base, head) = (known(base)?, known(head)?);
    let (before, after) = (repository.ancestors(&base), repository.ancestors(&head));
    let (ahead, behind) = (after.difference(&before).count(), before.difference(&after).count());
    let status = match (ahead, behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    // With merges there may be several; the API tells one, and so does this.
    let merge_base = before.intersection(&after).max_by_key(|sha| repository.ancestors(sha).len());
    let merge_base = merge_base.ok_or_else(|| refused(404, "No common ancestor between the commits"))?;
    let shown = |sha: &String| repository.commits.get(sha).map(|commit| shown_commit(call, sha, commit)).unwrap_or_default();
    let commits: Vec<Value> = after.difference(&before).map(shown).collect();
    Ok(Reply::Ok(json!({
        "url": call.api_url(&format!("/compare/{base}...{head}")),
        "html_url": call.html_url(&format!("/compare/{base}...{head}")),
        "status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead,
        "base_commit": shown(&base), "merge_base_commit": shown(merge_base), "commits": commits, "files": [],
    })))
}

fn list_comments(call: &Call<'_>, state: &mut State, reference: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let sha = commit_of(repository, reference)?;
    let of_commit = |comment: &&Value| comment.get("commit_id").and_then(Value::as_str) == Some(sha.as_str());
    Ok(Reply::List(repository.commit_comments.values().filter(of_commit).cloned().collect()))
}

/// A comment's text that GitHub takes.
pub(super) fn comment_text(fields: &serde_json::Map<String, Value>, resource: &str) -> Result<String, Refusal> {
    let body = text(fields, "body").unwrap_or_default();
    if body.trim().is_empty() {
        return Err(invalid(resource, "body", "missing_field", "body can't be blank"));
    }
    if body.chars().count() > LONGEST_COMMENT {
        return Err(invalid(resource, "body", "unprocessable", "body is too long (maximum is 65536 characters)"));
    }
    Ok(body.to_owned())
}

fn create_comment(call: &Call<'_>, state: &mut State, sha: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateCommitComment")?;
    let id = state.next_id();
    let repository = repository(call, state)?;
    let sha = commit_of(repository, sha)?;
    let body = comment_text(&fields, "CommitComment")?;
    let now = Timestamp::now().rfc3339();
    let comment = json!({
        "id": id, "node_id": format!("CC_{id}"), "url": call.api_url(&format!("/comments/{id}")),
        "html_url": call.html_url(&format!("/commit/{sha}#commitcomment-{id}")),
        "body": body, "path": fields.get("path"), "position": fields.get("position"), "line": fields.get("line"),
        "commit_id": sha, "user": user(call.base), "created_at": now, "updated_at": now, "author_association": "MEMBER",
    });
    let details = json!({ "repository": call.full_name(), "commit": sha, "body": body });
    call.ledger.effect("comment.created", &id.to_string(), details);
    repository.commit_comments.insert(id, comment.clone());
    Ok(Reply::Created(comment))
}

fn comment(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let found = repository(call, state)?.commit_comments.get(&number(id)?);
    found.cloned().map(Reply::Ok).ok_or_else(|| refused(404, "Not Found"))
}

fn update_comment(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "UpdateCommitComment")?;
    let comment = repository(call, state)?.commit_comments.get_mut(&number(id)?).ok_or_else(|| refused(404, "Not Found"))?;
    edit(call, comment, id, &comment_text(&fields, "CommitComment")?);
    Ok(Reply::Ok(comment.clone()))
}

/// Gives a comment another text.
pub(super) fn edit(call: &Call<'_>, comment: &mut Value, id: &str, body: &str) {
    if let Some(object) = comment.as_object_mut() {
        object.insert("body".into(), body.into());
        object.insert("updated_at".into(), Timestamp::now().rfc3339().into());
    }
    call.ledger.effect("comment.updated", id, json!({ "repository": call.full_name(), "body": body }));
}

fn delete_comment(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    repository(call, state)?.commit_comments.remove(&number(id)?).ok_or_else(|| refused(404, "Not Found"))?;
    call.ledger.effect("comment.deleted", id, json!({ "repository": call.full_name() }));
    Ok(Reply::Nothing)
}

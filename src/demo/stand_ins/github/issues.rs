//! Issues and pull requests, and comments on them.

use serde_json::{Value, json};

use super::answers::{Refusal, body, refused, user};
use super::commits::{comment_text, edit};
use super::state::State;
use super::{Call, Reply, number, repository};
use crate::clock::Timestamp;

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["issues", "comments", id]) => comment(call, state, id),
        ("PATCH", ["issues", "comments", id]) => update_comment(call, state, id),
        ("DELETE", ["issues", "comments", id]) => delete_comment(call, state, id),
        ("GET", ["issues", issue, "comments"]) => list_comments(call, state, issue),
        ("POST", ["issues", issue, "comments"]) => create_comment(call, state, issue),
        ("GET", ["issues", issue]) => issue_document(call, state, issue),
        ("GET", ["pulls", pull]) => pull_document(call, state, pull),
        _ => return None,
    })
}

/// The number of an issue or pull request that is there.
pub(super) fn known(call: &Call<'_>, state: &mut State, issue: &str) -> Result<u64, Refusal> {
    let number = number(issue)?;
    repository(call, state)?.issues.contains_key(&number).then_some(number).ok_or_else(|| refused(404, "Not Found"))
}

fn list_comments(call: &Call<'_>, state: &mut State, issue: &str) -> Result<Reply, Refusal> {
    let number = known(call, state, issue)?;
    let comments = repository(call, state)?.issue_comments.values();
    Ok(Reply::List(comments.filter(|(on, _)| *on == number).map(|(_, comment)| comment.clone()).collect()))
}

fn create_comment(call: &Call<'_>, state: &mut State, issue: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateIssueComment")?;
    let number = known(call, state, issue)?;
    let body = comment_text(&fields, "IssueComment")?;
    let id = state.next_id();
    let now = Timestamp::now().rfc3339();
    let comment = json!({
        "id": id, "node_id": format!("IC_{id}"), "url": call.api_url(&format!("/issues/comments/{id}")),
        "html_url": call.html_url(&format!("/issues/{number}#issuecomment-{id}")),
        "issue_url": call.api_url(&format!("/issues/{number}")),
        "body": body, "user": user(call.base), "created_at": now, "updated_at": now, "author_association": "MEMBER",
    });
    let details = json!({ "repository": call.full_name(), "issue": number, "body": body });
    call.ledger.effect("comment.created", &id.to_string(), details);
    repository(call, state)?.issue_comments.insert(id, (number, comment.clone()));
    Ok(Reply::Created(comment))
}

fn comment(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let found = repository(call, state)?.issue_comments.get(&number(id)?);
    found.map(|(_, comment)| Reply::Ok(comment.clone())).ok_or_else(|| refused(404, "Not Found"))
}

fn update_comment(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    let fields = body(call.request, "UpdateIssueComment")?;
    let found = repository(call, state)?.issue_comments.get_mut(&number(id)?);
    let (_, comment) = found.ok_or_else(|| refused(404, "Not Found"))?;
    edit(call, comment, id, &comment_text(&fields, "IssueComment")?);
    Ok(Reply::Ok(comment.clone()))
}

fn delete_comment(call: &Call<'_>, state: &mut State, id: &str) -> Result<Reply, Refusal> {
    repository(call, state)?.issue_comments.remove(&number(id)?).ok_or_else(|| refused(404, "Not Found"))?;
    call.ledger.effect("comment.deleted", id, json!({ "repository": call.full_name() }));
    Ok(Reply::Nothing)
}

fn issue_document(call: &Call<'_>, state: &mut State, issue: &str) -> Result<Reply, Refusal> {
    let number = known(call, state, issue)?;
    let pull = repository(call, state)?.issues.get(&number).is_some_and(Option::is_some);
    let url = call.api_url(&format!("/issues/{number}"));
    let mut document = json!({
        "id": number, "node_id": format!("I_{number}"), "url": url, "html_url": call.html_url(&format!("/issues/{number}")),
        "number": number, "state": "open", "title": format!("Issue {number}"), "user": user(call.base), "labels": [],
        "comments_url": format!("{url}/comments"),
    });
    if let Some(object) = document.as_object_mut().filter(|_| pull) {
        object.insert("pull_request".into(), json!({ "url": call.api_url(&format!("/pulls/{number}")) }));
    }
    Ok(Reply::Ok(document))
}

fn pull_document(call: &Call<'_>, state: &mut State, pull: &str) -> Result<Reply, Refusal> {
    let number = known(call, state, pull)?;
    let repository = repository(call, state)?;
    let head = repository.issues.get(&number).cloned().flatten().ok_or_else(|| refused(404, "Not Found"))?;
    let branch_of = |sha: &str| repository.branches.iter().find(|(_, head)| *head == sha).map(|(branch, _)| branch.clone());
    let base = repository.branches.get("main").cloned().unwrap_or_default();
    let side = |branch: Option<String>, sha: &str| -> Value {
        let branch = branch.unwrap_or_else(|| "main".into());
        let repository = json!({ "id": repository.id, "full_name": call.full_name(), "fork": false });
        json!({ "label": format!("{}:{branch}", call.owner), "ref": branch, "sha": sha, "user": user(call.base), "repo": repository })
    };
    let mut document = json!({
        "id": number, "node_id": format!("PR_{number}"), "url": call.api_url(&format!("/pulls/{number}")),
        "html_url": call.html_url(&format!("/pull/{number}")), "number": number, "state": "open", "draft": false,
        "title": format!("Pull request {number}"), "user": user(call.base), "labels": [], "merged": false, "mergeable": true,
        "head": side(branch_of(&head), &head), "base": side(Some("main".into()), &base),
    });
    if let (Some(document), Some(other)) =
        (document.as_object_mut(), repository.pulls.get(&number).and_then(|other| other.as_object()))
    {
        document.extend(other.clone());
    }
    Ok(Reply::Ok(document))
}

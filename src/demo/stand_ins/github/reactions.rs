//! Reactions to issues and to their comments: one of a kind for each account.

use serde_json::{Value, json};

use super::answers::{Refusal, body, refused, user};
use super::issues::known;
use super::state::State;
use super::{Call, Reply, number, repository, text};
use crate::clock::Timestamp;

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("POST", ["issues", "comments", comment, "reactions"]) => to_comment(call, state, comment),
        ("POST", ["issues", issue, "reactions"]) => known(call, state, issue).and_then(|issue| react(call, state, issue)),
        _ => return None,
    })
}

fn to_comment(call: &Call<'_>, state: &mut State, comment: &str) -> Result<Reply, Refusal> {
    let comment = number(comment)?;
    if !repository(call, state)?.issue_comments.contains_key(&comment) {
        return Err(refused(404, "Not Found"));
    }
    react(call, state, comment)
}

fn react(call: &Call<'_>, state: &mut State, to: u64) -> Result<Reply, Refusal> {
    let fields = body(call.request, "CreateReaction")?;
    let content = text(&fields, "content").unwrap_or_default().to_owned();
    let next = state.next_id();
    let reactions = &mut repository(call, state)?.reactions;
    let there = reactions.get(&(to, content.clone())).copied();
    let id = there.unwrap_or(next);
    let reaction: Value = json!({
        "id": id, "node_id": format!("REA_{id}"), "user": user(call.base), "content": content,
        "created_at": Timestamp::now().rfc3339(),
    });
    if there.is_some() {
        return Ok(Reply::Ok(reaction));
    }
    call.ledger.effect("reaction.created", &content, json!({ "repository": call.full_name(), "to": to }));
    reactions.insert((to, content), id);
    Ok(Reply::Created(reaction))
}

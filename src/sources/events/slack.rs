//! `slack.command`: a slash command. Other requests of a Slack app bring nothing that rules can ask for.

use declic_actions::action::Answer;
use declic_actions::kinds::approve;
use declic_actions::secret::Secret;
use serde_json::{Map, Value, json};

use super::{Decoded, body};
use crate::journal::record::NewDelivery;
use crate::sources::form;

/// The kind of event.
pub const KIND: &str = "slack.command";

/// Words behind a command.
const MAX_WORDS: usize = 32;

/// A slash command is a form with the field `command`.
pub fn decode(content: &NewDelivery, _payload: bool) -> Result<Option<Decoded>, String> {
    if body::written(content) != body::Written::Form {
        return Ok(None);
    }
    let form = body::form_object(&content.body)?;
    if !form.contains_key("command") {
        return Ok(None);
    }
    let command = needed(&form, "command")?;
    let Some(name) = command.strip_prefix('/').filter(|name| !name.is_empty()) else {
        return Err("the command does not begin with /".to_owned());
    };
    let text = optional(&form, "text");
    let words: Vec<&str> = text.split_whitespace().take(MAX_WORDS).collect();
    Ok(Some(Decoded::new(
        KIND,
        json!({
            "command": name,
            "text": text,
            "args": words,
            "user": { "id": needed(&form, "user_id")?, "name": optional(&form, "user_name") },
            "channel": { "id": needed(&form, "channel_id")?, "name": optional(&form, "channel_name") },
            "team": needed(&form, "team_id")?,
        }),
    )))
}

/// A button of `approve`: the run it belongs to, and who pressed it. The request is signed by Slack, so the user is who it says.
pub fn answered(content: &NewDelivery) -> Option<(String, Answer)> {
    if body::written(content) != body::Written::Form {
        return None;
    }
    let payload: Value = serde_json::from_str(&form::only(&content.body, "payload").ok()?).ok()?;
    if payload.get("type").and_then(Value::as_str) != Some("block_actions") {
        return None;
    }
    let action = payload.pointer("/actions/0")?;
    let approved = approve::button(action.get("action_id")?.as_str()?)?;
    let (run, by) = (action.get("value")?.as_str()?, payload.pointer("/user/id")?.as_str()?);
    Some((run.to_owned(), Answer { approved, via: "slack".to_owned(), by: by.to_owned(), comment: None }))
}

/// Where further answers go. Whoever knows the address can write into the channel for half an hour, so no rule can read it.
pub fn respond_to(content: &NewDelivery) -> Option<Secret> {
    if body::written(content) != body::Written::Form {
        return None;
    }
    let url = form::only(&content.body, "response_url").ok()?;
    (!url.is_empty()).then(|| Secret::new(url.into_bytes()))
}

fn optional<'f>(form: &'f Map<String, Value>, name: &str) -> &'f str {
    form.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn needed<'f>(form: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    Some(optional(form, name)).filter(|text| !text.is_empty()).ok_or_else(|| format!("the form has no `{name}`"))
}

//! What a Slack app sends: `slack.command`, `slack.action` (buttons, menus, modals, shortcuts) and `slack.event` (the Events API).

use declic_actions::action::Answer;
use declic_actions::kinds::approve;
use declic_actions::secret::Secret;
use serde_json::{Map, Value, json};

use super::{Decoded, body, object, text};
use crate::journal::record::NewDelivery;
use crate::json;
use crate::sources::form;

/// The kinds of event.
pub const COMMAND: &str = "slack.command";
/// Somebody used something that the app shows.
pub const ACTION: &str = "slack.action";
/// Something happened in the workspace.
pub const EVENT: &str = "slack.event";

/// Words behind a command.
const MAX_WORDS: usize = 32;

/// What lets whoever has it write into a channel or open a window, and what Slack gave up as a proof. No rule can read these.
const CAPABILITIES: [&str; 4] = ["token", "response_url", "response_urls", "trigger_id"];

/// Types of interactivity that rules can ask for.
const INTERACTIONS: [&str; 5] = ["block_actions", "view_submission", "view_closed", "shortcut", "message_action"];

/// By the form that was sent: a form with `command`, a form with `payload`, or JSON.
pub fn decode(content: &NewDelivery, payload: bool) -> Result<Option<Decoded>, String> {
    if body::written(content) != body::Written::Form {
        return Ok(event(&body::json_object(&content.body)?, payload));
    }
    let form = body::form_object(&content.body)?;
    match form.get("payload").and_then(Value::as_str) {
        Some(text) => {
            let interaction = json::parse(text.as_bytes()).map_err(|flaw| format!("`payload` is not acceptable JSON: {flaw}"))?;
            Ok(action(&interaction, payload))
        }
        None if form.contains_key("command") => command(&form).map(Some),
        None => Ok(None),
    }
}

fn command(form: &Map<String, Value>) -> Result<Decoded, String> {
    let command = needed(form, "command")?;
    let Some(name) = command.strip_prefix('/').filter(|name| !name.is_empty()) else {
        return Err("the command does not begin with /".to_owned());
    };
    let text = optional(form, "text");
    let words: Vec<&str> = text.split_whitespace().take(MAX_WORDS).collect();
    Ok(Decoded::new(
        COMMAND,
        json!({
            "command": name,
            "text": text,
            "args": words,
            "user": { "id": needed(form, "user_id")?, "name": optional(form, "user_name") },
            "channel": { "id": needed(form, "channel_id")?, "name": optional(form, "channel_name") },
            "team": needed(form, "team_id")?,
        }),
    ))
}

/// Interactivity. `None` for types that rules cannot ask for, and for the buttons of `approve`, which the run that asked hears.
fn action(interaction: &Value, payload: bool) -> Option<Decoded> {
    let kind = text(interaction, "/type");
    let first = interaction.pointer("/actions/0").unwrap_or(&Value::Null);
    let name = text(first, "/action_id");
    if !INTERACTIONS.contains(&kind.as_str()) || approve::button(&name).is_some() {
        return None;
    }
    let user_name = ["/user/username", "/user/name"].iter().map(|at| text(interaction, at)).find(|name| !name.is_empty());
    let callback = ["/view/callback_id", "/callback_id"].iter().map(|at| text(interaction, at)).find(|word| !word.is_empty());
    let team = ["/team/id", "/user/team_id"].iter().map(|at| text(interaction, at)).find(|word| !word.is_empty());
    let channel = interaction.pointer("/channel/id").and_then(Value::as_str);
    let message = interaction.get("message").filter(|message| message.is_object());
    let mut fields = json!({
        "type": kind,
        "action": (!name.is_empty()).then_some(name),
        "value": entered(first).as_str(),
        "values": values(interaction),
        "callback": callback,
        "user": { "id": text(interaction, "/user/id"), "name": user_name.unwrap_or_default() },
        "channel": channel.map(|id| json!({ "id": id, "name": text(interaction, "/channel/name") })),
        "message": message.map(|message| json!({ "ts": text(message, "/ts"), "text": text(message, "/text") })),
        "team": team.unwrap_or_default(),
    });
    if payload {
        fields["payload"] = without_capabilities(interaction);
    }
    Some(Decoded::new(ACTION, fields))
}

/// What was entered, by the id of each input: in the message that the button stands in, or in the modal.
fn values(interaction: &Value) -> Map<String, Value> {
    let states = ["/view/state/values", "/state/values"].iter().flat_map(|at| object(interaction, at));
    let inputs = states.filter_map(|(_, block)| if let Value::Object(inputs) = block { Some(inputs) } else { None }).flatten();
    inputs.map(|(name, input)| (name, entered(&input))).collect()
}

/// The value of a button, a text field, a menu, a date, …; a list where several can be chosen; `null` where nothing is.
fn entered(input: &Value) -> Value {
    let option = |option: &Value| option.get("value").cloned().unwrap_or_default();
    let chosen = |name: &str| input.get(name).filter(|value| !value.is_null());
    if let Some(one) = chosen("selected_option") {
        return option(one);
    }
    if let Some(Value::Array(several)) = chosen("selected_options") {
        return several.iter().map(option).collect();
    }
    let input = input.as_object().into_iter().flatten();
    let mut picked = input.filter(|(name, value)| (*name == "value" || name.starts_with("selected_")) && !value.is_null());
    picked.next().map(|(_, value)| value.clone()).unwrap_or_default()
}

/// The Events API. `None` for what is no event: a handshake, a notice that events were left out.
fn event(body: &Value, payload: bool) -> Option<Decoded> {
    let inner = body.get("event").filter(|inner| inner.is_object() && text(body, "/type") == "event_callback")?;
    let found = |names: &[&str]| names.iter().map(|at| text(inner, at)).find(|word| !word.is_empty());
    let user = found(&["/user", "/user/id", "/user_id", "/message/user"]);
    let channel = found(&["/channel", "/channel/id", "/channel_id", "/item/channel"]);
    let bot = inner.get("bot_id").is_some() || inner.pointer("/message/bot_id").is_some();
    let mut fields = json!({
        "type": text(inner, "/type"),
        "subtype": found(&["/subtype"]),
        "user": user.map(|id| json!({ "id": id })),
        "channel": channel.map(|id| json!({ "id": id })),
        "text": found(&["/text", "/message/text"]),
        "ts": found(&["/ts", "/item/ts", "/event_ts"]),
        "thread": found(&["/thread_ts", "/message/thread_ts"]),
        "team": text(body, "/team_id"),
        "bot": bot,
    });
    if payload {
        fields["payload"] = without_capabilities(body);
    }
    // A message of this very app: a rule that answers messages would answer itself.
    let app = text(body, "/api_app_id");
    let by = found(&["/app_id", "/bot_profile/app_id", "/message/app_id", "/message/bot_profile/app_id"]);
    let own = !app.is_empty() && by.is_some_and(|by| by == app);
    Some(Decoded { own, ..Decoded::new(EVENT, fields) })
}

/// The body without what a rule must not pass on.
fn without_capabilities(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| !CAPABILITIES.contains(&name.as_str()));
    }
    body
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
    let url = match form::only(&content.body, "payload") {
        Ok(payload) => {
            let interaction: Value = serde_json::from_str(&payload).ok()?;
            let places = ["/response_url", "/response_urls/0/response_url"];
            places.iter().map(|at| text(&interaction, at)).find(|url| !url.is_empty())?
        }
        Err(_) => form::only(&content.body, "response_url").ok()?,
    };
    (!url.is_empty()).then(|| Secret::new(url.into_bytes()))
}

fn optional<'f>(form: &'f Map<String, Value>, name: &str) -> &'f str {
    form.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn needed<'f>(form: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    Some(optional(form, name)).filter(|text| !text.is_empty()).ok_or_else(|| format!("the form has no `{name}`"))
}

//! Slack's Web API: an answer 200 can be a refusal.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::action::{Context, Failure, Why};
use crate::given::{Given, invalid};
use crate::http::{Http, HttpError, Method, Request, Response, retry_after, shown};
use crate::kinds::auth::secret;
use crate::secret::Secret;

/// Characters that Slack takes in a message's text; it cuts what is longer without a word.
pub(super) const LONGEST_TEXT: usize = 40_000;
/// Where the API is, unless the operator says otherwise.
const API: &str = "https://slack.com/api";
/// A thousand channels a page.
const MOST_PAGES: u32 = 20;

/// The address of the API: Slack's own unless the operator names another.
pub(super) fn base(connection: &Given<'_>) -> Result<String, Why> {
    let written = connection.optional_text("api-url")?.unwrap_or(API).trim_end_matches('/');
    match url::Url::parse(written) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(written.to_owned()),
        _ => Err(invalid("`connection.api-url` must be an http or https address")),
    }
}

/// The channel, if the connection allows it.
pub(super) fn channel<'a>(given: &Given<'a>, connection: &Given<'_>) -> Result<&'a str, Why> {
    let channel = given.text("channel")?;
    if connection.optional_texts("channels")?.unwrap_or_default().contains(&channel) {
        return Ok(channel);
    }
    Err(Why::new("channel-not-allowed", format!("the connection does not allow the channel `{}`", shown(channel))))
}

/// The Web API with a bot's token.
pub(super) struct Slack<'a> {
    http: &'a Http,
    deadline: Instant,
    base: &'a str,
    token: &'a Secret,
}

/// The ids of the people in a user group, which is named by its id or its handle: `S0123ABCD`, `deployers`. The bot needs `usergroups:read`.
/// `api` is the base address where it is not Slack's own. `None`: there is no such group.
pub async fn members(
    http: &Http,
    api: Option<&str>,
    token: &Secret,
    group: &str,
    deadline: Instant,
) -> Result<Option<Vec<String>>, Failure> {
    let slack = Slack { http, deadline, base: api.unwrap_or(API).trim_end_matches('/'), token };
    let Some(id) = slack.group_id(group).await? else { return Ok(None) };
    let answer = slack.get("usergroups.users.list", &[("usergroup", id.as_str())]).await?;
    let users = answer.get("users").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    Ok(Some(users.map(str::to_owned).collect()))
}

impl<'a> Slack<'a> {
    pub(super) fn new(context: &'a Context<'a>, base: &'a str, token: &str) -> Result<Self, Failure> {
        Ok(Self { http: &context.clients.http, deadline: context.deadline, base, token: secret(context, token)? })
    }

    /// A handle stands for the group that has it now; a group that is switched off is nobody's.
    async fn group_id(&self, group: &str) -> Result<Option<String>, Failure> {
        let is_id = group.len() >= 9
            && group.starts_with('S')
            && group.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        if is_id {
            return Ok(Some(group.to_owned()));
        }
        let handle = group.trim_start_matches('@');
        let answer = self.get("usergroups.list", &[]).await?;
        let mut groups = answer.get("usergroups").and_then(Value::as_array).into_iter().flatten();
        let found = groups.find(|group| {
            let named = group.get("handle").and_then(Value::as_str).is_some_and(|name| name.eq_ignore_ascii_case(handle));
            named && group.get("date_delete").and_then(Value::as_i64).unwrap_or_default() == 0
        });
        Ok(found.and_then(|group| group.get("id")?.as_str().map(str::to_owned)))
    }

    /// Calls a method with a JSON body.
    pub(super) async fn post(&self, method: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, method).header("content-type", "application/json; charset=utf-8");
        self.send(request.bytes(body.to_string())).await
    }

    /// Calls a method that only reads.
    pub(super) async fn get(&self, method: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = query.iter().fold(self.request(Method::GET, method), |request, (name, value)| request.query(name, value));
        self.send(request).await
    }

    fn request(&self, method: Method, name: &str) -> Request {
        Request::to(method, &format!("{}/{name}", self.base), self.deadline).bearer(self.token)
    }

    async fn send(&self, request: Request) -> Result<Value, Failure> {
        let answer = self.http.send(request).await.map_err(|error| error.into_failure("Slack"))?;
        let body = answer.json().map_err(|error| error.into_failure("Slack"))?;
        match body.get("ok").and_then(Value::as_bool) {
            Some(true) => Ok(body),
            Some(false) => Err(refusal(&body, &answer)),
            None => Err(HttpError::BadAnswer("does not say whether it is `ok`".into()).into_failure("Slack")),
        }
    }

    /// The id of a channel that is known by `#name`; `None` if the bot sees no such channel.
    pub(super) async fn channel_id(&self, channel: &str) -> Result<Option<String>, Failure> {
        let Some(name) = channel.strip_prefix('#') else { return Ok(Some(channel.to_owned())) };
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let mut query = vec![("types", "public_channel,private_channel"), ("exclude_archived", "true"), ("limit", "1000")];
            if !cursor.is_empty() {
                query.push(("cursor", &cursor));
            }
            let page = self.get("conversations.list", &query).await?;
            let channels = page.get("channels").and_then(Value::as_array).into_iter().flatten();
            let mut named = channels.filter(|channel| channel.get("name").and_then(Value::as_str) == Some(name));
            if let Some(id) = named.find_map(|channel| channel.get("id").and_then(Value::as_str)) {
                return Ok(Some(id.to_owned()));
            }
            cursor = page.pointer("/response_metadata/next_cursor").and_then(Value::as_str).unwrap_or_default().to_owned();
            if cursor.is_empty() {
                break;
            }
        }
        Ok(None)
    }
}

/// What a refusal's word means.
fn refusal(body: &Value, answer: &Response) -> Failure {
    let word = shown(body.get("error").and_then(Value::as_str).unwrap_or("unknown_error"));
    let (code, advice) = match word.as_str() {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
            let after = retry_after(&answer.headers).or(Some(Duration::from_secs(1)));
            return Failure::Retry { after, why: Why::new("rate-limited", format!("Slack asks for patience ({word})")) };
        }
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "team_added_to_org" => {
            return Failure::retry("unavailable", format!("Slack could not do it at the moment ({word})"));
        }
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" => {
            ("unauthorized", "the bot token is not valid; set a new one")
        }
        "missing_scope" => ("forbidden", "the bot lacks a scope; add it to the app and install it again"),
        "not_in_channel" => ("forbidden", "the bot is not in the channel; invite it, or give it `chat:write.public`"),
        "is_archived" => ("forbidden", "the channel is archived"),
        "cant_update_message" | "edit_window_closed" => {
            ("forbidden", "the message is not the bot's own, or too old to be edited")
        }
        "channel_not_found" => ("not-found", "there is no such channel, or the bot may not see it"),
        "message_not_found" | "thread_not_found" => ("not-found", "the message is gone"),
        "msg_too_long" | "no_text" => ("rejected", "the text is too long or empty"),
        word if word.starts_with("restricted_action") || word == "access_denied" || word == "no_permission" => {
            ("forbidden", "the workspace does not let the bot do that")
        }
        _ => ("rejected", "see the documentation of the method"),
    };
    Failure::last(code, format!("Slack refused: {advice} ({word})"))
}

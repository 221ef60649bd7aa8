//! What the kinds of GitHub have in common: where things are, and what answers hold.

use serde_json::Value;

use crate::action::{Call, Failure, Why};
use crate::given::invalid;
use crate::http::Response;

/// `/repos/OWNER/NAME` of the event's repository.
pub(super) fn repository(call: &Call) -> Result<String, Why> {
    let name = call.origin.repository.as_deref().ok_or_else(|| invalid("the event belongs to no GitHub repository"))?;
    let fits = |part: &str| {
        !part.is_empty()
            && !part.starts_with("..")
            && part != "."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match name.split_once('/') {
        Some((owner, name)) if fits(owner) && fits(name) => Ok(format!("/repos/{owner}/{name}")),
        _ => Err(invalid("the event's repository is not named `owner/name`")),
    }
}

/// `/repos/OWNER/NAME/issues/NUMBER` of `with.number` or of the event, and a name for people.
pub(super) fn issue(call: &Call) -> Result<(String, String), Why> {
    let asked = crate::given::params(call).int_within("number", 1, i64::MAX)?.and_then(|number| u64::try_from(number).ok());
    let number =
        asked.or(call.origin.number).ok_or_else(|| invalid("the event is about no issue or pull request; give `number`"))?;
    let repository = repository(call)?;
    let name = format!("{}#{number}", repository.trim_start_matches("/repos/"));
    Ok((format!("{repository}/issues/{number}"), name))
}

/// Text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The commit that `with.sha` names, or that of the event.
pub(super) fn sha(call: &Call) -> Result<String, Why> {
    let asked = crate::given::params(call).optional_text("sha")?;
    let sha = asked.or(call.origin.sha.as_deref()).ok_or_else(|| invalid("the event is about no commit; give `sha`"))?;
    let fits = (7..=64).contains(&sha.len()) && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    if fits { Ok(sha.to_ascii_lowercase()) } else { Err(invalid("a commit is named by its hexadecimal id")) }
}

/// An address for people to follow.
pub(super) fn address(name: &str, address: Option<&str>) -> Result<Option<String>, Why> {
    let Some(address) = address.filter(|address| !address.is_empty()) else { return Ok(None) };
    match url::Url::parse(address) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url.into())),
        _ => Err(invalid(format!("`with.{name}` must be an http or https address"))),
    }
}

/// At most so many characters; what is cut is replaced by an ellipsis.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The answer as JSON.
pub(super) fn json(answer: Response) -> Result<Value, Failure> {
    answer.json().map_err(|error| error.into_failure("GitHub"))
}

/// Id and address of what an answer describes.
pub(super) fn identity(thing: &Value, address: &str) -> Result<(u64, String), Failure> {
    match (thing.get("id").and_then(Value::as_u64), thing.get(address).and_then(Value::as_str)) {
        (Some(id), Some(url)) => Ok((id, url.to_owned())),
        _ => Err(Failure::last("bad-answer", format!("GitHub's answer holds no `id` or no `{address}`"))),
    }
}

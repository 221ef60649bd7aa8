//! What the kinds of Google's data services have in common.

use serde_json::Value;

use crate::action::{Failure, Why};
use crate::cloud_run::account;
use crate::given::{Given, invalid};
use crate::http::HttpError;

/// A project, dataset, table or topic: it becomes a segment of an address.
pub(super) fn segment(given: &Given<'_>, field: &str) -> Result<String, Why> {
    let value = given.text(field)?;
    let fits = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+:".contains(&byte)) && !value.starts_with('.');
    if fits { Ok(value.to_owned()) } else { Err(invalid(format!("`{field}` holds characters that no {field} has"))) }
}

/// The account to act as, if the connection names one.
pub(super) fn act_as(connection: &Given<'_>) -> Result<Option<String>, Why> {
    connection.optional_text("act-as")?.map(account).transpose()
}

/// A name that is on the connection's list.
pub(super) fn listed(given: &Given<'_>, field: &str, connection: &Given<'_>, list: &str) -> Result<String, Why> {
    let name = segment(given, field)?;
    if connection.optional_texts(list)?.unwrap_or_default().contains(&name.as_str()) {
        return Ok(name);
    }
    let message = format!("`{name}` is not among the `{list}` that the connection allows");
    Err(Why::new("not-allowed", message))
}

/// Text as it is, anything else as JSON.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The text at a pointer, without which the answer means nothing.
pub(super) fn answered(answer: &Value, pointer: &str, target: &str) -> Result<String, Failure> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| HttpError::BadAnswer(format!("holds no `{pointer}`")).into_failure(target))
}

//! `issue_comment`: a comment whose first line is `/word …` is a command.

use serde::Deserialize;
use serde_json::{Value, json};

use super::context::{Contexts, Repository, Sender};
use super::object::Object;

/// Words after the command.
const MAX_WORDS: usize = 32;

#[derive(Debug, Deserialize)]
struct Payload {
    action: String,
    issue: Object<Issue>,
    comment: Object<Comment>,
    repository: Object<Repository>,
    #[serde(default)]
    sender: Option<Object<Sender>>,
}

#[derive(Debug, Deserialize)]
struct Issue {
    number: u64,
    title: String,
    #[serde(default)]
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    html_url: String,
    #[serde(default)]
    body: Option<String>,
}

/// The contexts; `None` if it is no command. Only comments that were created count: an edited one would run somebody else's words
/// under the name of whoever edits.
pub(super) fn contexts(body: &[u8]) -> Result<Option<Contexts>, String> {
    let payload: Payload = super::read(body)?;
    let text = payload.comment.body.as_deref().unwrap_or_default();
    let Some((command, words)) = command(text).filter(|_| payload.action == "created") else { return Ok(None) };
    let on = if payload.issue.pull_request.is_some() { "pull_request" } else { "issue" };
    let event = json!({
        // Heard as `github.issue_comment` too, which has it.
        "action": payload.action,
        "command": command,
        "args": words,
        "on": on,
        "number": payload.issue.number,
        "title": payload.issue.title,
        "comment_id": payload.comment.id,
        "comment_url": payload.comment.html_url,
    });
    Contexts::new(event, &payload.repository, payload.sender.as_deref()).map(Some)
}

/// `/deploy staging now` as its name and its words.
fn command(text: &str) -> Option<(&str, Vec<Value>)> {
    let line = text.lines().next()?.strip_prefix('/')?;
    let mut words = line.split_whitespace();
    let name = words.next().filter(|name| line.starts_with(name))?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let fine = name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(plain);
    fine.then(|| (name, words.take(MAX_WORDS).map(Value::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_first_line_with_a_plain_word_is_a_command() {
        assert_eq!(command("/deploy staging  now\nplease"), Some(("deploy", vec!["staging".into(), "now".into()])));
        assert_eq!(command("/deploy"), Some(("deploy", Vec::new())));
        for text in ["", "deploy", " /deploy", "/ deploy", "/", "//deploy", "/Deploy", "/usr/bin", "/1", "please\n/deploy"] {
            assert_eq!(command(text), None, "{text:?}");
        }
    }
}

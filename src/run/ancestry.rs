//! Asks GitHub how commits follow each other, where the journaled pushes do not say.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::shared::Shared;
use crate::event::Event;
use crate::journal::JournalError;
use crate::journal::record::{Line, Order};

/// How long an answer is waited for; without one, arrival decides and the run says so.
const PATIENCE: Duration = Duration::from_secs(3);
/// At most so many are asked about at once.
const RIVALS: usize = 3;

/// What an event says about commits; none if it is not about one that somebody could deploy.
pub(super) fn line(event: &Event) -> Option<Line> {
    let repository = event.repository()?.to_owned();
    let text = |pointer: &str| event.event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let flag = |pointer: &str| event.event.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    let line = |reference: String, before: Option<&str>, after: &str, forced| Line {
        repository,
        reference,
        before: before.map(str::to_owned),
        after: after.to_owned(),
        forced,
    };
    match event.kind.as_str() {
        "github.push" if flag("/deleted") => None,
        "github.push" => {
            let before = text("/before").filter(|commit| commit.bytes().any(|byte| byte != b'0'));
            Some(line(text("/ref")?.to_owned(), before, text("/sha")?, flag("/forced")))
        }
        "github.pull_request" => {
            let number = event.event.get("number")?.as_u64()?;
            Some(line(format!("refs/pull/{number}/head"), None, text("/head/sha")?, false))
        }
        "github.workflow_run" if flag("/fork") => None,
        "github.workflow_run" => Some(line(format!("refs/heads/{}", text("/branch")?), None, text("/sha")?, false)),
        _ => None,
    }
}

/// Times that one decision is asked about: whoever comes up in between is the next to be compared with.
pub(super) const ASKED: u32 = 4;

/// Lets the journal know what it needs to order a run. False if GitHub could not tell all of it: that is left to arrival. A store that fails
/// is no reason to go by arrival: the order would be wrong for ever.
pub(super) async fn learn(
    shared: &Shared,
    line: &Line,
    groups: Vec<String>,
    exclusive: Option<String>,
) -> Result<bool, JournalError> {
    let rivals = shared.journal.rivals(line, groups, exclusive).await?;
    let mut all = rivals.len() <= RIVALS;
    for other in rivals.iter().take(RIVALS) {
        match compare(shared, line, other).await {
            Some(order) => shared.journal.learn(line, other, order).await?,
            None => all = false,
        }
    }
    Ok(all)
}

async fn compare(shared: &Shared, line: &Line, other: &Line) -> Option<Order> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    if !plain(&line.repository) || !plain(&line.after) || !plain(&other.after) {
        return None;
    }
    let path = format!("/repos/{}/compare/{}...{}?per_page=1", line.repository, other.after, line.after);
    let answer = match shared.clients.github.get(&path, (Instant::now() + PATIENCE).into_std()).await {
        Ok(answer) => answer,
        // One of them is gone: a branch that was left is forgotten some day.
        Err(failure) if failure.why().code == "not-found" => return Some(Order::Unknown),
        Err(failure) => {
            tracing::info!(repository = %line.repository, why = %failure.why().message, "GitHub does not say how commits follow each other");
            return None;
        }
    };
    let answer: Value = serde_json::from_slice(&answer.body).ok()?;
    match answer.get("status")?.as_str()? {
        "ahead" => Some(Order::Newer),
        "behind" => Some(Order::Older),
        "identical" => Some(Order::Same),
        "diverged" => Some(Order::Unknown),
        _ => None,
    }
}

//! What people ask for, in the audit log: before it is done, and what came of it after.

use super::{Journal, JournalError};

/// Does what somebody asks for. `why` says for the log why it was not done. Nothing is done if it cannot be written down.
pub async fn accounted<T, E: From<JournalError>>(
    journal: &dyn Journal,
    [who, act, subject]: [&str; 3],
    work: impl Future<Output = Result<T, E>>,
    why: impl FnOnce(&E) -> String,
) -> Result<T, E> {
    let number = journal.audit(who, act, subject).await?;
    let result = work.await;
    let outcome = result.as_ref().map_or_else(|error| format!("refused: {}", why(error)), |_| "done".to_owned());
    if let Err(error) = journal.audited(number, &outcome).await {
        tracing::error!(%error, number, "what came of an act cannot be written into the audit log");
    }
    tracing::info!(who, act, subject, outcome, "asked for by hand");
    result
}

//! The key of a call: the same on every attempt, different for every other call. Pure.

use sha2::{Digest, Sha256};

use crate::journal::record::{AttemptState, Place, RunRecord, StepRecord};

/// `d-DELIVERY-HASH`: `[a-z0-9-]`, 40 characters, begins with a letter. The hash covers rule, step and round.
///
/// A step whose failure was decided and that is done anew is another call: under the old key it would only meet what failed. As long as
/// the outcome of its last attempt may be unknown it stays the same call.
pub fn call_key(run: &RunRecord, place: Place, record: Option<&StepRecord>) -> String {
    let mut hash = Sha256::new();
    let index = place.index.to_string();
    let decided = record.map_or(0, |record| record.attempts.iter().filter(|made| made.state == AttemptState::Failed).count());
    let round = (u64::from(place.round) + decided as u64).to_string();
    let owner = run.owner.as_deref().unwrap_or_default();
    for part in [run.delivery.as_str(), owner, &run.rule, place.phase.word(), &index, &round] {
        // With its length in front, so that no two lists of parts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut hexadecimal = hex::encode(hash.finalize());
    hexadecimal.truncate(24);
    format!("d-{}-{hexadecimal}", run.delivery)
}

//! The key of a call: the same on every attempt, different for every other call. Pure.

use sha2::{Digest, Sha256};

use crate::journal::record::{Place, RunRecord};

/// `d-DELIVERY-HASH`: `[a-z0-9-]`, 40 characters, begins with a letter. The hash covers rule, step and round.
pub fn call_key(run: &RunRecord, place: Place) -> String {
    let mut hash = Sha256::new();
    let index = place.index.to_string();
    let round = place.round.to_string();
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

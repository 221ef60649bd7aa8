//! Bodies that came a short while ago. Where a provider does not sign the id of a delivery, whoever captured one can send it again under a
//! new id: the same bytes count as the same delivery for a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::clock::Timestamp;

/// Milliseconds for which the same bytes are the same delivery.
const WINDOW: i64 = 15 * 60 * 1000;
/// Bodies that are remembered at once, over all sources.
const MOST: usize = 50_000;

/// The memory of this process, begun with what the journal has of the window.
#[derive(Default)]
pub(super) struct Bodies(Mutex<HashMap<[u8; 32], (String, Timestamp)>>);

impl Bodies {
    /// The id under which these bytes came first, which is `id` if they are new.
    pub(super) fn first_id(&self, source: &str, body: &[u8], id: &str, now: Timestamp) -> String {
        let key = key(source, body);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((first, at)) = seen.get(&key)
            && now.0.saturating_sub(at.0) < WINDOW
        {
            return first.clone();
        }
        if seen.len() >= MOST {
            seen.retain(|_, (_, at)| now.0.saturating_sub(at.0) < WINDOW);
        }
        if seen.len() < MOST {
            seen.insert(key, (id.to_owned(), now));
        }
        id.to_owned()
    }

    /// Takes in a delivery that is in the journal. The oldest of the same bytes counts.
    pub(super) fn remember(&self, source: &str, body: &[u8], id: &str, at: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(source, body);
        if seen.len() >= MOST && !seen.contains_key(&key) {
            return;
        }
        let known = seen.entry(key).or_insert_with(|| (id.to_owned(), at));
        if at < known.1 {
            *known = (id.to_owned(), at);
        }
    }
}

fn key(source: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(source).chain_update([0]).chain_update(body).finalize().into()
}

/// From when on bodies are remembered.
pub(super) fn begin(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_sub(WINDOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_keep_their_first_id_for_a_while() {
        let bodies = Bodies::default();
        assert_eq!(bodies.first_id("a", b"x", "1", Timestamp(0)), "1");
        assert_eq!(bodies.first_id("a", b"x", "2", Timestamp(WINDOW - 1)), "1");
        assert_eq!(bodies.first_id("b", b"x", "3", Timestamp(1)), "3");
        assert_eq!(bodies.first_id("a", b"y", "4", Timestamp(1)), "4");
        assert_eq!(bodies.first_id("a", b"x", "5", Timestamp(WINDOW)), "5");
    }
}

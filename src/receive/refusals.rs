//! Log lines about what was refused. Anybody can cause them, so they are few: one for each source and status in a while, with a count.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(10);

/// What was written last, and how much was left out since.
#[derive(Default)]
pub(super) struct Log {
    entries: Mutex<HashMap<(String, u16), Entry>>,
}

struct Entry {
    written: Instant,
    left_out: u64,
}

impl Log {
    /// Notes one; `why` never holds a secret or a body. `source` is a configured name, so the table stays small.
    pub(super) fn note(&self, source: &str, status: u16, why: &str) {
        if let Some(left_out) = self.due(source, status, Instant::now()) {
            tracing::warn!(source, status, left_out, "refused: {why}");
        }
    }

    /// How many were left out since the last line, if it is time for one.
    fn due(&self, source: &str, status: u16, now: Instant) -> Option<u64> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(&(source.to_owned(), status)) else {
            entries.insert((source.to_owned(), status), Entry { written: now, left_out: 0 });
            return Some(0);
        };
        if now.duration_since(entry.written) < EVERY {
            entry.left_out += 1;
            return None;
        }
        entry.written = now;
        Some(std::mem::take(&mut entry.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_makes_one_line_and_a_count() {
        let log = Log::default();
        let start = Instant::now();
        assert_eq!(log.due("github", 401, start), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.due("github", 401, start + Duration::from_secs(1)), None);
        }
        assert_eq!(log.due("github", 400, start), Some(0));
        assert_eq!(log.due("github", 401, start + EVERY), Some(1000));
    }
}

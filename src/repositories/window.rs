//! Runs per hour of a repository. Pure.

use std::collections::VecDeque;

use crate::clock::Timestamp;

const HOUR: i64 = 3_600_000;

/// Starts within the last hour, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Window(VecDeque<Timestamp>);

impl Window {
    /// With what was started before.
    pub fn of(starts: impl IntoIterator<Item = Timestamp>) -> Self {
        let mut starts: Vec<Timestamp> = starts.into_iter().collect();
        starts.sort();
        Self(starts.into())
    }

    /// Takes one more start if fewer than `most` were within the hour before.
    pub fn admit(&mut self, now: Timestamp, most: u32) -> bool {
        while self.0.front().is_some_and(|start| start.0 <= now.0.saturating_sub(HOUR)) {
            self.0.pop_front();
        }
        let fits = self.0.len() < most as usize;
        if fits {
            self.0.push_back(now);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_moves_on() {
        let mut window = Window::of([Timestamp(2_000), Timestamp(1_000)]);
        assert!(window.admit(Timestamp(3_000), 3));
        assert!(!window.admit(Timestamp(4_000), 3));
        assert!(!window.admit(Timestamp(1_000 + HOUR - 1), 3), "the first is not yet an hour ago");
        assert!(window.admit(Timestamp(1_000 + HOUR), 3));
        assert!(!window.admit(Timestamp(1_000 + HOUR), 3));
    }
}

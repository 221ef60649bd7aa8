//! Where a schedule's accidents come from: one seed, so that the same seed has the same accidents.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The random numbers of one schedule, in the order in which they are asked for.
pub struct Chance(Mutex<StdRng>);

thread_local! {
    /// The engine asks for its jitter through a plain function; a schedule has its thread to itself.
    static JITTER: Cell<u64> = const { Cell::new(0) };
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        JITTER.set(seed);
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Less than that.
    pub fn below(&self, most: u64) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..most.max(1))
    }

    /// True once in so many times.
    pub fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A length of time up to that many milliseconds.
    pub fn moment(&self, most: u64) -> Duration {
        Duration::from_millis(self.below(most + 1))
    }

    pub fn pick<'a, T>(&self, among: &'a [T]) -> &'a T {
        let index = usize::try_from(self.below(among.len() as u64)).expect("an index");
        among.get(index).expect("there is something to pick from")
    }

    /// The same in another order.
    pub fn shuffled<T>(&self, mut all: Vec<T>) -> Vec<T> {
        for last in (1..all.len()).rev() {
            all.swap(last, usize::try_from(self.below(last as u64 + 1)).expect("an index"));
        }
        all
    }
}

/// In `0.0..1.0`.
pub fn jitter() -> f64 {
    let next = JITTER.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    JITTER.set(next);
    f64::from(u32::try_from(next >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

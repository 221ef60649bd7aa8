//! When to try again: exponential waits with full jitter, at least as long as the target asked for. Pure.

use std::time::Duration;

use crate::rules::model::Retry;

/// The longest a target can make us wait with one `Retry-After`.
pub const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// The wait before the next attempt, or `None` if the last one was made.
///
/// `failures` counts the attempts made so far, from 1; `asked` is the target's `Retry-After`; `random` is in `0.0..1.0`.
pub fn wait(retry: &Retry, failures: u32, asked: Option<Duration>, random: f64) -> Option<Duration> {
    if failures >= retry.attempts {
        return None;
    }
    let doubled = retry.wait.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let jittered = doubled.min(retry.max_wait).mul_f64(random.clamp(0.0, 1.0));
    // Added, not the greater of both: all who were sent away together must not come back together.
    Some(asked.map_or(jittered, |asked| asked.min(LONGEST_ASKED).saturating_add(jittered)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { attempts: 5, wait: Duration::from_secs(1), max_wait: Duration::from_secs(5) };

    #[test]
    fn waits_double_up_to_their_limit_and_end_with_the_last_attempt() {
        let waits: Vec<_> = (1..=5).map(|failures| wait(&RETRY, failures, None, 1.0).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(5), None]);
    }

    #[test]
    fn jitter_covers_everything_from_nothing_to_the_whole_wait() {
        assert_eq!(wait(&RETRY, 3, None, 0.0), Some(Duration::ZERO));
        assert_eq!(wait(&RETRY, 3, None, 0.5), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_target_that_asks_for_time_gets_it_but_not_for_ever() {
        let asked = Duration::from_secs(100);
        assert!((0..10).all(|tenth| wait(&RETRY, 1, Some(asked), f64::from(tenth) / 10.0) >= Some(asked)));
        assert_eq!(wait(&RETRY, 1, Some(Duration::MAX), 0.0), Some(LONGEST_ASKED));
    }

    #[test]
    fn absurd_numbers_do_not_overflow() {
        let retry = Retry { attempts: u32::MAX, wait: Duration::from_secs(u64::MAX / 4), max_wait: Duration::from_secs(60) };
        assert_eq!(wait(&retry, u32::MAX - 1, None, 1.0), Some(Duration::from_secs(60)));
    }
}

//! Ids of deliveries and runs: a number that grows with time, written in 13 characters that sort as it does.

use crate::clock::Timestamp;

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 13;

/// The next number: the time in milliseconds above a counter of 20 bits, always greater than the last one, also if the clock goes back.
pub(in crate::journal) fn next(last: i64, now: Timestamp) -> i64 {
    first(now).max(last.saturating_add(1))
}

/// The smallest number of what is received at this moment or later.
pub(in crate::journal) fn first(moment: Timestamp) -> i64 {
    moment.0.clamp(0, i64::MAX >> 20) << 20
}

/// The id of a delivery.
pub(in crate::journal) fn delivery(number: i64) -> String {
    (0..LENGTH)
        .rev()
        .map(|place| {
            let digit = usize::try_from((number >> (5 * place)) & 31).unwrap_or(0);
            char::from(DIGITS.get(digit).copied().unwrap_or(b'0'))
        })
        .collect()
}

/// The id of a run: the `number`-th of its delivery, from 1.
pub(in crate::journal) fn run(delivery_number: i64, number: i64) -> String {
    format!("{}-{number}", delivery(delivery_number))
}

/// The number of a delivery's id; `None` if it cannot be one.
pub(in crate::journal) fn delivery_number(id: &str) -> Option<i64> {
    if id.len() != LENGTH {
        return None;
    }
    id.bytes().try_fold(0_i64, |number, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        number.checked_mul(32)?.checked_add(i64::try_from(digit).ok()?)
    })
}

/// Delivery and number of a run's id; `None` if it cannot be one.
pub(in crate::journal) fn run_number(id: &str) -> Option<(i64, i64)> {
    let (delivery, number) = id.split_once('-')?;
    Some((delivery_number(delivery)?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_they_were_made_even_if_the_clock_goes_back() {
        let mut last = 0;
        let mut ids = Vec::new();
        for now in [5, 5, 5, 1_800_000_000_000, 1_700_000_000_000, 1_800_000_000_001] {
            last = next(last, Timestamp(now));
            ids.push(delivery(last));
        }
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(ids, sorted);
    }

    #[test]
    fn an_id_is_read_back_and_other_texts_are_not_ids() {
        let number = next(0, Timestamp(1_800_000_000_000));
        assert_eq!(delivery_number(&delivery(number)), Some(number));
        assert_eq!(run_number(&run(number, 3)), Some((number, 3)));
        for text in ["", "x", "zzzzzzzzzzzzz", "0123456789abi", "0123456789ab", "0123456789abcd", "É123456789ab"] {
            assert_eq!(delivery_number(text), None, "{text}");
        }
        assert_eq!(run_number(&delivery(number)), None);
    }
}

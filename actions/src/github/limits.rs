//! GitHub's limits: what an answer says of them, and what that means for the next call.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::action::Why;
use crate::http::{Response, retry_after};

/// What GitHub asks callers to wait when it names no time for a secondary limit.
const SECONDARY_LIMIT_WAIT: Duration = Duration::from_secs(60);
/// Percent of the hourly limit that only reports may use: whoever waits for a status must not starve because of reads.
const KEPT_FOR_REPORTS: u64 = 10;

/// Accounts whose limits are remembered at once.
const MOST_ACCOUNTS: usize = 1_000;

/// A meter for each account on which an App is installed, because every installation has a limit of its own; one for all where a token is given.
#[derive(Debug, Default)]
pub(super) struct Meters(HashMap<Option<String>, Meter>);

impl Meters {
    pub(super) fn note(&mut self, account: Option<String>, answer: &Response, now: Instant) {
        if self.0.len() >= MOST_ACCOUNTS && !self.0.contains_key(&account) {
            self.0.retain(|_, meter| meter.tells(now));
            if self.0.len() >= MOST_ACCOUNTS {
                self.0.clear();
            }
        }
        self.0.entry(account).or_default().note(answer, now);
    }

    /// Why a call about the account is better not made now, and how long that holds.
    pub(super) fn refuses(&self, account: &Option<String>, reporting: bool, now: Instant) -> Option<(Duration, Why)> {
        self.0.get(account)?.refuses(reporting, now)
    }
}

/// What is left, by the answers so far.
#[derive(Debug, Default)]
struct Meter {
    /// GitHub wants to be left alone until then.
    closed: Option<Instant>,
    /// Limit, what is left of it, and when it begins anew.
    hour: Option<(u64, u64, Instant)>,
}

impl Meter {
    fn note(&mut self, answer: &Response, now: Instant) {
        if let Some(after) = limited(answer) {
            self.closed = Some(now + after);
        }
        let number = |name: &str| answer.header(name).and_then(|text| text.parse::<u64>().ok());
        if let (Some(limit), Some(left), Some(until)) =
            (number("x-ratelimit-limit"), number("x-ratelimit-remaining"), until_reset(&answer.headers))
        {
            self.hour = Some((limit, left, now + until));
        }
    }

    /// Is there anything in it that still holds?
    fn tells(&self, now: Instant) -> bool {
        self.closed.is_some_and(|until| until > now) || self.hour.is_some_and(|(_, _, until)| until > now)
    }

    /// Why a call is better not made now, and how long that holds.
    fn refuses(&self, reporting: bool, now: Instant) -> Option<(Duration, Why)> {
        let left_until = |until: Instant| until.checked_duration_since(now).filter(|left| !left.is_zero());
        if let Some(left) = self.closed.and_then(left_until) {
            let message = format!("GitHub asked to be left alone for {} s more, after a rate limit", left.as_secs() + 1);
            return Some((left, Why::new("rate-limited", message)));
        }
        let (limit, remaining, until) = self.hour?;
        let kept = limit * KEPT_FOR_REPORTS / 100;
        let left = left_until(until).filter(|_| !reporting && remaining <= kept)?;
        let message = format!("Of GitHub's {limit} requests an hour {remaining} are left, and those are kept for reports");
        Some((left, Why::new("rate-limited", message)))
    }
}

/// How long GitHub wants to be left alone, if that is what a refusal says. It says so with 403 as often as with 429.
pub(super) fn limited(answer: &Response) -> Option<Duration> {
    if !matches!(answer.status, 403 | 429) {
        return None;
    }
    if let Some(after) = retry_after(&answer.headers) {
        return Some(after);
    }
    if answer.header("x-ratelimit-remaining") == Some("0") {
        return Some(until_reset(&answer.headers).unwrap_or(SECONDARY_LIMIT_WAIT));
    }
    let text = String::from_utf8_lossy(&answer.body);
    let secondary = text.contains("secondary rate limit") || text.contains("abuse detection");
    (secondary || answer.status == 429).then_some(SECONDARY_LIMIT_WAIT)
}

/// From the answer's own `Date` to `x-ratelimit-reset` (seconds since the epoch).
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let reset: i64 = headers.get("x-ratelimit-reset")?.to_str().ok()?.parse().ok()?;
    let sent = chrono::DateTime::parse_from_rfc2822(headers.get("date")?.to_str().ok()?).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(reset - sent).unwrap_or(0).min(3600) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect();
        Response { status, headers, body: bytes::Bytes::new() }
    }

    #[test]
    fn a_tenth_of_the_hour_is_kept_for_reports() {
        let now = Instant::now();
        let mut meter = Meter::default();
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let left = |left: &'static str| {
            [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", left), ("x-ratelimit-reset", "1445412540"), date]
        };
        meter.note(&answer(200, &left("501")), now);
        assert!(meter.refuses(false, now).is_none());
        meter.note(&answer(200, &left("500")), now);
        assert!(meter.refuses(true, now).is_none());
        let (after, why) = meter.refuses(false, now).unwrap();
        assert_eq!((after.as_secs(), why.code.as_str()), (61, "rate-limited"));
        assert!(meter.refuses(false, now + Duration::from_secs(62)).is_none(), "a new hour");
    }

    #[test]
    fn an_installation_that_used_up_its_hour_holds_up_no_other() {
        let now = Instant::now();
        let mut meters = Meters::default();
        let (acme, other) = (Some("acme".to_owned()), Some("other".to_owned()));
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let used_up = [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1445412540"), date];
        meters.note(acme.clone(), &answer(200, &used_up), now);
        assert!(meters.refuses(&acme, false, now).is_some());
        assert!(meters.refuses(&other, false, now).is_none() && meters.refuses(&None, false, now).is_none());
        meters.note(other.clone(), &answer(429, &[("retry-after", "30")]), now);
        assert_eq!(meters.refuses(&other, true, now).unwrap().0.as_secs(), 30);
        for number in 0..2 * MOST_ACCOUNTS {
            meters.note(Some(number.to_string()), &answer(200, &[]), now);
        }
        assert!(meters.0.len() <= MOST_ACCOUNTS);
        assert!(meters.refuses(&acme, false, now).is_some(), "what still holds is kept before what says nothing");
    }

    #[test]
    fn after_a_limit_nobody_calls_until_it_is_over() {
        let now = Instant::now();
        let mut meter = Meter::default();
        meter.note(&answer(403, &[("retry-after", "30")]), now);
        assert_eq!(meter.refuses(true, now).unwrap().0.as_secs(), 30);
        assert!(meter.refuses(true, now + Duration::from_secs(30)).is_none());
        // A refusal of another kind closes nothing.
        let mut meter = Meter::default();
        meter.note(&answer(403, &[]), now);
        assert!(meter.refuses(false, now).is_none());
    }
}

//! Signed times: how old a request may be.

use serde_json::Value;

use super::Refusal;
use super::path::Path;
use crate::clock::Timestamp;

/// Where the time stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a header of its own.
    Header(String),
    /// An item of the signature header with this label: `t=`.
    Label(String),
    /// A parameter of the query.
    Query(String),
    /// A value in the JSON body, or a field of the form: signed with it, read after it verified.
    Body(Path),
}

/// What it counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Nothing: it is a date of RFC 3339, compared to the second.
    Date,
}

/// A rule for the time of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// What it counts.
    pub unit: Unit,
    /// Seconds it may differ from ours, in either direction, inclusive.
    pub tolerance: i64,
}

impl Rule {
    /// Checks a time as written. Plain decimal digits only: official checkers disagree about everything else.
    pub fn check(&self, text: &str, now: Timestamp) -> Result<(), &'static str> {
        if self.unit == Unit::Date {
            let date = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| "is not a date of RFC 3339")?;
            return self.check_number(date.timestamp(), now);
        }
        let plain = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || (text.len() > 1 && text.starts_with('0')) {
            return Err("is not a time");
        }
        self.check_number(text.parse().map_err(|_| "is not a time")?, now)
    }

    /// Checks a time given as a number.
    pub fn check_number(&self, number: i64, now: Timestamp) -> Result<(), &'static str> {
        // Compared in the unit it is written in: a time in seconds says nothing about the milliseconds within it.
        let (now, tolerance) = match self.unit {
            Unit::Seconds | Unit::Date => (now.seconds(), self.tolerance),
            Unit::Milliseconds => (now.0, self.tolerance.saturating_mul(1000)),
        };
        match now.saturating_sub(number) {
            age if age > tolerance => Err("is too long ago"),
            age if age < tolerance.saturating_neg() => Err("is in the future"),
            _ => Ok(()),
        }
    }

    /// Checks a time that stands in JSON: a number, or a text.
    pub fn check_value(&self, value: Option<&Value>, now: Timestamp) -> Result<(), Refusal> {
        let checked = match value {
            Some(Value::String(text)) => self.check(text, now),
            Some(value) if self.unit != Unit::Date => match value.as_i64() {
                Some(number) => self.check_number(number, now),
                None => Err("is not a time"),
            },
            _ => Err("is missing where it must be"),
        };
        checked.map_err(untimely)
    }

    /// The time as it is written in a request made now.
    pub fn write(&self, now: Timestamp) -> String {
        match self.unit {
            Unit::Seconds => now.seconds().to_string(),
            Unit::Milliseconds => now.0.to_string(),
            Unit::Date => now.rfc3339(),
        }
    }
}

/// Why a request is refused for its time.
pub(super) fn untimely(what: &str) -> Refusal {
    Refusal::unverified(format!("the time of the request {what}: check both clocks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tolerance_is_inclusive_and_works_both_ways() {
        let rule = Rule { place: Place::Label("t=".into()), unit: Unit::Seconds, tolerance: 300 };
        let now = Timestamp(1_760_000_000_999);
        for (time, fine) in [("1759999700", true), ("1759999699", false), ("1760000300", true), ("1760000301", false)] {
            assert_eq!(rule.check(time, now).is_ok(), fine, "{time}");
        }
        for time in [
            "",
            "01760000000",
            "1760000000.0",
            "+1760000000",
            "-1",
            "1760000000abc",
            "99999999999999999999",
            "1e9",
            " 1760000000",
        ] {
            assert!(rule.check(time, now).is_err(), "{time:?}");
        }
        let rule = Rule { unit: Unit::Milliseconds, ..rule };
        assert!(rule.check("1760000000000", now).is_ok());
        assert!(rule.check("1760000000", now).is_err());
        let rule = Rule { unit: Unit::Date, ..rule };
        for (time, fine) in [
            ("2025-10-09T08:53:20Z", true),
            ("2025-10-09T10:53:20.123456789+02:00", true),
            ("2025-10-09T08:48:20Z", true),
            ("2025-10-09T08:48:19Z", false),
            ("2025-10-09T08:58:21Z", false),
            ("1760000000", false),
            ("2025-10-09", false),
        ] {
            assert_eq!(rule.check(time, now).is_ok(), fine, "{time}");
        }
    }
}

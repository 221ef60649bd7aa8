//! How requests end.

use serde::Deserialize;

/// How a request ended, as its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A delivery is on disk.
    Accepted,
    /// It was before.
    Duplicate,
    /// Not proved.
    Unverified,
    /// Proved, and not what this provider sends.
    Malformed,
    /// The queue in front of the store is full.
    Busy,
    /// It cannot be stored, or not be verified, at the moment.
    Down,
}

impl Outcome {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Unverified => "unverified",
            Self::Malformed => "malformed",
            Self::Busy => "busy",
            Self::Down => "down",
        }
    }

    /// Was a delivery taken in?
    pub fn is_delivery(self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate)
    }

    /// May the status be this? A provider drops for good what it is told not to send again, and believes stored what it is told was accepted.
    pub fn fits(self, status: u16) -> bool {
        match self {
            Self::Accepted | Self::Duplicate => (200..300).contains(&status),
            Self::Unverified | Self::Malformed => (400..500).contains(&status),
            Self::Busy | Self::Down => status == 429 || (500..600).contains(&status),
        }
    }

    /// The statuses that fit, for people.
    pub fn statuses(self) -> &'static str {
        match self {
            Self::Accepted | Self::Duplicate => "2xx",
            Self::Unverified | Self::Malformed => "4xx",
            Self::Busy | Self::Down => "429 or 5xx",
        }
    }
}

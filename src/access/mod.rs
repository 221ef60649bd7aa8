//! Who may look, and who may act.

pub mod door;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
}

impl Role {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// Somebody who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewer {
    /// An e-mail address, or how they were let in: what the audit log shows.
    pub who: String,
    /// What they may do.
    pub role: Role,
}

impl Viewer {
    /// May they see everything?
    pub fn sees_all(&self) -> bool {
        true
    }

    /// May they see what is about this repository?
    pub fn sees(&self, _repository: Option<&str>) -> bool {
        true
    }
}

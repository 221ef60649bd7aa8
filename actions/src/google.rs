//! Google's base addresses and access tokens.

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Google;

//! GitHub through octocrab, over our HTTP client.

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct GitHub;

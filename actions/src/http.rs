//! The one HTTP client: deadlines, capped bodies, checked status, no redirects, no proxies, and the egress guard.

/// Cheap to clone; every clone shares the connection pool.
#[derive(Debug, Clone)]
pub struct Http;

//! What others see of a run: GitHub's deployment and statuses, and the metrics.

pub mod github;
pub mod metrics;

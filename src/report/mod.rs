//! What others see of a run: GitHub's deployment and statuses, and the metrics.

pub mod metrics;

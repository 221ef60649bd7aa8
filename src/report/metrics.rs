//! Prometheus metrics: one struct, made once, handed to whoever counts.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// `source`, `outcome`: accepted, duplicate, revived, challenge, refused, full, down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeliveryLabels {
    /// Name of the source, or `unknown`.
    pub source: String,
    /// What became of it.
    pub outcome: &'static str,
}

/// `rule`, `state`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RunLabels {
    /// Name of the rule.
    pub rule: String,
    /// Final state of the run.
    pub state: &'static str,
}

/// `action`, `outcome`: succeeded, retried, failed, found, skipped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AttemptLabels {
    /// `cloud-run/deploy`
    pub action: String,
    /// What became of the attempt.
    pub outcome: &'static str,
}

/// `source`, `secret`: 0 is the newest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SecretLabels {
    /// Name of the source.
    pub source: String,
    /// Which secret matched.
    pub secret: u64,
}

/// `source`, `outcome`: recovered, known, unwanted, refused; of sweeps done, halted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RecoveryLabels {
    /// Name of the source.
    pub source: String,
    /// What became of it.
    pub outcome: &'static str,
}

/// `target`: `target web_staging`, `connection slack_eng`, `github`, `host api.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetLabels {
    /// What is asked for something.
    pub target: String,
}

/// `target`, `why`: breaker, patience, rate, busy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HoldLabels {
    /// What is asked for something.
    pub target: String,
    /// Why a run has to wait for it.
    pub why: &'static str,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Deliveries by source and outcome.
    pub deliveries: Family<DeliveryLabels, Counter>,
    /// From the last byte read to the answer, seconds.
    pub accept_seconds: Histogram,
    /// Runs that ended, by rule and final state.
    pub runs: Family<RunLabels, Counter>,
    /// Attempts of steps, by action and outcome.
    pub attempts: Family<AttemptLabels, Counter>,
    /// Which secret of a source matched how often: shows when an old one can go.
    pub secrets: Family<SecretLabels, Counter>,
    /// When a secret of a source last matched, seconds since 1970; nothing for one that never did.
    pub secret_last_matched: Family<SecretLabels, Gauge>,
    /// Deliveries found in GitHub's log that had not arrived, by source and outcome.
    pub recovered: Family<RecoveryLabels, Counter>,
    /// Looks at a delivery log, by source and outcome.
    pub sweeps: Family<RecoveryLabels, Counter>,
    /// 1 while a target is left alone because it does not answer.
    pub breaker_open: Family<TargetLabels, Gauge<u64, AtomicU64>>,
    /// How often that began: once for an outage.
    pub breaker_openings: Family<TargetLabels, Counter>,
    /// Runs that had to wait for a target, without an attempt.
    pub holds: Family<HoldLabels, Counter>,
    /// 1 if the last reload of the rules failed and the last good set is in force.
    pub reload_failed: Gauge<u64, AtomicU64>,
    /// Reloads of the rules that succeeded.
    pub reloads: Counter,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("declic");
        let deliveries = Family::default();
        let accept_seconds = Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        let runs = Family::default();
        let attempts = Family::default();
        let secrets = Family::default();
        let secret_last_matched = Family::default();
        let recovered = Family::default();
        let sweeps = Family::default();
        let breaker_open = Family::default();
        let breaker_openings = Family::default();
        let holds = Family::default();
        let reload_failed = Gauge::default();
        let reloads = Counter::default();
        registry.register("deliveries", "Deliveries by source and outcome", deliveries.clone());
        registry.register("accept_seconds", "From the last byte read to the answer", accept_seconds.clone());
        registry.register("runs", "Runs that ended, by rule and final state", runs.clone());
        registry.register("attempts", "Attempts of steps, by action and outcome", attempts.clone());
        registry.register("secret_matches", "Which secret of a source matched, 0 is the newest", secrets.clone());
        registry.register(
            "secret_last_matched_timestamp_seconds",
            "When a secret of a source last matched, 0 is the newest",
            secret_last_matched.clone(),
        );
        registry.register("recovered", "Deliveries in GitHub's log that had not arrived", recovered.clone());
        registry.register("sweeps", "Looks at GitHub's delivery log", sweeps.clone());
        registry.register("breaker_open", "1 while a target is left alone because it does not answer", breaker_open.clone());
        registry.register("breaker_openings", "How often a target began not to answer", breaker_openings.clone());
        registry.register("holds", "Runs that had to wait for a target, by reason", holds.clone());
        registry.register(
            "reload_failed",
            "1 if the last reload failed and the last good rules are in force",
            reload_failed.clone(),
        );
        registry.register("reloads", "Reloads of the rules that succeeded", reloads.clone());
        Self {
            registry: Mutex::new(registry),
            deliveries,
            accept_seconds,
            runs,
            attempts,
            secrets,
            secret_last_matched,
            recovered,
            sweeps,
            breaker_open,
            breaker_openings,
            holds,
            reload_failed,
            reloads,
        }
    }

    /// The exposition text (OpenMetrics).
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

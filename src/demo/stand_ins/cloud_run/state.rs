//! Services, revisions and operations, and how time moves them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::traffic;
use crate::clock::Timestamp;
use crate::demo::stand_ins::ledger::Ledger;

/// How a revision's containers answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) status: u16,
    /// After so many answers of `status` it becomes 200; `None` means never.
    pub(super) heals_after: Option<u32>,
}

impl Health {
    pub(super) const FINE: Self = Self { status: 200, heals_after: None };

    /// The status of the next answer.
    pub(super) fn answer(&mut self) -> u16 {
        match &mut self.heals_after {
            None => self.status,
            Some(0) => 200,
            Some(left) => {
                *left -= 1;
                self.status
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Readiness {
    Pending,
    Ready,
    Failed { reason: String, message: String },
}

#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) name: String,
    /// The service's template without `revision`.
    pub(super) template: Map<String, Value>,
    pub(super) readiness: Readiness,
    /// Digest of each container's image, in their order.
    pub(super) digests: Vec<String>,
    pub(super) health: Health,
    pub(super) created: Timestamp,
    pub(super) uid: String,
}

#[derive(Debug, Clone)]
pub(super) struct Service {
    /// `projects/…/locations/…/services/…`
    pub(super) name: String,
    pub(super) short: String,
    /// What clients write, plus the output fields a seed brought along.
    pub(super) body: Map<String, Value>,
    pub(super) generation: u64,
    pub(super) observed: u64,
    pub(super) etag: String,
    pub(super) uid: String,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) modifier: String,
    pub(super) revisions: Vec<Revision>,
    pub(super) latest_created: Option<String>,
    pub(super) latest_ready: Option<String>,
    pub(super) statuses: Vec<Value>,
    /// Counts requests to the service's own address, to spread them by percentage.
    pub(super) served: u64,
}

impl Service {
    pub(super) fn revision(&self, name: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    pub(super) fn revision_mut(&mut self, name: &str) -> Option<&mut Revision> {
        self.revisions.iter_mut().find(|revision| revision.name == name)
    }

    pub(super) fn targets(&self) -> &[Value] {
        self.body.get("traffic").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

/// How an operation will end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ending {
    Success,
    Failure { reason: String, message: String },
    Never,
}

#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) service: String,
    /// The revision it brings up, if it makes one.
    pub(super) revision: Option<String>,
    pub(super) generation: u64,
    pub(super) ready_at: Instant,
    pub(super) polls_left: u32,
    pub(super) ending: Ending,
    pub(super) result: Option<Result<Value, Value>>,
}

/// Everything the stand-in knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) base: String,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) operations: BTreeMap<String, Operation>,
    pub(super) sequence: u64,
}

impl State {
    /// Ends the operations whose time has come.
    pub(super) fn settle(&mut self, ledger: &Ledger) {
        let now = Instant::now();
        let due = |operation: &&Operation| {
            let moving = operation.result.is_none() && operation.ending != Ending::Never;
            moving && operation.polls_left == 0 && operation.ready_at <= now
        };
        let mut due: Vec<Operation> = self.operations.values().filter(due).cloned().collect();
        due.sort_by_key(|operation| operation.generation);
        for operation in due {
            let finished = self.finish(&operation, ledger);
            self.conclude(&operation.name, finished.map(|()| Value::Null));
            self.supersede(&operation);
            // Only now the service is no longer reconciling, as the response must say.
            if let Some(service) = self.services.get(&operation.service).filter(|_| finished_well(self, &operation.name)) {
                let shown = self.render(service);
                self.conclude(&operation.name, Ok(shown));
            }
        }
    }

    fn conclude(&mut self, operation: &str, result: Result<Value, Value>) {
        if let Some(stored) = self.operations.get_mut(operation) {
            stored.result = Some(result);
        }
    }

    /// An operation that would never end gives up when a later one on its service has ended.
    fn supersede(&mut self, later: &Operation) {
        let message = "The operation was superseded by a later update of the service.";
        for stored in self.operations.values_mut() {
            let older = stored.service == later.service && stored.generation < later.generation;
            if older && stored.result.is_none() {
                stored.result = Some(Err(json!({ "code": 10, "message": message })));
                let service = self.services.get_mut(&stored.service);
                let revision = stored.revision.as_deref().and_then(|name| service?.revision_mut(name));
                if let Some(revision) = revision {
                    let reason = "PROGRESS_DEADLINE_EXCEEDED".to_owned();
                    revision.readiness = Readiness::Failed { reason, message: message.to_owned() };
                }
            }
        }
    }

    fn finish(&mut self, operation: &Operation, ledger: &Ledger) -> Result<(), Value> {
        let base = self.base.clone();
        let Some(service) = self.services.get_mut(&operation.service) else {
            return Err(json!({ "code": 5, "message": "The service is gone." }));
        };
        service.observed = service.observed.max(operation.generation);
        if let Some(name) = &operation.revision {
            let failure = match &operation.ending {
                Ending::Failure { reason, message } => Some((reason.clone(), message.clone())),
                Ending::Success | Ending::Never => None,
            };
            if let Some(revision) = service.revision_mut(name) {
                revision.readiness = match &failure {
                    Some((reason, message)) => Readiness::Failed { reason: reason.clone(), message: message.clone() },
                    None => Readiness::Ready,
                };
            }
            if let Some((_, message)) = failure {
                let message = format!("Revision '{name}' is not ready and cannot serve traffic. {message}");
                return Err(json!({ "code": 9, "message": message }));
            }
            service.latest_ready = Some(name.clone());
        } else if let Ending::Failure { message, .. } = &operation.ending {
            return Err(json!({ "code": 13, "message": message }));
        }
        let statuses = traffic::statuses(&base, &service.short, service.targets(), service.latest_ready.as_deref());
        if statuses != service.statuses {
            service.statuses = statuses;
            ledger.effect("traffic.changed", &service.short, json!({ "traffic": service.statuses }));
        }
        Ok(())
    }

    /// One look at an operation or its service: some operations only end after a number of looks.
    pub(super) fn look(&mut self, concerns: impl Fn(&Operation) -> bool) {
        for operation in self.operations.values_mut().filter(|operation| concerns(operation)) {
            operation.polls_left = operation.polls_left.saturating_sub(1);
        }
    }

    /// How long until the operation would end by the clock alone.
    pub(super) fn remaining(&self, name: &str) -> Duration {
        let ready_at = self.operations.get(name).map(|operation| operation.ready_at);
        ready_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    pub(super) fn is_reconciling(&self, service: &Service) -> bool {
        self.operations.values().any(|operation| operation.service == service.name && operation.result.is_none())
    }

    /// The service as the API shows it.
    pub(super) fn render(&self, service: &Service) -> Value {
        let mut shown = Map::new();
        shown.insert("name".into(), service.name.clone().into());
        shown.extend(service.body.clone());
        let full = |revision: &String| Value::from(format!("{}/revisions/{revision}", service.name));
        let uri = format!("{}/serve/{}", self.base, service.short);
        let reconciling = self.is_reconciling(service);
        let condition = self.condition(service, reconciling);
        let mut put = |key: &str, value: Value| {
            shown.insert(key.to_owned(), value);
        };
        put("uid", service.uid.clone().into());
        put("generation", service.generation.to_string().into());
        put("createTime", service.created.rfc3339().into());
        put("updateTime", service.updated.rfc3339().into());
        put("lastModifier", service.modifier.clone().into());
        put("observedGeneration", service.observed.to_string().into());
        put("conditions", json!([condition_of("RoutesReady", &condition), condition_of("ConfigurationsReady", &condition)]));
        put("terminalCondition", condition);
        put("trafficStatuses", service.statuses.clone().into());
        put("uri", uri.clone().into());
        put("urls", json!([uri]));
        put("etag", service.etag.clone().into());
        if let Some(revision) = &service.latest_created {
            put("latestCreatedRevision", full(revision));
        }
        if let Some(revision) = &service.latest_ready {
            put("latestReadyRevision", full(revision));
        }
        // Protobuf's JSON leaves a false out.
        if reconciling {
            put("reconciling", true.into());
        }
        Value::Object(shown)
    }

    fn condition(&self, service: &Service, reconciling: bool) -> Value {
        let at = service.updated.rfc3339();
        if reconciling {
            return json!({ "type": "Ready", "state": "CONDITION_RECONCILING", "lastTransitionTime": at });
        }
        let latest = service.latest_created.as_deref().and_then(|name| service.revision(name));
        match latest.map(|revision| (&revision.name, &revision.readiness)) {
            Some((name, Readiness::Failed { message, .. })) => json!({
                "type": "Ready",
                "state": "CONDITION_FAILED",
                "message": format!("Revision '{name}' is not ready and cannot serve traffic. {message}"),
                "lastTransitionTime": at,
                "reason": "REVISION_FAILED",
            }),
            _ => json!({ "type": "Ready", "state": "CONDITION_SUCCEEDED", "lastTransitionTime": at }),
        }
    }

    /// The operation as the API shows it.
    pub(super) fn render_operation(&self, operation: &Operation) -> Value {
        let kind = "type.googleapis.com/google.cloud.run.v2.Service";
        let typed = |value: Value| {
            let mut typed = Map::new();
            typed.insert("@type".into(), kind.into());
            typed.extend(value.as_object().cloned().unwrap_or_default());
            Value::Object(typed)
        };
        let service = self.services.get(&operation.service).map(|service| self.render(service)).unwrap_or_default();
        let mut shown = json!({ "name": operation.name, "metadata": typed(service) });
        if let (Some(result), Some(object)) = (&operation.result, shown.as_object_mut()) {
            object.insert("done".into(), true.into());
            match result {
                Ok(response) => object.insert("response".into(), typed(response.clone())),
                Err(error) => object.insert("error".into(), error.clone()),
            };
        }
        shown
    }

    /// The revision as the API shows it.
    pub(super) fn render_revision(service: &Service, revision: &Revision) -> Value {
        let mut shown = Map::new();
        shown.insert("name".into(), format!("{}/revisions/{}", service.name, revision.name).into());
        shown.extend(revision.template.clone());
        let (state, reason, message) = match &revision.readiness {
            Readiness::Pending => ("CONDITION_RECONCILING", None, None),
            Readiness::Ready => ("CONDITION_SUCCEEDED", None, None),
            Readiness::Failed { reason, message } => ("CONDITION_FAILED", Some(reason), Some(message)),
        };
        let mut ready = json!({ "type": "Ready", "state": state, "lastTransitionTime": revision.created.rfc3339() });
        if let (Some(object), Some(reason), Some(message)) = (ready.as_object_mut(), reason, message) {
            let key = if REVISION_REASONS.contains(&reason.as_str()) { "revisionReason" } else { "reason" };
            object.insert(key.into(), reason.clone().into());
            object.insert("message".into(), message.clone().into());
        }
        let container_names = revision.template.get("containers").and_then(Value::as_array).cloned().unwrap_or_default();
        let status = |(container, digest): (&Value, &String)| {
            let mut status = json!({ "imageDigest": digest });
            if let (Some(object), Some(name)) = (status.as_object_mut(), container.get("name")) {
                object.insert("name".into(), name.clone());
            }
            status
        };
        let statuses: Vec<Value> = container_names.iter().zip(&revision.digests).map(status).collect();
        let log = format!("https://console.cloud.google.com/logs/viewer?resource=cloud_run_revision&revision={}", revision.name);
        let mut put = |key: &str, value: Value| {
            shown.insert(key.to_owned(), value);
        };
        put("service", service.short.clone().into());
        put("uid", revision.uid.clone().into());
        put("generation", "1".into());
        put("observedGeneration", "1".into());
        put("createTime", revision.created.rfc3339().into());
        put("updateTime", revision.created.rfc3339().into());
        put("conditions", json!([ready, condition_of("ContainerHealthy", &ready)]));
        put("containerStatuses", statuses.into());
        put("logUri", log.into());
        put("etag", format!("\"{}\"", revision.uid).into());
        if revision.readiness == Readiness::Pending {
            put("reconciling", true.into());
        }
        Value::Object(shown)
    }
}

fn finished_well(state: &State, operation: &str) -> bool {
    state.operations.get(operation).is_some_and(|operation| matches!(operation.result, Some(Ok(_))))
}

/// Reasons that the API puts into `revisionReason`; all others go into `reason`.
const REVISION_REASONS: [&str; 3] =
    ["HEALTH_CHECK_CONTAINER_ERROR", "MIN_INSTANCES_NOT_PROVISIONED", "ACTIVE_REVISION_LIMIT_REACHED"];

fn condition_of(kind: &str, condition: &Value) -> Value {
    let mut condition = condition.clone();
    if let Some(object) = condition.as_object_mut() {
        object.insert("type".into(), kind.into());
    }
    condition
}

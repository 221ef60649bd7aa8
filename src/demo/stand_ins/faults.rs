//! What goes wrong on the way, whatever the API: set by a test, used up one request at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::exchange::Request;
use super::ledger::lock;

/// What happens to a request that a fault catches.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Answered with this status instead of being looked at; with `Retry-After` in seconds.
    Fail {
        /// HTTP status.
        status: u16,
        /// Value of `Retry-After`.
        retry_after: Option<u32>,
    },
    /// Looked at only after this long.
    Slow(Duration),
    /// The effect happens, but the connection is dropped without an answer.
    Cut,
    /// A success whose body is not what it says it is.
    BadBody,
}

#[derive(Debug, Clone)]
struct Planned {
    fault: Fault,
    method: Option<String>,
    path: Option<String>,
    /// So many matching requests pass first.
    pass: u32,
    left: u32,
}

/// The planned faults of one stand-in. Cheap to clone; clones share the plan.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<Planned>>>);

impl Faults {
    /// The next `times` requests.
    pub fn next(&self, times: u32, fault: Fault) {
        self.plan(Planned { fault, method: None, path: None, pass: 0, left: times });
    }

    /// One request, after so many others have passed.
    pub fn after(&self, passed: u32, fault: Fault) {
        self.plan(Planned { fault, method: None, path: None, pass: passed, left: 1 });
    }

    /// The next `times` requests with this method and a path that contains the text.
    pub fn next_matching(&self, times: u32, method: &str, path: &str, fault: Fault) {
        self.plan(Planned { fault, method: Some(method.to_owned()), path: Some(path.to_owned()), pass: 0, left: times });
    }

    /// The next `times` requests are answered with a status and perhaps `Retry-After` seconds.
    pub fn fail_next(&self, times: u32, status: u16, retry_after: Option<u32>) {
        self.next(times, Fault::Fail { status, retry_after });
    }

    /// The next `times` requests take effect, but their connection is dropped without an answer.
    pub fn cut_connection_next(&self, times: u32) {
        self.next(times, Fault::Cut);
    }

    /// Every request from now on takes this many milliseconds longer.
    pub fn slow(&self, milliseconds: u64) {
        self.next(u32::MAX, Fault::Slow(Duration::from_millis(milliseconds)));
    }

    /// Forgets what is planned.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    fn plan(&self, planned: Planned) {
        lock(&self.0).push(planned);
    }

    /// The faults that catch this request, one of each kind, in the order they were planned.
    pub(super) fn catch(&self, request: &Request) -> Vec<Fault> {
        let mut plan = lock(&self.0);
        let mut caught: Vec<Fault> = Vec::new();
        for planned in plan.iter_mut() {
            let method = planned.method.as_ref().is_none_or(|method| *method == request.method);
            let path = planned.path.as_ref().is_none_or(|path| request.path.contains(path.as_str()));
            let same_kind = |other: &Fault| std::mem::discriminant(other) == std::mem::discriminant(&planned.fault);
            if !method || !path || caught.iter().any(same_kind) {
                continue;
            }
            if planned.pass > 0 {
                planned.pass -= 1;
            } else {
                planned.left = if planned.left == u32::MAX { u32::MAX } else { planned.left - 1 };
                caught.push(planned.fault.clone());
            }
        }
        plan.retain(|planned| planned.left > 0);
        caught
    }
}

//! Faults on purpose, for tests: the process dies, or a commit fails, at a chosen write. Release builds have none of it.

/// Where a write can be hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// All is written, nothing is committed.
    BeforeCommit,
    /// All is committed, nobody knows yet.
    BeforeAnswer,
}

/// What goes wrong, and when. The default is: nothing.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    #[cfg(debug_assertions)]
    plan: Option<std::sync::Arc<Plan>>,
}

#[cfg(debug_assertions)]
#[derive(Default)]
struct Plan {
    abort_at: Option<u64>,
    slower: Option<std::time::Duration>,
    seen: std::sync::atomic::AtomicU64,
    failing: std::sync::atomic::AtomicBool,
    watch: Option<Watch>,
}

/// Called at every point; true if the transaction is on disk when it is answered, false if it may be lost with the power.
#[cfg(debug_assertions)]
type Watch = Box<dyn Fn(Point, bool) + Send + Sync>;

#[cfg(debug_assertions)]
impl std::fmt::Debug for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Plan").field("abort_at", &self.abort_at).field("slower", &self.slower).finish_non_exhaustive()
    }
}

#[cfg(debug_assertions)]
impl Faults {
    /// The process aborts at the n-th point, counted from 1 over the life of the store; and each commit takes so much longer.
    pub fn planned(abort_at: Option<u64>, slower: Option<std::time::Duration>) -> Self {
        if abort_at.is_none() && slower.is_none() {
            return Self::default();
        }
        Self { plan: Some(std::sync::Arc::new(Plan { abort_at, slower, ..Plan::default() })) }
    }

    /// Commits fail while [`Faults::fail`] says so.
    pub fn switchable() -> Self {
        Self { plan: Some(std::sync::Arc::default()) }
    }

    /// Somebody watches every point, and may keep what the files hold there: what a crash at this point would leave. The flag says whether
    /// the transaction is on disk before it is answered.
    pub fn watched(watch: impl Fn(Point, bool) + Send + Sync + 'static) -> Self {
        Self { plan: Some(std::sync::Arc::new(Plan { watch: Some(Box::new(watch)), ..Plan::default() })) }
    }

    /// Makes commits fail from now on, or no longer.
    pub fn fail(&self, failing: bool) {
        if let Some(plan) = &self.plan {
            plan.failing.store(failing, std::sync::atomic::Ordering::SeqCst);
        }
    }

    /// Called by the store at every write.
    pub(super) fn point(&self, point: Point, durable: bool) -> Result<(), String> {
        use std::sync::atomic::Ordering::SeqCst;
        let Some(plan) = &self.plan else { return Ok(()) };
        if plan.abort_at == Some(plan.seen.fetch_add(1, SeqCst) + 1) {
            std::process::abort();
        }
        if let Some(watch) = &plan.watch {
            watch(point, durable);
        }
        if let (Point::BeforeCommit, Some(slower)) = (point, plan.slower) {
            std::thread::sleep(slower);
        }
        if point == Point::BeforeCommit && plan.failing.load(SeqCst) {
            return Err("the commit failed on purpose".to_owned());
        }
        Ok(())
    }
}

#[cfg(not(debug_assertions))]
impl Faults {
    /// Nothing goes wrong on purpose in a release build.
    pub fn planned(_abort_at: Option<u64>, _slower: Option<std::time::Duration>) -> Self {
        Self::default()
    }

    pub(super) fn point(&self, _point: Point, _durable: bool) -> Result<(), String> {
        Ok(())
    }
}

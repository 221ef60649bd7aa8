//! Wake-ups inside one process. They may be lost or doubled without harm: the worker also looks by itself.

use std::sync::Arc;

use tokio::sync::Notify;

/// Cheap to clone; all clones wake the same worker.
#[derive(Debug, Clone, Default)]
pub struct Local(Arc<Notify>);

impl Local {
    /// There may be something to do. Many calls before the worker looks count as one.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Until the next wake-up; at once if there was one since the last.
    pub async fn woken(&self) {
        self.0.notified().await;
    }
}

//! `/internal/dispatch`: a queue calls, proves that it is the one we asked, and a piece of work is done before it is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use poem::Response;
use poem::http::{Method, StatusCode};

use super::answer;
use crate::dispatch::queue::Subject;
use crate::inbound::Inbound;
use crate::verify::Refusal;
use crate::verify::jwt::Scheme;

/// The path.
pub const PATH: &str = "/internal/dispatch";
/// Calls say little; Pub/Sub wraps them.
pub(super) const LARGEST: usize = 16 << 10;

/// Does the work of a call, until then at the latest. False: it must be called again.
pub type Work = Arc<dyn Fn(Subject, Instant) -> BoxFuture<'static, bool> + Send + Sync>;

/// Who may call, and what happens then.
pub struct Called {
    /// Proves the caller.
    pub scheme: Scheme,
    /// How long a call may take.
    pub deadline: Duration,
    /// What it does.
    pub work: Work,
}

impl Called {
    /// Does the work of a call that is proved. What is not a call is answered such that the queue does not bring it again.
    pub(super) async fn answer(&self, method: &Method, inbound: &Inbound, began: Instant) -> Result<Response, Refusal> {
        if method != Method::POST {
            return Ok(answer::method_not_allowed("POST"));
        }
        self.scheme.verify(inbound)?;
        let Some(subject) = Subject::read(&inbound.body) else {
            tracing::warn!("a call of {PATH} says nothing that is known here; it is not to come again");
            return Ok(Response::builder().status(StatusCode::NO_CONTENT).finish());
        };
        let done = (self.work)(subject, began + self.deadline).await;
        let status = if done { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE };
        let response = Response::builder().status(status);
        Ok(if done { response.finish() } else { response.header("retry-after", "5").finish() })
    }
}

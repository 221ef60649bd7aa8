//! Reading a body: frame by frame, under the source's cap, under a deadline, and under one budget for all connections together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use poem::Body;

use crate::verify::Refusal;

/// Bodies up to here are not counted against the budget: they are what a connection's own buffer holds anyway.
const FREE: usize = 64 * 1024;

/// Bytes that all connections together may hold while they read. Without it, one unsigned body per connection would add up.
pub(super) struct Budget {
    limit: usize,
    taken: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: AtomicUsize::new(0) }
    }
}

/// What one body has taken of the budget; given back when it is dropped.
struct Share<'b> {
    budget: &'b Budget,
    taken: usize,
}

impl Share<'_> {
    fn take(&mut self, bytes: usize) -> bool {
        let before = self.budget.taken.fetch_add(bytes, Ordering::Relaxed);
        self.taken += bytes;
        before.saturating_add(bytes) <= self.budget.limit
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.taken, Ordering::Relaxed);
    }
}

fn too_large() -> Refusal {
    Refusal { status: 413, public: "The body is too large.", private: "the body is larger than the source allows".to_owned() }
}

fn too_slow() -> Refusal {
    Refusal { status: 408, public: "The body took too long.", private: "the body took too long to arrive".to_owned() }
}

fn no_room() -> Refusal {
    let private = "too many bytes of bodies are being read at once".to_owned();
    Refusal { status: 503, public: "Too much at once. Nothing was stored; send it again later.", private }
}

/// The whole body. `announced` is its `Content-Length`: too much is refused before a byte is read.
pub(super) async fn read(
    body: Body,
    announced: Option<u64>,
    limit: usize,
    deadline: Duration,
    budget: &Budget,
) -> Result<Bytes, Refusal> {
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(deadline, collect(body, announced, limit, budget)).await {
        Ok(read) => read,
        Err(_) => Err(too_slow()),
    }
}

async fn collect(body: Body, announced: Option<u64>, limit: usize, budget: &Budget) -> Result<Bytes, Refusal> {
    let mut frames = std::pin::pin!(body.into_bytes_stream());
    let mut share = Share { budget, taken: 0 };
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|error| Refusal::malformed(format!("the body broke off: {error}")))?;
        let length = first.len() + whole.len() + frame.len();
        if length > limit {
            return Err(too_large());
        }
        if length > FREE && !share.take(frame.len()) {
            return Err(no_room());
        }
        if first.is_empty() && whole.is_empty() {
            first = frame; // Most deliveries are one frame, which is then not copied.
            continue;
        }
        if whole.is_empty() {
            let expected = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(length);
            whole.reserve(expected.min(FREE).max(length));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&frame);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

//! Requests that are written down and not sent: what an action would send can be looked at without its effect.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};
use url::Url;

use super::{HttpError, Request};

/// Requests that are kept; an action that would send more shows the first ones.
const MOST: usize = 20;

/// A request as it would have been sent.
#[derive(Debug, Clone)]
pub struct UnsentRequest {
    /// Its method.
    pub method: Method,
    /// Where it would have gone.
    pub url: Url,
    /// Its headers, with whatever credentials the client was given.
    pub headers: HeaderMap,
    /// Its body; empty if it has none.
    pub body: Bytes,
}

/// What a client that sends nothing was asked to send.
#[derive(Debug, Clone, Default)]
pub struct Unsent(Arc<Mutex<Vec<UnsentRequest>>>);

impl Unsent {
    /// What was asked for since the last look, in order.
    pub fn take(&self) -> Vec<UnsentRequest> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn keep(&self, request: Request) -> HttpError {
        let Request { method, url, headers, body, .. } = request;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push(UnsentRequest { method, url, headers, body: body.unwrap_or_default() });
        }
        HttpError::Unsent
    }
}

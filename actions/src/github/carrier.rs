//! The service below octocrab: its requests leave through our own HTTP client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use octocrab::OctoBody;
use tower::Service;

use crate::http::{Http, HttpError, Request};
use crate::secret::Secret;

/// Travels with a request from [`super::GitHub`] through octocrab to [`Carrier`].
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub(super) deadline: Instant,
    /// What must not be seen in an error text.
    pub(super) token: Option<Secret>,
}

/// The service below octocrab.
#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) http: Http,
}

impl Service<http::Request<OctoBody>> for Carrier {
    type Response = http::Response<Full<Bytes>>;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, HttpError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OctoBody>) -> Self::Future {
        let Self { http } = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Some(Conditions { deadline, token }) = parts.extensions.get().cloned() else {
                return Err(HttpError::Invalid("it has no deadline".into()));
            };
            let body = body.collect().await.map_err(|error| HttpError::Invalid(error.to_string()))?.to_bytes();
            let mut headers = parts.headers;
            headers.remove(http::header::CONTENT_LENGTH);
            let mut ours = Request::to(parts.method, &parts.uri.to_string(), deadline).headers(headers).expect_any();
            if !body.is_empty() {
                ours = ours.bytes(body);
            }
            if let Some(token) = &token {
                ours = ours.conceal(token);
            }
            let answer = http.send(ours).await?;
            let mut response = http::Response::new(Full::new(answer.body));
            *response.status_mut() =
                http::StatusCode::from_u16(answer.status).map_err(|error| HttpError::BadAnswer(error.to_string()))?;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}

//! What goes wrong, as RFC 9457 problem documents. Details are for people and never hold a secret.

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object};

use crate::journal::{JournalError, LedgerError};

/// An RFC 9457 problem document.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[oai(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// Seconds after which it can be tried again, in a header.
    #[oai(skip)]
    pub retry_after: Option<i64>,
}

impl Problem {
    /// Of a status, with what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The same, to be tried again after so many seconds.
    pub fn after(self, seconds: i64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// As an answer.
    pub fn response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = Json(self).into_response();
        response.set_status(status);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// Every way in which a request can fail.
#[derive(Debug, ApiResponse)]
pub enum Failure {
    /// The request is not what the interface takes.
    #[oai(status = 400, content_type = "application/problem+json")]
    Malformed(Json<Problem>),
    /// Nobody is signed in.
    #[oai(status = 401, content_type = "application/problem+json")]
    Unknown(Json<Problem>),
    /// Whoever asks may not do this.
    #[oai(status = 403, content_type = "application/problem+json")]
    Forbidden(Json<Problem>),
    /// There is no such thing, or it may not be seen.
    #[oai(status = 404, content_type = "application/problem+json")]
    NotFound(Json<Problem>),
    /// There is no such method here.
    #[oai(status = 405, content_type = "application/problem+json")]
    Method(Json<Problem>),
    /// It cannot be done in the state that it is in.
    #[oai(status = 409, content_type = "application/problem+json")]
    Conflict(Json<Problem>),
    /// The request is larger than it may be.
    #[oai(status = 413, content_type = "application/problem+json")]
    TooLarge(Json<Problem>),
    /// The body is of a kind that is not read here.
    #[oai(status = 415, content_type = "application/problem+json")]
    MediaType(Json<Problem>),
    /// Whoever asks was wrong about who they are too often.
    #[oai(status = 429, content_type = "application/problem+json")]
    TooMany(Json<Problem>),
    /// The store does not answer at the moment.
    #[oai(status = 503, content_type = "application/problem+json")]
    Unavailable(Json<Problem>),
}

impl Failure {
    /// 400.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::Malformed(Json(Problem::new(StatusCode::BAD_REQUEST, detail)))
    }

    /// 403.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::Forbidden(Json(Problem::new(StatusCode::FORBIDDEN, detail)))
    }

    /// 404: the same for what is not there and for what may not be seen.
    pub fn not_found(what: &str) -> Self {
        let detail = format!("There is no such {what}. Old ones are removed after `store.keep`.");
        Self::NotFound(Json(Problem::new(StatusCode::NOT_FOUND, detail)))
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::Conflict(Json(Problem::new(StatusCode::CONFLICT, detail)))
    }

    /// As a document.
    pub fn problem(&self) -> &Problem {
        match self {
            Self::Malformed(problem)
            | Self::Unknown(problem)
            | Self::Forbidden(problem)
            | Self::NotFound(problem)
            | Self::Method(problem)
            | Self::Conflict(problem)
            | Self::TooLarge(problem)
            | Self::MediaType(problem)
            | Self::TooMany(problem)
            | Self::Unavailable(problem) => problem,
        }
    }

    /// For people, without the status.
    pub fn detail(&self) -> &str {
        &self.problem().detail
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "the store cannot be read for the API");
        Self::Unavailable(Json(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The store does not answer; try again later.")))
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Journal(error) => error.into(),
            LedgerError::Refused(why) => Self::conflict(why),
            other => {
                tracing::error!(error = %other, "what was asked for by hand was refused by the state diagram");
                Self::conflict("It cannot be done in the state that it is in.")
            }
        }
    }
}

//! How a request to a connection is authenticated: what the operator's `auth:` says.

use serde::{Deserialize, Serialize};

use crate::action::{Context, Failure, Why};
use crate::given::{Given, invalid};
use crate::http::{HttpError, Request, Response};
use crate::secret::Secret;

/// Secrets by their names, never their values: a plan is journaled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Auth {
    None,
    Bearer(String),
    Basic(String),
    GoogleIdToken(String),
}

impl Auth {
    /// From the `auth` of a connection.
    pub(super) fn read(connection: &Given<'_>) -> Result<Self, Why> {
        let Some(auth) = connection.inner("auth")? else { return Ok(Self::None) };
        let found = [
            auth.optional_text("bearer")?.map(|name| Self::Bearer(name.to_owned())),
            auth.optional_text("basic")?.map(|name| Self::Basic(name.to_owned())),
            auth.optional_text("google-id-token")?.map(|audience| Self::GoogleIdToken(audience.to_owned())),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(auth), None) => Ok(auth),
            _ => Err(invalid("`connection.auth` is one of `bearer`, `basic` and `google-id-token`")),
        }
    }

    /// Sends the request with it.
    pub(super) async fn send(&self, context: &Context<'_>, request: Request) -> Result<Response, HttpError> {
        let http = &context.clients.http;
        match self {
            Self::None => http.send(request).await,
            Self::Bearer(name) => http.send(request.bearer(secret(context, name).map_err(HttpError::Token)?)).await,
            Self::Basic(name) => http.send(request.basic_pair(secret(context, name).map_err(HttpError::Token)?)).await,
            Self::GoogleIdToken(audience) => context.clients.google.send_with_id_token(None, audience, request).await,
        }
    }
}

/// A secret that the step was given.
pub(super) fn secret<'a>(context: &Context<'a>, name: &str) -> Result<&'a Secret, Failure> {
    let secret = context.secrets.get(name).filter(|secret| !secret.is_empty());
    secret.ok_or_else(|| Failure::last("invalid", format!("The secret `{}` is not there or is empty", crate::http::shown(name))))
}

//! How a request to a connection is authenticated: what the operator's `auth:` says.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::action::{Context, Failure, Why};
use crate::given::{Given, invalid};
use crate::http::{HttpError, Request, Response};
use crate::secret::Secret;

/// A shorter key could be guessed.
const SHORTEST_KEY: usize = 16;

/// Secrets by their names, never their values: a plan is journaled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Auth {
    None,
    Bearer(String),
    Basic(String),
    GoogleIdToken(String),
    StandardWebhooks(String),
}

impl Auth {
    /// From the `auth` of a connection.
    pub(super) fn read(connection: &Given<'_>) -> Result<Self, Why> {
        let Some(auth) = connection.inner("auth")? else { return Ok(Self::None) };
        let found = [
            auth.optional_text("bearer")?.map(|name| Self::Bearer(name.to_owned())),
            auth.optional_text("basic")?.map(|name| Self::Basic(name.to_owned())),
            auth.optional_text("google-id-token")?.map(|audience| Self::GoogleIdToken(audience.to_owned())),
            auth.optional_text("standard-webhooks")?.map(|name| Self::StandardWebhooks(name.to_owned())),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(auth), None) => Ok(auth),
            _ => Err(invalid("`connection.auth` is one of `bearer`, `basic`, `google-id-token` and `standard-webhooks`")),
        }
    }

    /// Sends the request with it; `id` is what tells this message from all others, on every attempt.
    pub(super) async fn send(&self, context: &Context<'_>, id: &str, request: Request) -> Result<Response, HttpError> {
        let http = &context.clients.http;
        match self {
            Self::None => http.send(request).await,
            Self::Bearer(name) => http.send(request.bearer(secret(context, name).map_err(HttpError::Token)?)).await,
            Self::Basic(name) => http.send(request.basic_pair(secret(context, name).map_err(HttpError::Token)?)).await,
            Self::GoogleIdToken(audience) => context.clients.google.send_with_id_token(None, audience, request).await,
            Self::StandardWebhooks(name) => {
                let secret = secret(context, name).map_err(HttpError::Token)?;
                http.send(signed(request, id, context.clients.google.now(), secret).map_err(HttpError::Token)?).await
            }
        }
    }
}

/// As <https://www.standardwebhooks.com> has it: HMAC-SHA256 over id, time and body.
fn signed(request: Request, id: &str, timestamp: i64, secret: &Secret) -> Result<Request, Failure> {
    let text = secret.expose_text().unwrap_or_default();
    let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok().filter(|key| key.len() >= SHORTEST_KEY);
    let key = key.ok_or_else(|| {
        Failure::last("invalid", format!("The secret to sign with is `whsec_` and base64 of at least {SHORTEST_KEY} bytes"))
    })?;
    let mut content = format!("{id}.{timestamp}.").into_bytes();
    content.extend_from_slice(request.body_bytes());
    let signature = STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content));
    let request = request.header("webhook-id", id).header("webhook-timestamp", &timestamp.to_string());
    Ok(request.header("webhook-signature", &format!("v1,{signature}")).conceal(secret))
}

/// A secret that the step was given.
pub(super) fn secret<'a>(context: &Context<'a>, name: &str) -> Result<&'a Secret, Failure> {
    let secret = context.secrets.get(name).filter(|secret| !secret.is_empty());
    secret.ok_or_else(|| Failure::last("invalid", format!("The secret `{}` is not there or is empty", crate::http::shown(name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use std::time::Instant;

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let request = Request::to(Method::POST, "https://example.com/", Instant::now()).bytes("{\"test\": 2432232314}");
        let request = signed(request, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, &secret).unwrap();
        assert_eq!(request.header_text("webhook-signature"), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert!(signed(request, "x", 1, &Secret::new("whsec_AAAA")).is_err());
    }
}

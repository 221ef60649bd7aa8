//! IAM Credentials v1: short-lived tokens of another service account.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::Identity;
use crate::clock::Timestamp;
use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::ledger::lock;
use crate::demo::stand_ins::shape::{Reading, Shapes};

/// Request messages of the two calls.
static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    Shapes::parse(
        "GenerateAccessTokenRequest: scope* [string], lifetime duration, delegates [string]\n\
         GenerateIdTokenRequest: audience* string, includeEmail bool, delegates [string], organizationNumberIncluded bool, \
         useEmailAzp bool",
        Reading::Protobuf,
    )
});

pub(super) fn answer(identity: &Identity, request: &Request, call: &str) -> Answer {
    let Some(grant) = request.bearer().and_then(|token| identity.tokens.check(token)) else {
        return Answer::google_error(401, "Request had invalid authentication credentials.");
    };
    let Some((email, method)) = call.split_once(':') else {
        return Answer::google_error(404, "Method not found.");
    };
    let message = match method {
        "generateAccessToken" => "GenerateAccessTokenRequest",
        "generateIdToken" => "GenerateIdTokenRequest",
        _ => return Answer::google_error(404, "Method not found."),
    };
    let Some(Value::Object(body)) = request.json() else {
        return Answer::google_error(400, "Invalid JSON payload received.");
    };
    if let Err(violation) = SHAPES.check(message, &body) {
        return Answer::google_error(400, &format!("Invalid value at '{}': {:?}", violation.path, violation.problem));
    }
    let allowed = lock(&identity.settings).impersonation.clone();
    if !allowed.is_empty() && !allowed.contains(&(grant.identity.clone(), email.to_owned())) {
        let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        return Answer::google_error(403, message);
    }
    let body = Value::Object(body);
    if method == "generateIdToken" { id_token(identity, email, &body) } else { access_token(identity, email, &body) }
}

fn access_token(identity: &Identity, email: &str, body: &Value) -> Answer {
    let strings = |value: &Value| value.as_str().map(str::to_owned);
    let scopes: Vec<String> =
        body.get("scope").and_then(Value::as_array).map(|list| list.iter().filter_map(strings).collect()).unwrap_or_default();
    if scopes.is_empty() {
        return Answer::google_error(400, "Scope required.");
    }
    let lifetime = body.get("lifetime").and_then(Value::as_str).and_then(|text| text.strip_suffix('s'));
    let seconds = lifetime.map_or(Some(3600.0), |text| text.parse::<f64>().ok()).unwrap_or_default();
    if !(1.0..=3600.0).contains(&seconds) {
        return Answer::google_error(400, "The lifetime must be at most 3600s.");
    }
    let (token, valid_for) = identity.access_token(email, &scopes);
    let expires = Timestamp::now().after(Duration::from_secs(valid_for));
    Answer::json(200, &json!({ "accessToken": token, "expireTime": expires.rfc3339() }))
}

fn id_token(identity: &Identity, email: &str, body: &Value) -> Answer {
    let audience = body.get("audience").and_then(Value::as_str).unwrap_or_default();
    match identity.issue_id_token(email, audience) {
        Ok(token) => Answer::json(200, &json!({ "token": token })),
        Err(error) => Answer::google_error(500, &error.to_string()),
    }
}

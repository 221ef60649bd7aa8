//! The OAuth token endpoint for service-account assertions (RFC 7523).

use serde_json::{Value, json};

use super::Identity;
use crate::clock::Timestamp;
use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::ledger::lock;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(super) fn answer(identity: &Identity, request: &Request) -> Answer {
    match grant(identity, request) {
        Ok(body) => Answer::json(200, &body),
        Err((error, description)) => Answer::json(400, &json!({ "error": error, "error_description": description })),
    }
}

fn grant(identity: &Identity, request: &Request) -> Result<Value, (&'static str, String)> {
    let media_type = request.header("content-type").unwrap_or_default();
    if !media_type.starts_with("application/x-www-form-urlencoded") {
        return Err(("invalid_request", format!("Bad content type: {media_type}")));
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if field("grant_type") != Some(JWT_BEARER) {
        return Err(("unsupported_grant_type", format!("Invalid grant_type: {}", field("grant_type").unwrap_or_default())));
    }
    let assertion = field("assertion").ok_or(("invalid_request", "Missing required parameter: assertion".to_owned()))?;
    let (email, claims) = verify(identity, assertion).map_err(|problem| ("invalid_grant", problem))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("scope"), text("target_audience")) {
        (Some(scope), _) => {
            let scopes: Vec<String> = scope.split(' ').map(str::to_owned).collect();
            let (token, seconds) = identity.access_token(&email, &scopes);
            Ok(json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" }))
        }
        (None, Some(audience)) => {
            let token = identity.issue_id_token(&email, audience).map_err(|error| ("internal_failure", error.to_string()))?;
            Ok(json!({ "id_token": token }))
        }
        (None, None) => Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided.".into())),
    }
}

/// The account and the claims of a valid assertion.
fn verify(identity: &Identity, assertion: &str) -> Result<(String, Value), String> {
    let keys = lock(&identity.account_keys).clone();
    let mut problem = "Invalid grant: account not found".to_owned();
    for (email, key) in keys {
        match key.verify(assertion) {
            Ok(claims) => return check(identity, &email, &claims).map(|()| (email, claims)),
            Err(found) => problem = format!("Invalid JWT Signature: {found}"),
        }
    }
    Err(problem)
}

fn check(identity: &Identity, email: &str, claims: &Value) -> Result<(), String> {
    let number = |name: &str| claims.get(name).and_then(Value::as_i64).ok_or_else(|| format!("Invalid JWT: `{name}` is missing"));
    if claims.get("iss").and_then(Value::as_str) != Some(email) {
        return Err("Invalid JWT: `iss` is not the account of the key".into());
    }
    if claims.get("aud").and_then(Value::as_str) != Some(identity.token_uri().as_str()) {
        return Err("Invalid JWT: `aud` is not this token endpoint".into());
    }
    let (issued, expires, now) = (number("iat")?, number("exp")?, Timestamp::now().seconds());
    // The real endpoint allows some skew of the client's clock.
    if issued > now + 60 || expires < now - 60 || expires - issued > 3600 {
        return Err(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp \
             values in the JWT claim."
                .into(),
        );
    }
    Ok(())
}

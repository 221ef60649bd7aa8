//! The metadata server of a Cloud Run instance. Refuses whatever does not carry `Metadata-Flavor: Google`.

use serde_json::json;

use super::{DEFAULT_ACCOUNT, DEFAULT_PROJECT, DEFAULT_PROJECT_NUMBER, DEFAULT_REGION, Identity};
use crate::demo::stand_ins::exchange::{Answer, Request};

const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

pub(super) fn answer(identity: &Identity, request: &Request, path: &[&str]) -> Answer {
    if request.header("metadata-flavor") != Some("Google") {
        return Answer::text(403, "Missing Metadata-Flavor:Google header.\n");
    }
    if request.header("x-forwarded-for").is_some() {
        return Answer::text(403, "X-Forwarded-For is not allowed.\n");
    }
    let answer = match path {
        ["project", "project-id"] => Answer::text(200, DEFAULT_PROJECT),
        ["project", "numeric-project-id"] => Answer::text(200, DEFAULT_PROJECT_NUMBER),
        ["instance", "region"] => Answer::text(200, format!("projects/{DEFAULT_PROJECT_NUMBER}/regions/{DEFAULT_REGION}")),
        ["instance", "id"] => Answer::text(200, "00f46b9285a1c3d7e9"),
        ["instance", "service-accounts", "default" | DEFAULT_ACCOUNT, rest] => service_account(identity, request, rest),
        _ => Answer::text(404, "Not Found\n"),
    };
    answer.with_header("metadata-flavor", "Google")
}

fn service_account(identity: &Identity, request: &Request, what: &str) -> Answer {
    match what {
        "email" => Answer::text(200, DEFAULT_ACCOUNT),
        "scopes" => Answer::text(200, format!("{CLOUD_PLATFORM}\n")),
        "token" => {
            let asked = request.parameter("scopes").filter(|scopes| !scopes.is_empty());
            let scopes: Vec<String> = asked.unwrap_or(CLOUD_PLATFORM).split(',').map(str::to_owned).collect();
            let (token, seconds) = identity.access_token(DEFAULT_ACCOUNT, &scopes);
            Answer::json(200, &json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" }))
        }
        "identity" => match request.parameter("audience").filter(|audience| !audience.is_empty()) {
            Some(audience) => match identity.issue_id_token(DEFAULT_ACCOUNT, audience) {
                Ok(token) => Answer::text(200, token),
                Err(error) => Answer::text(500, error.to_string()),
            },
            None => Answer::text(400, "non-empty audience parameter required\n"),
        },
        _ => Answer::text(404, "Not Found\n"),
    }
}

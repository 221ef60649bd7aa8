//! What the API's conditions mean, in words for people.

use serde_json::Value;

use crate::action::Why;
use crate::cloud_run::text;
use crate::http::shown;

/// Whether a revision can serve.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Readiness {
    Pending,
    Ready,
    Failed(Why),
}

/// By the condition `Ready` of a revision.
pub(crate) fn readiness(revision: &Value) -> Readiness {
    let conditions = revision.get("conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().find(|condition| text(condition, "type") == "Ready");
    match ready.map(|condition| (text(condition, "state"), condition)) {
        Some(("CONDITION_SUCCEEDED", _)) => Readiness::Ready,
        Some(("CONDITION_FAILED", condition)) => Readiness::Failed(cause(condition)),
        _ => Readiness::Pending,
    }
}

/// Why a revision does not come up, and what can be done.
pub(crate) fn cause(condition: &Value) -> Why {
    let reason = ["revisionReason", "reason", "executionReason"]
        .iter()
        .map(|field| text(condition, field))
        .find(|found| !found.is_empty());
    let (code, advice) = match reason.unwrap_or_default() {
        "HEALTH_CHECK_CONTAINER_ERROR" | "CONTAINER_EXITED" => {
            ("not-ready", "The container did not start, or does not listen on its port; look at its logs")
        }
        "PROGRESS_DEADLINE_EXCEEDED" => ("not-ready", "The container did not become ready in Cloud Run's time"),
        "CONTAINER_MISSING" | "IMAGE_NOT_FOUND" => ("image-missing", "Cloud Run cannot find the image"),
        "CONTAINER_PERMISSION_DENIED" | "CONTAINER_IMAGE_UNAUTHORIZED" | "CONTAINER_IMAGE_AUTHORIZATION_ERROR" => {
            ("image-forbidden", "Cloud Run may not read the image; give its service agent `roles/artifactregistry.reader`")
        }
        "SECRETS_ACCESS_CHECK_FAILED" | "SECRET_ACCESS_CHECK_FAILED" => {
            ("secret-forbidden", "The revision's service account may not read a secret it mounts")
        }
        "VPC_NETWORK_NOT_FOUND" => ("not-ready", "The service's VPC network does not exist"),
        "MIN_INSTANCES_NOT_PROVISIONED" => ("not-ready", "There is no capacity for the minimum of instances at the moment"),
        "ACTIVE_REVISION_LIMIT_REACHED" => ("limit", "The service has too many active revisions; remove tags"),
        _ => ("not-ready", "The revision did not become ready"),
    };
    let message = shown(text(condition, "message"));
    Why::new(code, if message.is_empty() { format!("{advice}.") } else { format!("{advice}. Cloud Run says: {message}") })
}

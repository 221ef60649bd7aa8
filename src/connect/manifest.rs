//! What the App asks for. Pure.

use serde_json::{Value, json};

/// Permissions of the App, and what each is for.
pub const PERMISSIONS: &[(&str, &str)] = &[
    ("administration", "read"),
    ("checks", "write"),
    ("contents", "read"),
    ("deployments", "write"),
    ("issues", "write"),
    ("members", "read"),
    ("metadata", "read"),
    ("pull_requests", "write"),
    ("statuses", "write"),
];

/// Webhooks that it is sent.
pub const EVENTS: &[&str] = &["branch_protection_rule", "issue_comment", "pull_request", "push", "repository", "workflow_run"];

/// The App's description, as GitHub's manifest flow takes it.
pub fn manifest(name: &str, public_url: &str, redirect: &str) -> Value {
    let permissions: serde_json::Map<String, Value> =
        PERMISSIONS.iter().map(|(name, level)| ((*name).to_owned(), (*level).into())).collect();
    json!({
        "name": name,
        "url": public_url,
        "hook_attributes": { "url": format!("{public_url}/hooks/github"), "active": true },
        "redirect_url": redirect,
        "public": false,
        "default_permissions": permissions,
        "default_events": EVENTS,
    })
}

//! Cloud Run Admin API v2, as the kinds that change a service use it.

mod api;
mod conditions;
pub(crate) mod env;
mod room;
mod shift;
mod target;
pub(crate) mod traffic;

pub(crate) use api::{Api, Ended, already_exists, pause};
pub(crate) use conditions::{Readiness, cause, readiness};
pub(crate) use room::make_room;
pub(crate) use shift::{Aim, Shift};
pub(crate) use target::{Runs, Target, account, check_tag, revision_name};

use serde_json::Value;

/// Label of a revision that says what it was made for: a rollback never picks a preview by itself.
pub(crate) const PURPOSE: &str = "declic-purpose";
pub(crate) const PREVIEW: &str = "preview";
pub(crate) const RELEASE: &str = "release";

/// The last segment of a full resource name.
pub(crate) fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// A field of a resource as text; empty if it is not there.
pub(crate) fn text<'a>(resource: &'a Value, field: &str) -> &'a str {
    resource.get(field).and_then(Value::as_str).unwrap_or_default()
}

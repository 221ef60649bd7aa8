//! Where requests go: the rules of `traffic` and the `trafficStatuses` that follow from it. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::check::{Refusal, dns_label};

const LATEST: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
const REVISION: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION";

/// Checks the targets of a service; `exists` tells whether it has such a revision, or will have with this update.
pub(super) fn check(short: &str, targets: &[Value], exists: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let field = |index: usize, name: &str| format!("service.traffic[{index}].{name}");
    let mut tags = BTreeSet::new();
    let mut sum = 0;
    for (index, target) in targets.iter().enumerate() {
        let text = |key: &str| target.get(key).and_then(Value::as_str).unwrap_or_default();
        let (revision, tag) = (text("revision"), text("tag"));
        match text("type") {
            LATEST if !revision.is_empty() => {
                return Err(Refusal::invalid(&field(index, "revision"), "must not be set for the latest revision."));
            }
            LATEST => {}
            REVISION if exists(revision) => {}
            REVISION => {
                return Err(Refusal::invalid(&field(index, "revision"), format!("revision '{revision}' does not exist.")));
            }
            other => return Err(Refusal::invalid(&field(index, "type"), format!("'{other}' is not an allocation type."))),
        }
        let percent = percent(target);
        if !(0..=100).contains(&percent) {
            return Err(Refusal::invalid(&field(index, "percent"), "must be between 0 and 100."));
        }
        sum += percent;
        if !tag.is_empty() {
            if !dns_label(tag) || tag.contains("---") || tag.len() + short.len() > 46 {
                return Err(Refusal::invalid(&field(index, "tag"), format!("'{tag}' is not a valid tag for '{short}'.")));
            }
            if !tags.insert(tag.to_owned()) {
                return Err(Refusal::invalid(&field(index, "tag"), format!("'{tag}' is used twice.")));
            }
        }
    }
    if !targets.is_empty() && sum != 100 {
        return Err(Refusal::invalid("service.traffic", format!("the percentages sum to {sum}, not to 100.")));
    }
    Ok(())
}

pub(super) fn percent(target: &Value) -> i64 {
    match target.get("percent") {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(-1),
        Some(Value::String(text)) => text.parse().unwrap_or(-1),
        _ => 0,
    }
}

/// What a service reports as its traffic. `base` is the address that serves; an empty allocation is 100 % for the latest.
pub(super) fn statuses(base: &str, short: &str, targets: &[Value], latest_ready: Option<&str>) -> Vec<Value> {
    let whole = [json!({ "type": LATEST, "percent": 100 })];
    let targets = if targets.is_empty() { whole.as_slice() } else { targets };
    let status = |target: &Value| {
        let mut status = Map::new();
        let kind = target.get("type").cloned().unwrap_or_default();
        let revision = if kind == LATEST { latest_ready.map(Value::from) } else { target.get("revision").cloned() };
        status.insert("type".into(), kind);
        // Protobuf's JSON leaves defaults out: no `percent` means 0.
        if percent(target) > 0 {
            status.insert("percent".into(), percent(target).into());
        }
        if let Some(revision) = revision {
            status.insert("revision".into(), revision);
        }
        if let Some(tag) = target.get("tag").and_then(Value::as_str).filter(|tag| !tag.is_empty()) {
            status.insert("tag".into(), tag.into());
            status.insert("uri".into(), format!("{base}/serve/{tag}---{short}").into());
        }
        Value::Object(status)
    };
    targets.iter().map(status).collect()
}

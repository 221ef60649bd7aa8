//! The change that makes a revision: the service's own JSON with as little changed as can be. Pure.

use serde_json::{Map, Value, json};

use crate::action::Why;
use crate::cloud_run::traffic::{self, Share};
use crate::cloud_run::{PREVIEW, PURPOSE, RELEASE, env};
use crate::kinds::cloud_run_deploy::plan::Plan;

/// Fields to patch: the template with another image and name, labels, client, and the traffic as it is plus a candidate.
pub(super) fn change(service: &Value, plan: &Plan, image: &str, before: &[Share]) -> Result<Map<String, Value>, Why> {
    let mut template = service
        .get("template")
        .and_then(Value::as_object)
        .cloned()
        .ok_or_else(|| Why::new("bad-answer", "Cloud Run shows the service without a template"))?;
    let containers = template.get_mut("containers").and_then(Value::as_array_mut);
    // Changed in place: whatever else a container has must stay, fields we have never heard of included.
    let container = select(containers, plan.container.as_deref())?;
    container.insert("image".into(), image.into());
    env::apply(container, &plan.env);
    template.insert("revision".into(), plan.revision.clone().into());
    let mut labels = labelled(template.get("labels"), plan);
    if let Some(labels) = labels.as_object_mut() {
        // Always set: the template hands its labels on to the next revision.
        labels.insert(PURPOSE.into(), if plan.percent == 0 { PREVIEW } else { RELEASE }.into());
    }
    template.insert("labels".into(), labels);
    identify(&mut template);
    let mut fields = Map::new();
    fields.insert("template".into(), Value::Object(template));
    fields.insert("labels".into(), labelled(service.get("labels"), plan));
    identify(&mut fields);
    fields.insert("traffic".into(), traffic::write(&traffic::with_candidate(before, &plan.revision, &plan.tag)));
    Ok(fields)
}

pub(super) fn identify(fields: &mut Map<String, Value>) {
    fields.insert("client".into(), "declic".into());
    fields.insert("clientVersion".into(), env!("CARGO_PKG_VERSION").into());
}

pub(super) fn labelled(labels: Option<&Value>, plan: &Plan) -> Value {
    let mut labels = labels.cloned().unwrap_or_else(|| json!({}));
    if let Some(labels) = labels.as_object_mut() {
        labels.extend(plan.labels.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))));
    }
    labels
}

/// The container of that name, else the one with a port, else the only one.
pub(super) fn select<'a>(containers: Option<&'a mut Vec<Value>>, name: Option<&str>) -> Result<&'a mut Map<String, Value>, Why> {
    let fault = |message: String| Why::new("invalid", message);
    let containers = containers.ok_or_else(|| fault("It has no containers".into()))?;
    let is_named = |container: &Value| container.get("name").and_then(Value::as_str) == name;
    let has_port = |container: &Value| container.get("ports").and_then(Value::as_array).is_some_and(|ports| !ports.is_empty());
    let index = match name {
        Some(name) => containers.iter().position(is_named).ok_or_else(|| fault(format!("It has no container `{name}`")))?,
        None if containers.len() == 1 => 0,
        None => containers
            .iter()
            .position(has_port)
            .ok_or_else(|| fault("It has several containers and none with a port; name one with `container`".into()))?,
    };
    containers.get_mut(index).and_then(Value::as_object_mut).ok_or_else(|| fault("It has no containers".into()))
}

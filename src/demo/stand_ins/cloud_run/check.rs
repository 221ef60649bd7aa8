//! What the Admin API accepts: names, labels, containers, traffic, update masks. Pure.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::demo::stand_ins::exchange::Answer;
use crate::demo::stand_ins::shape::{Problem, Reading, Shapes, Violation};

/// Every message that can be reached from a Service, as the discovery document of the API has them.
pub(super) static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::parse(include_str!("service.shapes"), Reading::Protobuf));

/// The message table, for the test that compares it with the published document.
pub fn shapes() -> &'static Shapes {
    &SHAPES
}

/// A request that the API refuses.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: u16,
    word: Option<&'static str>,
    message: String,
    details: Option<Value>,
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, word: None, message: message.into(), details: None }
    }

    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let violation = json!({ "field": field, "description": message });
        let details = json!([{ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation] }]);
        Self { status: 400, word: None, message: format!("Violation in {field}: {message}"), details: Some(details) }
    }

    pub(super) fn already_exists(message: String) -> Self {
        Self { status: 409, word: Some("ALREADY_EXISTS"), message, details: None }
    }

    pub(super) fn answer(&self) -> Answer {
        match self.word {
            Some(word) => Answer::google_error_as(self.status, word, &self.message, self.details.clone()),
            None if self.details.is_some() => {
                Answer::google_error_as(self.status, "INVALID_ARGUMENT", &self.message, self.details.clone())
            }
            None => Answer::google_error(self.status, &self.message),
        }
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        let path = format!("service.{}", violation.path);
        let message = match violation.problem {
            Problem::Unknown => format!(
                "Invalid JSON payload received. Unknown name \"{}\" at '{}': Cannot find field.",
                violation.field,
                path.rsplit_once('.').map_or("", |(parent, _)| parent)
            ),
            Problem::Missing => format!("{path}: required field is missing."),
            Problem::Wrong(what) => format!("Invalid value at '{path}': {what}"),
        };
        let violations = json!([{ "field": path, "description": message }]);
        let details = json!([{ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations }]);
        Self { status: 400, word: None, message, details: Some(details) }
    }
}

/// Reads a request body as a Service.
pub(super) fn service_body(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    body(bytes, "Service")
}

/// Reads a request body as a message.
pub(super) fn body(bytes: &[u8], message: &str) -> Result<Map<String, Value>, Refusal> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Refusal::new(400, format!("Invalid JSON payload received. {error}")))?;
    let Value::Object(body) = value else {
        return Err(Refusal::new(400, "Invalid JSON payload received. Root element must be a message."));
    };
    SHAPES.check(message, &body)?;
    Ok(body)
}

/// The fields of an update mask as paths of camel-case names; all fields a client may write if there is no mask.
pub(super) fn mask(text: Option<&str>) -> Result<Vec<Vec<String>>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty() && *text != "*") else {
        let fields = SHAPES.fields("Service").unwrap_or_default();
        let writable = fields.iter().filter(|field| !field.output_only && field.name != "name" && field.name != "etag");
        return Ok(writable.map(|field| vec![field.name.clone()]).collect());
    };
    text.split(',').map(mask_path).collect()
}

fn mask_path(text: &str) -> Result<Vec<String>, Refusal> {
    let unknown = || Refusal::invalid("update_mask", format!("'{text}' is not a field of Service that can be updated."));
    let mut message = "Service";
    let mut path = Vec::new();
    for part in text.split('.') {
        let name = camel_case(part);
        let field = SHAPES.field(message, &name).filter(|field| !field.output_only).ok_or_else(unknown)?;
        path.push(name);
        // A mask cannot go into a list or a map: the next part then finds no message and is refused.
        message = &field.kind;
    }
    Ok(path)
}

fn camel_case(text: &str) -> String {
    let mut camel = String::with_capacity(text.len());
    let mut upper = false;
    for character in text.chars() {
        match character {
            '_' => upper = true,
            other if upper => {
                camel.extend(other.to_uppercase());
                upper = false;
            }
            other => camel.push(other),
        }
    }
    camel
}

/// Copies what the mask names from `update` into `stored`; what is not there is removed.
pub(super) fn merge(stored: &mut Map<String, Value>, update: &Map<String, Value>, mask: &[Vec<String>]) {
    for path in mask {
        merge_path(stored, update, path);
    }
}

fn merge_path(stored: &mut Map<String, Value>, update: &Map<String, Value>, path: &[String]) {
    let Some((name, rest)) = path.split_first() else { return };
    let value = update.get(name).filter(|value| !value.is_null());
    if rest.is_empty() {
        match value {
            Some(value) => stored.insert(name.clone(), value.clone()),
            None => stored.shift_remove(name),
        };
        return;
    }
    let nothing = Map::new();
    let update = value.and_then(Value::as_object).unwrap_or(&nothing);
    let inner = stored.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        merge_path(inner, update, rest);
    }
}

/// Checks a service as it would be stored.
pub(super) fn service(short: &str, body: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(template) = body.get("template").and_then(Value::as_object) else {
        return Err(Refusal::invalid("service.template", "a template is required."));
    };
    if body.get("description").and_then(Value::as_str).is_some_and(|text| text.chars().count() > 512) {
        return Err(Refusal::invalid("service.description", "must be at most 512 characters."));
    }
    for (place, holder) in [("service", body), ("service.template", template)] {
        metadata(place, holder)?;
        if holder.get("client").and_then(Value::as_str).is_some_and(|client| client.len() > 64) {
            return Err(Refusal::invalid(&format!("{place}.client"), "is too long."));
        }
    }
    if let Some(name) = template.get("revision").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        revision_name(short, name)?;
    }
    containers(template)
}

/// Namespaces that belong to the platform.
const RESERVED: [&str; 4] = ["run.googleapis.com", "cloud.googleapis.com", "serving.knative.dev", "autoscaling.knative.dev"];

fn metadata(place: &str, holder: &Map<String, Value>) -> Result<(), Refusal> {
    for kind in ["labels", "annotations"] {
        let Some(entries) = holder.get(kind).and_then(Value::as_object) else { continue };
        for (key, value) in entries {
            let field = format!("{place}.{kind}");
            let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
            if RESERVED.iter().any(|reserved| namespace == *reserved || namespace.ends_with(&format!(".{reserved}"))) {
                return Err(Refusal::invalid(&field, format!("'{key}' is in a reserved namespace.")));
            }
            let word = |text: &str, extra: &str| {
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' || extra.contains(c);
                text.len() <= 63 && text.chars().all(fits)
            };
            let name = key.split_once('/').map_or(key.as_str(), |(_, name)| name);
            if kind == "labels" && (name.is_empty() || !word(name, ".") || !word(value.as_str().unwrap_or_default(), "")) {
                return Err(Refusal::invalid(&field, format!("'{key}: {value}' is not a valid label.")));
            }
        }
    }
    Ok(())
}

/// A revision's name: a DNS label that starts with the service's name.
fn revision_name(short: &str, name: &str) -> Result<(), Refusal> {
    let own = name.strip_prefix(short).and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| !rest.is_empty());
    if own && dns_label(name) {
        return Ok(());
    }
    let message = format!("'{name}' must be '{short}-' and more, at most 63 of a-z, 0-9 and '-', not ending in '-'.");
    Err(Refusal::invalid("service.template.revision", message))
}

pub(super) fn dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 63 && text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-') && text.chars().all(inner)
}

pub(super) fn containers(template: &Map<String, Value>) -> Result<(), Refusal> {
    let list = |holder: &Map<String, Value>, key: &str| holder.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let containers = list(template, "containers");
    let volumes: Vec<String> = list(template, "volumes").iter().map(|volume| text(volume, "name")).collect();
    let field = "service.template.containers";
    if containers.is_empty() {
        return Err(Refusal::invalid(field, "at least one container is required."));
    }
    let names: Vec<String> = containers.iter().map(|container| text(container, "name")).collect();
    let ingress = containers.iter().filter(|container| container.get("ports").is_some()).count();
    // Jobs serve nothing, so theirs need none.
    let serves = !template.contains_key("maxRetries");
    if ingress > 1 || (serves && containers.len() > 1 && ingress != 1) {
        return Err(Refusal::invalid(field, "exactly one container must have a port."));
    }
    for (index, container) in containers.iter().enumerate() {
        let Value::Object(container) = container else { continue };
        let own = container.get("name").and_then(Value::as_str).unwrap_or_default();
        if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refusal::invalid(&format!("{field}[{index}].image"), "an image is required."));
        }
        if containers.len() > 1 && (own.is_empty() || names.iter().filter(|name| *name == own).count() > 1) {
            return Err(Refusal::invalid(&format!("{field}[{index}].name"), "must be set and unique."));
        }
        if list(container, "ports").len() > 1 {
            return Err(Refusal::invalid(&format!("{field}[{index}].ports"), "at most one port."));
        }
        if list(container, "volumeMounts").iter().any(|mount| !volumes.contains(&text(mount, "name"))) {
            return Err(Refusal::invalid(&format!("{field}[{index}].volumeMounts"), "names a volume that does not exist."));
        }
        let known = |dependency: &Value| names.iter().any(|name| Some(name.as_str()) == dependency.as_str());
        if !list(container, "dependsOn").iter().all(known) {
            return Err(Refusal::invalid(&format!("{field}[{index}].dependsOn"), "names a container that does not exist."));
        }
    }
    Ok(())
}

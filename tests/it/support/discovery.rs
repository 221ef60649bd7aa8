//! Google's discovery documents as contracts: a request is held against the method, parameters and messages of its API.
//!
//! Checked: path, method, path patterns, query parameters with their types and enums, update masks field by field, and bodies
//! without unknown fields, with the right types, formats and enums. Not checked: what is only written in prose, such as which
//! fields are required or how long a text may be; the stand-ins have those rules themselves.

use std::sync::{Arc, LazyLock};

use declic::demo::stand_ins::exchange::Request;
use declic::demo::stand_ins::server::Contract;
use regex::Regex;
use serde_json::{Map, Value};

use super::packages;

/// Cloud Run Admin API.
pub static RUN: LazyLock<Document> = LazyLock::new(|| Document::load("run.v2"));
/// Cloud Build.
pub static CLOUD_BUILD: LazyLock<Document> = LazyLock::new(|| Document::load("cloudbuild.v1"));
/// IAM Credentials.
pub static IAM: LazyLock<Document> = LazyLock::new(|| Document::load("iamcredentials.v1"));
/// Dialogflow ES.
pub static DIALOGFLOW_ES: LazyLock<Document> = LazyLock::new(|| Document::load("dialogflow.v2"));
/// Dialogflow CX.
pub static DIALOGFLOW_CX: LazyLock<Document> = LazyLock::new(|| Document::load("dialogflow.v3"));

/// Cloud Tasks.
pub static CLOUD_TASKS: LazyLock<Document> = LazyLock::new(|| Document::load("cloudtasks.v2"));
/// Google Chat.
pub static CHAT: LazyLock<Document> = LazyLock::new(|| Document::load("chat.v1"));
/// Pub/Sub.
pub static PUBSUB: LazyLock<Document> = LazyLock::new(|| Document::load("pubsub.v1"));
/// BigQuery.
pub static BIGQUERY: LazyLock<Document> = LazyLock::new(|| Document::load("bigquery.v2"));
/// Firebase Cloud Messaging.
pub static FCM: LazyLock<Document> = LazyLock::new(|| Document::load("fcm.v1"));

/// One API.
pub struct Document {
    root: Value,
    methods: Vec<Method>,
}

struct Method {
    http: String,
    /// Matches the whole path; its groups are the path parameters.
    path: Regex,
    definition: Value,
}

/// Refuses what the Cloud Run documents do not allow; the services' own addresses are not part of that API.
pub fn cloud_run() -> Arc<Contract> {
    Arc::new(|request| if request.path.starts_with("/serve/") { Ok(()) } else { RUN.check_request(request).map(drop) })
}

/// Refuses what the Cloud Build document does not allow.
pub fn cloud_build() -> Arc<Contract> {
    Arc::new(|request| CLOUD_BUILD.check_request(request).map(drop))
}

/// Refuses what the IAM Credentials document does not allow; metadata and token endpoints have no document.
pub fn identity() -> Arc<Contract> {
    Arc::new(|request| if request.path.starts_with("/v1/") { IAM.check_request(request).map(drop) } else { Ok(()) })
}

/// Refuses webhook requests that are not Dialogflow's.
pub fn dialogflow() -> Arc<Contract> {
    Arc::new(|request| {
        let body = request.json().ok_or("the body is not JSON")?;
        match request.path.as_str() {
            "/es" => DIALOGFLOW_ES.check_message("GoogleCloudDialogflowV2WebhookRequest", &body),
            _ => DIALOGFLOW_CX.check_message("GoogleCloudDialogflowCxV3WebhookRequest", &body),
        }
    })
}

/// Refuses what the documents of Pub/Sub, BigQuery, FCM, Cloud Tasks and Dialogflow do not allow.
pub fn data_services() -> Arc<Contract> {
    Arc::new(|request| {
        let document = match request.path.as_str() {
            path if path.starts_with("/bigquery/") => &BIGQUERY,
            path if path.contains("/topics/") => &PUBSUB,
            path if path.contains("/queues/") => &CLOUD_TASKS,
            path if path.starts_with("/v3/") => &DIALOGFLOW_CX,
            path if path.contains("/sessions/") => &DIALOGFLOW_ES,
            _ => &FCM,
        };
        document.check_request(request).map(drop)
    })
}

/// Refuses messages that Google Chat's document does not allow. The credentials of a webhook are not in it.
pub fn chat() -> Arc<Contract> {
    Arc::new(|request| {
        if !request.path.starts_with("/v1/spaces/") {
            return Ok(());
        }
        let mut bare = request.clone();
        bare.query.retain(|(name, _)| name != "token");
        CHAT.check_request(&bare).map(drop)
    })
}

impl Document {
    pub fn load(name: &str) -> Self {
        let root = packages::discovery(name);
        let mut methods = Vec::new();
        let base = root.get("servicePath").and_then(Value::as_str).unwrap_or_default().to_owned();
        collect(&root, &base, &mut methods);
        assert!(methods.len() > 3, "{name} has hardly any methods");
        Self { root, methods }
    }

    /// The id of the method that the request calls (`run.projects.locations.services.get`), or what is wrong with it.
    pub fn check_request(&self, request: &Request) -> Result<String, String> {
        let matches = |method: &&Method| method.http == request.method && method.path.is_match(&request.path);
        let Some(method) = self.methods.iter().find(matches) else {
            return Err(format!("no method for {} {}", request.method, request.path));
        };
        self.check_path(method, &request.path)?;
        for (name, value) in &request.query {
            self.check_parameter(method, name, value)?;
        }
        match (method.definition.pointer("/request/$ref").and_then(Value::as_str), request.body.is_empty()) {
            (None, true) => {}
            (None, false) => return Err(format!("{} takes no body", request.path)),
            // Every field of a message is optional in the document.
            (Some(_), true) => {}
            (Some(message), false) => {
                let body = request.json().ok_or("the body is not JSON")?;
                self.check_message(message, &body)?;
            }
        }
        Ok(method.definition.get("id").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Holds an answer against the message that the method gives.
    pub fn check_response(&self, method: &str, path: &str, body: &Value) -> Result<(), String> {
        let found = self.methods.iter().find(|known| known.http == method && known.path.is_match(path));
        let found = found.ok_or_else(|| format!("no method for {method} {path}"))?;
        let message = found.definition.pointer("/response/$ref").and_then(Value::as_str).ok_or("the method gives nothing")?;
        self.check_message(message, body)
    }

    /// Holds a document against a message by its name.
    pub fn check_message(&self, message: &str, value: &Value) -> Result<(), String> {
        let schema = self.schema(message)?;
        self.check_value(schema, value, message)
    }

    /// The fields of a message.
    pub fn fields(&self, message: &str) -> Option<&Map<String, Value>> {
        self.root.pointer(&format!("/schemas/{message}/properties"))?.as_object()
    }

    fn schema(&self, message: &str) -> Result<&Value, String> {
        self.root.pointer(&format!("/schemas/{message}")).ok_or_else(|| format!("no message {message}"))
    }

    fn check_path(&self, method: &Method, path: &str) -> Result<(), String> {
        let captures = method.path.captures(path).ok_or("the path does not match")?;
        let parameters = method.definition.get("parameters").and_then(Value::as_object);
        for (name, parameter) in parameters.into_iter().flatten() {
            let (Some(value), Some(pattern)) = (captures.name(name), parameter.get("pattern").and_then(Value::as_str)) else {
                continue;
            };
            let pattern = Regex::new(pattern).map_err(|error| error.to_string())?;
            if !pattern.is_match(value.as_str()) {
                return Err(format!("{name} `{}` does not match {pattern}", value.as_str()));
            }
        }
        Ok(())
    }

    fn check_parameter(&self, method: &Method, name: &str, value: &str) -> Result<(), String> {
        let own = method.definition.pointer(&format!("/parameters/{name}"));
        let own = own.filter(|parameter| parameter.get("location").and_then(Value::as_str) == Some("query"));
        let parameter = own.or_else(|| self.root.pointer(&format!("/parameters/{name}")));
        let parameter = parameter.ok_or_else(|| format!("no query parameter {name}"))?;
        if parameter.get("format").and_then(Value::as_str) == Some("google-fieldmask") {
            let message = method.definition.pointer("/request/$ref").and_then(Value::as_str).unwrap_or_default();
            return value.split(',').try_for_each(|path| self.check_mask(message, path));
        }
        let typed = match parameter.get("type").and_then(Value::as_str) {
            Some("boolean") => Value::Bool(value.parse().map_err(|_| format!("{name}: `{value}` is not a boolean"))?),
            Some("integer") => Value::from(value.parse::<i64>().map_err(|_| format!("{name}: `{value}` is not an integer"))?),
            _ => Value::from(value),
        };
        self.check_value(parameter, &typed, name)
    }

    /// A path of an update mask: fields of messages all the way down.
    fn check_mask(&self, message: &str, path: &str) -> Result<(), String> {
        let mut message = message.to_owned();
        for part in path.split('.') {
            let field = self.fields(&message).and_then(|fields| fields.get(part));
            let field = field.ok_or_else(|| format!("update mask `{path}`: {message} has no field `{part}`"))?;
            message = field.get("$ref").and_then(Value::as_str).unwrap_or("a plain value").to_owned();
        }
        Ok(())
    }

    fn check_value(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        if let Some(message) = schema.get("$ref").and_then(Value::as_str) {
            return self.check_value(self.schema(message)?, value, place);
        }
        let wrong = |expected: &str| Err(format!("{place}: expected {expected}, found {value}"));
        match (schema.get("type").and_then(Value::as_str).unwrap_or("any"), value) {
            ("any", _) => Ok(()),
            ("object", Value::Object(object)) => self.check_object(schema, object, place),
            ("array", Value::Array(items)) => {
                let element = schema.get("items").unwrap_or(&Value::Null);
                let check = |(index, item)| self.check_value(element, item, &format!("{place}[{index}]"));
                items.iter().enumerate().try_for_each(check)
            }
            ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => Ok(()),
            ("integer", Value::Number(number)) => {
                if number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()) {
                    Ok(())
                } else {
                    wrong("an int32")
                }
            }
            ("string", Value::String(text)) => check_text(schema, text).or_else(|expected| wrong(&expected)),
            (expected, _) => wrong(expected),
        }
    }

    fn check_object(&self, schema: &Value, object: &Map<String, Value>, place: &str) -> Result<(), String> {
        let fields = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        object.iter().try_for_each(|(name, value)| {
            let field = fields.and_then(|fields| fields.get(name)).or(others);
            let field = field.ok_or_else(|| format!("{place} has no field `{name}`"))?;
            self.check_value(field, value, &format!("{place}.{name}"))
        })
    }
}

fn check_text(schema: &Value, text: &str) -> Result<(), String> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let known = words.iter().any(|word| word.as_str() == Some(text));
        return if known { Ok(()) } else { Err(format!("one of {words:?}")) };
    }
    let fits = match schema.get("format").and_then(Value::as_str) {
        Some("int64") => text.parse::<i64>().is_ok(),
        Some("uint64") => text.parse::<u64>().is_ok(),
        Some("google-datetime" | "date-time") => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        Some("google-duration") => text.strip_suffix('s').is_some_and(|seconds| seconds.parse::<f64>().is_ok()),
        _ => true,
    };
    if fits { Ok(()) } else { Err(format!("the format {}", schema.get("format").unwrap_or(&Value::Null))) }
}

fn collect(node: &Value, base: &str, methods: &mut Vec<Method>) {
    for definition in node.get("methods").and_then(Value::as_object).into_iter().flatten().map(|(_, method)| method) {
        let text = |name: &str| definition.get(name).and_then(Value::as_str).unwrap_or_default();
        methods.push(Method {
            http: text("httpMethod").to_owned(),
            path: path_pattern(definition, base),
            definition: definition.clone(),
        });
    }
    for (_, resource) in node.get("resources").and_then(Value::as_object).into_iter().flatten() {
        collect(resource, base, methods);
    }
}

/// `v2/{+name}:wait` with the pattern of `name` in its place: several methods have the same path otherwise.
fn path_pattern(definition: &Value, base: &str) -> Regex {
    let mut pattern = format!("^/{}", regex::escape(base));
    let mut rest = definition.get("path").and_then(Value::as_str).unwrap_or_default();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a closed parameter");
        let name = name.trim_start_matches('+');
        let own = definition.pointer(&format!("/parameters/{name}/pattern")).and_then(Value::as_str);
        let own = own.map_or("[^/]+", |own| own.trim_start_matches('^').trim_end_matches('$'));
        pattern.push_str(&format!("{}(?P<{name}>{own})", regex::escape(before)));
        rest = after;
    }
    pattern.push_str(&format!("{}$", regex::escape(rest)));
    Regex::new(&pattern).expect("a path pattern")
}

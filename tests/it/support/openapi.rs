//! GitHub's OpenAPI description as a contract, read with the part of JSON Schema that it uses.
//!
//! Understood: `$ref`, `type`, `nullable`, `enum`, `properties`, `required`, `items`, `additionalProperties`, `allOf`, `anyOf`,
//! `oneOf`, `minLength`, `maxLength`. Stricter than JSON Schema in one point: a property that is not described is refused, unless
//! `additionalProperties` says otherwise. Not looked at: `format`, `pattern`, number bounds, and the addresses of servers.

use std::sync::{Arc, LazyLock};

use declic::demo::stand_ins::exchange::Request;
use declic::demo::stand_ins::server::Contract;
use serde_json::{Map, Value};

use super::packages;

/// The description of api.github.com.
pub static GITHUB: LazyLock<Description> =
    LazyLock::new(|| Description(packages::json(&packages::npm("@octokit/openapi/generated/api.github.com.json"))));

/// An OpenAPI description.
pub struct Description(Value);

/// Refuses what GitHub's description does not allow.
pub fn github() -> Arc<Contract> {
    Arc::new(|request| GITHUB.check_request(request).map(drop))
}

/// How undescribed properties are judged.
#[derive(Clone, Copy, PartialEq)]
enum Undescribed {
    Refused,
    Ignored,
}

impl Description {
    /// The operation's id (`repos/create-commit-status`), or what is wrong with the request.
    pub fn check_request(&self, request: &Request) -> Result<String, String> {
        let (template, operation) = self.operation(&request.method, &request.path)?;
        for (name, value) in self.path_values(template, operation, &request.path).unwrap_or_default() {
            self.check_parameter(operation, "path", &name, &value)?;
        }
        for (name, value) in &request.query {
            self.check_parameter(operation, "query", name, value)?;
        }
        let schema = operation.pointer("/requestBody/content/application~1json/schema");
        match (schema, request.body.is_empty()) {
            (None, true) => {}
            (None, false) => return Err(format!("{template} takes no body")),
            (Some(_), true) => return Err(format!("{template} needs a body")),
            (Some(schema), false) => {
                let body = request.json().ok_or("the body is not JSON")?;
                self.check(schema, &body, "body", Undescribed::Refused)?;
            }
        }
        Ok(operation.get("operationId").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Holds an answer against what the operation gives for this status.
    pub fn check_response(&self, method: &str, path: &str, status: u16, body: &Value) -> Result<(), String> {
        let (template, operation) = self.operation(method, path)?;
        let response = operation.pointer(&format!("/responses/{status}"));
        let response = self.resolve(response.ok_or_else(|| format!("{template} never answers {status}"))?)?;
        match response.pointer("/content/application~1json/schema") {
            Some(schema) => self.check(schema, body, "answer", Undescribed::Ignored),
            None => Ok(()),
        }
    }

    /// Properties that the body of an operation may have, with their schemas.
    pub fn body_properties(&self, method: &str, template: &str) -> Option<&Map<String, Value>> {
        let operation = self.0.get("paths")?.get(template)?.get(method.to_lowercase())?;
        let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
        // Where a body has several forms, the first is the one that GitHub recommends.
        schema.get("properties").or_else(|| schema.pointer("/oneOf/0/properties"))?.as_object()
    }

    /// Names of the properties that the body of an operation must have.
    pub fn body_required(&self, method: &str, template: &str) -> Vec<&str> {
        let operation = self.0.get("paths").and_then(|paths| paths.get(template)?.get(method.to_lowercase()));
        let required =
            operation.and_then(|operation| operation.pointer("/requestBody/content/application~1json/schema/required"));
        required.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The operation with the most literal path that matches.
    fn operation(&self, method: &str, path: &str) -> Result<(&str, &Value), String> {
        let paths = self.0.get("paths").and_then(Value::as_object).ok_or("the description has no paths")?;
        let operations = paths.iter().filter_map(|(template, item)| Some((template.as_str(), item.get(method.to_lowercase())?)));
        let matching = operations.filter(|(template, operation)| self.path_values(template, operation, path).is_some());
        let literal = |(template, _): &(&str, &Value)| template.split('/').filter(|part| !part.starts_with('{')).count();
        matching.max_by_key(literal).ok_or_else(|| format!("no operation {method} {path}"))
    }

    /// What a path has in place of the names of its template. Some may hold slashes: `x-multi-segment`.
    fn path_values(&self, template: &str, operation: &Value, path: &str) -> Option<Vec<(String, String)>> {
        let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        let first = template.iter().position(|part| part.starts_with('{')).unwrap_or(template.len());
        if template.len() > path.len() || template.get(..first) != path.get(..first) {
            return None;
        }
        let long: Vec<&str> = operation
            .get("parameters")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|parameter| self.resolve(parameter).ok())
            .filter(|parameter| parameter.get("x-multi-segment") == Some(&Value::Bool(true)))
            .filter_map(|parameter| parameter.get("name")?.as_str())
            .collect();
        values(&template, &path, &long)
    }

    fn check_parameter(&self, operation: &Value, place: &str, name: &str, value: &str) -> Result<(), String> {
        let parameters = operation.get("parameters").and_then(Value::as_array);
        for parameter in parameters.into_iter().flatten() {
            let parameter = self.resolve(parameter)?;
            let is = |key: &str, wanted: &str| parameter.get(key).and_then(Value::as_str) == Some(wanted);
            if is("name", name) && is("in", place) {
                let schema = self.resolve(parameter.get("schema").unwrap_or(&Value::Null))?;
                let typed = match schema.get("type").and_then(Value::as_str) {
                    Some("integer") => Value::from(value.parse::<i64>().map_err(|_| format!("{name}: `{value}` is no integer"))?),
                    Some("boolean") => {
                        Value::from(value.parse::<bool>().map_err(|_| format!("{name}: `{value}` is no boolean"))?)
                    }
                    _ => Value::from(value),
                };
                return self.check(schema, &typed, name, Undescribed::Refused);
            }
        }
        Err(format!("no {place} parameter {name}"))
    }

    fn resolve<'v>(&'v self, node: &'v Value) -> Result<&'v Value, String> {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let found = self.0.pointer(reference.trim_start_matches('#'));
                self.resolve(found.ok_or_else(|| format!("{reference} leads nowhere"))?)
            }
            None => Ok(node),
        }
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, undescribed: Undescribed) -> Result<(), String> {
        let schema = self.resolve(schema)?;
        let list = |key: &str| schema.get(key).and_then(Value::as_array);
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        if let Some(words) = list("enum")
            && !words.contains(value)
        {
            return Err(format!("{place}: expected one of {words:?}, found {value}"));
        }
        for part in list("allOf").into_iter().flatten() {
            // Each part describes only its own properties.
            self.check(part, value, place, Undescribed::Ignored)?;
        }
        if let Some(choices) = list("oneOf").or_else(|| list("anyOf")) {
            let own_properties = schema.get("properties").is_some();
            let judged = if own_properties { Undescribed::Ignored } else { undescribed };
            let faults: Vec<String> =
                choices.iter().filter_map(|choice| self.check(choice, value, place, judged).err()).collect();
            if faults.len() == choices.len() {
                return Err(format!("{place} fits none of its forms: {}", faults.join("; ")));
            }
        }
        self.check_type(schema, value, place, undescribed)
    }

    fn check_type(&self, schema: &Value, value: &Value, place: &str, undescribed: Undescribed) -> Result<(), String> {
        let wrong = |expected: &str| Err(format!("{place}: expected {expected}, found {value}"));
        match (schema.get("type").and_then(Value::as_str), value) {
            (None, _) | (Some("boolean"), Value::Bool(_)) | (Some("number"), Value::Number(_)) => Ok(()),
            (Some("integer"), Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(()),
            (Some("string"), Value::String(text)) => {
                let bound = |key: &str| schema.get(key).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
                let length = text.chars().count();
                let long = bound("maxLength").is_some_and(|most| length > most);
                let short = bound("minLength").is_some_and(|least| length < least);
                if long || short { wrong("another length") } else { Ok(()) }
            }
            (Some("array"), Value::Array(items)) => {
                let element = schema.get("items").unwrap_or(&Value::Null);
                let check = |(index, item)| self.check(element, item, &format!("{place}[{index}]"), undescribed);
                items.iter().enumerate().try_for_each(check)
            }
            (Some("object"), Value::Object(object)) => self.check_object(schema, object, place, undescribed),
            (Some(expected), _) => wrong(expected),
        }
    }

    fn check_object(
        &self,
        schema: &Value,
        object: &Map<String, Value>,
        place: &str,
        undescribed: Undescribed,
    ) -> Result<(), String> {
        let required = schema.get("required").and_then(Value::as_array);
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return Err(format!("{place} lacks `{name}`"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (name, value) in object {
            let inner = format!("{place}.{name}");
            match (properties.and_then(|properties| properties.get(name)), others) {
                (Some(property), _) => self.check(property, value, &inner, undescribed)?,
                (None, Some(other @ Value::Object(_))) => self.check(other, value, &inner, undescribed)?,
                (None, Some(Value::Bool(true))) => {}
                // An object without any property in its description may hold anything.
                (None, _) if properties.is_none() || undescribed == Undescribed::Ignored => {}
                (None, _) => return Err(format!("{place} has no property `{name}`")),
            }
        }
        Ok(())
    }
}

fn values(template: &[&str], path: &[&str], long: &[&str]) -> Option<Vec<(String, String)>> {
    let Some((part, more)) = template.split_first() else { return path.is_empty().then(Vec::new) };
    let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
        return (path.first() == Some(part)).then(|| values(more, &path[1..], long))?;
    };
    let most = if long.contains(&name) { path.len() } else { path.len().min(1) };
    (1..=most).find_map(|count| {
        let mut found = values(more, &path[count..], long)?;
        found.insert(0, (name.to_owned(), path[..count].join("/")));
        Some(found)
    })
}

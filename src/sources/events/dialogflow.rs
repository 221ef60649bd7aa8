//! `dialogflow.intent`: what Dialogflow ES and CX ask of a fulfillment. Undocumented fields are let through, as Google wants it.

use serde_json::{Map, Value, json};

use super::{Decoded, body, object, text};
use crate::journal::record::NewDelivery;

/// The kind of event.
pub const KIND: &str = "dialogflow.intent";

/// From an agent of Dialogflow ES.
pub fn es(content: &NewDelivery, payload: bool) -> Result<Option<Decoded>, String> {
    let request = body::json_object(&content.body)?;
    let Some(result @ Value::Object(_)) = request.get("queryResult") else {
        return Err("there is no queryResult in it: is this agent one of Dialogflow CX?".to_owned());
    };
    let contexts: Vec<&str> =
        list(result, "outputContexts").iter().filter_map(|context| last_part(context.get("name")?.as_str()?)).collect();
    let fields = json!({
        "flavor": "es",
        "intent": text(result, "/intent/displayName"),
        // A field that is 0 is left out.
        "confidence": number(result, "/intentDetectionConfidence").unwrap_or(0.0),
        "query": text(result, "/queryText"),
        "language": text(result, "/languageCode"),
        "session": text(&request, "/session"),
        "contexts": contexts,
        "page": null,
        "params": object(result, "/parameters"),
    });
    Ok(Some(decoded(fields, request, payload)))
}

/// From an agent of Dialogflow CX. Its webhooks are called by pages as well as by intents; the tag says which call it is.
pub fn cx(content: &NewDelivery, payload: bool) -> Result<Option<Decoded>, String> {
    let request = body::json_object(&content.body)?;
    if !request.get("sessionInfo").is_some_and(Value::is_object) {
        return Err("there is no sessionInfo in it: is this agent one of Dialogflow ES?".to_owned());
    }
    let first = |pointers: &[&str]| {
        pointers.iter().map(|pointer| text(&request, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
    };
    // A page that calls a webhook does so for certain; only where an intent was detected is there a doubt.
    let detected = request.get("intentInfo").is_some_and(Value::is_object);
    let confidence = if detected { number(&request, "/intentInfo/confidence").unwrap_or(0.0) } else { 1.0 };
    let page = first(&["/pageInfo/displayName"]);
    let page = if page.is_empty() { last_part(&text(&request, "/pageInfo/currentPage")).map(str::to_owned) } else { Some(page) };
    let fields = json!({
        "flavor": "cx",
        "intent": first(&["/fulfillmentInfo/tag", "/intentInfo/displayName"]),
        "confidence": confidence,
        "query": first(&["/text", "/transcript", "/triggerIntent", "/triggerEvent", "/dtmfDigits"]),
        "language": first(&["/languageInfo/resolvedLanguageCode", "/languageCode", "/languageInfo/inputLanguageCode"]),
        "session": text(&request, "/sessionInfo/session"),
        "contexts": [],
        "page": page,
        "params": params(&request),
    });
    Ok(Some(decoded(fields, request, payload)))
}

fn decoded(fields: Value, request: Value, payload: bool) -> Decoded {
    let mut decoded = Decoded::new(KIND, fields);
    if payload {
        decoded.fields.insert("payload".to_owned(), request);
    }
    decoded
}

/// What the intent brought, what the form of the page holds, what the session knows; later ones count more.
fn params(request: &Value) -> Map<String, Value> {
    let mut params = Map::new();
    for (name, parameter) in object(request, "/intentInfo/parameters") {
        if let Some(value) = parameter.get("resolvedValue") {
            params.insert(name, value.clone());
        }
    }
    for filled in request.pointer("/pageInfo/formInfo").map(|form| list(form, "parameterInfo")).unwrap_or_default() {
        if let (Some(name), Some(value)) = (filled.get("displayName").and_then(Value::as_str), filled.get("value")) {
            params.insert(name.to_owned(), value.clone());
        }
    }
    params.extend(object(request, "/sessionInfo/parameters"));
    params
}

fn list<'v>(document: &'v Value, name: &str) -> &'v [Value] {
    document.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn number(document: &Value, pointer: &str) -> Option<f64> {
    document.pointer(pointer).and_then(Value::as_f64)
}

/// `projects/…/contexts/NAME`
fn last_part(name: &str) -> Option<&str> {
    name.rsplit('/').next().filter(|part| !part.is_empty())
}

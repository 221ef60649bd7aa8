//! Requests and answers of Dialogflow's webhooks, ES and CX. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Which Dialogflow is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Flavor {
    Es,
    Cx,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) id: &'a str,
    pub(super) session: &'a str,
    pub(super) intent: &'a str,
    pub(super) query: &'a str,
    pub(super) params: Option<&'a Map<String, Value>>,
    pub(super) language: &'a str,
}

/// What was answered.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) texts: Vec<String>,
    pub(super) params: Map<String, Value>,
    pub(super) payload: Value,
}

/// Agents live in projects; this one is ours and does not exist.
const AGENT_ES: &str = "projects/declic/agent";
const AGENT_CX: &str = "projects/declic/locations/global/agents/declic";

impl Flavor {
    pub(super) fn request(self, question: &Question<'_>) -> Value {
        match self {
            Self::Es => es_request(question),
            Self::Cx => cx_request(question),
        }
    }

    /// The error completes "The answer of …".
    pub(super) fn read(self, answer: &Value) -> Result<Reply, String> {
        let answer = match answer {
            Value::Null => &Map::new(),
            Value::Object(answer) => answer,
            _ => return Err("is not a JSON object".into()),
        };
        match self {
            Self::Es => es_answer(answer),
            Self::Cx => cx_answer(answer),
        }
    }
}

fn es_request(question: &Question<'_>) -> Value {
    json!({
        "responseId": question.id,
        "session": format!("{AGENT_ES}/sessions/{}", question.session),
        "queryResult": {
            "queryText": question.query,
            "action": question.intent,
            "parameters": question.params.cloned().unwrap_or_default(),
            "allRequiredParamsPresent": true,
            "fulfillmentText": "",
            "fulfillmentMessages": [],
            "outputContexts": [],
            "intent": { "name": format!("{AGENT_ES}/intents/{}", segment(question.intent)), "displayName": question.intent },
            "intentDetectionConfidence": 1.0,
            "languageCode": question.language,
        },
        "originalDetectIntentRequest": { "source": "declic", "payload": {} },
    })
}

fn cx_request(question: &Question<'_>) -> Value {
    let params = question.params.cloned().unwrap_or_default();
    let original = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let intent_params: Map<String, Value> = params
        .iter()
        .map(|(name, value)| (name.clone(), json!({ "originalValue": original(value), "resolvedValue": value })))
        .collect();
    json!({
        "detectIntentResponseId": question.id,
        "text": question.query,
        "languageCode": question.language,
        "fulfillmentInfo": { "tag": question.intent },
        "intentInfo": {
            "lastMatchedIntent": format!("{AGENT_CX}/intents/{}", segment(question.intent)),
            "displayName": question.intent,
            "parameters": intent_params,
            "confidence": 1.0,
        },
        "pageInfo": { "currentPage": format!("{AGENT_CX}/flows/declic/pages/START_PAGE"), "displayName": "Start Page" },
        "sessionInfo": { "session": format!("{AGENT_CX}/sessions/{}", question.session), "parameters": params },
    })
}

/// A name as one segment of a resource name.
fn segment(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' })
        .collect()
}

fn es_answer(answer: &Map<String, Value>) -> Result<Reply, String> {
    let mut texts = Vec::new();
    if let Some(text) = text_of(answer, "fulfillmentText")? {
        texts.push(text);
    }
    for message in list(answer, "fulfillmentMessages")? {
        for text in message_texts(message)? {
            // Agents repeat the text as the first message.
            if texts.last() != Some(&text) {
                texts.push(text);
            }
        }
    }
    let mut params = Map::new();
    for context in list(answer, "outputContexts")? {
        let given = context.get("parameters").and_then(Value::as_object).into_iter().flatten();
        // `x.original` is how ES keeps what was said for `x`.
        params.extend(given.filter(|(name, _)| !name.ends_with(".original")).map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok(Reply { texts, params, payload: object(answer, "payload")? })
}

fn cx_answer(answer: &Map<String, Value>) -> Result<Reply, String> {
    let response = object(answer, "fulfillmentResponse")?;
    let empty = Map::new();
    let mut texts = Vec::new();
    for message in list(response.as_object().unwrap_or(&empty), "messages")? {
        texts.extend(message_texts(message)?);
    }
    let session = object(answer, "sessionInfo")?;
    let params = object(session.as_object().unwrap_or(&empty), "parameters")?;
    Ok(Reply { texts, params: params.as_object().cloned().unwrap_or_default(), payload: object(answer, "payload")? })
}

/// Both flavors write `{ text: { text: [..] } }`; other kinds of message hold none.
fn message_texts(message: &Value) -> Result<Vec<String>, String> {
    let Some(text) = message.get("text") else { return Ok(Vec::new()) };
    let texts = text.get("text").and_then(Value::as_array).ok_or("has a message whose `text.text` is not a list")?;
    let texts = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let texts = texts.ok_or("has a message whose `text.text` holds something else than texts")?;
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn text_of(answer: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("has a `{name}` that is not text")),
    }
}

fn list<'a>(answer: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("has a `{name}` that is not a list")),
    }
}

fn object(answer: &Map<String, Value>, name: &str) -> Result<Value, String> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(value @ Value::Object(_)) => Ok(value.clone()),
        Some(_) => Err(format!("has a `{name}` that is not an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_es_are_read() {
        let answer = json!({
            "fulfillmentText": "Hi",
            "fulfillmentMessages": [{ "text": { "text": ["Hi"] } }, { "card": {} }, { "text": { "text": ["Bye", ""] }, "platform": "SLACK" }],
            "outputContexts": [{ "name": "x", "parameters": { "a": 1, "a.original": "one" } }],
            "payload": { "k": "v" },
        });
        let reply = Flavor::Es.read(&answer).unwrap();
        assert_eq!(reply.texts, ["Hi", "Bye"]);
        assert_eq!(Value::Object(reply.params), json!({ "a": 1 }));
        assert_eq!(reply.payload, json!({ "k": "v" }));
    }

    #[test]
    fn answers_of_cx_are_read() {
        let answer = json!({
            "fulfillmentResponse": { "messages": [{ "text": { "text": ["One", "Two"] } }, { "payload": {} }], "mergeBehavior": "REPLACE" },
            "sessionInfo": { "parameters": { "n": 3 } },
        });
        let reply = Flavor::Cx.read(&answer).unwrap();
        assert_eq!(reply.texts, ["One", "Two"]);
        assert_eq!(Value::Object(reply.params), json!({ "n": 3 }));
        assert_eq!(reply.payload, Value::Null);
    }

    #[test]
    fn an_answer_of_the_wrong_form_is_an_error_and_an_empty_one_is_not() {
        for (flavor, answer) in [
            (Flavor::Es, json!([])),
            (Flavor::Es, json!({ "fulfillmentText": 1 })),
            (Flavor::Es, json!({ "fulfillmentMessages": {} })),
            (Flavor::Es, json!({ "fulfillmentMessages": [{ "text": { "text": "x" } }] })),
            (Flavor::Cx, json!({ "fulfillmentResponse": [] })),
            (Flavor::Cx, json!({ "sessionInfo": { "parameters": [] } })),
            (Flavor::Cx, json!("x")),
        ] {
            assert!(flavor.read(&answer).is_err(), "{answer}");
        }
        for flavor in [Flavor::Es, Flavor::Cx] {
            assert_eq!(flavor.read(&json!({})).unwrap().texts, Vec::<String>::new());
            assert_eq!(flavor.read(&Value::Null).unwrap().payload, Value::Null);
        }
    }
}

//! What asking a Dialogflow agent takes, ES or CX: where it is, how it is asked, what it answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Call, Context, Failure, Field, Why};
use crate::given::{self, Given, invalid};
use crate::http::{Method, Request};
use crate::kinds::google;

/// The outputs of whatever asks an agent.
pub(super) const ANSWER: &[Field] = &[
    Field { name: "intent", shape: "string?", summary: "Display name of the intent that was found" },
    Field { name: "confidence", shape: "double", summary: "How sure the agent is, 0 to 1" },
    Field { name: "text", shape: "text", summary: "The first text of the answer, empty if there is none" },
    Field { name: "texts", shape: "[text]", summary: "All texts of the answer" },
    Field { name: "params", shape: "{ \"*\": any }", summary: "Parameters of the intent (ES) or of the session (CX)" },
    Field { name: "payload", shape: "any", summary: "The custom payload of the answer, null if there is none" },
];

/// An agent, and what it is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    account: Option<String>,
    cx: bool,
    location: String,
    /// `projects/…/sessions/…`
    session: String,
    body: Value,
}

/// Text, or an event with parameters.
pub(super) enum Input<'a> {
    Text(String),
    Event(&'a str),
}

impl Question {
    /// From a call with `session`, `params` and `payload`.
    pub(super) fn read(call: &Call, input: &Input<'_>) -> Result<Self, Why> {
        let given = given::params(call);
        let connection = given::connection(call, "dialogflow")?;
        let cx = connection.one_of("flavor", &["es", "cx"])? == Some("cx");
        let part = |name: &str| connection.value(name).map(|_| google::segment(&connection, name)).transpose();
        let location = part("location")?.unwrap_or_else(|| "global".into());
        let language = connection.optional_text("language")?.unwrap_or("en");
        let session = crate::kinds::dialogflow_fulfill::session(given.text("session")?);
        let project = google::segment(&connection, "project")?;
        let (agent, environment) = (part("agent")?, part("environment")?);
        let place = match (cx, location.as_str()) {
            (false, "global") => format!("projects/{project}/agent"),
            (false, location) => format!("projects/{project}/locations/{location}/agent"),
            (true, location) => {
                let agent = agent.ok_or_else(|| invalid("a CX agent needs `agent` in the connection"))?;
                format!("projects/{project}/locations/{location}/agents/{agent}")
            }
        };
        let session = match environment {
            None => format!("{place}/sessions/{session}"),
            Some(environment) if cx => format!("{place}/environments/{environment}/sessions/{session}"),
            Some(environment) => format!("{place}/environments/{environment}/users/-/sessions/{session}"),
        };
        let body = if cx { cx_body(&given, input, language)? } else { es_body(&given, input, language)? };
        Ok(Self { account: google::act_as(&connection)?, cx, location, session, body })
    }

    /// Asks; gives the outputs.
    pub(super) async fn ask(&self, context: &Context<'_>) -> Result<Value, Failure> {
        let google = &context.clients.google;
        let base = match &google.settings().dialogflow_url {
            Some(base) => base.clone(),
            None if self.location == "global" => "https://dialogflow.googleapis.com".to_owned(),
            None => format!("https://{}-dialogflow.googleapis.com", self.location),
        };
        let version = if self.cx { "v3" } else { "v2" };
        let address = format!("{base}/{version}/{}:detectIntent", self.session);
        let request = Request::to(Method::POST, &address, context.deadline).json(&self.body);
        let answer = google.send(self.account.as_deref(), request).await.and_then(|answer| answer.json());
        let answer = answer.map_err(|error| error.into_failure("Dialogflow"))?;
        let result =
            answer.get("queryResult").ok_or_else(|| Failure::last("bad-answer", "Dialogflow's answer holds no `queryResult`"))?;
        Ok(self.outputs(result))
    }

    fn outputs(&self, result: &Value) -> Value {
        let (messages, intent) = match self.cx {
            true => (
                "responseMessages",
                result.pointer("/match/intent/displayName").or_else(|| result.pointer("/intent/displayName")),
            ),
            false => ("fulfillmentMessages", result.pointer("/intent/displayName")),
        };
        let confidence = match self.cx {
            true => result.pointer("/match/confidence").or_else(|| result.get("intentDetectionConfidence")),
            false => result.get("intentDetectionConfidence"),
        };
        let messages = result.get(messages).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let texts =
            messages.iter().filter_map(|message| message.pointer("/text/text")?.as_array()).flatten().filter_map(Value::as_str);
        let mut texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
        if let Some(text) =
            result.get("fulfillmentText").and_then(Value::as_str).filter(|text| !text.is_empty() && texts.is_empty())
        {
            texts.push(text);
        }
        let payload = messages.iter().find_map(|message| message.get("payload")).or_else(|| result.get("webhookPayload"));
        json!({
            "intent": intent.and_then(Value::as_str),
            "confidence": confidence.and_then(Value::as_f64).unwrap_or(0.0),
            "text": texts.first().copied().unwrap_or_default(),
            "texts": texts,
            "params": result.get("parameters").filter(|params| params.is_object()).cloned().unwrap_or_else(|| json!({})),
            "payload": payload,
        })
    }
}

fn es_body(given: &Given<'_>, input: &Input<'_>, language: &str) -> Result<Value, Why> {
    let query = match input {
        Input::Text(text) => json!({ "text": { "text": text, "languageCode": language } }),
        Input::Event(name) => {
            let mut event = json!({ "name": name, "languageCode": language });
            if let Some(params) = given.optional_object("params")? {
                event["parameters"] = Value::Object(params.clone());
            }
            json!({ "event": event })
        }
    };
    Ok(with_parameters(query, given.optional_object("payload")?.map(|payload| ("payload", payload)).into_iter()))
}

fn cx_body(given: &Given<'_>, input: &Input<'_>, language: &str) -> Result<Value, Why> {
    let query = match input {
        Input::Text(text) => json!({ "text": { "text": text }, "languageCode": language }),
        // An event of CX has a name and nothing else: its parameters are the session's.
        Input::Event(name) => json!({ "event": { "event": name }, "languageCode": language }),
    };
    let parameters = given.optional_object("params")?.map(|params| ("parameters", params));
    let payload = given.optional_object("payload")?.map(|payload| ("payload", payload));
    Ok(with_parameters(query, parameters.into_iter().chain(payload)))
}

fn with_parameters<'a>(query: Value, parameters: impl Iterator<Item = (&'a str, &'a Map<String, Value>)>) -> Value {
    let parameters: Map<String, Value> =
        parameters.map(|(name, values)| (name.to_owned(), Value::Object(values.clone()))).collect();
    let mut body = json!({ "queryInput": query });
    if !parameters.is_empty() {
        body["queryParams"] = Value::Object(parameters);
    }
    body
}

/// An event's name.
pub(super) fn event_name<'a>(given: &Given<'a>) -> Result<&'a str, Why> {
    let name = given.text("event")?;
    let fits = name.len() <= 150 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits { Ok(name) } else { Err(invalid("`with.event` is the name of an event: letters, digits, `-`, `_` and `.`")) }
}

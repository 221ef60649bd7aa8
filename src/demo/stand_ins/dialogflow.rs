//! A stand-in for an endpoint that answers Dialogflow's webhook requests, ES at `/es` and CX at `/cx`.
//!
//! It takes only what Dialogflow itself would send, so that a client which gets the shape wrong is refused with 400.

use std::sync::{LazyLock, Mutex};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::exchange::{Answer, Request};
use super::ledger::{Ledger, lock};
use super::server::Api;
use super::shape::{Problem, Reading, Shapes};

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::parse(include_str!("dialogflow.shapes"), Reading::Protobuf));

/// The shapes of webhook requests, for the test that compares them with the published documents.
pub fn shapes() -> &'static Shapes {
    &SHAPES
}

/// State of the stand-in.
pub struct Dialogflow {
    ledger: Ledger,
    authorization: Mutex<Option<String>>,
    answer: Mutex<Option<Value>>,
}

impl Dialogflow {
    pub(super) fn new(_base: &str, ledger: &Ledger) -> Self {
        Self { ledger: ledger.clone(), authorization: Mutex::default(), answer: Mutex::default() }
    }

    /// From now on requests need exactly this `Authorization` header.
    pub fn require_authorization(&self, header: &str) {
        *lock(&self.authorization) = Some(header.to_owned());
    }

    /// From now on it answers this document instead of one made from the request.
    pub fn answer_with(&self, document: Value) {
        *lock(&self.answer) = Some(document);
    }

    fn fulfill(&self, request: &Request, flavor: Flavor) -> Result<Answer, Answer> {
        let media_type = request.header("content-type").unwrap_or_default();
        if !media_type.starts_with("application/json") {
            return Err(Answer::text(415, format!("Content-Type must be application/json, not `{media_type}`")));
        }
        let bad = |message: String| Answer::google_error(400, &message);
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&request.body) else {
            return Err(bad("the body is not a JSON object".into()));
        };
        let message = flavor.message();
        SHAPES.check(message, &body).map_err(|violation| {
            bad(match violation.problem {
                Problem::Unknown => format!("{message} has no field `{}`", violation.path),
                Problem::Missing => format!("{message} lacks `{}`", violation.path),
                Problem::Wrong(what) => format!("`{}`: {what}", violation.path),
            })
        })?;
        let asked = flavor.read(&body).map_err(bad)?;
        let details = json!({ "session": asked.session, "parameters": asked.parameters, "response": asked.id });
        self.ledger.effect("intent.fulfilled", &asked.intent, details);
        let fixed = lock(&self.answer).clone();
        Ok(Answer::json(200, &fixed.unwrap_or_else(|| flavor.reply(&asked))))
    }
}

#[derive(Debug, Clone, Copy)]
enum Flavor {
    Es,
    Cx,
}

/// What both flavors tell.
struct Asked {
    id: String,
    session: String,
    intent: String,
    parameters: Map<String, Value>,
}

impl Flavor {
    fn message(self) -> &'static str {
        match self {
            Self::Es => "EsWebhookRequest",
            Self::Cx => "CxWebhookRequest",
        }
    }

    /// Checks what a shape cannot say: formats of names, and one of several fields.
    fn read(self, body: &Map<String, Value>) -> Result<Asked, String> {
        let body = Value::Object(body.clone());
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, session, intent, parameters) = match self {
            Self::Es => ("/responseId", "/session", "/queryResult/intent/displayName", "/queryResult/parameters"),
            Self::Cx => ("/detectIntentResponseId", "/sessionInfo/session", "/intentInfo/displayName", "/sessionInfo/parameters"),
        };
        let asked = Asked {
            id: text(id),
            session: text(session),
            intent: text(intent),
            parameters: body.pointer(parameters).and_then(Value::as_object).cloned().unwrap_or_default(),
        };
        for (pointer, value) in [(id, &asked.id), (session, &asked.session), (intent, &asked.intent)] {
            if value.is_empty() {
                return Err(format!("`{pointer}` is empty"));
            }
        }
        let parts: Vec<&str> = asked.session.split('/').collect();
        let known = match (self, &parts[..]) {
            (Self::Es, ["projects", project, rest @ ..]) => {
                let rest = if let ["locations", _, rest @ ..] = rest { rest } else { rest };
                let session = match rest {
                    ["agent", "sessions", session] | ["agent", "environments", _, "users", _, "sessions", session] => session,
                    _ => "",
                };
                !project.is_empty() && !session.is_empty()
            }
            (Self::Cx, ["projects", _, "locations", _, "agents", _, "sessions", session]) => !session.is_empty(),
            (Self::Cx, ["projects", _, "locations", _, "agents", _, "environments", _, "sessions", session]) => {
                !session.is_empty()
            }
            _ => false,
        };
        if !known {
            return Err(format!("`{}` is not the name of a session", asked.session));
        }
        if matches!(self, Self::Cx) {
            let inputs = ["text", "triggerIntent", "transcript", "triggerEvent", "dtmfDigits"];
            let given = inputs.iter().filter(|name| body.get(**name).is_some_and(|value| !value.is_null())).count();
            if given != 1 {
                return Err(format!("exactly one of {} must be there, not {given}", inputs.join(", ")));
            }
        }
        Ok(asked)
    }

    /// Two texts that name the intent and its parameters, the parameters back with one more, and a payload.
    fn reply(self, asked: &Asked) -> Value {
        let names: Vec<&str> = asked.parameters.keys().map(String::as_str).collect();
        let texts = [format!("Noted: {}.", asked.intent), format!("Parameters: {}.", names.join(", "))];
        let mut parameters = asked.parameters.clone();
        parameters.insert("noted".into(), true.into());
        let payload = json!({ "intent": asked.intent });
        match self {
            Self::Es => json!({
                "fulfillmentText": texts[0],
                "fulfillmentMessages": texts.iter().map(|text| json!({ "text": { "text": [text] } })).collect::<Vec<_>>(),
                "outputContexts": [{
                    "name": format!("{}/contexts/noted", asked.session), "lifespanCount": 5, "parameters": parameters,
                }],
                "payload": payload,
            }),
            Self::Cx => json!({
                "fulfillmentResponse": {
                    "messages": texts.iter().map(|text| json!({ "text": { "text": [text] } })).collect::<Vec<_>>(),
                    "mergeBehavior": "APPEND",
                },
                "sessionInfo": { "parameters": parameters },
                "payload": payload,
            }),
        }
    }
}

#[async_trait]
impl Api for Dialogflow {
    async fn answer(&self, request: &Request) -> Answer {
        let flavor = match request.path.as_str() {
            "/es" => Flavor::Es,
            "/cx" => Flavor::Cx,
            _ => return Answer::text(404, "Not Found"),
        };
        if request.method != "POST" {
            return Answer::text(405, "Method Not Allowed").with_header("allow", "POST");
        }
        let required = lock(&self.authorization).clone();
        if required.is_some() && request.header("authorization") != required.as_deref() {
            return Answer::text(401, "Unauthorized");
        }
        self.fulfill(request, flavor).unwrap_or_else(|refusal| refusal)
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

//! `dialogflow/fulfill`: calls an endpoint the way Dialogflow does.

mod shapes;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::http::{HttpError, Method, Request, shown_url};
use crate::kinds::auth::Auth;
use crate::kinds::dialogflow_fulfill::shapes::{Flavor, Question};

/// Dialogflow itself takes no longer answer.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The action.
pub struct DialogflowFulfill;

static SPEC: Spec = Spec {
    name: "dialogflow/fulfill",
    summary: "Asks a Dialogflow fulfillment endpoint (ES or CX) and reads its answer",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The endpoint, by its name under `connections:`" },
        Field { name: "session", shape: "string", summary: "Id of the conversation" },
        Field { name: "intent", shape: "string", summary: "Display name of the intent (CX: also the tag)" },
        Field { name: "query", shape: "any?", summary: "What the user said" },
        Field { name: "params", shape: "{ \"*\": any }?", summary: "Parameters of the intent" },
    ],
    outputs: &[
        Field { name: "text", shape: "text", summary: "The first text of the answer, empty if there is none" },
        Field { name: "texts", shape: "[text]", summary: "All texts of the answer" },
        Field {
            name: "params",
            shape: "{ \"*\": any }",
            summary: "Parameters that the answer sets, in contexts (ES) or in the session (CX)",
        },
        Field { name: "payload", shape: "any", summary: "The custom payload of the answer, null if there is none" },
    ],
    example: r#"connection: legacy_bot
session: deploy-17
intent: deploy.finished
params: { service: web }
"#,
    deadline: Duration::from_secs(5),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "The request carries the call's key as `responseId` (ES) or `detectIntentResponseId` (CX), by which an endpoint can tell",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    url: String,
    flavor: Flavor,
    request: Value,
    auth: Auth,
}

#[async_trait]
impl Action for DialogflowFulfill {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "dialogflow-fulfillment")?;
        let (url, flavor, auth, language, intent, asked, params) = all((
            address(&connection),
            connection.one_of("flavor", &["es", "cx"]),
            Auth::read(&connection),
            connection.optional_text("language"),
            given.text("intent"),
            given.text("session"),
            given.optional_object("params"),
        ))?;
        let flavor = if flavor == Some("cx") { Flavor::Cx } else { Flavor::Es };
        let question = Question {
            id: &call.key,
            session: &session(asked),
            intent,
            query: &given
                .value("query")
                .map_or_else(|| intent.to_owned(), |query| query.as_str().map_or_else(|| query.to_string(), str::to_owned)),
            params,
            language: language.unwrap_or("en"),
        };
        let request = flavor.request(&question);
        let summary = format!("ask {} about {intent}", shown_url(&url.1));
        let plan = Plan { url: url.0.to_owned(), flavor, request, auth };
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let request = Request::to(Method::POST, &plan.url, context.deadline).json(&plan.request).cap(LONGEST_ANSWER);
        let answer = plan.auth.send(context, &intent.call.key, request).await.and_then(|answer| answer.json());
        let answer = answer.and_then(|answer| plan.flavor.read(&answer).map_err(HttpError::BadAnswer));
        let answer = answer.map_err(|error| error.into_failure("The fulfillment endpoint"))?;
        let text = answer.texts.first().cloned().unwrap_or_default();
        let summary = format!("answered with {} texts", answer.texts.len());
        let outputs = json!({ "text": text, "texts": answer.texts, "params": answer.params, "payload": answer.payload });
        Ok(Outcome { outputs, summary, url: None })
    }
}

/// Dialogflow's session ids have at most 36 plain characters; anything else is represented by its hash.
pub(super) fn session(text: &str) -> String {
    let plain = text.len() <= 36 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:@".contains(&byte));
    if plain { text.to_owned() } else { hex::encode(Sha256::digest(text.as_bytes())).chars().take(36).collect() }
}

/// As it is written, and as it is shown.
fn address<'a>(connection: &given::Given<'a>) -> Result<(&'a str, Url), Why> {
    let written = connection.text("url")?;
    let url = Url::parse(written).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.map(|url| (written, url)).ok_or_else(|| invalid("`connection.url` is an http or https address"))
}

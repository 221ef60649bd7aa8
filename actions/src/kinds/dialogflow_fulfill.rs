//! `dialogflow/fulfill`: calls an endpoint the way Dialogflow does.

use std::time::Duration;

use async_trait::async_trait;

use crate::action::{Action, Call, Class, Context, Failure, Field, Intent, Outcome, Repeat, Spec, Why};

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

#[async_trait]
impl Action for DialogflowFulfill {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, _call: Call) -> Result<Intent, Why> {
        todo!()
    }

    async fn run(&self, _context: &Context<'_>, _intent: &Intent) -> Result<Outcome, Failure> {
        todo!()
    }
}

//! `dialogflow/detect-intent`: says something to an agent and reads its answer.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all};
use crate::kinds::dialogflow::{self, Input, Question};
use crate::kinds::google;

/// The action.
pub struct DialogflowDetectIntent;

static SPEC: Spec = Spec {
    name: "dialogflow/detect-intent",
    summary: "Says something to a Dialogflow agent (ES or CX), as a user would, and reads its answer",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The agent, by its name under `connections:`" },
        Field { name: "session", shape: "string", summary: "Id of the conversation" },
        Field { name: "query", shape: "any", summary: "What is said" },
        Field { name: "params", shape: "{ \"*\": any }?", summary: "Parameters of the session; CX only" },
        Field { name: "payload", shape: "{ \"*\": any }?", summary: "Custom data for the agent's own webhook" },
    ],
    outputs: dialogflow::ANSWER,
    example: "connection: shop_bot\nsession: order-17\nquery: Where is my order?\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "A conversation has no place for a key: what is said twice was said twice",
};

#[async_trait]
impl Action for DialogflowDetectIntent {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let query = given.value("query").map(google::text_of).filter(|query| !query.is_empty());
        let query = query.ok_or_else(|| given::invalid("`with.query` is empty"));
        let (query, session) = all((query, given.text("session")))?;
        let question = Question::read(&call, &Input::Text(query))?;
        let summary = format!("ask the agent in the session {session}");
        given::intent(call, &question, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let outputs = given::plan::<Question>(intent)?.ask(context).await?;
        let found = outputs.get("intent").and_then(Value::as_str).unwrap_or("no intent");
        let summary = format!("found {found}");
        Ok(Outcome { outputs, summary, url: None })
    }
}

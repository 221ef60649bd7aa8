//! `dialogflow/send-event`: an event for an agent, such as "the deploy is done", in a conversation that goes on.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all};
use crate::kinds::dialogflow::{self, Input, Question, event_name};

/// The action.
pub struct DialogflowSendEvent;

static SPEC: Spec = Spec {
    name: "dialogflow/send-event",
    summary: "Sends an event to a Dialogflow agent (ES or CX) in a conversation, and reads its answer",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The agent, by its name under `connections:`" },
        Field { name: "session", shape: "string", summary: "Id of the conversation" },
        Field { name: "event", shape: "string", summary: "Name of the event" },
        Field { name: "params", shape: "{ \"*\": any }?", summary: "Parameters of the event (ES) or of the session (CX)" },
        Field { name: "payload", shape: "{ \"*\": any }?", summary: "Custom data for the agent's own webhook" },
    ],
    outputs: dialogflow::ANSWER,
    example: "connection: shop_bot\nsession: order-17\nevent: order-shipped\nparams: { carrier: dhl }\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "A conversation has no place for a key: an event sent twice happened twice",
};

#[async_trait]
impl Action for DialogflowSendEvent {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let (event, _) = all((event_name(&given), given.text("session")))?;
        let event = event.to_owned();
        let question = Question::read(&call, &Input::Event(&event))?;
        given::intent(call, &question, format!("send the event {event} to the agent"))
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let outputs = given::plan::<Question>(intent)?.ask(context).await?;
        let found = outputs.get("intent").and_then(Value::as_str).unwrap_or("no intent");
        let summary = format!("the agent went to {found}");
        Ok(Outcome { outputs, summary, url: None })
    }
}

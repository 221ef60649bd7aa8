//! `github/repository-dispatch`: an event for the workflows of the event's repository.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::hops;
use crate::kinds::github;

/// GitHub takes ten properties, and two are ours.
const MOST_PROPERTIES: usize = 8;
const LONGEST_TYPE: usize = 100;
const LARGEST_PAYLOAD: usize = 60_000;

/// The action.
pub struct GithubRepositoryDispatch;

static SPEC: Spec = Spec {
    name: "github/repository-dispatch",
    summary: "Sends a `repository_dispatch` event to the workflows of the event's repository",
    class: Class::Deploy,
    parameters: &[
        Field { name: "event-type", shape: "string", summary: "What workflows ask for under `types:`" },
        Field {
            name: "payload",
            shape: "{ \"*\": any }?",
            summary: "Read in a workflow as `github.event.client_payload`; at most eight properties",
        },
    ],
    outputs: &[],
    example: "event-type: staging-deployed\npayload: { service: api }\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "GitHub answers nothing that could be looked up; the payload carries the call's key as `declic_key`",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    path: String,
    event_type: String,
    payload: Map<String, Value>,
}

#[async_trait]
impl Action for GithubRepositoryDispatch {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let (event_type, payload, repository) = all((event_type(&given), payload(&given, &call), github::repository(&call)))?;
        let summary = format!("send {event_type} to {}", repository.trim_start_matches("/repos/"));
        let plan = Plan { path: format!("{repository}/dispatches"), event_type: event_type.to_owned(), payload };
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let body = json!({ "event_type": plan.event_type, "client_payload": plan.payload });
        context.clients.github.post(&plan.path, &body, context.deadline).await?;
        Ok(Outcome { outputs: json!({}), summary: format!("sent {}", plan.event_type), url: None })
    }
}

fn event_type<'a>(given: &given::Given<'a>) -> Result<&'a str, Why> {
    let event_type = given.text("event-type")?;
    if event_type.chars().count() > LONGEST_TYPE {
        return Err(invalid(format!("`with.event-type` is longer than {LONGEST_TYPE} characters")));
    }
    Ok(event_type)
}

/// With the marks by which our own effects are known.
fn payload(given: &given::Given<'_>, call: &Call) -> Result<Map<String, Value>, Why> {
    let mut payload = given.optional_object("payload")?.cloned().unwrap_or_default();
    payload.shift_remove(hops::KEY);
    payload.shift_remove(hops::HOPS);
    if payload.len() > MOST_PROPERTIES {
        let message = format!("`with.payload` has at most {MOST_PROPERTIES} properties; put the others into one of them");
        return Err(invalid(message));
    }
    payload.insert(hops::KEY.into(), call.key.clone().into());
    payload.insert(hops::HOPS.into(), hops::next(call)?.into());
    if Value::Object(payload.clone()).to_string().len() > LARGEST_PAYLOAD {
        return Err(invalid(format!("`with.payload` is longer than {LARGEST_PAYLOAD} bytes")));
    }
    Ok(payload)
}

//! `pubsub/publish`: one message to one topic.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all, every, invalid, refuse_if};
use crate::hops;
use crate::http::{Method, Request};
use crate::kinds::google;

/// Pub/Sub's own limits.
const MOST_ATTRIBUTES: usize = 100;
const LONGEST_NAME: usize = 256;
const LONGEST_VALUE: usize = 1024;
const LARGEST_MESSAGE: usize = 10_000_000;
/// By this attribute a subscriber can tell that it has seen a message.
const KEY: &str = "declic-key";

/// The action.
pub struct PubsubPublish;

static SPEC: Spec = Spec {
    name: "pubsub/publish",
    summary: "Publishes a message to a Pub/Sub topic",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The topics, by their name under `connections:`" },
        Field { name: "topic", shape: "string", summary: "Name of the topic, one of the connection's `topics`" },
        Field { name: "data", shape: "any", summary: "The message; text goes as it is, everything else as JSON" },
        Field { name: "attributes", shape: "{ \"*\": any }?", summary: "Attributes; what is not text is written as JSON" },
        Field { name: "ordering-key", shape: "any?", summary: "Messages of one key stay in order" },
    ],
    outputs: &[Field { name: "message_id", shape: "string", summary: "Pub/Sub's id of the message" }],
    example: "connection: bus\ntopic: deploy-finished\ndata: { service: api, ok: true }\nattributes: { service: api }\n",
    deadline: Duration::from_secs(30),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "Every message carries the call's key as the attribute `declic-key`, for subscribers to drop the second one",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    account: Option<String>,
    /// `projects/P/topics/T`
    topic: String,
    data: String,
    attributes: BTreeMap<String, String>,
    ordering_key: Option<String>,
}

#[async_trait]
impl Action for PubsubPublish {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "pubsub")?;
        let data = given.value("data").map(google::text_of).unwrap_or_default();
        let ordering_key = given.value("ordering-key").map(google::text_of).filter(|key| !key.is_empty());
        let long_key = ordering_key.as_ref().is_some_and(|key| key.len() > LONGEST_VALUE);
        let (topic, project, account, mut attributes, _, _) = all((
            google::listed(&given, "topic", &connection, "topics"),
            google::segment(&connection, "project"),
            google::act_as(&connection),
            attributes(&given),
            refuse_if(data.len() > LARGEST_MESSAGE, || {
                invalid(format!("`with.data` is longer than the {LARGEST_MESSAGE} bytes that Pub/Sub takes"))
            }),
            refuse_if(long_key, || invalid(format!("`with.ordering-key` is longer than {LONGEST_VALUE} bytes"))),
        ))?;
        if data.is_empty() && attributes.is_empty() {
            return Err(invalid("a message needs `data` or `attributes`").into());
        }
        attributes.insert(KEY.into(), call.key.clone());
        attributes.insert(hops::ATTRIBUTE.into(), hops::next(&call)?.to_string());
        let topic = format!("projects/{project}/topics/{topic}");
        let summary = format!("publish {} bytes to {topic}", data.len());
        given::intent(call, &Plan { account, topic, data, attributes, ordering_key }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let google = &context.clients.google;
        let mut message = json!({ "data": STANDARD.encode(&plan.data), "attributes": plan.attributes });
        if let (Some(key), Some(message)) = (&plan.ordering_key, message.as_object_mut()) {
            message.insert("orderingKey".into(), Value::from(key.clone()));
        }
        let address = format!("{}/v1/{}:publish", google.settings().pubsub_url, plan.topic);
        let request = Request::to(Method::POST, &address, context.deadline).json(&json!({ "messages": [message] }));
        let answer = google.send(plan.account.as_deref(), request).await.and_then(|answer| answer.json());
        let answer = answer.map_err(|error| error.into_failure("Pub/Sub"))?;
        let id = google::answered(&answer, "/messageIds/0", "Pub/Sub")?;
        let summary = format!("published {id} to {}", plan.topic);
        Ok(Outcome { outputs: json!({ "message_id": id }), summary, url: None })
    }
}

fn attributes(given: &given::Given<'_>) -> Result<BTreeMap<String, String>, Faults> {
    let attribute = |(name, value): (&String, &Value)| {
        let value = google::text_of(value);
        let shown = crate::http::shown(name);
        if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with("goog") {
            return Err(invalid(format!(
                "`{shown}` cannot be an attribute: at most {LONGEST_NAME} bytes, not beginning with goog"
            )));
        }
        if value.len() > LONGEST_VALUE {
            return Err(invalid(format!("the attribute `{shown}` is longer than {LONGEST_VALUE} bytes; put it into `data`")));
        }
        Ok((name.clone(), value))
    };
    let attributes: BTreeMap<String, String> = every(given.optional_object("attributes")?.into_iter().flatten().map(attribute))?;
    // The key and the hops go with them.
    if attributes.len() > MOST_ATTRIBUTES - 2 {
        return Err(invalid(format!("a message has at most {} attributes", MOST_ATTRIBUTES - 2)).into());
    }
    Ok(attributes)
}

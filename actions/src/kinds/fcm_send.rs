//! `fcm/send`: a push message to a topic or a device.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, invalid};
use crate::http::{HttpError, Method, Request};
use crate::kinds::google;

/// FCM takes so many bytes of data and notification together.
const LARGEST: usize = 4096;

/// The action.
pub struct FcmSend;

static SPEC: Spec = Spec {
    name: "fcm/send",
    summary: "Sends a push message through Firebase Cloud Messaging",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The project, by its name under `connections:`" },
        Field { name: "topic", shape: "string?", summary: "Name of a topic; either this or `token`" },
        Field { name: "token", shape: "string?", summary: "Registration token of one device" },
        Field { name: "title", shape: "plain", summary: "Title of the notification" },
        Field { name: "body", shape: "plain", summary: "Its text" },
        Field { name: "data", shape: "{ \"*\": any }?", summary: "Data for the app; what is not text is written as JSON" },
        Field { name: "priority", shape: "normal|high?", summary: "`high` wakes sleeping devices" },
    ],
    outputs: &[Field { name: "message_id", shape: "string", summary: "FCM's name of the message" }],
    example: "connection: mobile\ntopic: news\ntitle: News\nbody: There is news.\n",
    deadline: Duration::from_secs(15),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "FCM offers no way to tell; the data carries the call's key as `declic_key`, for the app to drop the second one",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    account: Option<String>,
    project: String,
    message: Value,
}

#[async_trait]
impl Action for FcmSend {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Why> {
        let given = given::params(&call);
        let connection = given::connection(&call, "fcm")?;
        let (to, receiver) = match (given.optional_text("topic")?, given.optional_text("token")?) {
            (Some(topic), None) if is_topic(topic) => (("topic", topic), format!("the topic {topic}")),
            (Some(_), None) => return Err(invalid("`with.topic` has letters, digits and `-_.~%` only")),
            (None, Some(token)) if !token.is_empty() => (("token", token), "a device".to_owned()),
            _ => return Err(invalid("a message goes to a `topic` or to a `token`, and only to one of them")),
        };
        let data = data(&given, &call.key)?;
        let notification = json!({ "title": given.text("title")?, "body": given.text("body")? });
        let size = notification.to_string().len() + data.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if size > LARGEST {
            return Err(invalid(format!("the message has {size} bytes, and FCM takes {LARGEST}; shorten `body` or `data`")));
        }
        let mut message = json!({ to.0: to.1, "notification": notification, "data": data });
        if let (Some(priority), Some(message)) = (given.one_of("priority", &["normal", "high"])?, message.as_object_mut()) {
            message.insert("android".into(), json!({ "priority": priority.to_ascii_uppercase() }));
            let apns = if priority == "high" { "10" } else { "5" };
            message.insert("apns".into(), json!({ "headers": { "apns-priority": apns } }));
        }
        let plan = Plan { account: google::act_as(&connection)?, project: google::segment(&connection, "project")?, message };
        given::intent(call, &plan, format!("push a message to {receiver}"))
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let google = &context.clients.google;
        let address = format!("{}/v1/projects/{}/messages:send", google.settings().fcm_url, plan.project);
        let request = Request::to(Method::POST, &address, context.deadline).json(&json!({ "message": plan.message }));
        let answer = google.send(plan.account.as_deref(), request).await.map_err(failure)?;
        let answer = answer.json().map_err(failure)?;
        let id = google::answered(&answer, "/name", "FCM")?;
        Ok(Outcome { outputs: json!({ "message_id": id }), summary: format!("sent {id}"), url: None })
    }
}

fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte))
}

fn data(given: &given::Given<'_>, key: &str) -> Result<BTreeMap<String, String>, Why> {
    let mut data = BTreeMap::from([("declic_key".to_owned(), key.to_owned())]);
    for (name, value) in given.optional_object("data")?.into_iter().flatten() {
        let reserved = matches!(name.as_str(), "from" | "message_type") || name.starts_with("google") || name.starts_with("gcm");
        if reserved {
            return Err(invalid(format!("FCM keeps the name `{}` in `data` for itself", crate::http::shown(name))));
        }
        data.insert(name.clone(), google::text_of(value));
    }
    Ok(data)
}

/// A device that is gone is told apart from a project that is not there: both are 404.
fn failure(error: HttpError) -> Failure {
    if let HttpError::Status { status: 404, response, .. } = &error {
        let details = response.json().unwrap_or_default();
        let details = details.pointer("/error/details").and_then(Value::as_array).cloned().unwrap_or_default();
        if details.iter().any(|detail| detail.get("errorCode").and_then(Value::as_str) == Some("UNREGISTERED")) {
            return Failure::last("unregistered", "The device's registration token is not valid any more; forget it");
        }
    }
    error.into_failure("FCM")
}

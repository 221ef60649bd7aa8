//! `fcm/send`: a push message to a topic or a device.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, every, invalid};
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

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "fcm")?;
        let ((field, to, receiver), data, title, body, priority, account, project) = all((
            receiver(&given),
            data(&given, &call.key),
            given.text("title"),
            given.text("body"),
            given.one_of("priority", &["normal", "high"]),
            google::act_as(&connection),
            google::segment(&connection, "project"),
        ))?;
        let notification = json!({ "title": title, "body": body });
        let size = notification.to_string().len() + data.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if size > LARGEST {
            let message = format!("the message has {size} bytes, and FCM takes {LARGEST}; shorten `body` or `data`");
            return Err(invalid(message).into());
        }
        let mut message = json!({ field: to, "notification": notification, "data": data });
        if let (Some(priority), Some(message)) = (priority, message.as_object_mut()) {
            message.insert("android".into(), json!({ "priority": priority.to_ascii_uppercase() }));
            let apns = if priority == "high" { "10" } else { "5" };
            message.insert("apns".into(), json!({ "headers": { "apns-priority": apns } }));
        }
        given::intent(call, &Plan { account, project, message }, format!("push a message to {receiver}"))
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

/// The field that names the receiver, the receiver, and it in words.
fn receiver<'a>(given: &given::Given<'a>) -> Result<(&'static str, &'a str, String), Why> {
    match (given.optional_text("topic")?, given.optional_text("token")?) {
        (Some(topic), None) if is_topic(topic) => Ok(("topic", topic, format!("the topic {topic}"))),
        (Some(_), None) => Err(invalid("`with.topic` has letters, digits and `-_.~%` only")),
        (None, Some(token)) if !token.is_empty() => Ok(("token", token, "a device".to_owned())),
        _ => Err(invalid("a message goes to a `topic` or to a `token`, and only to one of them")),
    }
}

fn data(given: &given::Given<'_>, key: &str) -> Result<BTreeMap<String, String>, Faults> {
    let entry = |(name, value): (&String, &Value)| {
        let reserved = matches!(name.as_str(), "from" | "message_type") || name.starts_with("google") || name.starts_with("gcm");
        if reserved {
            return Err(invalid(format!("FCM keeps the name `{}` in `data` for itself", crate::http::shown(name))));
        }
        Ok((name.clone(), google::text_of(value)))
    };
    let mut data: BTreeMap<String, String> = every(given.optional_object("data")?.into_iter().flatten().map(entry))?;
    data.insert("declic_key".to_owned(), key.to_owned());
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

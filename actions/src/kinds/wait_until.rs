//! `wait/until`: looks again and again until something is as it should be. Between two looks the run is parked.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, every, invalid};
use crate::http::shown;
use crate::kinds::github_pull_request::GithubPullRequest;
use crate::kinds::http_request::HttpRequest;

/// Parameters that are handed on to `http/request`.
const OF_REQUEST: &[&str] = &["connection", "path", "query", "headers", "token", "expect"];
const EVERY: Duration = Duration::from_secs(30);
const AT_MOST: Duration = Duration::from_secs(3600);
/// The shortest pause between two looks, and the longest time that a step may wait.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The action.
pub struct WaitUntil;

static SPEC: Spec = Spec {
    name: "wait/until",
    summary: "Looks again and again, at an HTTP API or at a pull request, until what is found is as it should be",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection?", summary: "The API to ask, by its name under `connections:`" },
        Field { name: "path", shape: "url-path?", summary: "Path below the connection's base-url; it is asked with GET" },
        Field { name: "query", shape: "{ \"*\": any }?", summary: "Query parameters" },
        Field { name: "headers", shape: "{ \"*\": any }?", summary: "Headers" },
        Field { name: "token", shape: "secret?", summary: "Sent as a bearer token" },
        Field {
            name: "expect",
            shape: "[int]?",
            summary: "Statuses that are an answer: 2xx if left out. With others it looks again",
        },
        Field { name: "pull-request", shape: "int?", summary: "Look at this pull request of the event's repository instead" },
        Field {
            name: "until",
            shape: "{ \"*\": any }?",
            summary: "What must be found, all of it: paths into the outputs of `http/request` or `github/pull-request` (`body.state`, `checks`) \
                      with the value wanted, or a list of values of which any will do. If left out, an expected status is enough",
        },
        Field { name: "every", shape: "duration?", summary: "Pause between two looks, 30s if left out, at least 1s" },
        Field { name: "at-most", shape: "duration?", summary: "Then the step fails with `timeout`; 1h if left out, at most 30d" },
    ],
    outputs: &[
        Field { name: "found", shape: "any", summary: "The outputs of the last look" },
        Field { name: "looks", shape: "int", summary: "How often it looked" },
    ],
    example: r#"connection: orders_api
path: /v1/orders/17
until: { body.state: [done, cancelled] }
every: 1m
at-most: 2h
"#,
    deadline: Duration::from_secs(15),
    repeat: Repeat::Idempotent,
    repeat_how: "It only reads. The time it has waited is counted from its first look, over restarts",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    look: Look,
    /// The call of the action that looks.
    intent: Intent,
    until: Vec<(String, Vec<Value>)>,
    every: Duration,
    at_most: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Look {
    Request,
    PullRequest,
}

impl Look {
    fn action(self) -> &'static dyn Action {
        match self {
            Self::Request => &HttpRequest,
            Self::PullRequest => &GithubPullRequest,
        }
    }
}

/// What is kept between two looks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    looks: u64,
}

#[async_trait]
impl Action for WaitUntil {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn waits(&self) -> bool {
        true
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let ((every, at_most), until, (look, params)) =
            all((times(&given), given.optional_object("until").map_err(Faults::from).and_then(wanted), looked_at(&given)))?;
        if look == Look::PullRequest && until.is_empty() {
            let message = "`with.until` says what is waited for at the pull request, such as `{ checks: success }`";
            return Err(invalid(message).into());
        }
        let intent = look.action().prepare(Call { params, ..call.clone() })?;
        let summary = format!("wait until: {}", intent.summary);
        given::intent(call, &Plan { look, intent, until, every, at_most }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let saved = context.saved.clone().and_then(|saved| serde_json::from_value(saved).ok());
        let Saved { mut looks } = saved.unwrap_or_default();
        looks += 1;
        let missing = match plan.look.action().run(context, &plan.intent).await {
            Ok(outcome) => match missing(&plan.until, &outcome.outputs) {
                None => {
                    let outputs = json!({ "found": outcome.outputs, "looks": looks });
                    return Ok(Outcome { outputs, summary: format!("{} (look {looks})", outcome.summary), url: outcome.url });
                }
                Some(missing) => missing,
            },
            Err(Failure::Retry { why, .. }) => why.message,
            Err(Failure::Final { why }) if is_other_status(&why) => why.message,
            Err(failure) => return Err(failure),
        };
        let left = plan.at_most.saturating_sub(context.waited);
        if left.is_zero() {
            return Err(Failure::last("timeout", format!("Not as it should be after {looks} looks: {missing}")));
        }
        let saved = serde_json::to_value(Saved { looks }).map_err(|error| Failure::last("internal", error.to_string()))?;
        context.progress.save(saved).await?;
        Err(Failure::NotYet { after: plan.every.min(left), why: Why::new("waiting", missing) })
    }
}

/// Refusals of the credentials will not pass; what else a target refuses may be its way of saying "not yet".
fn is_other_status(why: &Why) -> bool {
    matches!(why.code.as_str(), "not-found" | "rejected" | "conflict" | "precondition-failed")
}

/// How often it is looked, and for how long.
fn times(given: &given::Given<'_>) -> Result<(Duration, Duration), Faults> {
    let (every, at_most) = all((given.duration("every"), given.duration("at-most")))?;
    let (every, at_most) = (every.unwrap_or(EVERY), at_most.unwrap_or(AT_MOST));
    if every < SHORTEST || at_most > LONGEST || at_most < every {
        return Err(invalid("`with.every` is at least 1s, `with.at-most` is at least `every` and at most 30d").into());
    }
    Ok((every, at_most))
}

/// Where it is looked, with the parameters of the action that looks there.
fn looked_at(given: &given::Given<'_>) -> Result<(Look, Map<String, Value>), Why> {
    match (given.value("path"), given.optional_int("pull-request")?) {
        (Some(_), None) => {
            let mut params: Map<String, Value> =
                OF_REQUEST.iter().filter_map(|name| Some(((*name).to_owned(), given.value(name)?.clone()))).collect();
            params.insert("method".to_owned(), "GET".into());
            Ok((Look::Request, params))
        }
        (None, Some(number)) => Ok((Look::PullRequest, Map::from_iter([("number".to_owned(), number.into())]))),
        _ => Err(invalid("`wait/until` looks either at a `path` of a `connection` or at a `pull-request`")),
    }
}

/// Each path with the values of which one must be there.
fn wanted(until: Option<&Map<String, Value>>) -> Result<Vec<(String, Vec<Value>)>, Faults> {
    let one = |(path, value): (&String, &Value)| {
        let values = match value {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        if path.is_empty() || values.is_empty() || values.iter().any(|value| value.is_object() || value.is_array()) {
            let message = format!("`with.until.{}` is a value or a list of values", shown(path));
            return Err(invalid(message));
        }
        Ok((path.clone(), values))
    };
    every(until.into_iter().flatten().map(one))
}

/// The first path whose value is another one, in words.
fn missing(until: &[(String, Vec<Value>)], outputs: &Value) -> Option<String> {
    until.iter().find_map(|(path, wanted)| {
        let found = at(outputs, path).unwrap_or(&Value::Null);
        let holds = wanted.iter().any(|value| value == found || (value.is_number() && value.as_f64() == found.as_f64()));
        (!holds).then(|| {
            let wanted: Vec<String> = wanted.iter().map(Value::to_string).collect();
            format!("`{}` is {}, not {}", shown(path), shown(&found.to_string()), shown(&wanted.join(" or ")))
        })
    })
}

/// The value at `body.items.0.state`.
fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        value => value.get(part),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_what_was_found() {
        let until = json!({ "status": 200, "body.items.0.state": ["done", "gone"] });
        let until = wanted(until.as_object()).unwrap();
        let found = |state: &str| json!({ "status": 200.0, "body": { "items": [{ "state": state }] } });
        assert_eq!(missing(&until, &found("gone")), None);
        assert_eq!(
            missing(&until, &found("open")).as_deref(),
            Some("`body.items.0.state` is \"open\", not \"done\" or \"gone\"")
        );
        assert!(missing(&until, &json!({ "status": 404 })).is_some());
        assert!(wanted(json!({ "a": { "b": 1 } }).as_object()).is_err());
        assert!(wanted(json!({ "a": [] }).as_object()).is_err());
    }
}

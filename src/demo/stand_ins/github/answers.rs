//! GitHub's forms: refusals, pages, users, and the shapes of what may be sent.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::shape::{Problem, Reading, Shapes};

/// What may be sent, by the operations of GitHub's OpenAPI description.
static SHAPES: LazyLock<Shapes> = LazyLock::new(|| Shapes::parse(include_str!("requests.shapes"), Reading::Plain));

/// The shapes of request bodies, for the test that compares them with the published description.
pub fn shapes() -> &'static Shapes {
    &SHAPES
}

/// A request that GitHub refuses.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    message: String,
    errors: Vec<Value>,
}

impl Refusal {
    pub(super) fn answer(&self) -> Answer {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.to_string(),
        });
        if let Some(object) = body.as_object_mut().filter(|_| !self.errors.is_empty()) {
            object.insert("errors".into(), self.errors.clone().into());
        }
        Answer::json(self.status, &body)
    }
}

pub(super) fn refused(status: u16, message: impl Into<String>) -> Refusal {
    Refusal { status, message: message.into(), errors: Vec::new() }
}

/// A value that is of the right type but not allowed: `Validation Failed`, with the field and why.
pub(super) fn invalid(resource: &str, field: &str, code: &str, message: &str) -> Refusal {
    let error = json!({ "resource": resource, "field": field, "code": code, "message": message });
    Refusal { status: 422, message: "Validation Failed".into(), errors: vec![error] }
}

/// Reads a body and holds it against its shape.
pub(super) fn body(request: &Request, shape: &str) -> Result<Map<String, Value>, Refusal> {
    let value: Value = serde_json::from_slice(&request.body).map_err(|_| refused(400, "Problems parsing JSON"))?;
    let Value::Object(body) = value else {
        return Err(refused(400, "Body should be a JSON object"));
    };
    SHAPES.check(shape, &body).map_err(|violation| {
        let what = match violation.problem {
            Problem::Unknown => format!("\"{}\" is not a permitted key.", violation.field),
            Problem::Missing => format!("\"{}\" wasn't supplied.", violation.field),
            Problem::Wrong(what) => format!("For '{}', {what}.", violation.path),
        };
        refused(422, format!("Invalid request.\n\n{what}"))
    })?;
    Ok(body)
}

/// One page of a list, with `Link` to the others.
pub(super) fn page(base: &str, request: &Request, list: &[Value]) -> Result<Answer, Refusal> {
    let number = |name: &str, default: usize| match request.parameter(name) {
        Some(text) => text.parse::<usize>().map_err(|_| refused(422, format!("`{name}` is not a number"))),
        None => Ok(default),
    };
    let size = number("per_page", 30)?.clamp(1, 100);
    let current = number("page", 1)?.max(1);
    let pages = list.len().div_ceil(size).max(1);
    let shown: Vec<Value> = list.iter().skip((current - 1).saturating_mul(size)).take(size).cloned().collect();
    let link = |page: usize, relation: &str| {
        let others = request.query.iter().filter(|(name, _)| name != "page" && name != "per_page");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(others).append_pair("per_page", &size.to_string()).append_pair("page", &page.to_string());
        format!("<{base}{}?{}>; rel=\"{relation}\"", request.path, query.finish())
    };
    let mut links = Vec::new();
    if current > 1 {
        links.extend([link(current - 1, "prev"), link(1, "first")]);
    }
    if current < pages {
        links.extend([link(current + 1, "next"), link(pages, "last")]);
    }
    let answer = Answer::json(200, &Value::Array(shown));
    Ok(if links.is_empty() { answer } else { answer.with_header("link", links.join(", ")) })
}

/// An account, as GitHub shows it wherever somebody did something.
pub(super) fn user(base: &str) -> Value {
    let login = "declic-bot";
    let api = |rest: &str| format!("{base}/users/{login}{rest}");
    json!({
        "login": login, "id": 1, "node_id": "U_1", "gravatar_id": "", "type": "Bot", "site_admin": false,
        "avatar_url": "https://avatars.githubusercontent.com/u/1", "html_url": format!("https://github.com/{login}"),
        "url": api(""), "followers_url": api("/followers"), "following_url": api("/following{/other_user}"),
        "gists_url": api("/gists{/gist_id}"), "starred_url": api("/starred{/owner}{/repo}"),
        "subscriptions_url": api("/subscriptions"), "organizations_url": api("/orgs"), "repos_url": api("/repos"),
        "events_url": api("/events{/privacy}"), "received_events_url": api("/received_events"),
    })
}

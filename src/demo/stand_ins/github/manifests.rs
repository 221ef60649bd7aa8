//! Apps that are made from a manifest: the page where a person creates one, and the exchange of the code for its keys.

use serde_json::{Value, json};

use super::GitHub;
use super::answers::{Refusal, invalid, refused};
use super::state::State;
use crate::demo::stand_ins::exchange::{Answer, Request};
use crate::demo::stand_ins::ledger::lock;

/// An App that the next manifest makes, with keys that a test chose.
#[derive(Debug, Clone)]
pub struct NextApp {
    /// GitHub's number of it.
    pub id: u64,
    /// PEM.
    pub private_key: String,
    /// PEM.
    pub public_key: String,
    /// The secret of its webhook.
    pub webhook_secret: String,
}

impl GitHub {
    /// The App that the next manifest makes.
    pub fn set_next_app(&self, app: NextApp) {
        lock(&self.state).next_app = Some(app);
    }
}

/// `None`: not about manifests. Nobody signs these requests: the one is a person's browser, and the other has the code.
pub(super) fn answer(base: &str, request: &Request, state: &mut State, segments: &[&str]) -> Option<Result<Answer, Refusal>> {
    match (request.method.as_str(), segments) {
        ("POST", ["settings", "apps", "new"] | ["organizations", _, "settings", "apps", "new"]) => Some(create(request, state)),
        ("POST", ["app-manifests", code, "conversions"]) => Some(convert(base, state, code)),
        _ => None,
    }
}

/// What happens when the person presses the button.
fn create(request: &Request, state: &mut State) -> Result<Answer, Refusal> {
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let manifest = form.iter().find(|(name, _)| name == "manifest").map_or("", |(_, value)| value.as_str());
    let manifest: Value = serde_json::from_str(manifest).map_err(|_| refused(422, "The manifest is no JSON"))?;
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    for field in ["/name", "/url", "/redirect_url", "/hook_attributes/url"] {
        if text(field).is_none() {
            return Err(invalid("Integration", field, "missing_field", "can't be blank"));
        }
    }
    let code = ulid::Ulid::new().to_string().to_lowercase();
    let state_of = request.parameter("state").unwrap_or_default();
    let to = format!("{}?code={code}&state={state_of}", text("/redirect_url").unwrap_or_default());
    state.manifests.insert(code, manifest);
    Ok(Answer::empty(302).with_header("location", to))
}

/// A code works once.
fn convert(base: &str, state: &mut State, code: &str) -> Result<Answer, Refusal> {
    let manifest = state.manifests.remove(code).ok_or_else(|| refused(404, "Not Found"))?;
    let app = state.next_app.take().ok_or_else(|| refused(404, "Not Found"))?;
    state.apps.insert(app.id.to_string(), app.public_key.clone());
    let name = manifest.get("name").and_then(Value::as_str).unwrap_or_default();
    let slug = name.to_lowercase().replace(' ', "-");
    Ok(Answer::json(
        201,
        &json!({
            "id": app.id, "slug": slug, "node_id": format!("A_{}", app.id), "client_id": "Iv1.1234", "owner": super::answers::user(base),
            "name": name, "description": null, "external_url": manifest.get("url"), "html_url": format!("{base}/apps/{slug}"),
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "permissions": manifest.get("default_permissions"), "events": manifest.get("default_events"),
            "client_secret": "a client secret that nobody asked for", "webhook_secret": app.webhook_secret, "pem": app.private_key,
        }),
    ))
}

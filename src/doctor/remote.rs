//! GitHub and Google: can they be reached, and are we allowed what we need?

use std::time::Instant;

use declic_actions::http::{Method, Request};
use serde_json::Value;

use super::{Finding, PATIENCE, State};
use crate::app::Reach;
use crate::settings::Settings;

/// Asks GitHub with the token, and for each repository that brings rules.
pub(super) async fn github(settings: &Settings, reach: &Reach, list: &mut Vec<Finding>) {
    let wanted = settings.github.token_name.is_some() || settings.sources.iter().any(|source| source.kind.starts_with("github"));
    if !wanted {
        return;
    }
    let github = match reach.github(settings) {
        Ok(github) => github,
        Err(why) => return list.push(Finding::new("github", State::Wrong, why)),
    };
    let limits = github.get("/rate_limit", Instant::now() + PATIENCE).await;
    let limits = limits.map_err(|failure| failure.why().message.clone());
    let reached = limits.is_ok();
    let outcome = limits.map(|answer| {
        let scopes = answer.headers.get("x-oauth-scopes").and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
        let left = serde_json::from_slice::<Value>(&answer.body).ok();
        let left = left.and_then(|body| body.pointer("/resources/core/remaining").and_then(Value::as_u64));
        let left = left.map(|left| format!(", {left} requests left this hour")).unwrap_or_default();
        let scopes = scopes.map(|scopes| format!(", scopes {scopes}")).unwrap_or_default();
        format!("{} answers{left}{scopes}", settings.github.api_url)
    });
    list.push(Finding::of("github", outcome));
    if settings.github.token.is_none() {
        let says = "`github: token` is not set: no status, comment or deployment can be written, and diffs cannot be asked for";
        list.push(Finding::new("github token", State::Note, says));
    }
    if !reached {
        return;
    }
    for repository in &settings.repositories {
        let answer = github.get(&format!("/repos/{}", repository.name), Instant::now() + PATIENCE).await;
        let outcome = match answer {
            Ok(answer) => permitted(&answer.body, repository.id),
            Err(failure) => Err(format!("{}; the token needs access to it", failure.why().message)),
        };
        list.push(Finding::of(format!("repository {}", repository.name), outcome));
    }
}

/// Is it the repository of this number, and may we write to it?
fn permitted(body: &[u8], id: i64) -> Result<String, String> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "GitHub's answer is not JSON".to_owned())?;
    if let Some(found) = body.get("id").and_then(Value::as_i64).filter(|found| *found != id) {
        return Err(format!("its number is {found}, the settings say {id}: another repository has its name now"));
    }
    match body.pointer("/permissions/push").and_then(Value::as_bool) {
        Some(false) => {
            Err("it can be read but not written to: give the token write access to statuses, deployments and contents".to_owned())
        }
        Some(true) => Ok("it can be read and written to".to_owned()),
        None => Ok("it can be read".to_owned()),
    }
}

/// Gets a token from Google if anything needs one, and looks at each Cloud Run target. Answers whether Google can be asked.
pub(super) async fn google(settings: &Settings, reach: &Reach, list: &mut Vec<Finding>) -> bool {
    let of_google = |entry: &Value| {
        entry
            .get("type")
            .and_then(Value::as_str)
            .is_some_and(|kind| ["cloud-", "bigquery", "pubsub", "fcm"].iter().any(|known| kind.starts_with(known)))
    };
    let offer = &settings.offer;
    let wanted = !settings.to_fetch().is_empty() || offer.targets.values().chain(offer.connections.values()).any(of_google);
    if !wanted {
        return false;
    }
    let token = reach.google.access_token(None, Instant::now() + PATIENCE).await;
    let reached = token.is_ok();
    let outcome = token.map(|_| "there are credentials, and Google takes them".to_owned());
    let outcome = outcome.map_err(|failure| {
        format!("{}; run on Google Cloud, or name a key file in GOOGLE_APPLICATION_CREDENTIALS", failure.why().message)
    });
    list.push(Finding::of("google", outcome));
    if !reached {
        return false;
    }
    for (name, target) in &offer.targets {
        let text = |key: &str| target.get(key).and_then(Value::as_str);
        let (Some("cloud-run"), Some(project), Some(region), Some(service)) =
            (text("type"), text("project"), text("region"), text("service"))
        else {
            continue;
        };
        let full = format!("projects/{project}/locations/{region}/services/{service}");
        let request = Request::to(Method::GET, &format!("{}/v2/{full}", settings.google.run_url), Instant::now() + PATIENCE);
        let answer = reach.google.send(text("deploy-as"), request).await.and_then(|answer| answer.json());
        let outcome = match answer {
            Ok(_) => Ok(format!("{full} can be read")),
            Err(error) => {
                let failure = error.into_failure("Cloud Run");
                let why = &failure.why().message;
                let role = "the account that deploys needs `roles/run.developer` on it, and ours `roles/iam.serviceAccountTokenCreator` on that account";
                Err(format!("{full}: {why}; {role}"))
            }
        };
        list.push(Finding::of(format!("target {name}"), outcome));
    }
    true
}

//! More to look at, once the main job was shown: real deliveries of other kinds, signed and taken in like the first. Nothing is made up:
//! whatever the console shows of them, the service did.

use std::time::Duration;

use declic_actions::http::Url;
use serde_json::{Value, json};

use super::stand_ins::{self, World};
use super::{PUSH, send};
use crate::journal::Journal;
use crate::journal::record::Listing;
use crate::settings::Settings;
use crate::sources::{self, Around};

/// How long a deploy of the demo may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends them, oldest first.
pub async fn bring(world: &World, settings: &Settings, to: &Url, journal: &dyn Journal) -> Result<(), String> {
    let push: Value = serde_json::from_str(PUSH).map_err(|error| error.to_string())?;
    let (second, third, late) = (sha('5'), sha('6'), sha('7'));
    for (sha, parent) in [(&second, push["after"].as_str().unwrap_or_default()), (&third, &second), (&late, &third)] {
        world.github.add_commit(stand_ins::REPOSITORY, "main", sha, &[parent]);
    }
    world.github.add_commit(stand_ins::REPOSITORY, "documentation", &sha('9'), &[&second]);
    for sha in [&second, &third] {
        world.registry.push(stand_ins::IMAGE_REPOSITORY, sha, sha);
    }
    world.github.add_issue(stand_ins::REPOSITORY, 7, Some(&third));
    let web = "services/web/src/main.rs";
    let sent = [
        ("push", commit(&push, "refs/heads/main", &second, "Fix the checkout", web)),
        ("push", commit(&push, "refs/heads/feature/login", &sha('8'), "Try another way to sign in", web)),
        ("push", commit(&push, "refs/heads/main", &sha('9'), "Explain the checkout", "docs/checkout.md")),
        ("push", commit(&push, "refs/heads/main", &sha('a'), "Tidy up [skip deploy]", web)),
        ("pull_request", pull_request(&third)),
        ("push", commit(&push, "refs/heads/hotfix/prices", &sha('b'), "Round prices up", web)),
        ("push", commit(&push, "refs/tags/v1.4.0", &second, "Fix the checkout", web)),
        // Its image never comes: the run waits for it, and ends badly a minute later.
        ("push", commit(&push, "refs/heads/main", &late, "Show the basket", web)),
    ];
    for (event, payload) in sent {
        one(settings, to, event, &payload).await?;
        settle(journal).await?;
    }
    Ok(())
}

fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn commit(push: &Value, reference: &str, sha: &str, message: &str, file: &str) -> Value {
    let mut payload = push.clone();
    payload["ref"] = json!(reference);
    payload["after"] = json!(sha);
    payload["head_commit"]["id"] = json!(sha);
    payload["head_commit"]["message"] = json!(message);
    payload["head_commit"]["modified"] = json!([file]);
    payload["commits"] = json!([payload["head_commit"]]);
    payload
}

fn pull_request(sha: &str) -> Value {
    let repository = json!({ "id": 700_123_456, "name": "web", "full_name": stand_ins::REPOSITORY, "private": true,
        "default_branch": "main", "html_url": "https://github.com/acme/web", "owner": { "login": "acme", "id": 1 } });
    let side = |branch: &str| json!({ "ref": branch, "sha": sha, "repo": repository });
    json!({
        "action": "opened", "number": 7, "repository": repository, "sender": { "login": "mona", "id": 2, "type": "User" },
        "pull_request": {
            "number": 7, "title": "Show the basket on every page", "body": "", "draft": false, "merged": false, "labels": [],
            "html_url": "https://github.com/acme/web/pull/7", "head": side("basket"), "base": side("main"), "user": { "login": "mona" },
        },
    })
}

async fn one(settings: &Settings, to: &Url, event: &str, payload: &Value) -> Result<(), String> {
    let source = settings.sources.first().ok_or("the demo's settings have no source")?;
    let source = sources::build(source, &settings.secrets, &Around::default())?;
    let id = ulid::Ulid::new().to_string().to_lowercase();
    let inbound = send::signed(source.as_ref(), event, &id, send::JSON, payload.to_string().into_bytes(), None)?;
    let response = send::post(to, &inbound).await?;
    match response.status {
        202 => Ok(()),
        status => Err(format!("a {event} was answered with {status}: {}", String::from_utf8_lossy(&response.body))),
    }
}

/// Waits until nothing is at work: what comes next would otherwise overtake it.
async fn settle(journal: &dyn Journal) -> Result<(), String> {
    let busy = ["accepted", "matching"].map(str::to_owned).to_vec();
    let at_work = ["queued", "running"].map(str::to_owned).to_vec();
    let settled = async {
        loop {
            let failed = |error: crate::journal::JournalError| error.to_string();
            let of = |states: &[String]| Listing { limit: 1, states: states.to_vec(), ..Listing::default() };
            let idle = journal.deliveries(of(&busy)).await.map_err(failed)?.is_empty()
                && journal.runs(of(&at_work)).await.map_err(failed)?.is_empty();
            if idle {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Something slow is no reason to show less.
    tokio::time::timeout(PATIENCE, settled).await.unwrap_or(Ok(()))
}

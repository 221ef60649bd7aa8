//! Every provider's acceptance vectors, and what must hold of every signature.

use bytes::Bytes;
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::sources::{Identity, KINDS, Source};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::service::{SECRET, github, github_headers, push, source};
use crate::support::vectors::{provider_files, vectors};

/// Providers with vectors and no source yet. A provider that is not built and not listed here fails the test, and so does one that is
/// built and still listed.
const NOT_BUILT: &[&str] = &[
    "adyen",
    "alertmanager",
    "aws-sns",
    "azure-devops",
    "bitbucket",
    "cloudevents",
    "dialogflow-cx",
    "dialogflow-es",
    "discord",
    "dockerhub",
    "dropbox",
    "forgejo",
    "gitea",
    "gitlab",
    "google-chat",
    "google-cloud-monitoring",
    "google-cloud-scheduler",
    "google-cloud-tasks",
    "google-pubsub",
    "grafana",
    "hubspot",
    "jira",
    "line",
    "linear",
    "meta",
    "microsoft-graph",
    "ms-teams",
    "notion",
    "pagerduty",
    "sendgrid",
    "sentry",
    "shopify",
    "slack",
    "standard-webhooks",
    "stripe",
    "svix",
    "telegram",
    "twilio",
    "twilio-sharedkey",
    "vercel",
    "x",
    "zoom",
];

fn text<'c>(case: &'c Value, key: &str) -> &'c str {
    case[key].as_str().unwrap_or_default()
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    }
}

/// The request as it would have been read from a socket at the vector's time.
fn inbound(case: &Value) -> Inbound {
    let (path, query) = text(case, "path").split_once('?').unwrap_or((text(case, "path"), ""));
    let headers = case["headers"].as_object().into_iter().flatten();
    Inbound {
        method: text(case, "method").to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers
            .flat_map(|(name, value)| {
                strings(value).into_iter().map(|value| (name.to_ascii_lowercase(), value.to_owned().into()))
            })
            .collect(),
        body: Bytes::from(text(case, "body").to_owned()),
        received_at: Timestamp(case["now"].as_i64().unwrap_or_default() * 1000),
    }
}

/// Is it taken in? The body is read only where the vector says what is in it: some sign bytes that are no event at all.
fn judge(source: &dyn Source, case: &Value) -> Result<Option<Identity>, String> {
    let inbound = inbound(case);
    if !source.entry().methods.contains(&inbound.method.as_str()) {
        return Err(format!("{} is not answered", inbound.method));
    }
    let verified = source.authenticate(inbound).map_err(|refusal| refusal.private)?;
    if case["event_type"].is_null() && case["delivery_id"].is_null() {
        return Ok(None);
    }
    source.identify(&verified).map(Some).map_err(|refusal| refusal.private)
}

/// What is wrong with a verdict, if anything.
fn fault(case: &Value, verdict: &Result<Option<Identity>, String>) -> Option<String> {
    let accept = text(case, "expect") == "accept";
    match verdict {
        Ok(_) if !accept => Some("was accepted".to_owned()),
        Err(why) if accept => Some(format!("was refused: {why}")),
        Ok(Some(found)) => {
            let read = [("event_type", &found.event_type), ("delivery_id", &found.delivery_id)];
            let wrong = read.into_iter().find(|(key, found)| case[*key].as_str().is_some_and(|wanted| wanted != *found));
            wrong.map(|(key, found)| format!("read {found:?} as {key}"))
        }
        _ => None,
    }
}

#[test]
fn the_vectors_of_every_built_provider_get_their_verdict() {
    let mut wrong = Vec::new();
    for file in provider_files() {
        let cases = vectors(&file);
        for case in cases.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let (id, provider) = (text(case, "id"), text(case, "provider"));
            let built = KINDS.iter().any(|kind| kind.name == provider) && !NOT_BUILT.contains(&provider);
            if !built {
                assert!(NOT_BUILT.contains(&provider), "{id}: {provider} is neither built nor listed");
                println!("{id}: {provider} is not built");
                continue;
            }
            let source = source(provider, provider, json!({ "secret": "hook" }), &strings(&case["secret"]));
            let verdict = judge(source.as_ref(), case);
            println!("{id}: {}", verdict.as_ref().err().map_or("accepted", String::as_str));
            if let Some(fault) = fault(case, &verdict) {
                wrong.push(format!("{id} ({}) {fault}; {}", text(case, "level"), text(case, "reason")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn signed(headers: Vec<(String, String)>, body: Vec<u8>) -> Inbound {
    Inbound {
        method: "POST".to_owned(),
        path: "/hooks/github".to_owned(),
        query: String::new(),
        headers: headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into())).collect(),
        body: body.into(),
        received_at: Timestamp(1_800_000_000_000),
    }
}

#[test]
fn during_rotation_the_secret_that_matched_is_known() {
    let rotating = source("github", "github", json!({ "secret": "hook" }), &["new", SECRET, "older"]);
    let body = push("main");
    let verified = rotating.authenticate(signed(github_headers("push", "1", &body), body)).unwrap();
    assert_eq!((verified.secret(), verified.how()), (1, "x-hub-signature-256, secret 2 of 3"));
}

#[test]
fn a_refusal_tells_the_sender_the_same_whatever_was_wrong() {
    let source = github();
    let body = push("main");
    let refuse = |value: &str| {
        let mut headers = github_headers("push", "1", &body);
        headers.retain(|(name, _)| name != "X-Hub-Signature-256");
        headers.push(("X-Hub-Signature-256".to_owned(), value.to_owned()));
        source.authenticate(signed(headers, body.clone())).expect_err(value)
    };
    let zeros = format!("sha256={}", "0".repeat(64));
    for value in ["", "sha256=", "sha1=abc", "sha256=zz", &zeros] {
        let refusal = refuse(value);
        assert_eq!((refusal.status, refusal.public), (401, "The request could not be verified."));
        assert!(!refusal.private.contains(SECRET) && !refusal.private.contains("0000"), "{}", refusal.private);
    }
}

proptest! {
    #[test]
    fn no_mutation_of_a_byte_of_the_body_is_accepted(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let body = push("main");
        let headers = github_headers("push", "1", &body);
        let mut changed = body.clone();
        changed[place.index(body.len())] ^= flip;
        prop_assert!(github().authenticate(signed(headers, changed)).is_err());
    }

    #[test]
    fn no_mutation_of_a_byte_of_the_signature_is_accepted(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let body = push("main");
        let mut inbound = signed(github_headers("push", "1", &body), body);
        for (name, value) in &mut inbound.headers {
            if name == "x-hub-signature-256" {
                let mut bytes = value.to_vec();
                let index = place.index(bytes.len());
                bytes[index] ^= flip;
                *value = bytes.into();
            }
        }
        prop_assert!(github().authenticate(inbound).is_err());
    }

    #[test]
    fn arbitrary_signatures_never_panic_and_never_pass(value in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut inbound = signed(Vec::new(), push("main"));
        inbound.headers.push(("x-hub-signature-256".to_owned(), value.into()));
        prop_assert!(github().authenticate(inbound).is_err());
    }
}

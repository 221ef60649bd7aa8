//! What must hold of every provider that signs, and requests that the providers' own packages sign and check.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::sources::Source;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::packages;
use crate::support::service::source;

/// 24 bytes of a Standard Webhooks secret.
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_800_000_000_000;

/// Type, its settings, its secret, and a body of its kind.
fn signing() -> Vec<(&'static str, Value, &'static str, String)> {
    let secret = || json!({ "secret": "hook" });
    let url = || json!({ "secret": "hook", "public-url": "https://declic.example.dev/hooks/x" });
    let linear = format!(r#"{{"type":"Issue","webhookTimestamp":{NOW}}}"#);
    let adyen = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","eventCode":"A","success":"true"}}]}"#;
    let plain = || r#"{"type":"a.b","id":"1","event":"e"}"#.to_owned();
    vec![
        ("adyen", secret(), "44782DEF547AAA06C910C43932B1EB0C", adyen.to_owned()),
        ("bitbucket", secret(), "s", plain()),
        ("dropbox", secret(), "s", plain()),
        ("gitea", secret(), "s", plain()),
        ("grafana", json!({ "secret": "hook", "timestamp-header": "x-time" }), "s", r#"{"status":"firing"}"#.to_owned()),
        ("hubspot", url(), "s", r#"[{"subscriptionType":"contact.creation"}]"#.to_owned()),
        ("jira", secret(), "s", r#"{"webhookEvent":"jira:issue_created"}"#.to_owned()),
        ("line", secret(), "s", r#"{"events":[]}"#.to_owned()),
        ("linear", secret(), "s", linear),
        ("meta", secret(), "s", r#"{"object":"page","entry":[]}"#.to_owned()),
        ("ms-teams", secret(), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", plain()),
        ("notion", secret(), "s", plain()),
        ("paddle", secret(), "s", r#"{"event_type":"x","event_id":"1"}"#.to_owned()),
        ("pagerduty", secret(), "s", r#"{"event":{"event_type":"incident.triggered"}}"#.to_owned()),
        ("razorpay", secret(), "s", plain()),
        ("sentry", secret(), "s", plain()),
        ("shopify", secret(), "s", plain()),
        ("slack", json!({ "signing-secret": "hook" }), "s", r#"{"type":"event_callback","event":{"type":"a"}}"#.to_owned()),
        ("square", url(), "s", plain()),
        ("standard-webhooks", secret(), WHSEC, plain()),
        ("stripe", secret(), "whsec_test", plain()),
        ("svix", secret(), WHSEC, plain()),
        ("twilio", url(), "s", "From=%2B1&Body=hi".to_owned()),
        ("vercel", secret(), "s", plain()),
        ("x", secret(), "s", r#"{"for_user_id":"1","tweet_create_events":[]}"#.to_owned()),
        ("zoom", secret(), "s", plain()),
    ]
}

fn unsigned(kind: &str, body: &[u8]) -> Inbound {
    let form = kind == "twilio";
    let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    Inbound {
        method: "POST".to_owned(),
        path: format!("/hooks/{kind}"),
        query: String::new(),
        headers: vec![("content-type".to_owned(), content_type.into())],
        body: body.to_vec().into(),
        received_at: Timestamp(NOW),
    }
}

fn signed(source: &dyn Source, kind: &str, body: &str) -> Inbound {
    let mut inbound = unsigned(kind, body.as_bytes());
    source.sign(&mut inbound, "an.event", "msg_1", None).unwrap_or_else(|refusal| panic!("{kind}: {}", refusal.private));
    inbound
}

#[test]
fn what_each_provider_would_send_is_taken_in() {
    for (kind, fields, secret, body) in signing() {
        let source = source(kind, kind, fields, &[secret]);
        let inbound = signed(source.as_ref(), kind, &body);
        let verified = source.authenticate(inbound).unwrap_or_else(|refusal| panic!("{kind}: {}", refusal.private));
        source.identify(&verified).unwrap_or_else(|refusal| panic!("{kind}: {}", refusal.private));
        let other = source_with_another_secret(kind);
        let inbound = signed(source.as_ref(), kind, &body);
        assert_eq!(other.authenticate(inbound).map(|_| ()).map_err(|refusal| refusal.status), Err(401), "{kind}");
    }
}

#[test]
fn a_key_of_standard_webhooks_that_is_too_short_or_too_long_is_refused() {
    let built = |bytes: usize| {
        let secret = format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        std::panic::catch_unwind(|| source("s", "standard-webhooks", json!({ "secret": "hook" }), &[&secret])).map(|_| ())
    };
    for (bytes, fine) in [(23, false), (24, true), (64, true), (65, false)] {
        assert_eq!(built(bytes).is_ok(), fine, "{bytes}");
    }
}

fn source_with_another_secret(kind: &str) -> std::sync::Arc<dyn Source> {
    let (_, fields, _, _) = signing().into_iter().find(|(known, ..)| *known == kind).expect("it is in the list");
    let secret = match kind {
        "adyen" => "00112233",
        "standard-webhooks" | "svix" => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "ms-teams" => "AAAA",
        _ => "another",
    };
    source(kind, kind, fields, &[secret])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_mutation_of_one_byte_of_a_signed_body_is_accepted(place in any::<prop::sample::Index>(), flip in 1_u8..=0x7F) {
        for (kind, fields, secret, body) in signing() {
            // Adyen signs eight fields of the JSON, not its bytes.
            if kind == "adyen" {
                continue;
            }
            let source = source(kind, kind, fields, &[secret]);
            let mut inbound = signed(source.as_ref(), kind, &body);
            let mut changed = inbound.body.to_vec();
            let index = place.index(changed.len());
            changed[index] ^= flip;
            // Two spellings of the same form are the same values.
            if kind == "twilio" && changed.eq_ignore_ascii_case(&inbound.body) {
                continue;
            }
            inbound.body = changed.into();
            prop_assert!(source.authenticate(inbound).is_err(), "{kind}, byte {index}");
        }
    }

    #[test]
    fn no_mutation_of_one_byte_of_a_proof_is_accepted(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        for (kind, fields, secret, body) in signing() {
            let source = source(kind, kind, fields, &[secret]);
            let inbound = signed(source.as_ref(), kind, &body);
            for (index, (name, value)) in inbound.headers.iter().enumerate() {
                if !(name.contains("signature") || name.contains("hmac") || name == "authorization" || name.contains("time")) {
                    continue;
                }
                let mut bytes = value.to_vec();
                let at = place.index(bytes.len());
                bytes[at] ^= flip;
                let mut changed = inbound.clone();
                changed.headers[index].1 = bytes.clone().into();
                // Notion writes either case, the word HMAC of Teams has either.
                if bytes.eq_ignore_ascii_case(value) && kind == "notion" {
                    continue;
                }
                prop_assert!(source.authenticate(changed).is_err(), "{kind}, {name}, byte {at}");
            }
        }
    }

    #[test]
    fn arbitrary_headers_and_bodies_never_panic_and_never_pass(
        value in proptest::collection::vec(any::<u8>(), 0..200),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        for (kind, fields, secret, like) in signing() {
            let source = source(kind, kind, fields, &[secret]);
            let headers = signed(source.as_ref(), kind, &like).headers;
            let mut inbound = unsigned(kind, &body);
            inbound.headers.extend(headers.into_iter().skip(1).map(|(name, _)| (name, value.clone().into())));
            prop_assert!(source.authenticate(inbound).is_err(), "{kind}");
        }
    }
}

/// Runs a script of a package's language and gives back what it prints.
fn run(program: &str, script: &str, input: &Value) -> Value {
    let mut child = Command::new(program)
        .args([if program == "node" { "-e" } else { "-c" }, script])
        .env("NODE_PATH", packages::folder().join("npm/node_modules"))
        .env("PYTHONPATH", packages::folder().join("python"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Signs with the packages, and checks our signatures with them: `{kind: {headers, ok}}`.
const NODE: &str = r#"
const read = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const { Webhook } = require('standardwebhooks');
const svix = require('svix');
const Stripe = require('stripe');
const twilio = require('twilio');
const now = new Date();
const answer = {};
const tried = (check) => { try { return check() !== false; } catch { return false; } };
{
  const { body, secret, headers } = read['standard-webhooks'];
  const hook = new Webhook(secret);
  answer['standard-webhooks'] = {
    headers: { 'webhook-id': 'msg_1', 'webhook-timestamp': String(Math.floor(now / 1000)), 'webhook-signature': hook.sign('msg_1', now, body) },
    ok: tried(() => { hook.verify(body, headers); }),
  };
}
{
  const { body, secret, headers } = read.svix;
  const hook = new svix.Webhook(secret);
  answer.svix = {
    headers: { 'svix-id': 'msg_1', 'svix-timestamp': String(Math.floor(now / 1000)), 'svix-signature': hook.sign('msg_1', now, body) },
    ok: tried(() => { hook.verify(body, headers); }),
  };
}
{
  const { body, secret, headers } = read.stripe;
  const { webhooks } = new Stripe('sk_test_none');
  answer.stripe = {
    headers: { 'stripe-signature': webhooks.generateTestHeaderString({ payload: body, secret }) },
    ok: tried(() => { webhooks.constructEvent(body, headers['stripe-signature'], secret); }),
  };
}
{
  const { body, secret, headers, url } = read.twilio;
  const form = Object.fromEntries(new URLSearchParams(body));
  answer.twilio = {
    headers: { 'x-twilio-signature': twilio.getExpectedTwilioSignature(secret, url, form) },
    ok: tried(() => twilio.validateRequest(secret, headers['x-twilio-signature'], url, form)),
  };
}
console.log(JSON.stringify(answer));
"#;

const PYTHON: &str = r#"
import json, sys, time
from slack_sdk.signature import SignatureVerifier
from nacl.signing import SigningKey
read = json.load(sys.stdin)
slack = read["slack"]
verifier = SignatureVerifier(slack["secret"])
now = str(int(time.time()))
answer = {"slack": {
    "headers": {"x-slack-request-timestamp": now, "x-slack-signature": verifier.generate_signature(timestamp=now, body=slack["body"])},
    "ok": verifier.is_valid_request(slack["body"], slack["headers"]),
}}
discord = read["discord"]
key = SigningKey(bytes.fromhex(discord["seed"]))
signature = key.sign((now + discord["body"]).encode()).signature.hex()
headers = discord["headers"]
key.verify_key.verify((headers["x-signature-timestamp"] + discord["body"]).encode(), bytes.fromhex(headers["x-signature-ed25519"]))
answer["discord"] = {"headers": {"x-signature-timestamp": now, "x-signature-ed25519": signature}, "ok": True}
json.dump(answer, sys.stdout)
"#;

#[test]
fn the_providers_own_packages_and_we_accept_each_others_signatures() {
    let seed = "07".repeat(32);
    let public = hex::encode(declic::verify::public_key::ed25519_public(&[7; 32]).unwrap());
    let kinds: Vec<(&str, Value, &str, &str)> = vec![
        ("standard-webhooks", json!({ "secret": "hook" }), WHSEC, r#"{"type":"a"}"#),
        ("svix", json!({ "secret": "hook" }), WHSEC, r#"{"type":"a"}"#),
        ("stripe", json!({ "secret": "hook" }), "whsec_test", r#"{"id":"evt_1","object":"event","type":"a"}"#),
        ("twilio", json!({ "secret": "hook", "public-url": "https://declic.example.dev/hooks/x" }), "12345", "From=%2B1&Body=hi"),
        ("slack", json!({ "signing-secret": "hook" }), "slack-secret", r#"{"type":"event_callback","event":{"type":"a"}}"#),
        ("discord", json!({ "public-key": "hook" }), &public, r#"{"type":2,"id":"1"}"#),
    ];
    let now = Timestamp::now();
    let mut input = json!({});
    let mut sources = Vec::new();
    for (kind, fields, secret, body) in kinds {
        let source = source(kind, kind, fields, &[secret]);
        let mut inbound = Inbound { received_at: now, ..unsigned(kind, body.as_bytes()) };
        let private = declic_actions::secret::Secret::new(seed.as_str());
        source.sign(&mut inbound, "a", "msg_1", (kind == "discord").then_some(&private)).unwrap();
        let headers: serde_json::Map<String, Value> =
            inbound.headers.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into())).collect();
        let url = "https://declic.example.dev/hooks/x";
        input[kind] = json!({ "body": body, "secret": secret, "headers": headers, "url": url, "seed": seed });
        sources.push((kind, source, body));
    }
    let mut answers = run("node", NODE, &input);
    let python = run("python3", PYTHON, &input);
    for kind in ["slack", "discord"] {
        answers[kind] = python[kind].clone();
    }
    for (kind, source, body) in sources {
        assert_eq!(answers[kind]["ok"], true, "{kind}: their checker refuses our signature");
        let mut inbound = Inbound { received_at: Timestamp::now(), ..unsigned(kind, body.as_bytes()) };
        for (name, value) in answers[kind]["headers"].as_object().unwrap() {
            inbound.headers.push((name.clone(), value.as_str().unwrap().to_owned().into()));
        }
        assert!(source.authenticate(inbound).is_ok(), "{kind}: we refuse their signature");
    }
}

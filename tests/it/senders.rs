//! What must hold of every provider that signs.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::sources::{Around, Source};
use declic::verify::trust::{Form, Want};
use declic_actions::secret::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::doors::key;
use crate::support::described;
use crate::support::service::{push, source, source_in};
use crate::support::vectors::{folder, inbound as inbound_of, text, vectors};

/// 24 bytes of a Standard Webhooks secret.
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NOW: i64 = 1_800_000_000_000;
/// Half of a key of each algorithm is told to the source, the other is the provider's: (public, private).
static ED25519: LazyLock<(String, Secret)> = LazyLock::new(|| ed25519(7));
static P256: LazyLock<(String, Secret)> = LazyLock::new(p256);

fn ed25519(seed: u8) -> (String, Secret) {
    let public = declic::verify::public_key::ed25519_public(&[seed; 32]).unwrap();
    (hex::encode(public), Secret::new(hex::encode([seed; 32])))
}

fn p256() -> (String, Secret) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (STANDARD.encode(public.as_ref()), Secret::new(STANDARD.encode(pair.to_pkcs8v1().unwrap().as_ref())))
}

/// The key that only the provider has.
pub fn private(kind: &str) -> Option<&'static Secret> {
    match kind {
        "discord" => Some(&ED25519.1),
        "sendgrid" => Some(&P256.1),
        _ => None,
    }
}

/// Type, its settings, its secret, and a body of its kind.
pub fn signing() -> Vec<(&'static str, Value, &'static str, String)> {
    let secret = || json!({ "secret": "hook" });
    let url = || json!({ "secret": "hook", "public-url": "https://declic.example.dev/hooks/x" });
    let linear = format!(r#"{{"type":"Issue","webhookTimestamp":{NOW}}}"#);
    let adyen = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","eventCode":"A","success":"true"}}]}"#;
    let plain = || r#"{"type":"a.b","id":"1","event":"e"}"#.to_owned();
    vec![
        ("adyen", secret(), "44782DEF547AAA06C910C43932B1EB0C", adyen.to_owned()),
        ("bitbucket", secret(), "s", plain()),
        ("discord", json!({ "public-key": "hook" }), &ED25519.0, r#"{"type":2,"id":"1"}"#.to_owned()),
        ("dropbox", secret(), "s", plain()),
        ("forgejo", secret(), "s", plain()),
        ("gitea", secret(), "s", plain()),
        ("github", secret(), "s", String::from_utf8(push("main")).unwrap()),
        ("gitlab", json!({ "secret": "hook", "scheme": "signing" }), WHSEC, r#"{"object_kind":"push"}"#.to_owned()),
        ("gogs", secret(), "s", plain()),
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
        ("sendgrid", json!({ "public-key": "hook" }), &P256.0, r#"[{"event":"delivered","sg_event_id":"1"}]"#.to_owned()),
        ("sentry", secret(), "s", plain()),
        ("shopify", secret(), "s", plain()),
        ("slack", json!({ "signing-secret": "hook" }), "s", r#"{"type":"event_callback","event":{"type":"a"}}"#.to_owned()),
        ("square", url(), "s", plain()),
        ("standard-webhooks", secret(), WHSEC, plain()),
        ("stripe", secret(), "whsec_test", plain()),
        ("svix", secret(), WHSEC, plain()),
        ("twilio", url(), "s", "From=%2B1&Body=hi".to_owned()),
        ("vercel", secret(), "s", plain()),
        ("webhook", json!({ "auth": { "hmac": { "secret": "hook", "header": "x-signature" } } }), "s", plain()),
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
    let event = if kind == "github" { "push" } else { "an.event" };
    source.sign(&mut inbound, event, "msg_1", private(kind)).unwrap_or_else(|refusal| panic!("{kind}: {}", refusal.private));
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
    source(kind, kind, fields, &[&another_secret(kind)])
}

/// A private key of the same form as the provider's, whose public half no source has.
pub fn another_private(kind: &str) -> Option<Secret> {
    match kind {
        "discord" => Some(ed25519(8).1),
        "sendgrid" => Some(p256().1),
        _ => None,
    }
}

/// A secret of the same form as that of this type, which nothing is signed with.
pub fn another_secret(kind: &str) -> String {
    match kind {
        "adyen" => "00112233".to_owned(),
        "discord" => ed25519(8).0,
        "sendgrid" => p256().0,
        "standard-webhooks" | "svix" | "gitlab" => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        "ms-teams" => "AAAA".to_owned(),
        _ => "another".to_owned(),
    }
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

/// A source with Google's tokens, and the key of whoever calls.
fn with_token() -> (Arc<dyn Source>, Secret) {
    let (private, set) = key();
    let around = Around::default();
    let url = "https://keys.example.dev/certs";
    let oidc =
        json!({ "audience": "https://declic.example.dev", "email": "push@acme-ops.iam.gserviceaccount.com", "keys-url": url });
    let source = source_in("push", "pubsub-push", json!({ "auth": { "oidc": oidc } }), &[], &around);
    let want = Want { url: url.to_owned(), form: Form::Keys, id: "test".to_owned() };
    around.trust.put(&want, set.as_bytes(), None, Timestamp(NOW)).unwrap();
    (source, private)
}

#[test]
fn no_mutation_of_one_byte_of_a_token_is_accepted() {
    let (source, private) = with_token();
    let mut inbound = unsigned("push", b"{}");
    source.sign(&mut inbound, "event", "1", Some(&private)).unwrap();
    assert!(source.authenticate(inbound.clone()).is_ok());
    let place = inbound.headers.iter().position(|(name, _)| name == "authorization").unwrap();
    let token = inbound.headers[place].1.clone();
    for index in "Bearer ".len()..token.len() {
        for flip in [1, 2, 4, 16, 32] {
            let mut bytes = token.to_vec();
            bytes[index] ^= flip;
            inbound.headers[place].1 = bytes.into();
            assert!(source.authenticate(inbound.clone()).is_err(), "byte {index} with {flip}");
        }
    }
}

/// The text with each of its letters and digits changed in turn.
fn each_changed(value: &str) -> Vec<String> {
    let places: Vec<usize> = value.char_indices().filter(|(_, found)| found.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
    let changed = |at: usize| {
        let other = if value[at..].starts_with('1') { "2" } else { "1" };
        format!("{}{other}{}", &value[..at], &value[at + 1..])
    };
    places.into_iter().map(changed).collect()
}

#[test]
fn no_mutation_of_one_character_of_what_adyen_signs_is_accepted() {
    let (kind, fields, secret, _) = signing().into_iter().find(|(kind, ..)| *kind == "adyen").unwrap();
    let source = source(kind, kind, fields, &[secret]);
    let item = json!({
        "pspReference": "P7", "originalReference": "O7", "merchantAccountCode": "Acme", "merchantReference": "R7",
        "amount": { "value": 1130, "currency": "EUR" }, "eventCode": "AUTHORISATION", "success": "true",
    });
    let body = json!({ "notificationItems": [{ "NotificationRequestItem": item }] }).to_string();
    let inbound = signed(source.as_ref(), kind, &body);
    assert!(source.authenticate(inbound.clone()).is_ok());
    let read: Value = serde_json::from_slice(&inbound.body).unwrap();
    let item = "/notificationItems/0/NotificationRequestItem";
    let signed = [
        "pspReference",
        "originalReference",
        "merchantAccountCode",
        "merchantReference",
        "amount/currency",
        "eventCode",
        "success",
    ];
    for field in signed.into_iter().chain(["additionalData/hmacSignature"]) {
        let place = format!("{item}/{field}");
        for changed in each_changed(read.pointer(&place).unwrap().as_str().unwrap()) {
            let mut body = read.clone();
            *body.pointer_mut(&place).unwrap() = changed.into();
            let forged = Inbound { body: body.to_string().into_bytes().into(), ..inbound.clone() };
            assert!(source.authenticate(forged).is_err(), "{field}: {body}");
        }
    }
    let mut body = read.clone();
    *body.pointer_mut(&format!("{item}/amount/value")).unwrap() = 1131.into();
    assert!(source.authenticate(Inbound { body: body.to_string().into_bytes().into(), ..inbound }).is_err());
}

#[test]
fn no_mutation_of_one_character_of_what_sns_signs_in_the_vectors_is_accepted() {
    let cases = vectors("aws-sns.json");
    let good = |case: &&Value| text(case, "expect") == "accept";
    for case in cases.as_ref().and_then(Value::as_array).into_iter().flatten().filter(good) {
        let source = described::source(&folder(), case).unwrap();
        assert!(source.authenticate(inbound_of(case)).is_ok(), "{}", text(case, "id"));
        let message: Value = serde_json::from_str(text(case, "body")).unwrap();
        for field in ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Token", "SubscribeURL", "Signature"] {
            // A notification has no SubscribeURL that anybody signs.
            if field == "SubscribeURL" && message["Type"] == "Notification" {
                continue;
            }
            for changed in message[field].as_str().map(each_changed).unwrap_or_default() {
                let mut forged = message.clone();
                forged[field] = changed.into();
                let inbound = Inbound { body: forged.to_string().into_bytes().into(), ..inbound_of(case) };
                assert!(source.authenticate(inbound).is_err(), "{}: {field} in {forged}", text(case, "id"));
            }
        }
    }
}

//! What comes from outside before anything is proved: headers with signatures, tokens, forms.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::settings::SourceSettings;
use declic::sources::{self, Around, Source, form};
use declic::verify::trust::{Form, Want};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

/// The time at which everything arrives; the corpus is signed for it.
const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// The secret of most sources here; it protects nothing.
const SECRET: &str = "fuzz-secret";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Public halves of keys that were thrown away once the corpus was signed.
const ED25519: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENFITaj7C3/oGLYDJAHKj0p4d1SBlCy07E8236gVUpQ9iCNNBbvp93BYsPYQS0x58UQLy1p932jrOOmYpTebLiQ==";
const MODULUS: &str = concat!(
    "rAsRHem-Vx_syyjmVwSlkhbfLI0lS1edF5U46KzVjEwge8mFIw7zKCI9Rpmj0SJFYbITk4uQdWTKBlHC-p2wOw4o_uaktQhT11_TgaCohvgGd5",
    "7YpGVgFIOOP3obsI3PVFYr9vZgBg_5ikyzQWLvjGc_xUlY5_Fr4w4sjdQ2vylpM9ueXdHclSb7F4fWW1fMi2bs2hX8iOL9k_eRct0YTGqd4xVl",
    "g5eyjcjtjIZbtKlSPk2RvedX5qaO01PDDbhN2xzhzgrJVEujxI2jq0ONVwSv0jyxi1cl11OQkeIZ9jk0ls1izKbK9ZVJfFgjnKruy9EeGiIwJ-",
    "jcxqueXGxIiw",
);
const AMAZON_URL: &str = "https://sns.us-east-2.amazonaws.com/SimpleNotificationService-1.pem";
const KEYS_URL: &str = "https://keys.example.dev/certs";

/// A source of each way to sign, by its type.
static SOURCES: LazyLock<BTreeMap<&str, Arc<dyn Source>>> = LazyLock::new(|| {
    let secret = || json!({ "secret": "hook" });
    let hmac = json!({ "secret": "hook", "header": "x-signature", "prefix": "md=", "algorithm": "sha512",
        "timestamp-header": "x-time", "signed": "{timestamp}.{body}" });
    let kinds = [
        ("adyen", secret(), "0011223344556677"),
        ("aws-sns", json!({ "topic-arn": ["arn:aws:sns:us-east-2:123456789012:MyTopic"] }), SECRET),
        ("discord", json!({ "public-key": "hook" }), ED25519),
        ("github", secret(), SECRET),
        ("sendgrid", json!({ "public-key": "hook" }), P256),
        ("shopify", secret(), SECRET),
        ("slack", json!({ "signing-secret": "hook" }), SECRET),
        ("standard-webhooks", secret(), WHSEC),
        ("stripe", secret(), SECRET),
        ("svix", secret(), WHSEC),
        ("twilio", json!({ "secret": "hook", "public-url": "https://declic.example.dev/hooks/fuzz" }), SECRET),
        ("webhook", json!({ "auth": { "hmac": hmac } }), SECRET),
    ];
    // What is fetched is here already: the certificate whose key was thrown away once the corpus was signed.
    let around = Around::default();
    let want = Want { url: AMAZON_URL.to_owned(), form: Form::Certificate, id: String::new() };
    around.trust.put(&want, include_bytes!("amazon.pem"), Some(24 * 3600), NOW).unwrap_or_else(|why| panic!("{why}"));
    kinds.into_iter().map(|(kind, fields, value)| (kind, source(kind, fields, value, &around))).collect()
});

/// What Amazon signed in the corpus: nothing else may ever be accepted as its own.
const AMAZON_SAID: [(&str, &str); 6] = [
    ("Message", "disk full"),
    ("MessageId", "m-1"),
    ("Subject", "Alarm"),
    ("Timestamp", "2027-01-15T08:00:00.000Z"),
    ("TopicArn", "arn:aws:sns:us-east-2:123456789012:MyTopic"),
    ("Type", "Notification"),
];

fn source(kind: &str, fields: Value, value: &str, around: &Around) -> Arc<dyn Source> {
    let fields = fields.as_object().cloned().unwrap_or_default();
    let settings = SourceSettings { name: "fuzz".to_owned(), kind: kind.to_owned(), path: "/hooks/fuzz".to_owned(), fields };
    let secrets = BTreeMap::from([("hook".to_owned(), vec![Secret::new(value)])]);
    sources::build(&settings, &secrets, around).unwrap_or_else(|why| panic!("{kind} {why}"))
}

fn inbound(headers: Vec<(String, Vec<u8>)>, body: &[u8]) -> Inbound {
    Inbound {
        method: "POST".to_owned(),
        path: "/hooks/fuzz".to_owned(),
        query: String::new(),
        headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
        body: body.to_vec().into(),
        received_at: NOW,
    }
}

/// A request: the type of its source on the first line, headers, an empty line, the body. Never a panic, and what is accepted is
/// refused with another body: nothing but the signature may be why.
pub fn signature(bytes: &[u8]) {
    accepts(bytes);
}

/// The same, and whether the request was accepted.
pub fn accepts(bytes: &[u8]) -> bool {
    let end = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let kind = lines.next().and_then(|kind| std::str::from_utf8(kind).ok()).unwrap_or_default();
    let Some(source) = SOURCES.get(kind) else { return false };
    let headers = lines.filter_map(|line| {
        let colon = line.windows(2).position(|two| two == b": ")?;
        let name = std::str::from_utf8(line.get(..colon)?).ok()?.to_ascii_lowercase();
        Some((name, line.get(colon + 2..)?.to_vec()))
    });
    let request = inbound(headers.collect(), body);
    source.wants(&request);
    let _ = sources::take(source.as_ref(), request.clone());
    let accepted = source.authenticate(request.clone()).is_ok();
    if accepted && kind == "aws-sns" {
        let message: Value = serde_json::from_slice(body).unwrap_or_default();
        for (name, said) in AMAZON_SAID {
            assert_eq!(message.get(name).and_then(Value::as_str), Some(said), "{name}");
        }
    }
    // Adyen and Amazon sign some fields of their JSON, and not the bytes of it.
    if accepted && !matches!(kind, "adyen" | "aws-sns") {
        for index in [0, body.len() / 2, body.len().saturating_sub(1)] {
            let mut other = body.to_vec();
            if let Some(byte) = other.get_mut(index) {
                *byte ^= 1;
                let other = Inbound { body: other.into(), ..request.clone() };
                assert!(source.authenticate(other).is_err(), "{kind}: byte {index} does not matter");
            }
        }
    }
    accepted
}

/// The one token of the corpus that is right; whoever could make another has the key, and nobody has.
pub const RIGHT: &[u8] = include_bytes!("../corpus/token/right");

static CALLED: LazyLock<Arc<dyn Source>> = LazyLock::new(|| {
    let around = Around::default();
    let oidc = json!({ "audience": "https://declic.example.dev", "email": "push@acme-ops.iam.gserviceaccount.com", "keys-url": KEYS_URL });
    let set = json!({ "keys": [{ "kty": "RSA", "kid": "test", "alg": "RS256", "use": "sig", "n": MODULUS, "e": "AQAB" }] });
    let want = Want { url: KEYS_URL.to_owned(), form: Form::Keys, id: "test".to_owned() };
    around.trust.put(&want, set.to_string().as_bytes(), None, NOW).unwrap_or_else(|why| panic!("{why}"));
    source("google-cloud-tasks", json!({ "auth": { "oidc": oidc } }), SECRET, &around)
});

/// An `authorization` header with an ID token: no other than the right one is accepted, with whatever capitals `Bearer` is written.
pub fn token(bytes: &[u8]) {
    let request = inbound(vec![("authorization".to_owned(), bytes.to_vec())], b"{}");
    CALLED.wants(&request);
    let accepted = CALLED.authenticate(request).is_ok();
    let right = bytes
        .split_at_checked(7)
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case(b"bearer ") && RIGHT.strip_prefix(b"Bearer ") == Some(token));
    assert_eq!(accepted, right);
}

/// A form: what is read and written again reads the same, and a field that is there twice is no field.
pub fn form(bytes: &[u8]) {
    let fields = match form::fields(bytes) {
        Ok(fields) => fields,
        Err(why) => {
            assert!(!why.is_empty() && form::only(bytes, "payload").is_err());
            return;
        }
    };
    let written: Vec<String> = fields.iter().map(|(name, value)| form::encode(name, value)).collect();
    assert_eq!(form::fields(written.join("&").as_bytes()).as_ref(), Ok(&fields));
    for (name, value) in &fields {
        let times = fields.iter().filter(|(other, _)| other == name).count();
        assert_eq!(form::only(bytes, name).ok().as_ref(), (times == 1).then_some(value));
    }
    let _ = form::json_of(bytes, true, "payload");
}

//! No change of one byte of a signed part is accepted: every bit of every byte of each part that each kind of signature covers.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::sources::{Around, Source};
use declic::verify::public_key::ed25519_public;
use declic::verify::trust::{Form, Want};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::rsa::Rsa;
use crate::support::service::source_in;

const JSON: &str = r#"{"type":"thing.made","id":"1"}"#;
const FORM: &str = "Body=hi+there&From=155&MessageSid=SM1";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a kind of source signs.
struct Case {
    kind: &'static str,
    fields: Value,
    secret: String,
    /// A key made for the test, where only the provider has the real one.
    private: Option<Secret>,
    content_type: &'static str,
    body: String,
    query: &'static str,
    /// Headers that are covered, or are the signature; the query too if it is named `?`, the path if `/`, the method if `METHOD`.
    covered: &'static [&'static str],
}

fn case(kind: &'static str, covered: &'static [&'static str]) -> Case {
    Case {
        kind,
        fields: json!({ "secret": "hook" }),
        secret: "a secret".to_owned(),
        private: None,
        content_type: "application/json",
        body: JSON.to_owned(),
        query: "",
        covered,
    }
}

fn cases() -> Vec<Case> {
    let address = || json!({ "secret": "hook", "public-url": "https://declic.example.dev/hooks/x" });
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let p256: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let p256_private = Secret::new(STANDARD.encode(pair.to_pkcs8v1().unwrap().as_ref()));
    let ed25519 = ed25519_public(&[7; 32]).unwrap();
    let template = json!({ "auth": { "hmac": { "secret": "hook", "header": "x-sig", "signed": "{method} {path}?{query}\n{header:x-id}\n{timestamp}\n{body}",
        "timestamp-header": "x-time", "timestamp-unit": "rfc3339" } }, "delivery-id": "{header:x-id}" });
    vec![
        case("gitea", &["x-gitea-signature"]),
        case("bitbucket", &["x-hub-signature"]),
        case("stripe", &["stripe-signature"]),
        case("paddle", &["paddle-signature"]),
        case("shopify", &["x-shopify-hmac-sha256"]),
        case("zoom", &["x-zm-signature", "x-zm-request-timestamp"]),
        case("svix", &["svix-id", "svix-timestamp", "svix-signature"]).with_secret(WHSEC),
        case("standard-webhooks", &["webhook-id", "webhook-timestamp", "webhook-signature"]).with_secret(WHSEC),
        Case {
            private: Some(Secret::new(format!("whsk_{}", STANDARD.encode([7; 32])))),
            ..case("standard-webhooks", &["webhook-id", "webhook-timestamp", "webhook-signature"])
                .with_secret(&format!("whpk_{}", STANDARD.encode(&ed25519)))
        },
        Case {
            fields: json!({ "signing-secret": "hook" }),
            content_type: "application/x-www-form-urlencoded",
            body: "command=%2Fdeploy&text=web&user_id=U1&channel_id=C1&team_id=T1".to_owned(),
            ..case("slack", &["x-slack-signature", "x-slack-request-timestamp"])
        },
        Case {
            fields: json!({ "public-key": "hook" }),
            private: Some(Secret::new("07".repeat(32))),
            ..case("discord", &["x-signature-ed25519", "x-signature-timestamp"]).with_secret(&hex::encode(&ed25519))
        },
        Case {
            fields: json!({ "public-key": "hook" }),
            private: Some(p256_private),
            ..case("sendgrid", &["x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"])
                .with_secret(&STANDARD.encode(p256.as_ref()))
        },
        Case {
            fields: address(),
            content_type: "application/x-www-form-urlencoded",
            body: FORM.to_owned(),
            query: "foo=1&bar=2",
            ..case("twilio", &["x-twilio-signature", "?"])
        },
        Case { fields: address(), query: "foo=1", ..case("square", &["x-square-hmacsha256-signature", "?"]) },
        Case {
            fields: address(),
            query: "foo=1",
            ..case("hubspot", &["x-hubspot-signature-v3", "x-hubspot-request-timestamp", "?", "METHOD"])
        },
        Case { fields: template, query: "foo=1", ..case("webhook", &["x-sig", "x-time", "x-id", "?", "/", "METHOD"]) },
        Case {
            fields: json!({ "auth": { "hmac": { "secret": "hook", "query": "signature", "timestamp-query": "time", "signed": "{timestamp}?{query}\n{body}" } } }),
            query: "foo=1",
            ..case("webhook", &["?"])
        },
        Case {
            fields: json!({ "methods": ["GET"], "auth": { "hmac": { "secret": "hook", "header": "x-sig", "algorithm": "sha384", "signed": "{query}" } } }),
            content_type: "application/x-www-form-urlencoded",
            body: FORM.to_owned(),
            ..case("webhook", &["x-sig", "?"])
        },
    ]
}

impl Case {
    fn with_secret(self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self }
    }

    fn source(&self) -> Arc<dyn Source> {
        source_in("x", self.kind, self.fields.clone(), &[&self.secret], &Around::default())
    }

    fn signed(&self, source: &dyn Source) -> Inbound {
        let mut inbound = inbound(self.content_type, &self.body);
        self.query.clone_into(&mut inbound.query);
        source.sign(&mut inbound, "thing.made", "msg_1", self.private.as_ref()).unwrap();
        inbound
    }
}

fn inbound(content_type: &str, body: &str) -> Inbound {
    Inbound {
        method: "POST".to_owned(),
        path: "/hooks/x".to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), content_type.to_owned().into())],
        body: body.to_owned().into(),
        received_at: Timestamp(1_800_000_000_000),
    }
}

/// Every text that differs from this one in one bit.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut changed = bytes.to_vec();
        changed[bit / 8] ^= 1 << (bit % 8);
        changed
    })
}

/// Requests that differ in one bit of a part.
fn mutations(inbound: &Inbound, part: &str) -> Vec<Inbound> {
    let with = |change: &dyn Fn(&mut Inbound)| {
        let mut changed = inbound.clone();
        change(&mut changed);
        changed
    };
    // What an address is made of is text; a change that no request could carry says nothing.
    let texts = |text: &str| -> Vec<String> {
        flipped(text.as_bytes())
            .filter_map(|bytes| String::from_utf8(bytes).ok())
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
            .collect()
    };
    match part {
        "BODY" => flipped(&inbound.body).map(|body| with(&|inbound| inbound.body = body.clone().into())).collect(),
        "METHOD" => {
            texts(&inbound.method).into_iter().map(|text| with(&|inbound| text.clone_into(&mut inbound.method))).collect()
        }
        "?" => texts(&inbound.query).into_iter().map(|text| with(&|inbound| text.clone_into(&mut inbound.query))).collect(),
        "/" => texts(&inbound.path).into_iter().map(|text| with(&|inbound| text.clone_into(&mut inbound.path))).collect(),
        header => {
            let value = inbound.headers.iter().find(|(name, _)| name == header).map(|(_, value)| value.clone());
            let value = value.unwrap_or_else(|| panic!("it is not signed with {header}"));
            let changed = |bytes: Vec<u8>| {
                with(&|inbound| {
                    for (_, value) in inbound.headers.iter_mut().filter(|(name, _)| name == header) {
                        *value = Bytes::from(bytes.clone());
                    }
                })
            };
            flipped(&value).map(changed).collect()
        }
    }
}

#[test]
fn no_change_of_a_bit_of_a_signed_part_is_accepted() {
    for case in cases() {
        let source = case.source();
        let signed = case.signed(source.as_ref());
        source.authenticate(signed.clone()).unwrap_or_else(|refusal| panic!("{}: {}", case.kind, refusal.private));
        let body: &[&str] = if signed.body.is_empty() { &[] } else { &["BODY"] };
        for part in case.covered.iter().chain(body) {
            let mutations = mutations(&signed, part);
            assert!(!mutations.is_empty(), "{}: {part} holds nothing", case.kind);
            for changed in mutations {
                assert!(
                    source.authenticate(changed.clone()).is_err(),
                    "{}: {part} was changed and it was taken in: {changed:?}",
                    case.kind
                );
            }
        }
    }
}

#[test]
fn no_change_of_a_bit_of_an_id_token_is_accepted() {
    let google = Rsa::new();
    let around = Around::default();
    let auth = json!({ "auth": { "oidc": { "audience": "us", "email": "a@example.com" } } });
    let source = source_in("x", "google-cloud-tasks", auth, &[], &around);
    let claims = json!({ "iss": "https://accounts.google.com", "aud": "us", "email": "a@example.com", "email_verified": true,
        "iat": 1_799_999_990, "exp": 1_800_003_600 });
    let mut signed = inbound("application/json", JSON);
    signed.headers.push(("authorization".to_owned(), google.token("g1", &claims).into()));
    let url = source.wants(&signed).expect("the keys").url;
    let set = json!({ "keys": [google.published("g1")] }).to_string();
    around.trust.put(&Want { url, form: Form::Keys, id: "g1".to_owned() }, set.as_bytes(), None, signed.received_at).unwrap();
    source.authenticate(signed.clone()).unwrap();
    for changed in mutations(&signed, "authorization") {
        // The scheme's name is the same in either case.
        let value = changed.header("authorization").unwrap_or_default().to_owned();
        let same = value.split_once(' ').is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && signed.header("authorization").is_some_and(|whole| whole.ends_with(token))
        });
        assert_eq!(source.authenticate(changed).is_ok(), same, "{value}");
    }
}

#[test]
fn no_change_of_a_character_of_a_signed_field_of_sns_is_accepted() {
    let key = Rsa::new();
    let around = Around::default();
    let topic = "arn:aws:sns:us-east-1:123456789012:t";
    let source = source_in("x", "aws-sns", json!({ "topic-arn": [topic] }), &[], &around);
    let mut signed = inbound("text/plain", r#"{"Message":"disk full","Subject":"Alarm"}"#);
    source.sign(&mut signed, "", "", Some(&Secret::new(key.private()))).unwrap();
    let want = source.wants(&signed).expect("the certificate");
    around.trust.put(&want, key.certificate().as_bytes(), None, signed.received_at).unwrap();
    source.authenticate(signed.clone()).unwrap();
    let message: Value = serde_json::from_slice(&signed.body).unwrap();
    for field in ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature", "SignatureVersion"] {
        let text = message[field].as_str().unwrap_or_default().to_owned();
        for changed in flipped(text.as_bytes()).filter_map(|bytes| String::from_utf8(bytes).ok()) {
            let mut forged = message.clone();
            forged[field] = changed.clone().into();
            let inbound = Inbound { body: forged.to_string().into(), ..signed.clone() };
            assert!(source.authenticate(inbound).is_err(), "{field} was changed to {changed:?}");
        }
    }
}

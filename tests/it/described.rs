//! Vectors of providers that nobody here has heard of: described by their own `config`, or by a settings file beside them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use crate::verification::judged;

const NOW: i64 = 1_760_000_000;
const BODY: &str = r#"{"type":"thing.made","id":"d-1"}"#;
const SECRET: &str = "a secret that nobody has";

fn sha256(message: &str) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn sha512(message: &str) -> Vec<u8> {
    let mut mac = Hmac::<sha2::Sha512>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn case(provider: &str, config: &Value, headers: &Value) -> Value {
    let mut all = json!({ "Content-Type": "application/json" });
    all.as_object_mut().unwrap().extend(headers.as_object().unwrap().clone());
    json!({
        "id": format!("{provider}/01-valid"), "provider": provider, "description": "made up", "kind": "verify", "level": "must",
        "secret": SECRET, "config": config, "method": "POST", "path": format!("/in/{provider}"), "headers": all, "body": BODY,
        "now": NOW, "expect": "accept", "reason": "", "event_type": "thing.made", "delivery_id": "d-1",
    })
}

/// The case is accepted with what it names, and refused once a byte of its body is another.
fn holds(folder: &Path, case: &Value) {
    assert_eq!(judged(folder, case), None, "{case:#}");
    let mut forged = case.clone();
    forged["body"] = case["body"].as_str().unwrap().replace("made", "mode").into();
    forged["expect"] = "reject".into();
    assert_eq!(judged(folder, &forged), None, "{forged:#}");
    forged["expect"] = "accept".into();
    assert!(judged(folder, &forged).unwrap().contains("refused: "), "{forged:#}");
}

#[test]
fn a_config_in_the_words_of_the_settings_describes_a_provider() {
    let folder = tempfile::tempdir().unwrap();
    let signature = format!("sha256={}", hex::encode(sha256(&format!("{NOW}.{BODY}"))));
    let hmac = json!({ "secret": "any", "header": "X-Acme-Sig", "prefix": "sha256=", "timestamp-header": "X-Acme-Time",
        "signed": "{timestamp}.{body}", "max-age": "5m" });
    let headers = json!({ "X-Acme-Sig": signature, "X-Acme-Time": NOW.to_string() });
    let names = json!({ "event": "{body:type}", "delivery-id": "{body:id}" });
    for (key, block) in [
        ("auth", json!({ "hmac": hmac })),
        ("verify", json!({ "hmac": hmac })),
        ("template", hmac.clone()),
        ("hmac", hmac.clone()),
    ] {
        let mut config = names.clone();
        config[key] = block;
        holds(folder.path(), &case("acme", &config, &headers));
    }
    let mut flat = hmac.clone();
    flat.as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
    holds(folder.path(), &case("acme", &flat, &headers));
}

#[test]
fn a_config_in_other_words_describes_a_provider_too() {
    let folder = tempfile::tempdir().unwrap();
    let list = format!("t={NOW},v1={}", hex::encode(sha256(&format!("v0:{NOW}:{BODY}"))));
    for config in [
        json!({ "scheme": "hmac", "algorithm": "HMAC-SHA256", "encoding": "hex", "signature_header": "X-Acme-Sig", "label": "v1",
            "timestamp_label": "t", "signed_payload": "v0:{ts}:{raw_body}", "tolerance": 300, "event_type": "type", "delivery_id": "id" }),
        json!({ "kind": "hmac-sha256", "header": "X-Acme-Sig", "signature_key": "v1=", "timestamp_key": "t=", "separator": ",",
            "signed_parts": ["v0:", "timestamp", ":", "body"], "event_path": "type", "delivery_id_path": "id" }),
        json!({ "hash": "sha-256", "signature": { "header": "X-Acme-Sig", "encoding": "hex", "label": "v1" },
            "timestamp": { "label": "t", "unit": "s", "tolerance": "300" }, "template": "v0:timestamp:body",
            "event": { "body": "type" }, "delivery_id": { "path": "id" } }),
    ] {
        holds(folder.path(), &case("acme", &config, &json!({ "X-Acme-Sig": list })));
    }
    let config =
        json!({ "algorithm": "sha512", "encoding": "base64", "header": "X-Acme-Sig", "event": "$.type", "delivery_id": "$.id" });
    holds(folder.path(), &case("acme", &config, &json!({ "X-Acme-Sig": STANDARD.encode(sha512(BODY)) })));
    let config = json!({ "encoding": "base64url", "header": "X-Acme-Sig", "event": "type", "delivery_id": "X-Acme-Id" });
    let headers = json!({ "X-Acme-Sig": URL_SAFE_NO_PAD.encode(sha256(BODY)), "X-Acme-Id": "d-1" });
    holds(folder.path(), &case("acme", &config, &headers));
}

#[test]
fn lists_times_and_keys_are_read_however_they_are_nested() {
    let folder = tempfile::tempdir().unwrap();
    let list = format!("t={NOW},v1={}", hex::encode(sha256(&format!("{NOW}.{BODY}"))));
    let names = json!({ "event_type": { "from": "body", "path": "type" }, "delivery_id": { "json": "/id" } });
    let with_names = |config: Value| {
        let mut config = config;
        config.as_object_mut().unwrap().extend(names.as_object().unwrap().clone());
        config
    };
    for config in [
        json!({ "header": { "name": "X-Acme-Sig", "format": "list", "signature": "v1", "timestamp": "t" }, "signed": "{timestamp}.{body}" }),
        json!({ "header": "X-Acme-Sig", "key_value": { "signature": "v1", "timestamp": "t" }, "signed": ["timestamp", ".", "body"] }),
        json!({ "header": "X-Acme-Sig", "format": "t={timestamp},v1={signature}", "signed": "timestamp + '.' + body" }),
        json!({ "template": { "header": "X-Acme-Sig", "signature": { "key": "v1" }, "timestamp": { "key": "t" },
            "signed": [{ "part": "timestamp" }, { "const": "." }, { "part": "body" }] } }),
    ] {
        holds(folder.path(), &case("acme", &with_names(config), &json!({ "X-Acme-Sig": list })));
    }
    let date = "2025-10-09T08:53:20Z";
    let dated = json!({ "X-Acme-Sig": hex::encode(sha256(&format!("{date}:{BODY}"))), "X-Acme-Time": date });
    let config = json!({ "header": "X-Acme-Sig", "signed": ["header:X-Acme-Time", "body"], "join": ":",
        "timestamp": { "in": "header", "name": "X-Acme-Time", "unit": "iso8601", "tolerance": 60 } });
    holds(folder.path(), &case("acme", &with_names(config), &dated));
    let mut prefixed = case(
        "acme",
        &with_names(json!({ "header": "X-Acme-Sig", "key": "base64", "secret_prefix": "whsec_" })),
        &json!({ "X-Acme-Sig": hex::encode(sha256(BODY)) }),
    );
    prefixed["secret"] = format!("whsec_{}", STANDARD.encode(SECRET)).into();
    holds(folder.path(), &prefixed);
}

#[test]
fn settings_beside_the_vectors_describe_their_providers() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "version: 1
secrets:
  acme_hook: { from: env, name: ACME }
sources:
  acme_corp:
    type: webhook
    path: /in/acme-corp
    auth: { hmac: { secret: acme_hook, header: X-Acme-Sig, encoding: base64 } }
    event: \"{body:type}\"
    delivery-id: \"{body:id}\"
  elsewhere:
    type: webhook
    path: /in/by-path
    auth: { hmac: { secret: acme_hook, header: X-Other-Sig, signed: \"{method}.{body}\" } }
    event: \"{body:type}\"
    delivery-id: \"{body:id}\"
";
    std::fs::write(folder.path().join("declic.yaml"), settings).unwrap();
    let own = "verify:
  hmac: { secret: $secret, header: X-Own-Sig }
event: [\"{body:type}\"]
delivery-id: \"{body:id}\"
";
    std::fs::write(folder.path().join("own.yaml"), own).unwrap();
    let nothing = json!({});
    holds(folder.path(), &case("acme-corp", &nothing, &json!({ "X-Acme-Sig": STANDARD.encode(sha256(BODY)) })));
    let signature = hex::encode(sha256(&format!("POST.{BODY}")));
    holds(folder.path(), &case("by-path", &nothing, &json!({ "X-Other-Sig": signature })));
    holds(folder.path(), &case("own", &nothing, &json!({ "X-Own-Sig": hex::encode(sha256(BODY)) })));
    let unknown = case("unknown", &nothing, &json!({}));
    assert!(judged(folder.path(), &unknown).unwrap().contains("neither known nor described"));
}

#[test]
fn a_vector_that_cannot_be_judged_is_a_fault_and_not_a_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut case = case("acme", &json!({ "hmac": { "header": "X-Acme-Sig" } }), &json!({}));
        case["expect"] = "reject".into();
        change(&mut case);
        judged(folder.path(), &case)
    };
    assert_eq!(with(&|_| {}), None);
    // A secret that cannot be one is why nothing is taken in.
    let ed25519 = json!({ "kind": "ed25519", "header": "X-Acme-Sig" });
    let weak = |case: &mut Value| {
        case["config"] = ed25519.clone();
        case["secret"] = "00".repeat(32).into();
    };
    assert_eq!(with(&weak), None);
    for (key, value, said) in [
        ("provider", json!("nobody"), "no source that could be started"),
        ("config", json!({ "hmac": { "header": "X-Acme-Sig", "algorithm": "md5" } }), "`algorithm` is "),
        ("config", json!({ "hmac": { "header": "X-Acme-Sig", "signed": "{timestamp}" } }), "no source that could be started"),
        ("expect", json!("rejected"), "`expect` is \"rejected\""),
        ("kind", json!("delivery"), "`kind` is \"delivery\""),
        ("now", json!("today"), "it has no `now`"),
    ] {
        let fault = with(&|case| {
            case[key] = value.clone();
            if key == "provider" {
                case["config"] = json!({});
            }
        });
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(said)), "{key} {value}: {fault:?}");
    }
}

#[test]
fn tokens_in_headers_and_queries_can_be_described() {
    let folder = tempfile::tempdir().unwrap();
    let names = json!({ "event": "type", "delivery_id": "id" });
    let with = |config: Value| {
        let mut all = names.clone();
        all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        all
    };
    let token = with(json!({ "kind": "static", "header": "X-Acme-Token" }));
    let given = case("acme", &token, &json!({ "X-Acme-Token": SECRET }));
    assert_eq!(judged(folder.path(), &given), None);
    let mut wrong = given.clone();
    wrong["headers"]["X-Acme-Token"] = "another".into();
    wrong["expect"] = "reject".into();
    assert_eq!(judged(folder.path(), &wrong), None);
    let mut query = case("acme", &with(json!({ "mode": "query", "param": "key" })), &json!({}));
    query["path"] = format!("/in/acme?key={}", SECRET.replace(' ', "%20")).into();
    assert_eq!(judged(folder.path(), &query), None);
}

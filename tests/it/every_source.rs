//! Every type of source, served by the real command, and sent to by `declic send` as its provider would.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Output;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::sources::KINDS;
use serde_json::json;

use crate::doors::KeyServer;
use crate::support::binary::{Binary, command};
use crate::support::packages;
use crate::support::rsa::Rsa;

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PLAIN: &str = r#"{"type":"a.b","id":"1","event":"e"}"#;
const ACCOUNT: &str = "push@acme-ops.iam.gserviceaccount.com";

/// Type, further settings, value of its secret, a body of its kind.
type Kind = (&'static str, String, String, String);

fn kinds(keys: &str, sendgrid: &str) -> Vec<Kind> {
    let hook = || "secret: SECRET".to_owned();
    let auth = |way: &str| format!("auth: {{ {way} }}");
    let oidc = || auth(&format!("oidc: {{ audience: \"https://declic.example.dev\", email: {ACCOUNT}, keys-url: \"{keys}\" }}"));
    let url = "secret: SECRET, public-url: \"https://declic.example.dev/hooks/x\"".to_owned();
    let text = |text: &str| text.to_owned();
    let ed25519 = hex::encode(declic::verify::public_key::ed25519_public(&[7; 32]).unwrap());
    let incident = r#"{"version":"1.2","incident":{"state":"open","incident_id":"1","policy_name":"p"}}"#;
    let alerts = r#"{"status":"firing","alerts":[],"groupKey":"g"}"#;
    let hub = r#"{"push_data":{"tag":"1","pushed_at":1},"repository":{"repo_name":"a/b"}}"#;
    let es = r#"{"responseId":"1","session":"projects/p/agent/sessions/s","queryResult":{"action":"a","intent":{"displayName":"i"},"languageCode":"en"}}"#;
    let cx = r#"{"detectIntentResponseId":"1","fulfillmentInfo":{"tag":"t"},"sessionInfo":{"session":"s"},"languageCode":"en"}"#;
    let pushed = r#"{"message":{"messageId":"1","data":"e30=","publishTime":"2026-11-24T08:00:00Z"},"subscription":"projects/p/subscriptions/s"}"#;
    vec![
        ("webhook", auth("hmac: { secret: SECRET, header: X-Sig }"), text("s"), text(PLAIN)),
        (
            "adyen",
            hook(),
            text("44782DEF547AAA06C910C43932B1EB0C"),
            text(r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"1","eventCode":"A","success":"true"}}]}"#),
        ),
        ("alertmanager", auth("basic: SECRET"), text("user:password"), text(alerts)),
        ("azure-devops", auth("basic: SECRET"), text("user:password"), text(r#"{"eventType":"git.push","id":"1"}"#)),
        ("bitbucket", hook(), text("s"), text(PLAIN)),
        ("cloudevents", hook(), text("s"), text(r#"{"specversion":"1.0","type":"a.b","source":"/s","id":"1","data":{}}"#)),
        ("discord", text("public-key: SECRET"), ed25519, text(r#"{"type":2,"id":"1"}"#)),
        ("dockerhub", hook(), text("s3cret"), text(hub)),
        ("dropbox", hook(), text("s"), text(r#"{"list_folder":{"accounts":["a"]}}"#)),
        ("dialogflow-es", auth("basic: SECRET"), text("user:password"), text(es)),
        ("dialogflow-cx", oidc(), String::new(), text(cx)),
        ("forgejo", hook(), text("s"), text(PLAIN)),
        ("gitea", hook(), text("s"), text(PLAIN)),
        ("github", hook(), text("s"), String::from_utf8(crate::support::service::push("main")).unwrap()),
        ("gitlab", hook(), text("s"), text(r#"{"object_kind":"push"}"#)),
        ("gogs", hook(), text("s"), text(PLAIN)),
        ("google-cloud-monitoring", auth("query: { name: auth_token, secret: SECRET }"), text("s"), text(incident)),
        ("google-cloud-scheduler", oidc(), String::new(), text("{}")),
        ("google-cloud-tasks", oidc(), String::new(), text("{}")),
        ("pubsub-push", oidc(), String::new(), text(pushed)),
        (
            "aws-sns",
            text("topic-arn: [\"arn:aws:sns:us-east-1:123456789012:t\"]"),
            String::new(),
            text(r#"{"Type":"Notification","Message":"m"}"#),
        ),
        (
            "google-chat",
            text("audience: \"https://declic.example.dev\""),
            String::new(),
            text(r#"{"type":"MESSAGE","message":{"name":"spaces/A/messages/B","text":"hi"}}"#),
        ),
        ("grafana", hook(), text("s"), text(alerts)),
        ("hubspot", url.clone(), text("s"), text(r#"[{"subscriptionType":"contact.creation","eventId":1}]"#)),
        ("jira", hook(), text("s"), text(r#"{"webhookEvent":"jira:issue_created"}"#)),
        ("line", hook(), text("s"), text(r#"{"events":[{"type":"message","webhookEventId":"1"}]}"#)),
        ("meta", hook(), text("s"), text(r#"{"object":"page","entry":[]}"#)),
        ("microsoft-graph", hook(), text("s"), text(r#"{"value":[{"changeType":"updated","id":"1"}]}"#)),
        ("ms-teams", hook(), text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), text(PLAIN)),
        ("notion", hook(), text("s"), text(PLAIN)),
        ("paddle", hook(), text("s"), text(r#"{"event_type":"x","event_id":"1"}"#)),
        ("pagerduty", hook(), text("s"), text(r#"{"event":{"event_type":"incident.triggered"}}"#)),
        ("razorpay", hook(), text("s"), text(PLAIN)),
        ("sendgrid", text("public-key: SECRET"), sendgrid.to_owned(), text(r#"[{"event":"delivered","sg_event_id":"1"}]"#)),
        ("sentry", hook(), text("s"), text(PLAIN)),
        ("shopify", hook(), text("s"), text(PLAIN)),
        (
            "slack",
            text("signing-secret: SECRET"),
            text("s"),
            text("command=%2Fdeploy&text=web&user_id=U1&channel_id=C1&team_id=T1&trigger_id=1"),
        ),
        ("square", url.clone(), text("s"), text(PLAIN)),
        ("standard-webhooks", hook(), text(WHSEC), text(PLAIN)),
        ("stripe", hook(), text("whsec_test"), text(PLAIN)),
        ("svix", hook(), text(WHSEC), text(PLAIN)),
        ("telegram", hook(), text("s"), text(r#"{"update_id":1,"message":{}}"#)),
        ("twilio", url, text("s"), text("From=%2B1&Body=hi&MessageSid=SM1")),
        ("vercel", hook(), text("s"), text(PLAIN)),
        ("x", hook(), text("s"), text(r#"{"for_user_id":"1","tweet_create_events":[]}"#)),
        ("zoom", hook(), text("s"), text(r#"{"event":"meeting.started","event_ts":1}"#)),
    ]
}

/// Types that nobody but the provider can sign for, or whose request holds the time it was made at.
const NOT_SENT: &[(&str, &str)] =
    &[("github-app", "signed as `github`"), ("linear", "the body holds the time; sent by a test of its own")];

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A file that only we can read.
pub fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// `keys` serves Google's keys, `certificates` Amazon's.
fn settings(folder: &Path, kinds: &[Kind], keys: &str, certificates: &str) {
    let mut secrets = String::new();
    let mut sources = String::new();
    for (kind, fields, value, body) in kinds {
        let name = kind.replace('-', "_");
        let _ = writeln!(sources, "  {kind}: {{ type: {kind}, {} }}", fields.replace("SECRET", &name));
        if fields.contains("SECRET") {
            private(&folder.join(format!("{kind}.secret")), value);
            let _ = writeln!(secrets, "  {name}: {{ from: file, path: {kind}.secret }}");
        }
        fs::write(folder.join(format!("{kind}.body")), body).unwrap();
    }
    let text = format!(
        "version: 1\npublic-url: https://declic.example.dev\nstore: {{ sqlite: declic.db }}\negress: {{ allow: [\"{keys}\"] }}\n\
         google: {{ certs-url: \"http://{keys}\" }}\naws: {{ sns-url: \"http://{certificates}\" }}\nsecrets:\n{secrets}sources:\n{sources}"
    );
    fs::write(folder.join("declic.yaml"), text).unwrap();
    idle(folder);
}

/// A rule file with nothing to do for what is sent here.
pub fn idle(folder: &Path) {
    fs::create_dir(folder.join("rules")).unwrap();
    let rules = "version: 1\nrules:\n  idle:\n    on: { github.push: { branches: [none] } }\n    steps: [{ uses: log, with: { message: seen } }]\n";
    fs::write(folder.join("rules/idle.yaml"), rules).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_declic_send_signs_is_taken_in_by_every_type_of_source() {
    let rsa = Rsa::new();
    let keys = KeyServer::start(json!({ "keys": [rsa.published("test")] }).to_string()).await;
    let certificates = KeyServer::start(rsa.certificate()).await;
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let kinds = kinds(&keys.url, &STANDARD.encode(public.as_ref()));
    let known = kinds.iter().map(|(kind, ..)| *kind).chain(NOT_SENT.iter().map(|(kind, _)| *kind)).collect::<Vec<_>>();
    let forgotten: Vec<&str> = KINDS.iter().map(|kind| kind.name).filter(|name| !known.contains(name)).collect();
    assert!(forgotten.is_empty(), "nobody sends to {forgotten:?}");
    let folder = tempfile::tempdir().unwrap();
    settings(folder.path(), &kinds, &keys.host, &certificates.host);
    fs::write(folder.path().join("rsa.key"), rsa.private()).unwrap();
    fs::write(folder.path().join("ed25519.key"), "07".repeat(32)).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    fs::write(folder.path().join("p256.key"), STANDARD.encode(pkcs8.as_ref())).unwrap();
    let folder_path = folder.path().to_owned();
    let wrong = tokio::task::spawn_blocking(move || {
        let binary = Binary::start(&folder_path, |_| {});
        let to = format!("http://{}", binary.address);
        let mut wrong = Vec::new();
        for (kind, fields, ..) in &kinds {
            let body = format!("{kind}.body");
            let mut arguments = vec!["send", kind, "--event", "push", "--payload", &body, "--to", &to];
            let key = match *kind {
                "discord" => Some("ed25519.key"),
                "sendgrid" => Some("p256.key"),
                "aws-sns" | "google-chat" => Some("rsa.key"),
                _ if fields.contains("oidc") => Some("rsa.key"),
                _ => None,
            };
            arguments.extend(key.iter().flat_map(|key| ["--key", key]));
            let output = command(&folder_path, &arguments).output().unwrap();
            if !output.status.success() {
                wrong.push(format!("{kind}: {}", said(&output)));
            }
        }
        if !wrong.is_empty() {
            wrong.push(binary.log());
        }
        wrong
    });
    let wrong = wrong.await.unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn githubs_own_examples_are_sent_by_name_if_the_package_is_there() {
    let folder = tempfile::tempdir().unwrap();
    settings(folder.path(), &kinds("http://127.0.0.1:9/", ""), "127.0.0.1:9", "127.0.0.1:9");
    let text = fs::read_to_string(folder.path().join("declic.yaml")).unwrap();
    let text: String = text
        .lines()
        .filter(|line| !line.contains("discord") && !line.contains("sendgrid"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(folder.path().join("declic.yaml"), text).unwrap();
    let without = command(folder.path(), &["send", "github", "--event", "push"]).output().unwrap();
    assert_eq!(without.status.code(), Some(2));
    assert!(said(&without).contains("npm install @octokit/webhooks-examples"), "{}", said(&without));
    let package = packages::npm("@octokit/webhooks-examples");
    fs::create_dir_all(folder.path().join("node_modules/@octokit")).unwrap();
    std::os::unix::fs::symlink(package, folder.path().join("node_modules/@octokit/webhooks-examples")).unwrap();
    let binary = Binary::start(folder.path(), |_| {});
    let to = format!("http://{}", binary.address);
    for event in ["push", "github.pull_request.opened", "issue_comment.created", "workflow_run", "ping"] {
        let output = command(folder.path(), &["send", "github", "--event", event, "--to", &to]).output().unwrap();
        assert!(output.status.success(), "{event}: {}", said(&output));
    }
    for (arguments, reason) in [
        (["--event", "pull_request.eaten", "--example", "1"], "no example of `pull_request` has this action; there are "),
        (["--event", "dinner", "--example", "1"], "there is no example of the event `dinner`; there are "),
        (["--event", "push", "--example", "99"], "choose with --example 1 to "),
    ] {
        let output = command(folder.path(), &[&["send", "github"], &arguments[..]].concat()).output().unwrap();
        assert!(said(&output).contains(reason), "{}", said(&output));
    }
}

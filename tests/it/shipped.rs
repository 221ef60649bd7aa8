//! What the providers ship against the running command: it takes in what their packages sign, and they what `declic send` signs.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::every_source::{idle, private};
use crate::support::binary::{Binary, command};
use crate::support::packages;
use crate::support::service::{push, request};

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FORM: &str = "application/x-www-form-urlencoded";

/// Type, the key of its secret, the secret, a body.
type Kind = (&'static str, &'static str, String, String);

fn kinds() -> Vec<Kind> {
    let text = |text: &str| text.to_owned();
    let public = hex::encode(declic::verify::public_key::ed25519_public(&[7; 32]).unwrap());
    let slack = "command=%2Fdeploy&text=web&user_id=U1&channel_id=C1&team_id=T1&trigger_id=1";
    vec![
        ("discord", "public-key", public, text(r#"{"type":2,"id":"1"}"#)),
        ("github", "secret", text("a hook's secret"), String::from_utf8(push("main")).unwrap()),
        ("slack", "signing-secret", text("slack-secret"), text(slack)),
        ("standard-webhooks", "secret", text(WHSEC), text(r#"{"type":"a"}"#)),
        ("stripe", "secret", text("whsec_test"), text(r#"{"id":"evt_1","object":"event","type":"a"}"#)),
        ("svix", "secret", text(WHSEC), text(r#"{"type":"a"}"#)),
        ("twilio", "secret", text("12345"), text("From=%2B1&Body=hi&MessageSid=SM1")),
    ]
}

/// Signs with the packages, and checks ours with them, as it is and with another body: `{kind: {headers, ok}}`.
const NODE: &str = r#"
const read = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const { Webhook } = require('standardwebhooks');
const svix = require('svix');
const Stripe = require('stripe');
const twilio = require('twilio');
const { verifySlackRequest } = require('@slack/bolt/dist/receivers/verify-request');
const { pathToFileURL } = require('url');
const now = new Date();
const answer = {};
const tried = async (check) => { try { return await check() !== false; } catch { return false; } };
const checked = async ({ body }, check) => await tried(() => check(body)) && !await tried(() => check(body.replace('a', 'b')));
(async () => {
  const octokit = await import(pathToFileURL(process.env.NODE_PATH + '/@octokit/webhooks-methods/dist-node/index.js'));
  {
    const { body, secret, headers } = read.github;
    answer.github = {
      headers: { 'x-github-event': 'push', 'x-github-delivery': '72d3162e', 'x-hub-signature-256': await octokit.sign(secret, body) },
      ok: await checked(read.github, (body) => octokit.verify(secret, body, headers['x-hub-signature-256'])),
    };
  }
  for (const [kind, prefix, library] of [['standard-webhooks', 'webhook', Webhook], ['svix', 'svix', svix.Webhook]]) {
    const { body, secret, headers } = read[kind];
    const hook = new library(secret);
    answer[kind] = {
      headers: {
        [`${prefix}-id`]: 'msg_theirs', [`${prefix}-timestamp`]: String(Math.floor(now / 1000)),
        [`${prefix}-signature`]: hook.sign('msg_theirs', now, body),
      },
      ok: await checked(read[kind], (body) => { hook.verify(body, headers); }),
    };
  }
  {
    const { body, secret, headers } = read.stripe;
    const { webhooks } = new Stripe('sk_test_none');
    answer.stripe = {
      headers: { 'stripe-signature': webhooks.generateTestHeaderString({ payload: body, secret }) },
      ok: await checked(read.stripe, (body) => { webhooks.constructEvent(body, headers['stripe-signature'], secret); }),
    };
  }
  {
    const { body, secret, headers } = read.twilio;
    const url = 'https://declic.example.dev/hooks/twilio';
    const form = (body) => Object.fromEntries(new URLSearchParams(body));
    answer.twilio = {
      headers: { 'x-twilio-signature': twilio.getExpectedTwilioSignature(secret, url, form(body)) },
      ok: await checked(read.twilio, (body) => twilio.validateRequest(secret, headers['x-twilio-signature'], url, form(body))),
    };
  }
  {
    const { secret, headers } = read.slack;
    const stamp = Number(headers['x-slack-request-timestamp']);
    answer.bolt = {
      ok: await checked(read.slack, (body) => {
        verifySlackRequest({ signingSecret: secret, body, headers: { ...headers, 'x-slack-request-timestamp': stamp } });
      }),
    };
  }
  console.log(JSON.stringify(answer));
})();
"#;

const PYTHON: &str = r#"
import json, sys, time
from slack_sdk.signature import SignatureVerifier
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey
read = json.load(sys.stdin)
slack = read["slack"]
verifier = SignatureVerifier(slack["secret"])
now = str(int(time.time()))
answer = {"slack": {
    "headers": {"x-slack-request-timestamp": now, "x-slack-signature": verifier.generate_signature(timestamp=now, body=slack["body"])},
    "ok": verifier.is_valid_request(slack["body"], slack["headers"]) and not verifier.is_valid_request("a", slack["headers"]),
}}
discord = read["discord"]
key = SigningKey(bytes([7] * 32))
signature = key.sign((now + discord["body"]).encode()).signature.hex()
headers = discord["headers"]
def verifies(body):
    try:
        key.verify_key.verify((headers["x-signature-timestamp"] + body).encode(), bytes.fromhex(headers["x-signature-ed25519"]))
        return True
    except BadSignatureError:
        return False
answer["discord"] = {
    "headers": {"x-signature-timestamp": now, "x-signature-ed25519": signature}, "ok": verifies(discord["body"]) and not verifies("a"),
}
json.dump(answer, sys.stdout)
"#;

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

/// Reads one request with a body of known length, answers 202 and gives its headers, by name in lower case, and its body.
fn receive(listener: &TcpListener) -> (Map<String, Value>, String) {
    let (mut socket, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = socket.read(&mut piece).unwrap();
        assert!(count > 0, "the sender hung up");
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers: Map<String, Value> = pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.into())).collect();
        let length: usize = headers["content-length"].as_str().unwrap().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            socket.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            return (headers, String::from_utf8(bytes.split_off(end + 4)).unwrap());
        }
    }
}

/// The status that the command answers with.
fn post(address: &str, kind: &str, headers: &Value, body: &str) -> u16 {
    let content_type = if body.starts_with('{') { "application/json" } else { FORM };
    let mut all = vec![("Content-Type".to_owned(), content_type.to_owned()), ("Connection".to_owned(), "close".to_owned())];
    let theirs = headers.as_object().unwrap().iter();
    all.extend(theirs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())));
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(&request("POST", &format!("/hooks/{kind}"), &all, body.as_bytes())).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn settings(folder: &Path, kinds: &[Kind]) {
    let mut text = "version: 1\npublic-url: https://declic.example.dev\nstore: { sqlite: declic.db }\nsecrets:\n".to_owned();
    for (kind, _, secret, body) in kinds {
        private(&folder.join(format!("{kind}.secret")), secret);
        fs::write(folder.join(format!("{kind}.body")), body).unwrap();
        text += &format!("  {}: {{ from: file, path: {kind}.secret }}\n", kind.replace('-', "_"));
    }
    text += "sources:\n";
    for (kind, key, ..) in kinds {
        text += &format!("  {kind}: {{ type: {kind}, {key}: {} }}\n", kind.replace('-', "_"));
    }
    fs::write(folder.join("declic.yaml"), text).unwrap();
    fs::write(folder.join("discord.key"), "07".repeat(32)).unwrap();
    idle(folder);
}

#[test]
fn the_providers_own_packages_and_the_running_command_accept_each_others_requests() {
    let folder = tempfile::tempdir().unwrap();
    let kinds = kinds();
    settings(folder.path(), &kinds);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}", listener.local_addr().unwrap());
    let mut input = json!({});
    for (kind, _, secret, body) in &kinds {
        let file = format!("{kind}.body");
        let mut arguments = vec!["send", kind, "--event", "push", "--payload", &file, "--to", &to];
        if *kind == "discord" {
            arguments.extend(["--key", "discord.key"]);
        }
        let sending = command(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (headers, sent) = receive(&listener);
        let output = sending.wait_with_output().unwrap();
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(&sent, body, "{kind}");
        input[*kind] = json!({ "body": body, "secret": secret, "headers": headers });
    }
    let mut answers = run("node", NODE, &input);
    let python = run("python3", PYTHON, &input);
    assert_eq!(answers["bolt"]["ok"], true, "Bolt refuses what declic send signs for Slack");
    for kind in ["slack", "discord"] {
        answers[kind] = python[kind].clone();
    }
    let binary = Binary::start(folder.path(), |_| {});
    for (kind, _, _, body) in &kinds {
        assert_eq!(answers[kind]["ok"], true, "{kind}: their checker refuses what declic send signs, or takes everything");
        let headers = &answers[kind]["headers"];
        let forged = body.replacen(['1', 'a'], "2", 1);
        assert_eq!(post(&binary.address, kind, headers, &forged), 401, "{kind}");
        let status = post(&binary.address, kind, headers, body);
        assert!((200..300).contains(&status), "{kind}: {status} for what their package signed\n{}", binary.log());
    }
}

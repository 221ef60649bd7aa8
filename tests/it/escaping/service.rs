//! Signed events through the rules of a running service: what each stand-in was sent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use declic::app;
use declic::demo::stand_ins::ledger::Asked;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY, World};
use declic::settings::{self, Environment, Mode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::neutral::{self, between};
use super::payloads;
use crate::support::client::Client;
use crate::support::service::{SECRET, github_headers};
use crate::support::{chat, google_apis, slack, x};

/// One rule for each place, so that a refusal at one holds up no other.
fn rules() -> String {
    let mut rules = "version: 1\nrules:\n".to_owned();
    let mut step = |name: &str, on: &str, uses: &str, with: &str| {
        rules.push_str(&format!("  {name}:\n    on: {{ {on} }}\n    steps:\n      - uses: {uses}\n        with: {with}\n"));
    };
    let pull = "github.pull_request: { forks: true }";
    let said = "BEGIN${{ event.number }}:${{ event.title }}:FINISH BRANCH${{ event.number }}:${{ event.head.branch }}:FINISH";
    step("comment", pull, "github/comment", &format!("{{ body: \"{said}\" }}"));
    let check = "{ name: lint, conclusion: failure, title: \"${{ event.title }}\", summary: \"SAID\", text: \"SAID\", \
        annotations: [{ path: a.rs, line: 1, message: \"${{ event.title }}\" }] }";
    step("check", pull, "github/check-run", &check.replace("SAID", said));
    step(
        "status",
        pull,
        "github/status",
        "{ state: failure, context: \"pull-${{ event.number }}\", description: \"${{ event.title }}\" }",
    );
    step("slack", pull, "slack/post", &format!("{{ connection: slack_eng, channel: \"#deploys\", text: \"{said}\" }}"));
    step("discord", pull, "discord/post", &format!("{{ connection: discord_ops, text: \"{said}\" }}"));
    step("google-chat", pull, "google-chat/post", &format!("{{ connection: chat_ops, text: \"{said}\" }}"));
    step("x", pull, "x/post", "{ connection: x_acme, text: \"BEGIN${{ event.number }}:${{ event.title }}:FINISH\" }");
    step(
        "http",
        pull,
        "http/request",
        "{ connection: api, method: POST, path: \"/t/${{ event.title }}/n/${{ event.number }}\", query: { t: \"${{ event.title }}\" }, \
         body: { title: \"${{ event.title }}\" } }",
    );
    step(
        "header",
        pull,
        "http/request",
        "{ connection: api, path: \"/h/${{ event.number }}\", headers: { x-title: \"${{ event.title }}\" } }",
    );
    step(
        "command",
        "github.pull_request: { }",
        "exec/run",
        "{ connection: note, arguments: [\"${{ event.number }}\", \"${{ event.title }}\"] }",
    );
    let row = "{ number: \"${{ event.number }}\", title: \"${{ event.title }}\" }";
    step("row", pull, "bigquery/insert", &format!("{{ connection: warehouse, table: pulls, row: {row} }}"));
    step("bus", pull, "pubsub/publish", &format!("{{ connection: bus, topic: pulls, data: {row}, attributes: {row} }}"));
    step(
        "mobile",
        pull,
        "fcm/send",
        &format!(
            "{{ connection: mobile, topic: news, title: \"${{{{ event.title }}}}\", body: \"${{{{ event.title }}}}\", data: {row} }}"
        ),
    );
    step(
        "task",
        pull,
        "cloud-tasks/create",
        &format!("{{ connection: later, queue: q, path: \"/t/${{{{ event.title }}}}/n/${{{{ event.number }}}}\", body: {row} }}"),
    );
    let pushed = "PUSH${{ event.sha }}:${{ event.message }}:FINISH";
    step(
        "push",
        "github.push: { }",
        "slack/post",
        &format!("{{ connection: slack_eng, channel: \"#deploys\", text: \"{pushed}\" }}"),
    );
    step("push-2", "github.push: { }", "discord/post", &format!("{{ connection: discord_ops, text: \"{pushed}\" }}"));
    let written = "WRITTEN${{ event.payload.comment.id }}:${{ event.payload.comment.body }}:FINISH";
    let say = "github.issue_comment: { types: [created] }";
    step("say", say, "slack/post", &format!("{{ connection: slack_eng, channel: \"#deploys\", text: \"{written}\" }}"));
    step("say-2", say, "discord/post", &format!("{{ connection: discord_ops, text: \"{written}\" }}"));
    rules.push_str("  sms:\n    on: { http.webhook: { source: calls, body: { Body: string } } }\n    reply: { body: \"${{ event.body.Body }}\" }\n");
    rules
}

/// Takes requests as they stand on the wire: what a stand-in's parser would make of them is not to hide anything.
async fn wire() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while let Ok(byte) = socket.read_u8().await {
                    bytes.push(byte);
                    if !bytes.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let head = String::from_utf8_lossy(&bytes).into_owned();
                    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    let _ = socket.read_exact(&mut body).await;
                    noted.lock().unwrap().push(head + &String::from_utf8_lossy(&body));
                    let _ = socket
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                        .await;
                    bytes.clear();
                }
            });
        }
    });
    (authority, heard)
}

fn pull(number: usize, text: &str) -> Value {
    let side = |branch: &str| json!({ "ref": branch, "sha": FIRST_COMMIT, "repo": { "id": 1, "full_name": REPOSITORY } });
    json!({
        "action": "opened", "number": number, "repository": repository(), "sender": sender(),
        "pull_request": {
            "number": number, "title": text, "body": text, "draft": false, "merged": false, "labels": [],
            "html_url": format!("https://github.com/acme/web/pull/{number}"), "head": side(text), "base": side("main"),
            "user": { "login": "mona" }
        }
    })
}

fn repository() -> Value {
    json!({ "id": 1, "name": "web", "full_name": REPOSITORY, "private": false, "default_branch": "main",
        "html_url": "https://github.com/acme/web", "owner": { "login": "acme" } })
}

fn sender() -> Value {
    json!({ "login": "mona", "id": 2, "type": "User" })
}

fn push(index: usize, text: &str) -> Value {
    let mut body: Value = serde_json::from_slice(&crate::support::service::push("main")).unwrap();
    body["after"] = format!("{index:040}").into();
    body["head_commit"]["id"] = body["after"].clone();
    body["commits"][0]["id"] = body["after"].clone();
    body["head_commit"]["message"] = text.into();
    body["commits"][0]["message"] = text.into();
    body
}

fn comment(index: usize, text: &str) -> Value {
    json!({
        "action": "created", "repository": repository(), "sender": sender(),
        "issue": { "number": 7, "title": text },
        "comment": { "id": index, "html_url": "https://github.com/acme/web/issues/7#issuecomment-5",
            "body": format!("Well: {text}"), "user": { "login": "mona", "id": 2, "type": "User" }, "author_association": "OWNER" }
    })
}

/// A field of all requests whose path ends so.
fn fields(asked: &[Asked], path: &str, pointer: &str) -> Vec<String> {
    let asked = asked.iter().filter(|asked| asked.path.ends_with(path) && asked.method != "GET");
    asked.filter_map(|asked| asked.body.pointer(pointer)?.as_str().map(str::to_owned)).collect()
}

/// The one that carries this mark.
fn marked<'t>(all: &'t [String], mark: &str, text: &str) -> &'t str {
    all.iter().find(|said| said.contains(mark)).unwrap_or_else(|| panic!("{mark} is nowhere: {text:?}"))
}

fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_texts_of_the_vectors_are_neutral_wherever_a_service_sends_them() {
    let world = World::start().await.unwrap();
    let (slack, chat, x) = (slack::start().await, chat::start().await, x::start().await);
    let apis = google_apis::start(world.tokens.clone()).await;
    apis.add_topic("projects/acme-ops/topics/pulls");
    apis.add_table("pulls", &["number", "title"]);
    apis.add_queue("projects/acme-ops/locations/europe-west1/queues/q");
    let (wire, heard) = wire().await;
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    std::fs::create_dir(&notes).unwrap();
    let more =
        [&slack.authority, &chat.authority, &x.authority, &apis.authority, &wire].map(|each| format!("\"{each}\", ")).concat();
    let apis_at = ["pubsub", "bigquery", "fcm", "cloud-tasks"].map(|name| format!("  {name}-url: {}\n", apis.url)).concat();
    let around = world
        .settings("github_token")
        .replace("allow: [", &format!("allow: [{more}"))
        .replace("google:\n", &format!("google:\n{apis_at}"));
    let yaml = format!(
        r##"version: 1
listen: "127.0.0.1:0"
store: {{ sqlite: declic.db }}
rules: rules.yaml
workers: 4
secrets:
  hook: {{ from: env, name: HOOK }}
  github_token: {{ from: env, name: GITHUB }}
  bot: {{ from: env, name: BOT }}
  discord_hook: {{ from: env, name: DISCORD }}
  chat_hook: {{ from: env, name: CHAT }}
  keys: {{ from: env, name: KEYS }}
sources:
  github: {{ type: github, secret: hook }}
  calls: {{ type: twilio, path: /hooks/calls, secret: hook, public-url: "https://declic.example.dev/hooks/calls" }}
connections:
  slack_eng: {{ type: slack, token: bot, channels: ["#deploys"], api-url: "{}/api" }}
  discord_ops: {{ type: discord, webhook: discord_hook }}
  chat_ops: {{ type: google-chat, webhook: chat_hook }}
  x_acme: {{ type: x, auth: keys, api-url: "{}" }}
  api: {{ type: http, base-url: "http://{wire}" }}
  note: {{ type: command, program: /bin/sh, arguments: ["-c", 'printf %s "$2" > "$1"', "sh"], more-arguments: 2, folder: "{}" }}
  warehouse: {{ type: bigquery, project: acme-data, dataset: events, tables: [pulls] }}
  bus: {{ type: pubsub, project: acme-ops, topics: [pulls] }}
  mobile: {{ type: fcm, project: acme-mobile }}
  later: {{ type: cloud-tasks, project: acme-ops, location: europe-west1, queues: [q], base-url: "https://api.example.dev" }}
{around}"##,
        slack.url,
        x.url,
        notes.display(),
    );
    let file = folder.path().join("declic.yaml");
    std::fs::write(&file, yaml).unwrap();
    std::fs::write(folder.path().join("rules.yaml"), rules()).unwrap();
    world.github.accept_token("a token of this test");
    let (discord_hook, chat_hook) = (format!("{}{}", chat.url, chat::DISCORD), format!("{}{}", chat.url, chat::GOOGLE));
    let environment = Environment::given([
        ("HOOK", SECRET),
        ("GITHUB", "a token of this test"),
        ("BOT", slack::TOKEN),
        ("DISCORD", discord_hook.as_str()),
        ("CHAT", chat_hook.as_str()),
        ("KEYS", x::KEYS),
    ]);
    let loaded =
        settings::load(&file, Mode::Resolved, &environment).unwrap_or_else(|unusable| panic!("{}", unusable.render(false)));
    let service = app::assemble(loaded.settings).await.unwrap_or_else(|why| panic!("{why}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let journal = service.journal();
    let (_stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(service.serve(listener, async {
        let _ = stopped.await;
    }));
    let client = Client::anonymous();
    let texts: BTreeMap<usize, String> = payloads().into_iter().enumerate().map(|(index, text)| (index + 100, text)).collect();
    let mut deliveries = Vec::new();
    for (number, text) in &texts {
        world.github.add_issue(REPOSITORY, u64::try_from(*number).unwrap(), Some(FIRST_COMMIT));
        for (event, body) in
            [("pull_request", pull(*number, text)), ("push", push(*number, text)), ("issue_comment", comment(*number, text))]
        {
            let body = body.to_string().into_bytes();
            let headers = github_headers(event, &format!("{event}-{number}"), &body);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let reply = client.send("POST", &format!("{address}/hooks/github"), &headers, body).await;
            assert_eq!(reply.status, 202, "{text:?}: {}", reply.body);
            deliveries.push(reply.header("x-declic-delivery").to_owned());
        }
    }
    for text in texts.values() {
        twiml(&client, &address, text).await;
    }
    let until = Instant::now() + Duration::from_secs(120);
    for id in &deliveries {
        while !journal.delivery_record(id).await.unwrap().is_some_and(|(record, _)| record.state.is_final()) {
            assert!(Instant::now() < until, "{id} is not final");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let github = world.github.ledger.requests();
    let comments = fields(&github, "/comments", "/body");
    let summaries = fields(&github, "/check-runs", "/output/summary");
    let details = fields(&github, "/check-runs", "/output/text");
    let on_discord = fields(&chat.ledger.requests(), chat::DISCORD, "/content");
    let in_chat = fields(&chat.ledger.requests(), "/messages", "/text");
    let in_slack = fields(&slack.ledger.requests(), "/chat.postMessage", "/text");
    let on_x = fields(&x.ledger.requests(), "/2/tweets", "/text");
    for (number, text) in &texts {
        let (begin, branch) = (format!("BEGIN{number}:"), format!("BRANCH{number}:"));
        for mark in [&begin, &branch] {
            for all in [&comments, &summaries, &details, &on_discord] {
                neutral::markdown(between(marked(all, mark, text), mark), text);
            }
            for all in [&in_slack, &in_chat] {
                neutral::mrkdwn(between(marked(all, mark, text), mark), text);
            }
        }
        neutral::post(between(marked(&on_x, &begin, text), &begin), text);
        let (pushed, written) = (format!("PUSH{number:040}:"), format!("WRITTEN{number}:"));
        neutral::mrkdwn(between(marked(&in_slack, &pushed, text), &pushed), text);
        neutral::markdown(between(marked(&on_discord, &pushed, text), &pushed), text);
        let command = format!("Well: {text}");
        neutral::mrkdwn(between(marked(&in_slack, &written, text), &written), &command);
        neutral::markdown(between(marked(&on_discord, &written, text), &written), &command);
        on_the_wire(&heard.lock().unwrap(), *number, text);
        as_an_argument(&notes, *number, text);
        let row = json!({ "number": number, "title": text });
        let as_text = json!({ "number": number.to_string(), "title": text });
        assert!(apis.rows("pulls").values().any(|kept| *kept == row || *kept == as_text), "{row}");
        let published = apis.messages("projects/acme-ops/topics/pulls");
        let published = published.iter().find(|message| message.attributes["number"] == *number.to_string()).expect("published");
        assert_eq!(serde_json::from_str::<Value>(&published.data).unwrap()["title"], *text);
        assert_eq!((&published.attributes["title"], published.attributes.as_object().unwrap().len()), (&json!(text), 4));
        let told = apis.pushed().into_iter().find(|message| message["data"]["number"] == *number.to_string()).expect("told");
        assert_eq!((&told["notification"]["title"], &told["notification"]["body"]), (&json!(text), &json!(text)));
        assert_eq!(told["notification"].as_object().unwrap().len(), 2);
    }
    let statuses = fields(&github, FIRST_COMMIT, "/description");
    let titles = fields(&github, "/check-runs", "/output/title");
    let messages = fields(&github, "/check-runs", "/output/annotations/0/message");
    assert_eq!([statuses.len(), titles.len(), messages.len()], [texts.len(); 3], "plain text, one field of JSON each");
    let tasks = apis.tasks("projects/acme-ops/locations/europe-west1/queues/q");
    let urls: Vec<&str> = tasks.iter().filter_map(|task| task["httpRequest"]["url"].as_str()).collect();
    for (number, text) in texts.iter().filter(|(_, text)| !leaves(text)) {
        assert!(urls.contains(&&*format!("https://api.example.dev/t/{}/n/{number}", encoded(text))), "{text:?}: {urls:#?}");
    }
    assert_eq!(urls.len(), texts.values().filter(|text| !leaves(text)).count(), "what could leave its place makes no address");
}

/// Could it leave its place in an address, if only for a server that decodes twice? Then nothing is asked.
fn leaves(text: &str) -> bool {
    let decoded = text.replace("%2e", ".").replace("%2f", "/");
    decoded.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

/// Path, query, header and body of what stood on the wire.
fn on_the_wire(heard: &[String], number: usize, text: &str) {
    let path = format!("POST /t/{}/n/{number}?t=", encoded(text));
    let found = heard.iter().find(|request| request.starts_with(&path));
    if leaves(text) {
        assert!(!heard.iter().any(|request| request.contains(&format!("/n/{number}?"))));
    } else {
        let (head, body) = found.unwrap_or_else(|| panic!("{text:?} was not asked for")).split_once("\r\n\r\n").unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({ "title": text }));
        let target = head.split(' ').nth(1).unwrap();
        let query: Vec<_> = url::form_urlencoded::parse(target.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
        assert_eq!(query, [("t".to_owned(), text.to_owned())]);
    }
    let header = heard.iter().find(|request| request.starts_with(&format!("GET /h/{number} ")));
    let fits = !text.chars().any(|character| character.is_ascii_control() && character != '\t');
    assert_eq!(header.is_some(), fits, "{text:?}");
    if let Some(request) = header {
        assert!(request.lines().any(|line| line.trim() == format!("x-title: {}", text).trim()), "{request}");
        assert!(!request.to_lowercase().contains("\nx-evil"), "{request}");
    }
}

/// The word itself, or nothing at all.
fn as_an_argument(notes: &Path, number: usize, text: &str) {
    let word = std::fs::read_to_string(notes.join(number.to_string())).ok();
    let refused = text.starts_with('-') || text.contains('\0');
    assert_eq!(word.as_deref(), (!refused).then_some(text));
    assert!(!notes.join("pwned").exists(), "{text:?}");
}

/// A message as Twilio sends and signs it: the answer is one message, and all of the text is in it.
async fn twiml(client: &Client, address: &str, text: &str) {
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("Body", text), ("From", "+1"), ("MessageSid", &ulid::Ulid::new().to_string())])
        .finish();
    let mut signed = "https://declic.example.dev/hooks/calls".to_owned();
    for (name, value) in url::form_urlencoded::parse(form.as_bytes()) {
        signed.push_str(&format!("{name}{value}"));
    }
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("x-twilio-signature", signature.as_str())];
    let reply = client.send("POST", &format!("{address}/hooks/calls"), &headers, form.into_bytes()).await;
    assert_eq!(reply.status, 200, "{text:?}: {}", reply.body);
    let answer = reply.body.as_str().unwrap();
    let (_, message) = answer.split_once("<Response><Message>").unwrap_or_else(|| panic!("{answer}"));
    let message = message.strip_suffix("</Message></Response>").unwrap_or_else(|| panic!("{answer}"));
    assert!(!message.contains(['<', '>']), "{message:?}");
    let read = message.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let kept = |character: &char| !character.is_control() || matches!(character, '\t' | '\n' | '\r');
    assert_eq!(read, text.chars().filter(kept).collect::<String>());
}

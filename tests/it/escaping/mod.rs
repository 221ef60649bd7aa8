//! Outsiders' text at every place where it can go: neutral there, whatever it holds.

use std::collections::BTreeSet;

use declic_actions::kinds;
use serde_json::Value;

use crate::replies::service::Service as Answering;
use crate::support::slack;
use crate::support::vectors;

mod neutral;
mod service;

/// What an outsider would write into a title, a branch's name or a comment.
const OWN: &[&str] = &[
    "<!channel> <!here> <@U1> <http://evil.example|x>",
    "!channel|x",
    "@U1|x",
    "![x](http://evil.example/) [y](javascript:1)",
    "x](http://evil.example)",
    "thanks @org/team and @mona",
    "＠mona @",
    "<!-- declic: run=1 --> fixes #1",
    "<details><summary>x</summary>",
    "```\n````\n~~~",
    "&#64;mona &lt;b&gt; &",
    "../../admin",
    "..",
    "?a=b#c",
    "%2e%2e%2f",
    "x\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1",
    "-rf",
    "--exec=id",
    "$(touch pwned)",
    "; touch pwned",
    "`touch pwned`",
    "</Message></Response><Redirect/>",
    "]]>&amp;<![CDATA[",
    "\",\"admin\":true,\"x\":\"",
    "ma\u{202e}niam\u{202c} \u{2066}x\u{2069}",
    "zero\u{200b}width\u{200d}\u{feff}",
    "\u{1b}[31mred\u{7}",
];

/// Longer texts are cut at some places, and what is cut is not looked at here.
const LONGEST: usize = 200;

/// All texts in a document, keys included.
fn texts_of(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(into.insert(text.trim_start_matches("refs/heads/").to_owned())),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, into)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            into.insert(name.clone());
            texts_of(field, into);
        }),
        _ => {}
    }
}

/// Ours, and every text of the bodies of the vectors.
fn payloads() -> Vec<String> {
    let mut all: BTreeSet<String> = OWN.iter().map(|text| (*text).to_owned()).collect();
    let cases = vectors("_hostile-payloads.json").unwrap_or_default();
    for case in cases.as_array().into_iter().flatten() {
        if let Some(body) = case["body"].as_str().and_then(|body| serde_json::from_str(body).ok()) {
            texts_of(&body, &mut all);
        }
    }
    all.retain(|text| !text.is_empty() && text.chars().count() <= LONGEST);
    all.into_iter().collect()
}

/// Kinds whose requests are looked at here.
const LOOKED_AT: &[&str] = &[
    "bigquery/insert",
    "cloud-tasks/create",
    "discord/post",
    "exec/run",
    "fcm/send",
    "github/check-run",
    "github/comment",
    "github/status",
    "google-chat/post",
    "http/request",
    "pubsub/publish",
    "slack/post",
    "slack/respond",
    "x/post",
];

/// Kinds that are not, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("approve", "its question is made plain by the kind itself, whose unit tests hold it"),
    ("cloud-run/deploy", "names, images and numbers: a `string`, which no outsider's text may reach"),
    ("cloud-run/remove-tag", "names only"),
    ("cloud-run/rollback", "names only"),
    ("cloud-run/run-job", "names, and arguments as items of a JSON list"),
    ("cloud-run/tag", "names only"),
    ("cloud-run/traffic", "names and numbers only"),
    ("dialogflow/detect-intent", "text as a field of JSON, as in bigquery/insert"),
    ("dialogflow/fulfill", "text as a field of JSON; sessions and queries: kinds/fulfill.rs"),
    ("dialogflow/send-event", "text as a field of JSON, as in bigquery/insert"),
    ("github/deployment", "a plain description as a field of JSON, as in github/status"),
    ("github/label", "names only"),
    ("github/pull-request", "numbers only"),
    ("github/react", "words of a list only"),
    ("github/repository-dispatch", "text as a field of JSON, as in bigquery/insert"),
    ("github/workflow-dispatch", "text as a field of JSON, as in bigquery/insert"),
    ("log", "a field of a JSON line"),
    ("wait/until", "numbers and words of a list only"),
];

#[test]
fn every_kind_of_action_has_its_place_in_the_tables() {
    for action in kinds::ALL {
        let name = action.spec().name;
        let places = usize::from(LOOKED_AT.contains(&name)) + ELSEWHERE.iter().filter(|(kind, _)| *kind == name).count();
        assert_eq!(places, 1, "{name}: what does an outsider's text do there?");
    }
    assert_eq!(kinds::ALL.len(), LOOKED_AT.len() + ELSEWHERE.len());
}

/// Answers to Dialogflow, to a shop and to a command in Slack.
const REPLIES: &str = "  intent:
    on: { dialogflow.intent: { source: support_es, intents: [say], params: { said: string } } }
    reply: { text: \"BEGIN:${{ event.params.said }}\" }
  shop:
    on: { http.webhook: { source: shop, body: { said: string } } }
    reply: { status: 200, body: { said: \"${{ event.body.said }}\" } }
  command:
    on: { slack.command: { source: slack_acme, command: say } }
    reply: { when: first, text: \"BEGIN:${{ event.text }}:FINISH\" }
    steps:
      - uses: slack/respond
        with: { text: \"BEGIN:${{ event.text }}:FINISH\" }
";

#[tokio::test]
async fn hostile_texts_of_the_vectors_are_neutral_in_replies() {
    let slack = slack::start().await;
    let service = Answering::with_slack(REPLIES, &format!("{}/api", slack.url), &slack.authority).await;
    for (index, text) in payloads().iter().enumerate() {
        let reply = service.es(&format!("r{index}"), "say", serde_json::json!({ "said": text })).await;
        assert_eq!(reply.status, 200, "{text:?}");
        assert_eq!(reply.text("/fulfillmentText"), format!("BEGIN:{text}"), "one field of JSON");
        let reply = service.shop(&serde_json::json!({ "said": text })).await;
        assert_eq!(reply.body, serde_json::json!({ "said": text }));
    }
    // A command can be answered five times, so each has an address of its own.
    for (index, text) in payloads().iter().enumerate() {
        let reply = service.slash("/say", text, &format!("{}/commands/T1/{index}/abc", slack.url)).await;
        service.settled(&reply).await;
        neutral::mrkdwn(neutral::between(reply.text("/text"), "BEGIN:"), text.trim());
        let path = format!("/commands/T1/{index}/abc");
        let asked = slack.ledger.requests().into_iter().find(|asked| asked.path == path);
        let said = asked.unwrap_or_else(|| panic!("{text:?} was not answered")).body["text"].as_str().unwrap().to_owned();
        neutral::mrkdwn(neutral::between(&said, "BEGIN:"), text.trim());
    }
}

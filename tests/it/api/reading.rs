//! What can be seen.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::World;
use crate::support::client::Reply;

fn ids(reply: &Reply) -> Vec<String> {
    let items = reply.body["items"].as_array().unwrap_or_else(|| panic!("{reply:?}"));
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_delivery_shows_its_proof_its_request_the_reason_of_every_rule_and_its_runs() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let shown = world.get(&format!("/deliveries/{id}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    assert_eq!(shown.text("/delivery/verified"), "x-hub-signature-256, secret 1 of 1");
    assert_eq!(shown.text("/delivery/repository"), "acme/web");
    assert_eq!(shown.text("/delivery/event"), "github.push");
    assert_eq!(shown.text("/delivery/title"), "main: Fix login");
    assert_eq!(shown.text("/delivery/state"), "failed");
    assert_eq!(shown.text("/body/ref"), "refs/heads/main");
    let headers = shown.body["headers"].to_string();
    assert!(headers.contains("x-github-event") && !headers.contains("sha256="), "{headers}");
    let verdicts: Vec<_> = shown.body["decisions"].as_array().unwrap().iter().map(|one| one["verdict"].as_str()).collect();
    assert_eq!(verdicts, [Some("matched"), Some("matched"), Some("not-matched")]);
    let checks = shown.body["decisions"][2]["checks"].as_array().unwrap();
    assert_eq!(checks.last().unwrap()["holds"], json!(false));
    assert!(checks.last().unwrap()["text"].as_str().unwrap().contains("release/*"), "{checks:?}");
    assert_eq!(shown.body["runs"].as_array().unwrap().len(), 2);

    let now = world.get(&format!("/deliveries/{id}/decisions?rules=now")).await;
    assert_eq!(now.body["items"].as_array().unwrap().len(), 3, "{now:?}");
    assert!(!now.text("/revision").is_empty());
    let raw = world.get(&format!("/deliveries/{id}/body")).await;
    assert_eq!(raw.body["ref"], "refs/heads/main");
    assert_eq!(raw.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn a_run_shows_every_step_and_attempt_and_hides_what_is_to_be_hidden() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let run = world.get(&format!("/runs/{id}-1")).await;
    assert_eq!(run.text("/run/rule"), "tell");
    assert_eq!(run.text("/run/state"), "succeeded");
    let step = &run.body["steps"][0];
    assert_eq!((&step["id"], &step["uses"], &step["state"]), (&json!("tell"), &json!("http/request"), &json!("succeeded")));
    assert_eq!(step["with"]["body"], json!({ "ref": "refs/heads/main", "api_token": "‹hidden›" }));
    assert_eq!(step["outputs"]["body"]["body"]["api_token"], "‹hidden›", "{step:#}");
    assert_eq!(step["attempts"].as_array().unwrap().len(), 1);
    let broken = world.get(&format!("/runs/{id}-2/steps")).await;
    assert_eq!(broken.text("/items/0/state"), "failed");
    assert!(!broken.text("/items/0/why/message").is_empty(), "{broken:?}");
    let hidden = world.get("/redaction").await;
    assert!(hidden.body["fields"].as_array().unwrap().contains(&json!("token")));
}

#[tokio::test]
async fn lists_come_in_pages_and_can_be_narrowed() {
    let world = World::start().await;
    let mut all = Vec::new();
    for (branch, id) in [("main", "d-1"), ("docs", "d-2"), ("docs", "d-3"), ("main", "d-4")] {
        all.insert(0, world.deliver(branch, id).await);
    }
    let first = world.get("/deliveries?limit=3").await;
    assert_eq!(ids(&first), all[..3]);
    let next = first.text("/next").to_owned();
    let second = world.get(&format!("/deliveries?limit=3&cursor={next}")).await;
    assert_eq!(ids(&second), all[3..]);
    assert_eq!(second.body.get("next"), None);
    assert_eq!(ids(&world.get("/deliveries?state=ignored").await), all[1..3]);
    assert_eq!(ids(&world.get("/deliveries?state=ignored&state=failed").await), all);
    assert_eq!(ids(&world.get("/deliveries?rule=tell&repository=acme/web").await).len(), 2);
    assert_eq!(ids(&world.get("/deliveries?text=d-3").await), all[1..2]);
    assert_eq!(ids(&world.get("/deliveries?source=other").await).len(), 0);
    assert_eq!(ids(&world.get("/deliveries?since=2999-01-01T00:00:00Z").await).len(), 0);
    assert_eq!(ids(&world.get("/runs?rule=break&state=failed").await).len(), 2);
    assert_eq!(ids(&world.get("/dead?limit=1").await).len(), 1);
    let dead = "/dead?source=github&event=github.push&repository=acme/web&rule=break&since=2020-01-01T00:00:00Z&text=break";
    assert_eq!(ids(&world.get(dead).await).len(), 2);
    for none in
        ["source=other", "event=github.issues", "repository=acme/api", "rule=tell", "until=2020-01-01T00:00:00Z", "text=nowhere"]
    {
        assert_eq!(ids(&world.get(&format!("/dead?{none}")).await).len(), 0, "{none}");
    }
    let overview = world.get("/overview").await;
    assert_eq!(overview.body["deliveries"], json!([{ "state": "failed", "count": 2 }, { "state": "ignored", "count": 2 }]));
    assert_eq!(overview.body["failed"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let world = World::start().await;
    world.deliver("main", "d-1").await;
    let first = world.get("/deliveries").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"'), "{first:?}");
    let again = world.client.send("GET", &world.url("/api/v1/deliveries"), &[("if-none-match", &tag)], Vec::new()).await;
    assert_eq!((again.status, &again.body), (304, &Value::Null));
    world.deliver("main", "d-2").await;
    let changed = world.client.send("GET", &world.url("/api/v1/deliveries"), &[("if-none-match", &tag)], Vec::new()).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn what_goes_wrong_is_a_problem_document() {
    let world = World::start().await;
    for (method, path, status) in [
        ("GET", "/deliveries/0000000000000", 404),
        ("GET", "/runs/nonsense", 404),
        ("GET", "/rules/none", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/deliveries?limit=0", 400),
        ("GET", "/deliveries?limit=many", 400),
        ("GET", "/deliveries?state=lost", 400),
        ("GET", "/deliveries?since=yesterday", 400),
        ("GET", "/runs?cursor=%27", 400),
        ("DELETE", "/deliveries", 405),
        ("POST", "/deliveries", 405),
        ("POST", "/redrive", 415),
    ] {
        let reply = world.client.send(method, &world.url(&format!("/api/v1{path}")), &[], b"{}".to_vec()).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{method} {path}");
        assert_eq!(reply.body["status"], status, "{reply:?}");
        assert!(!reply.text("/detail").is_empty());
        if status == 405 {
            assert!(reply.header("allow").contains("GET"), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn rules_sources_and_who_asks_are_shown_without_the_values_of_secrets() {
    let world = World::start().await;
    let rules = world.get("/rules").await;
    let names: Vec<_> = rules.body["items"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tell", "break", "elsewhere"]);
    let rule = world.get("/rules/tell").await;
    assert!(rule.text("/file/text").contains("Tells the other side."), "{rule:?}");
    assert_eq!(rule.text("/rule/place"), "rules.yaml:3");
    let sources = world.get("/sources").await;
    assert_eq!(sources.text("/items/0/secrets/0/name"), "hook");
    assert!(!sources.body.to_string().contains(crate::support::binary::WEBHOOK_SECRET));
    assert_eq!(world.get("/me").await.body, json!({ "who": "this machine", "role": "operator" }));
    assert_eq!(world.get("/targets").await.body, json!({ "items": [] }));
    assert_eq!(world.get("/groups").await.body, json!({ "items": [] }));
    let document = world.get("/openapi.json").await;
    assert_eq!(document.body["info"]["title"], "Declic");
    let listed = document.body["paths"].as_object().unwrap().len();
    assert!(listed >= 18, "{listed} paths");
}

#[tokio::test]
async fn who_listens_hears_of_a_delivery_while_it_is_dealt_with_and_the_stream_ends_with_the_service() {
    let mut world = World::start().await;
    let mut stream = tokio::net::TcpStream::connect(&world.service.address).await.unwrap();
    let request = format!("GET /api/v1/changes HTTP/1.1\r\nHost: {}\r\n\r\n", world.service.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let mut listen = async |wanted: &str| {
        let listening = async {
            while !String::from_utf8_lossy(&heard).contains(wanted) {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "the stream ended: {}", String::from_utf8_lossy(&heard));
                heard.extend_from_slice(&buffer[..read]);
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), listening).await.expect("it is heard");
    };
    listen("text/event-stream").await;
    let id = world.deliver("main", "d-1").await;
    listen(&format!(r#""run":"{id}-1""#)).await;
    listen(r#""name":"finished""#).await;
    world.service.signal(nix::sys::signal::Signal::SIGTERM);
    let begun = std::time::Instant::now();
    assert!(world.service.wait(std::time::Duration::from_secs(20)).success());
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "an open stream held up the end: {:?}", begun.elapsed());
}

//! GitHub's rules: who may ask, what may be sent, what follows from a status or a deployment.

use declic::demo::stand_ins::github::TOKEN;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY, World};
use serde_json::{Value, json};

use crate::support::client::{Client, Reply};

const AGENT: (&str, &str) = ("user-agent", "declic-tests");

struct Developer {
    world: World,
    client: Client,
}

impl Developer {
    async fn new() -> Self {
        Self { world: World::start().await.unwrap(), client: Client::bearer(TOKEN) }
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Reply {
        let url = format!("{}/repos/{REPOSITORY}{path}", self.world.github.url);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.client.send(method, &url, &[AGENT], body).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, body).await
    }

    async fn deployment(&self, body: Value) -> u64 {
        let reply = self.post("/deployments", body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.body["id"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn only_a_known_token_with_a_user_agent_gets_an_answer() {
    let developer = Developer::new().await;
    let url = format!("{}/repos/{REPOSITORY}", developer.world.github.url);
    assert_eq!(developer.client.get(&url).await.status, 403);
    let stranger = Client::bearer("made-up").send("GET", &url, &[AGENT], Vec::new()).await;
    assert_eq!((stranger.status, stranger.text("/message")), (401, "Bad credentials"));
    assert_eq!(Client::anonymous().send("GET", &url, &[AGENT], Vec::new()).await.status, 401);
    let known = developer.get("").await;
    assert_eq!((known.status, known.text("/full_name")), (200, REPOSITORY));
    assert_eq!(known.header("x-ratelimit-limit"), "5000");
    let enterprise = url.replace("/repos/", "/api/v3/repos/");
    assert_eq!(developer.client.send("GET", &enterprise, &[AGENT], Vec::new()).await.status, 200);
    let elsewhere = url.replace("acme/web", "acme/other");
    assert_eq!(developer.client.send("GET", &elsewhere, &[AGENT], Vec::new()).await.status, 404);
}

#[tokio::test]
async fn rate_limits_say_when_they_end() {
    let developer = Developer::new().await;
    developer.world.github.secondary_limit_next(1, 30);
    developer.world.github.primary_limit_next(1, 60);
    let secondary = developer.get("").await;
    assert_eq!((secondary.status, secondary.header("retry-after")), (403, "30"));
    let primary = developer.get("").await;
    assert_eq!((primary.status, primary.header("x-ratelimit-remaining")), (403, "0"));
    assert!(primary.header("x-ratelimit-reset").parse::<i64>().unwrap() > declic::clock::Timestamp::now().seconds());
    assert_eq!(developer.get("").await.status, 200);
}

#[tokio::test]
async fn bodies_outside_the_description_are_refused() {
    let developer = Developer::new().await;
    let comments = format!("/commits/{FIRST_COMMIT}/comments");
    let statuses = format!("/statuses/{FIRST_COMMIT}");
    for (path, body, message) in [
        (&comments, json!({}), "\"body\" wasn't supplied"),
        (&comments, json!({ "body": 7 }), "For 'body', expected string, found 7"),
        (&comments, json!({ "body": "x", "bdy": "y" }), "\"bdy\" is not a permitted key"),
        (&comments, json!({ "body": " " }), "Validation Failed"),
        (&comments, json!({ "body": "x".repeat(65_537) }), "Validation Failed"),
        (&statuses, json!({ "state": "successful" }), "For 'state'"),
        (&statuses, json!({ "state": "success", "description": "x".repeat(141) }), "Validation Failed"),
        (&statuses, json!({ "state": "success", "target_url": "javascript:x" }), "Validation Failed"),
        (
            &"/statuses/0000000000000000000000000000000000000000".to_owned(),
            json!({ "state": "success" }),
            "No commit found for SHA",
        ),
        (&"/deployments".to_owned(), json!({ "ref": "nowhere" }), "No ref found for: nowhere"),
        (&"/deployments".to_owned(), json!({ "environment": "staging" }), "\"ref\" wasn't supplied"),
    ] {
        let reply = developer.post(path, body).await;
        assert_eq!(reply.status, 422, "{}", reply.body);
        assert!(reply.text("/message").contains(message), "{message}: {}", reply.body);
    }
    let url = format!("{}/repos/{REPOSITORY}{comments}", developer.world.github.url);
    assert_eq!(developer.client.send("POST", &url, &[AGENT], b"{".to_vec()).await.status, 400);
    assert!(developer.world.github.ledger.effects().is_empty());
}

#[tokio::test]
async fn comments_on_a_commit_are_made_found_and_edited() {
    let developer = Developer::new().await;
    let made = developer.post(&format!("/commits/{FIRST_COMMIT}/comments"), json!({ "body": "first" })).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_u64().unwrap();
    let edited = developer.send("PATCH", &format!("/comments/{id}"), json!({ "body": "second" })).await;
    assert_eq!((edited.status, edited.text("/body")), (200, "second"));
    let listed = developer.get(&format!("/commits/{}/comments", &FIRST_COMMIT[..8])).await;
    assert_eq!(listed.body[0]["body"], "second");
    assert_eq!(developer.world.github.commit_comments(REPOSITORY, FIRST_COMMIT).len(), 1);
    assert_eq!(developer.send("PATCH", "/comments/1", json!({ "body": "x" })).await.status, 404);
}

#[tokio::test]
async fn comments_on_an_issue_come_in_pages() {
    let developer = Developer::new().await;
    assert_eq!(developer.post("/issues/7/comments", json!({ "body": "x" })).await.status, 404);
    developer.world.github.add_issue(REPOSITORY, 7, None);
    for number in 0..5 {
        assert_eq!(developer.post("/issues/7/comments", json!({ "body": format!("no. {number}") })).await.status, 201);
    }
    let first = developer.get("/issues/7/comments?per_page=2").await;
    assert_eq!(first.body.as_array().unwrap().len(), 2);
    let next = first.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert!(first.header("link").contains("page=3>; rel=\"last\""), "{}", first.header("link"));
    let second = developer.client.send("GET", &next, &[AGENT], Vec::new()).await;
    assert_eq!(second.body[0]["body"], "no. 2");
    let last = developer.get("/issues/7/comments?per_page=2&page=3").await;
    assert_eq!(last.body.as_array().unwrap().len(), 1);
    assert!(!last.header("link").contains("next"));
}

#[tokio::test]
async fn the_latest_status_of_each_context_makes_the_whole() {
    let developer = Developer::new().await;
    let whole = async || developer.get(&format!("/commits/{FIRST_COMMIT}/status")).await.text("/state").to_owned();
    let set = async |context: &str, state: &str| {
        let body = json!({ "context": context, "state": state });
        assert_eq!(developer.post(&format!("/statuses/{FIRST_COMMIT}"), body).await.status, 201);
    };
    assert_eq!(whole().await, "pending");
    set("a", "success").await;
    set("b", "pending").await;
    assert_eq!(whole().await, "pending");
    set("b", "failure").await;
    assert_eq!(whole().await, "failure");
    set("b", "success").await;
    assert_eq!(whole().await, "success");
    assert_eq!(developer.get("/commits/main/statuses").await.body[0]["context"], "b");
}

#[tokio::test]
async fn a_deployment_waits_for_statuses_unless_it_asks_for_none() {
    let developer = Developer::new().await;
    developer.post(&format!("/statuses/{FIRST_COMMIT}"), json!({ "state": "pending" })).await;
    let conflict = developer.post("/deployments", json!({ "ref": FIRST_COMMIT })).await;
    assert_eq!(conflict.status, 409, "{}", conflict.body);
    developer.deployment(json!({ "ref": FIRST_COMMIT, "required_contexts": [] })).await;
}

#[tokio::test]
async fn a_successful_deployment_ends_the_one_before_it() {
    let developer = Developer::new().await;
    let body = json!({ "ref": "main", "environment": "staging", "required_contexts": [], "payload": { "run": "r1" } });
    let first = developer.deployment(body.clone()).await;
    let success = json!({ "state": "success", "environment_url": "https://staging.example.com" });
    assert_eq!(developer.post(&format!("/deployments/{first}/statuses"), success.clone()).await.status, 201);
    let second = developer.deployment(body).await;
    developer.post(&format!("/deployments/{second}/statuses"), success).await;

    let states = developer.get(&format!("/deployments/{first}/statuses")).await;
    assert_eq!((states.text("/0/state"), states.text("/1/state")), ("inactive", "success"));
    let listed = developer.get(&format!("/deployments?sha={FIRST_COMMIT}&environment=staging")).await;
    assert_eq!(listed.body[0]["id"].as_u64(), Some(second));
    assert_eq!(listed.body[0]["payload"]["run"], "r1");
    assert_eq!(developer.get("/deployments?environment=other").await.body, json!([]));
    let wrong = json!({ "state": "success", "log_url": "ftp://x" });
    assert_eq!(developer.post(&format!("/deployments/{second}/statuses"), wrong).await.status, 422);
}

#[tokio::test]
async fn commits_tell_their_parents_and_how_they_relate() {
    let developer = Developer::new().await;
    let (left, right) = ("a".repeat(40), "b".repeat(40));
    developer.world.github.add_commit(REPOSITORY, "main", &left, &[FIRST_COMMIT]);
    developer.world.github.add_commit(REPOSITORY, "feature/x", &right, &[FIRST_COMMIT]);
    let relation = async |range: &str| developer.get(&format!("/compare/{range}")).await.text("/status").to_owned();
    assert_eq!(relation(&format!("{FIRST_COMMIT}...{left}")).await, "ahead");
    assert_eq!(relation(&format!("{left}...{FIRST_COMMIT}")).await, "behind");
    assert_eq!(relation("main...feature/x").await, "diverged");
    assert_eq!(relation(&format!("main...{left}")).await, "identical");
    assert_eq!(developer.get("/commits/feature/x").await.text("/sha"), right);
    assert_eq!(developer.get("/commits/main").await.text("/parents/0/sha"), FIRST_COMMIT);
}

//! `admin:`: who gets in, and what they may do.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::api::world::World;
use crate::support::client::Client;

const OPERATOR: &str = "operator-token-of-this-test-0123456789";
const VIEWER: &str = "viewer-token-of-this-test-0123456789";

async fn world() -> World {
    let admin = format!(
        "admin:\n  token: operator\n  viewer-token-sha256: {}\n  redact: {{ fields: [sender] }}\n",
        hex::encode(Sha256::digest(VIEWER))
    );
    World::with(&admin, |command| {
        command.env("OPERATOR", OPERATOR);
    })
    .await
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn without_a_token_nothing_is_shown_and_with_the_wrong_one_neither() {
    let world = world().await;
    let refused = world.get("/deliveries").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"));
    let wrong = Client::bearer("operator-token-of-this-test-012345678").get(&world.url("/api/v1/deliveries")).await;
    assert_eq!(wrong.status, 401, "{wrong:?}");
    let page = world.client.get(&world.url("/deliveries")).await;
    assert_eq!((page.status, page.header("location")), (303, "/sign-in?to=%2Fdeliveries"));
    let refused = world.client.send("POST", &world.url("/sign-in"), &[FORM], b"token=guess".to_vec()).await;
    assert_eq!((refused.status, refused.header("set-cookie")), (401, ""));
    assert!(refused.body.as_str().unwrap().contains("This token is not known."), "{refused:?}");
    let elsewhere = [FORM, ("origin", "https://attacker.example")];
    let body = format!("token={OPERATOR}").into_bytes();
    assert_eq!(world.client.send("POST", &world.url("/sign-in"), &elsewhere, body).await.status, 401);
    // Deliveries need no token: they prove themselves.
    assert_eq!(world.client.get(&world.url("/livez")).await.status, 200);
}

#[tokio::test]
async fn a_viewer_may_look_and_only_an_operator_may_act() {
    let world = world().await;
    let (operator, viewer) = (Client::bearer(OPERATOR), Client::bearer(VIEWER));
    let me = |client: Client| {
        let url = world.url("/api/v1/me");
        async move { client.get(&url).await.body }
    };
    assert_eq!(me(Client::bearer(OPERATOR)).await, json!({ "who": "operator token", "role": "operator" }));
    assert_eq!(me(Client::bearer(VIEWER)).await, json!({ "who": "viewer token", "role": "viewer" }));
    for path in ["/api/v1/deliveries", "/api/v1/overview", "/", "/rules"] {
        assert_eq!(viewer.get(&world.url(path)).await.status, 200, "{path}");
    }
    for path in ["/api/v1/audit", "/audit", "/playground"] {
        assert_eq!(viewer.get(&world.url(path)).await.status, 403, "{path}");
        assert_eq!(operator.get(&world.url(path)).await.status, 200, "{path}");
    }
    for (path, body) in [("/redrive", json!({})), ("/check", json!({ "files": [] })), ("/backtest", json!({}))] {
        let url = world.url(&format!("/api/v1{path}"));
        assert_eq!(viewer.json("POST", &url, &body).await.status, 403, "{path}");
        assert_eq!(operator.json("POST", &url, &body).await.status, 200, "{path}");
    }
    let hidden = viewer.get(&world.url("/api/v1/redaction")).await;
    assert!(hidden.body["fields"].as_array().unwrap().contains(&json!("sender")), "{hidden:?}");
}

#[tokio::test]
async fn a_browser_signs_in_acts_with_its_session_and_signs_out() {
    let world = world().await;
    let body = format!("token={OPERATOR}").into_bytes();
    let signed_in = world.client.send("POST", &world.url("/sign-in"), &[FORM], body).await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, "/"));
    let cookie = signed_in.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(!cookie.contains(OPERATOR));
    let pair = cookie.split(';').next().unwrap();
    let session = ("cookie", pair);
    let audit = world.client.send("GET", &world.url("/api/v1/audit"), &[session], Vec::new()).await;
    assert_eq!(audit.text("/items/0/act"), "sign-in", "{audit:?}");
    // The session alone does not let somebody else's page act.
    let redrive = world.url("/api/v1/redrive");
    let json = ("content-type", "application/json");
    for (origin, status) in [("https://attacker.example".to_owned(), 403), (format!("http://{}", world.service.address), 200)] {
        let reply = world.client.send("POST", &redrive, &[session, json, ("origin", &origin)], b"{}".to_vec()).await;
        assert_eq!(reply.status, status, "{origin}");
    }
    let forged = pair.replace("declic_session=ey", "declic_session=eZ");
    assert_eq!(world.client.send("GET", &world.url("/api/v1/audit"), &[("cookie", &forged)], Vec::new()).await.status, 401);
    let out = world.client.send("POST", &world.url("/sign-out"), &[session], Vec::new()).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{out:?}");
    // Whoever copied the cookie is out, too.
    let url = world.url("/api/v1/audit");
    assert_eq!(world.client.send("GET", &url, &[session], Vec::new()).await.status, 401);
    let log = Client::bearer(OPERATOR).get(&url).await;
    assert_eq!((log.text("/items/0/act"), log.text("/items/0/outcome")), ("sign-out", "done"), "{log:?}");
}

#[test]
fn a_token_that_can_be_guessed_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "version: 1\nsecrets: { operator: { from: env, name: OPERATOR } }\nadmin: { token: operator }\nrules: rules.yaml\n";
    std::fs::write(folder.path().join("declic.yaml"), settings).unwrap();
    std::fs::write(folder.path().join("rules.yaml"), "version: 1\nrules: {}\n").unwrap();
    let output = crate::support::binary::command(folder.path(), &["serve", "--listen", "127.0.0.1:0"])
        .env("OPERATOR", "short")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("shorter than 16 bytes") && !said.contains("short\""), "{said}");
}

//! Identity-Aware Proxy: its assertion is what lets people in, and nothing that looks like one.

use declic::clock::Timestamp;
use declic::demo::stand_ins::server::Running;
use serde_json::{Value, json};

use crate::api::world::World;
use crate::support::client::Reply;
use crate::support::issuer::{self, Issuer};

const AUDIENCE: &str = "/projects/1234567890/global/backendServices/42";

async fn world(issuer: &Issuer) -> World {
    let settings = format!(
        "admin:\n  iap: {{ audience: {AUDIENCE}, keys-url: \"{}/keys\" }}\n  \
         operators: {{ emails: [ann@acme.example] }}\n  viewers: {{ domains: [acme.example] }}\n",
        issuer.url
    );
    World::with(&settings, |_| {}).await
}

fn claims(email: &str) -> Value {
    let now = Timestamp::now().seconds();
    json!({
        "iss": "https://cloud.google.com/iap", "aud": AUDIENCE, "azp": AUDIENCE, "sub": "accounts.google.com:117",
        "email": email, "hd": "acme.example", "iat": now, "exp": now + 600,
    })
}

async fn ask(world: &World, method: &str, path: &str, assertion: &str, more: &[(&str, &str)]) -> Reply {
    let headers = [&[("x-goog-iap-jwt-assertion", assertion)], more].concat();
    world.client.send(method, &world.url(path), &headers, b"{}".to_vec()).await
}

async fn start() -> (Running<Issuer>, World) {
    let issuer = issuer::start().await;
    let world = world(&issuer).await;
    (issuer, world)
}

#[tokio::test]
async fn people_come_through_the_proxy_with_their_role() {
    let (issuer, world) = start().await;
    for (email, role) in
        [("ann@acme.example", "operator"), ("accounts.google.com:ann@acme.example", "operator"), ("bob@acme.example", "viewer")]
    {
        let reply = ask(&world, "GET", "/api/v1/me", &issuer.assertion(&claims(email)), &[]).await;
        assert_eq!(reply.text("/role"), role, "{email}: {reply:?}");
    }
    let mut stranger = claims("eve@elsewhere.example");
    stranger["hd"] = json!("elsewhere.example");
    assert_eq!(ask(&world, "GET", "/api/v1/me", &issuer.assertion(&stranger), &[]).await.status, 403);
    let mut unhosted = claims("eve@acme.example");
    unhosted.as_object_mut().unwrap().remove("hd");
    assert_eq!(ask(&world, "GET", "/api/v1/me", &issuer.assertion(&unhosted), &[]).await.status, 403);
    let page = world.client.get(&world.url("/sign-in")).await;
    assert!(page.body.as_str().unwrap().contains("People come in through the Identity-Aware Proxy."), "{page:?}");
}

#[tokio::test]
async fn what_only_looks_like_an_assertion_is_refused() {
    let (issuer, world) = start().await;
    let good = claims("ann@acme.example");
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.assertion(&claims)
    };
    let whole = issuer.assertion(&good);
    let (message, signature) = whole.rsplit_once('.').unwrap();
    let now = Timestamp::now().seconds();
    for (why, assertion) in [
        ("another audience", changed("aud", json!("/projects/1234567890/global/backendServices/43"))),
        ("another issuer", changed("iss", json!("https://accounts.google.com"))),
        ("too old", changed("exp", json!(now - 60))),
        ("not yet", changed("iat", json!(now + 600))),
        ("no signature", format!("{message}.")),
        (
            "another's signature",
            format!("{message}.{}", &issuer.assertion(&claims("bob@acme.example")).rsplit('.').next().unwrap()),
        ),
        ("cut short", whole[..whole.len() - 4].to_owned()),
        ("not a token", "ann@acme.example".to_owned()),
        ("empty", String::new()),
    ] {
        let reply = ask(&world, "GET", "/api/v1/me", &assertion, &[]).await;
        assert_eq!(reply.status, 401, "{why}: {reply:?}");
    }
    assert!(!signature.is_empty());
    let two = ask(&world, "GET", "/api/v1/me", &whole, &[("x-goog-iap-jwt-assertion", &whole)]).await;
    assert_eq!(two.status, 401, "one of two could be anybody's");
    let plain = [("x-goog-authenticated-user-email", "accounts.google.com:ann@acme.example")];
    let named = world.client.send("GET", &world.url("/api/v1/me"), &plain, Vec::new()).await;
    assert_eq!(named.status, 401, "a header that is not signed says nothing");
}

#[tokio::test]
async fn a_page_of_somebody_else_cannot_act_behind_the_proxy() {
    let (issuer, world) = start().await;
    let assertion = issuer.assertion(&claims("ann@acme.example"));
    let json = ("content-type", "application/json");
    let foreign = [json, ("origin", "https://attacker.example")];
    assert_eq!(ask(&world, "POST", "/api/v1/redrive", &assertion, &foreign).await.status, 403);
    assert_eq!(ask(&world, "POST", "/api/v1/redrive", &assertion, &[json, ("sec-fetch-site", "cross-site")]).await.status, 403);
    assert_eq!(ask(&world, "POST", "/api/v1/redrive", &assertion, &[json]).await.status, 200);
}

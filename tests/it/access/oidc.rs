//! Signing in at an issuer that refuses every wrong request; and every wrong answer of an issuer is refused.

use declic::demo::stand_ins::server::Running;
use serde_json::{Value, json};

use crate::api::world::{More, World};
use crate::support::client::{Client, Reply};
use crate::support::issuer::{self, CLIENT, CLIENT_SECRET, Issuer, REDIRECT, Wrong};

/// A service where people sign in at the issuer.
pub async fn world(issuer: &Issuer, more: &str) -> World {
    let settings = format!(
        "public-url: https://declic.example.dev\n\
         admin:\n  oidc: {{ issuer: \"{}\", client-id: {CLIENT}, client-secret: client }}\n  token: operator\n  \
         operators: {{ emails: [Ann@acme.example], groups: [deployers] }}\n  viewers: {{ domains: [acme.example] }}\n{more}",
        issuer.url
    );
    let secrets = "  client: { from: env, name: CLIENT }\n";
    World::of(More { secrets, settings: &settings, ..More::default() }, |command| {
        command.env("CLIENT", CLIENT_SECRET);
    })
    .await
}

/// The cookies that an answer sets, as a browser sends them.
pub fn cookies(reply: &Reply) -> String {
    let set = reply.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.split(';').next().unwrap());
    set.filter(|pair| !pair.ends_with('=')).collect::<Vec<_>>().join("; ")
}

/// Somebody on the way: the cookie they have, and the address that the issuer sends them back to.
async fn on_the_way(world: &World, from: &str) -> (String, String) {
    let begun = world.client.get(&world.url(from)).await;
    assert_eq!(begun.status, 303, "{begun:?}");
    let cookie = begun.headers.iter().find(|(name, _)| name == "set-cookie").map(|(_, value)| value.clone()).unwrap();
    assert!(cookie.contains("; Path=/sign-in; Max-Age=600; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    let at_the_issuer = Client::anonymous().get(begun.header("location")).await;
    assert_eq!(at_the_issuer.status, 302, "{at_the_issuer:?}");
    let back = at_the_issuer.header("location").strip_prefix("https://declic.example.dev").unwrap().to_owned();
    (cookies(&begun), back)
}

async fn come_back(world: &World, cookie: &str, back: &str) -> Reply {
    world.client.send("GET", &world.url(back), &[("cookie", cookie)], Vec::new()).await
}

/// Signs in and answers the cookie of the session.
pub async fn signed_in(world: &World) -> String {
    let (cookie, back) = on_the_way(world, "/sign-in/oidc").await;
    let reply = come_back(world, &cookie, &back).await;
    assert_eq!(reply.status, 303, "{reply:?}");
    cookies(&reply)
}

async fn me(world: &World, cookie: &str) -> Reply {
    world.client.send("GET", &world.url("/api/v1/me"), &[("cookie", cookie)], Vec::new()).await
}

#[tokio::test]
async fn somebody_signs_in_at_the_issuer_and_is_led_to_where_they_wanted() {
    let issuer = issuer::start().await;
    let world = world(&issuer, "").await;
    let first = world.client.get(&world.url("/runs?state=failed")).await;
    assert_eq!((first.status, first.header("location")), (303, "/sign-in?to=%2Fruns%3Fstate%3Dfailed"));
    let page = world.client.get(&world.url(first.header("location"))).await;
    let text = page.body.as_str().unwrap();
    assert!(text.contains("Continue with 127.0.0.1") && text.contains("/sign-in/oidc?to=%2Fruns%3Fstate%3Dfailed"), "{text}");

    let (cookie, back) = on_the_way(&world, "/sign-in/oidc?to=%2Fruns%3Fstate%3Dfailed").await;
    let reply = come_back(&world, &cookie, &back).await;
    assert_eq!((reply.status, reply.header("location")), (303, "/runs?state=failed"), "{reply:?}");
    let ended = reply.headers.iter().any(|(name, value)| name == "set-cookie" && value.starts_with("declic_sign_in=; "));
    assert!(ended, "the way in is over: {reply:?}");
    let session = cookies(&reply);
    assert!(!session.contains("code-") && !session.contains(CLIENT_SECRET));
    assert_eq!(me(&world, &session).await.body, json!({ "who": "ann@acme.example", "role": "operator" }));
    let audit = world.client.send("GET", &world.url("/api/v1/audit"), &[("cookie", &session)], Vec::new()).await;
    assert_eq!((audit.text("/items/0/who"), audit.text("/items/0/act")), ("ann@acme.example", "sign-in"));
    // The code was good once.
    let again = come_back(&world, &cookie, &back).await;
    assert_eq!((again.status, cookies(&again)), (401, String::new()), "{again:?}");
    assert!(!world.service.log().contains(CLIENT_SECRET), "{}", world.service.log());
}

#[tokio::test]
async fn who_may_come_in_and_as_what_is_the_operators_word() {
    let issuer = issuer::start().await;
    let world = world(&issuer, "").await;
    for (person, role) in [
        (json!({ "sub": "2", "email": "Bob@ACME.example", "email_verified": true }), Some("viewer")),
        (json!({ "sub": "3", "groups": ["people", "deployers"] }), Some("operator")),
        (json!({ "sub": "4", "email": "ann@acme.example", "email_verified": false }), None),
        (json!({ "sub": "5", "email": "eve@elsewhere.example", "email_verified": true }), None),
        (json!({ "sub": "6", "email": "eve@acme.example.elsewhere.example", "email_verified": true, "groups": "people" }), None),
    ] {
        issuer.sign_in_as(person.clone());
        let (cookie, back) = on_the_way(&world, "/sign-in/oidc").await;
        let reply = come_back(&world, &cookie, &back).await;
        match role {
            Some(role) => assert_eq!(me(&world, &cookies(&reply)).await.text("/role"), role, "{person}"),
            None => {
                assert_eq!((reply.status, cookies(&reply)), (403, String::new()), "{person}");
                assert!(reply.body.as_str().unwrap().contains("neither an operator nor a viewer"), "{reply:?}");
            }
        }
    }
    let operator = Client::bearer("nobody uses this token here");
    let audit = operator.get(&world.url("/api/v1/audit")).await;
    let refused: Vec<&Value> = audit.body["items"].as_array().unwrap().iter().filter(|one| one["outcome"] != "done").collect();
    assert_eq!(refused.len(), 3, "{audit:?}");
    assert_eq!(refused[2]["who"], "4", "an address that was not verified is not believed, not even in the log: {refused:?}");
}

#[tokio::test]
async fn every_wrong_answer_of_the_issuer_is_refused() {
    let issuer = issuer::start().await;
    let world = world(&issuer, "").await;
    let now = declic::clock::Timestamp::now().seconds();
    let all = [
        Wrong::Claim("nonce", json!("another")),
        Wrong::WithoutClaim("nonce"),
        Wrong::Claim("aud", json!("somebody-else")),
        Wrong::Claim("aud", json!([CLIENT, "somebody-else"])),
        Wrong::Claim("azp", json!("somebody-else")),
        Wrong::Claim("iss", json!("https://attacker.example")),
        Wrong::Claim("exp", json!(now - 60)),
        Wrong::Claim("iat", json!(now + 600)),
        Wrong::WithoutClaim("exp"),
        Wrong::WithoutClaim("sub"),
        Wrong::Unsigned,
        Wrong::ForeignKey,
        Wrong::PublicKeyAsSecret,
        Wrong::NoToken,
    ];
    for wrong in all {
        let (cookie, back) = on_the_way(&world, "/sign-in/oidc").await;
        issuer.goes_wrong(Some(wrong.clone()));
        let reply = come_back(&world, &cookie, &back).await;
        assert_eq!((reply.status, cookies(&reply)), (401, String::new()), "{wrong:?}");
        let text = reply.body.as_str().unwrap();
        assert!(text.contains("could not be proved") && !text.contains("nonce"), "{wrong:?}: {text}");
        issuer.goes_wrong(None);
    }
    assert_eq!(me(&world, &signed_in(&world).await).await.status, 200);
}

#[tokio::test]
async fn what_was_not_begun_in_this_browser_leads_nowhere() {
    let issuer = issuer::start().await;
    let world = world(&issuer, "").await;
    let (mine, back) = on_the_way(&world, "/sign-in/oidc").await;
    let (theirs, _) = on_the_way(&world, "/sign-in/oidc").await;
    let asked = issuer.ledger.requests().len();
    let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let forged = mine.replacen("declic_sign_in=e", "declic_sign_in=f", 1);
    for (cookie, address) in [
        ("", back.clone()),
        (theirs.as_str(), back.clone()),
        (forged.as_str(), back.clone()),
        (mine.as_str(), back.replace(state, "another")),
        (mine.as_str(), back.replace("state=", "other=")),
        (mine.as_str(), format!("{back}&state={state}")),
    ] {
        let reply = come_back(&world, cookie, &address).await;
        assert_eq!((reply.status, cookies(&reply)), (400, String::new()), "{address} with {cookie}");
    }
    for address in [back.replace("iss=", "not="), back.replace(&url_of(&issuer), "https%3A%2F%2Fattacker.example")] {
        assert_eq!(come_back(&world, &mine, &address).await.status, 401, "{address}");
    }
    let refused = come_back(&world, &mine, &format!("{}&error=access_denied", back.replace("code=", "not="))).await;
    assert_eq!(refused.status, 403);
    assert_eq!(issuer.ledger.requests().len(), asked, "nothing of that was worth asking the issuer");
    assert_eq!(come_back(&world, &mine, &back).await.status, 303, "and the right way still works");
}

fn url_of(issuer: &Running<Issuer>) -> String {
    url::form_urlencoded::byte_serialize(issuer.url.as_bytes()).collect()
}

#[tokio::test]
async fn an_issuer_that_is_down_or_another_is_said_plainly_and_tokens_still_work() {
    let issuer = issuer::start().await;
    issuer.goes_wrong(Some(Wrong::NamesAnotherIssuer));
    let world = world(&issuer, "").await;
    let reply = world.client.get(&world.url("/sign-in/oidc")).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body.as_str().unwrap().contains("does not answer. Try again later."), "{reply:?}");
    assert!(world.service.log().contains("is of another issuer"), "{}", world.service.log());
    let operator = Client::bearer("nobody uses this token here");
    assert_eq!(operator.get(&world.url("/api/v1/me")).await.status, 200);
}

#[tokio::test]
async fn whoever_is_wrong_too_often_has_to_wait() {
    let issuer = issuer::start().await;
    let world = world(&issuer, "").await;
    let session = signed_in(&world).await;
    let from = |token: &str, address: &str| {
        let (client, url, address) = (Client::bearer(token), world.url("/api/v1/me"), address.to_owned());
        async move { client.send("GET", &url, &[("x-forwarded-for", &address)], Vec::new()).await }
    };
    for _ in 0..20 {
        assert_eq!(from("a guess of a token", "203.0.113.9").await.status, 401);
    }
    let stopped = from("a guess of a token", "203.0.113.9").await;
    assert_eq!(stopped.status, 429, "{stopped:?}");
    assert!(stopped.text("/detail").contains("Try again in"), "{stopped:?}");
    let log = world.service.log();
    assert_eq!(log.matches("too many wrong attempts").count(), 1, "said once: {log}");
    let seconds: u32 = stopped.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&seconds));
    let right = "nobody uses this token here";
    assert_eq!(from(right, "203.0.113.9").await.status, 429, "otherwise guessing would go on");
    assert_eq!(from(right, "203.0.113.10").await.status, 200, "others are not held up");
    assert_eq!(me(&world, &session).await.status, 200, "nor are those who are in");
    let form = [("content-type", "application/x-www-form-urlencoded"), ("x-forwarded-for", "203.0.113.9")];
    let page = world.client.send("POST", &world.url("/sign-in"), &form, format!("token={right}").into_bytes()).await;
    assert_eq!(page.status, 429);
}

#[test]
fn the_redirect_is_the_one_of_the_documentation() {
    assert_eq!(REDIRECT, format!("https://declic.example.dev{}", declic::access::oidc::CALLBACK));
}

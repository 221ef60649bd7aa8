//! People see what GitHub lets them see, and nothing while it does not say.

use declic::demo::stand_ins::World as StandIns;
use serde_json::json;

use super::oidc::{signed_in, world};
use crate::api::world::World;
use crate::support::client::{Client, Reply};
use crate::support::issuer::{self, Issuer};

/// Ann may read acme/web at GitHub; Bob has the login of nobody in particular there; Cid has none.
async fn start(stand_ins: &StandIns, issuer: &Issuer) -> World {
    stand_ins.github.accept_token("a token of this test");
    stand_ins.github.add_repository("acme/web");
    stand_ins.github.permit("acme/web", "ann-at-github", "read");
    stand_ins.github.permit("acme/web", "bob", "none");
    let more = format!(
        "  visibility: {{ login-claim: preferred_username, logins: {{ ann@acme.example: ann-at-github }} }}\n\
         github: {{ api-url: \"{}\", token: api }}\n",
        stand_ins.github.url
    );
    world(issuer, &more).await
}

async fn get(world: &World, cookie: &str, path: &str) -> Reply {
    world.client.send("GET", &world.url(path), &[("cookie", cookie)], Vec::new()).await
}

#[tokio::test]
async fn what_is_about_a_repository_is_shown_to_those_who_may_read_it() {
    let (stand_ins, issuer) = (StandIns::start().await.unwrap(), issuer::start().await);
    let world = start(&stand_ins, &issuer).await;
    let operator = Client::bearer("nobody uses this token here");
    let id = world.deliver_as(&operator, "main", "d-1").await;
    let person =
        |email: &str, login: &str| json!({ "sub": login, "email": email, "email_verified": true, "preferred_username": login });
    // The login that the operator wrote down counts, not the one that Ann's token claims.
    issuer.sign_in_as(person("ann@acme.example", "bob"));
    let ann = signed_in(&world).await;
    issuer.sign_in_as(person("bob@acme.example", "bob"));
    let bob = signed_in(&world).await;
    issuer.sign_in_as(json!({ "sub": "9", "email": "cid@acme.example", "email_verified": true }));
    let cid = signed_in(&world).await;

    let (delivery, run) = (format!("/api/v1/deliveries/{id}"), format!("/api/v1/runs/{id}-2"));
    for path in [
        &delivery,
        &format!("{delivery}/decisions"),
        &run,
        &format!("{run}/steps"),
        &format!("/deliveries/{id}"),
        &format!("/runs/{id}-2"),
    ] {
        assert_eq!(get(&world, &ann, path).await.status, 200, "{path}");
        for who in [&bob, &cid] {
            assert_eq!(get(&world, who, path).await.status, 404, "{path}");
        }
    }
    for (path, count) in [("/api/v1/deliveries", 1), ("/api/v1/runs", 2), ("/api/v1/dead", 1)] {
        assert_eq!(get(&world, &ann, path).await.body["items"].as_array().unwrap().len(), count, "{path}");
        assert_eq!(get(&world, &bob, path).await.body["items"], json!([]), "{path}");
    }
    for path in ["/deliveries", "/runs", "/dead", "/"] {
        let shown = |page: &Reply| page.body.as_str().unwrap().contains(&id) || page.body.as_str().unwrap().contains("Fix login");
        assert!(shown(&get(&world, &ann, path).await), "{path}");
        assert!(!shown(&get(&world, &bob, path).await), "{path}");
    }
    let overview = get(&world, &bob, "/api/v1/overview").await;
    assert_eq!((&overview.body["deliveries"], &overview.body["failed"]), (&json!([]), &json!([])), "{overview:?}");
    let overview = get(&world, &ann, "/api/v1/overview").await;
    assert_eq!(overview.body["deliveries"][0]["count"], 1, "{overview:?}");
    // Nor may it be acted on: Bob is no operator, and an operator who may not see it is told the same as of what is not there.
    issuer.sign_in_as(json!({ "sub": "3", "preferred_username": "bob", "groups": ["deployers"] }));
    let blind = signed_in(&world).await;
    let json_body = [("cookie", blind.as_str()), ("content-type", "application/json")];
    for act in [format!("{run}/retry"), format!("{run}/cancel"), format!("{delivery}/replay")] {
        assert_eq!(world.client.send("POST", &world.url(&act), &json_body, Vec::new()).await.status, 404, "{act}");
    }
    let redriven = world.client.send("POST", &world.url("/api/v1/redrive"), &json_body, b"{}".to_vec()).await;
    assert_eq!(redriven.body, json!({ "runs": [], "refused": [] }));
    assert_eq!(world.client.send("GET", &world.url(&format!("{delivery}/body")), &json_body, Vec::new()).await.status, 404);
    let backtest = world.client.send("POST", &world.url("/api/v1/backtest"), &json_body, b"{\"files\":[]}".to_vec()).await;
    assert_eq!((backtest.status, &backtest.body["deliveries"]), (200, &json!([])), "{backtest:?}");
    // GitHub was asked once for each of them, not once a row.
    let asked = stand_ins.github.ledger.requests();
    let asked: Vec<_> = asked.iter().filter(|request| request.path.contains("/collaborators/")).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[tokio::test]
async fn while_github_does_not_say_nothing_is_shown() {
    let (stand_ins, issuer) = (StandIns::start().await.unwrap(), issuer::start().await);
    let world = start(&stand_ins, &issuer).await;
    let operator = Client::bearer("nobody uses this token here");
    let id = world.deliver_as(&operator, "main", "d-1").await;
    stand_ins.github.revoke_tokens();
    let ann = signed_in(&world).await;
    assert_eq!(get(&world, &ann, &format!("/api/v1/deliveries/{id}")).await.status, 404);
    assert_eq!(get(&world, &ann, "/api/v1/deliveries").await.body["items"], json!([]));
    assert!(world.service.log().contains("GitHub does not say who may see what"), "{}", world.service.log());
    assert_eq!(operator.get(&world.url(&format!("/api/v1/deliveries/{id}"))).await.status, 200, "a token is nobody at GitHub");
}

#[tokio::test]
async fn changes_are_told_to_those_who_may_see_them() {
    use futures_util::StreamExt;
    let (stand_ins, issuer) = (StandIns::start().await.unwrap(), issuer::start().await);
    let world = start(&stand_ins, &issuer).await;
    let listen = |cookie: String| {
        let url = world.url("/api/v1/changes");
        async move {
            #[expect(clippy::disallowed_methods, reason = "the test plays a browser")]
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let stream = client.get(url).header("cookie", cookie).send().await.unwrap().bytes_stream();
            let heard = stream.take_until(tokio::time::sleep(std::time::Duration::from_secs(6)));
            let heard: Vec<_> = heard.filter_map(|chunk| async move { chunk.ok() }).collect().await;
            String::from_utf8_lossy(&heard.concat()).into_owned()
        }
    };
    let person = |login: &str| json!({ "sub": login, "email": format!("{login}@acme.example"), "email_verified": true, "preferred_username": login });
    issuer.sign_in_as(person("ann"));
    let ann = tokio::spawn(listen(signed_in(&world).await));
    issuer.sign_in_as(person("bob"));
    let bob = tokio::spawn(listen(signed_in(&world).await));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let id = world.deliver_as(&Client::bearer("nobody uses this token here"), "main", "d-1").await;
    let (ann, bob) = (ann.await.unwrap(), bob.await.unwrap());
    assert!(ann.contains(&id) && ann.contains("finished"), "{ann}");
    assert!(!bob.contains(&id), "{bob}");
}

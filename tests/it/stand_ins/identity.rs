//! Tokens are issued to whoever asks rightly, and to nobody else.

use declic::demo::stand_ins::World;
use serde_json::{Value, json};

use crate::support::client::Client;

const FLAVOR: &[(&str, &str)] = &[("metadata-flavor", "Google")];

#[tokio::test]
async fn the_metadata_server_answers_only_with_its_header() {
    let world = World::start().await.unwrap();
    let url = format!("{}/computeMetadata/v1/instance/service-accounts/default/token", world.identity.url);
    let client = Client::anonymous();
    assert_eq!(client.get(&url).await.status, 403);
    let forwarded = [("metadata-flavor", "Google"), ("x-forwarded-for", "203.0.113.7")];
    assert_eq!(client.send("GET", &url, &forwarded, Vec::new()).await.status, 403);

    let reply = client.send("GET", &url, FLAVOR, Vec::new()).await;
    assert_eq!(reply.header("metadata-flavor"), "Google");
    assert!(reply.body["expires_in"].as_u64().unwrap() > 0);
    assert!(world.tokens.check(reply.text("/access_token")).is_some());
}

#[tokio::test]
async fn an_id_token_of_the_metadata_server_verifies_with_the_published_keys() {
    let world = World::start().await.unwrap();
    let client = Client::anonymous();
    let url = format!("{}/computeMetadata/v1/instance/service-accounts/default/identity", world.identity.url);
    assert_eq!(client.send("GET", &url, FLAVOR, Vec::new()).await.status, 400);
    let token = client.send("GET", &format!("{url}?audience=https://x.example&format=full"), FLAVOR, Vec::new()).await;
    let keys = client.get(&format!("{}/oauth2/v3/certs", world.identity.url)).await;
    let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(keys.body["keys"][0].clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["https://x.example"]);
    validation.set_issuer(&["https://accounts.google.com"]);
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
    let decoded = jsonwebtoken::decode::<Value>(token.body.as_str().unwrap(), &key, &validation).unwrap();
    assert_eq!(decoded.claims["email_verified"], true);
}

#[tokio::test]
async fn a_service_account_assertion_is_checked_before_a_token_is_issued() {
    let world = World::start().await.unwrap();
    let email = "deployer@acme-ops.iam.gserviceaccount.com";
    let file = world.identity.key_file(email).unwrap();
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(file["private_key"].as_str().unwrap().as_bytes()).unwrap();
    let now = declic::clock::Timestamp::now().seconds();
    let good = json!({
        "iss": email, "aud": file["token_uri"], "iat": now, "exp": now + 3600,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
    });
    let change = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let ask = async |claims: &Value, key: &jsonwebtoken::EncodingKey, grant: &str| {
        let assertion = jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), claims, key).unwrap();
        let form = format!("grant_type={grant}&assertion={assertion}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        Client::anonymous().send("POST", file["token_uri"].as_str().unwrap(), &headers, form.into_bytes()).await
    };
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    let reply = ask(&good, &key, grant).await;
    assert_eq!(world.tokens.check(reply.text("/access_token")).unwrap().identity, email, "{reply:?}");

    for (claims, message) in [
        (change("iss", "other@acme-ops.iam.gserviceaccount.com".into()), "`iss`"),
        (change("aud", "https://oauth2.googleapis.com/token".into()), "`aud`"),
        (change("exp", (now + 7200).into()), "short-lived"),
        (change("iat", (now + 600).into()), "short-lived"),
        (change("exp", (now - 600).into()), "short-lived"),
        (change("scope", "".into()), "Invalid OAuth scope"),
    ] {
        let reply = ask(&claims, &key, grant).await;
        assert_eq!(reply.status, 400);
        assert!(reply.text("/error_description").contains(message), "{reply:?}");
    }
    assert_eq!(ask(&good, &key, "authorization_code").await.text("/error"), "unsupported_grant_type");

    let stranger = World::start().await.unwrap().identity.key_file(email).unwrap();
    let stranger = jsonwebtoken::EncodingKey::from_rsa_pem(stranger["private_key"].as_str().unwrap().as_bytes()).unwrap();
    assert!(ask(&good, &stranger, grant).await.text("/error_description").contains("Signature"));
}

#[tokio::test]
async fn impersonation_needs_a_token_a_scope_and_the_right() {
    let world = World::start().await.unwrap();
    let caller = "declic@acme-ops.iam.gserviceaccount.com";
    let target = "web-deployer@acme-staging.iam.gserviceaccount.com";
    let url = format!("{}/v1/projects/-/serviceAccounts/{target}", world.identity.url);
    let scope = "https://www.googleapis.com/auth/cloud-platform";
    let token = world.tokens.issue(caller, &[scope.into()], std::time::Duration::from_secs(60));
    let client = Client::bearer(&token);
    let body = json!({ "scope": [scope], "lifetime": "600s" });
    let access = format!("{url}:generateAccessToken");

    assert_eq!(Client::anonymous().json("POST", &access, &body).await.status, 401);
    assert_eq!(client.json("POST", &access, &json!({ "scopes": [scope] })).await.status, 400);
    assert_eq!(client.json("POST", &access, &json!({ "scope": [] })).await.status, 400);
    assert_eq!(client.json("POST", &access, &json!({ "scope": [scope], "lifetime": "7200s" })).await.status, 400);
    let reply = client.json("POST", &access, &body).await;
    assert_eq!(world.tokens.check(reply.text("/accessToken")).unwrap().identity, target, "{reply:?}");
    let reply = client.json("POST", &format!("{url}:generateIdToken"), &json!({ "audience": "https://x.example" })).await;
    assert_eq!(reply.text("/token").split('.').count(), 3, "{reply:?}");

    world.identity.allow_impersonation(caller, "other@acme-staging.iam.gserviceaccount.com");
    assert_eq!(client.json("POST", &access, &body).await.status, 403);
    world.identity.allow_impersonation(caller, target);
    assert_eq!(client.json("POST", &access, &body).await.status, 200);
}

//! The registry wants a token, and knows an image only from when it is there.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::{IMAGE_REPOSITORY, World};

use crate::support::client::Client;

const ACCEPT: &[(&str, &str)] =
    &[("accept", "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json")];

fn google_token(world: &World) -> String {
    let scope = "https://www.googleapis.com/auth/cloud-platform".to_owned();
    world.tokens.issue("declic@acme-ops.iam.gserviceaccount.com", &[scope], Duration::from_secs(60))
}

fn manifest(world: &World, reference: &str) -> String {
    format!("{}/v2/{IMAGE_REPOSITORY}/manifests/{reference}", world.registry.url)
}

#[tokio::test]
async fn the_digest_of_a_tag_is_told_to_whoever_followed_the_challenge() {
    let world = World::start().await.unwrap();
    let digest = world.registry.push(IMAGE_REPOSITORY, "v1", "v1");
    let refused = Client::anonymous().send("HEAD", &manifest(&world, "v1"), ACCEPT, Vec::new()).await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    let realm = challenge.split('"').nth(1).unwrap();
    assert!(challenge.contains("scope=\"repository:acme-build/web/web:pull\""), "{challenge}");

    let url = format!("{realm}?service=registry&scope=repository:{IMAGE_REPOSITORY}:pull");
    assert_eq!(Client::anonymous().get(&url).await.status, 401);
    let basic = STANDARD.encode(format!("oauth2accesstoken:{}", google_token(&world)));
    let token = Client::authorized(&format!("Basic {basic}")).get(&url).await;
    assert_eq!(token.status, 200, "{token:?}");

    let client = Client::bearer(token.text("/token"));
    let head = client.send("HEAD", &manifest(&world, "v1"), ACCEPT, Vec::new()).await;
    assert_eq!((head.status, head.header("docker-content-digest")), (200, digest.as_str()));
    let by_digest = client.send("GET", &manifest(&world, &digest), ACCEPT, Vec::new()).await;
    assert_eq!(by_digest.body["schemaVersion"], 2);
    let elsewhere = format!("{}/v2/acme-build/other/manifests/v1", world.registry.url);
    assert_eq!(client.send("GET", &elsewhere, ACCEPT, Vec::new()).await.status, 401);
}

#[tokio::test]
async fn a_public_repository_still_wants_its_own_token() {
    let world = World::start().await.unwrap();
    world.registry.push("library/web", "v1", "v1");
    world.registry.make_public("library/web");
    let url = format!("{}/v2/library/web/manifests/v1", world.registry.url);
    assert_eq!(Client::anonymous().send("GET", &url, ACCEPT, Vec::new()).await.status, 401);
    let token = Client::anonymous().get(&format!("{}/v2/token?scope=repository:library/web:pull", world.registry.url)).await;
    assert_eq!(Client::bearer(token.text("/token")).send("GET", &url, ACCEPT, Vec::new()).await.status, 200);
}

#[tokio::test]
async fn an_image_is_unknown_until_it_appears() {
    let world = World::start().await.unwrap();
    let client = Client::bearer(&google_token(&world));
    world.registry.appears_after(IMAGE_REPOSITORY, "late", "late", Duration::from_millis(150));
    let early = client.send("GET", &manifest(&world, "late"), ACCEPT, Vec::new()).await;
    assert_eq!((early.status, early.text("/errors/0/code")), (404, "MANIFEST_UNKNOWN"));
    tokio::time::sleep(Duration::from_millis(170)).await;
    assert_eq!(client.send("GET", &manifest(&world, "late"), ACCEPT, Vec::new()).await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_accept_oci_manifests_does_not_find_them() {
    let world = World::start().await.unwrap();
    let client = Client::bearer(&google_token(&world));
    let docker_only = [("accept", "application/vnd.docker.distribution.manifest.v2+json")];
    let reply = client.send("GET", &manifest(&world, "seed"), &docker_only, Vec::new()).await;
    assert_eq!((reply.status, reply.text("/errors/0/code")), (404, "MANIFEST_UNKNOWN"));
}

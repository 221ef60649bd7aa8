//! Google's tokens: from the metadata server, from a key file, by impersonation; kept, renewed, fetched once.

use std::time::{Duration, Instant};

use declic::clock::Timestamp;
use declic::demo::stand_ins::{SERVICE_NAME, World};
use declic_actions::action::Failure;
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings, Method, Request};
use declic_actions::secret::Secret;

const DEPLOYER: &str = "deployer@acme-staging.iam.gserviceaccount.com";
const ROBOT: &str = "robot@acme-ops.iam.gserviceaccount.com";

fn google(world: &World, credentials: Option<Secret>) -> Google {
    let http = Http::new(HttpSettings { allow: world.authorities(), user_agent: "declic-test".into() }).unwrap();
    let settings = GoogleSettings {
        run_url: world.cloud_run.url.clone(),
        iam_credentials_url: world.identity.url.clone(),
        metadata_host: world.identity.authority.clone(),
        credentials,
        ..Default::default()
    };
    Google::new(http, settings, || Timestamp::now().seconds()).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn read_service(world: &World) -> Request {
    Request::to(Method::GET, &format!("{}/v2/{SERVICE_NAME}", world.cloud_run.url), soon())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_at_once_fetch_one_token() {
    let world = World::start().await.unwrap();
    let google = google(&world, None);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let google = google.clone();
            tokio::spawn(async move { google.access_token(None, soon()).await.unwrap() })
        })
        .collect();
    let mut tokens = Vec::new();
    for caller in callers {
        tokens.push(caller.await.unwrap());
    }
    assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(world.identity.ledger.count("GET", "/token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_again_shortly_before_it_expires() {
    let world = World::start().await.unwrap();
    world.identity.tokens_are_valid_for(Duration::from_secs(30));
    let google = google(&world, None);
    for _ in 0..2 {
        google.access_token(None, soon()).await.unwrap();
    }
    assert_eq!(world.identity.ledger.count("GET", "/token"), 2, "a token in its last minute is not used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_once() {
    let world = World::start().await.unwrap();
    let google = google(&world, None);
    google.send(None, read_service(&world)).await.unwrap();
    world.tokens.revoke_all();
    google.send(None, read_service(&world)).await.unwrap();
    assert_eq!(world.identity.ledger.count("GET", "/token"), 2);
    world.cloud_run.faults.fail_next(5, 401, None);
    let error = google.send(None, read_service(&world)).await.unwrap_err();
    assert_eq!(error.status_code(), Some(401));
    assert_eq!(world.identity.ledger.count("GET", "/token"), 3, "not more than once a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_signs_for_access_and_for_id_tokens() {
    let world = World::start().await.unwrap();
    let file = world.identity.key_file(ROBOT).unwrap().to_string();
    let google = google(&world, Some(Secret::new(file)));
    google.send(None, read_service(&world)).await.unwrap();
    let token = google.id_token(None, "https://orders.example.com", soon()).await.unwrap();
    assert_eq!(token.expose_text().unwrap().split('.').count(), 3);
    assert_eq!(world.identity.ledger.count("GET", "/computeMetadata"), 0);
    assert!(!format!("{google:?}").contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_is_used_only_if_that_is_allowed() {
    let world = World::start().await.unwrap();
    let file = world.identity.key_file(ROBOT).unwrap().to_string();
    let google = google(&world, Some(Secret::new(file)));
    world.cloud_run.allow_only(&[DEPLOYER]);
    world.identity.allow_impersonation(ROBOT, "somebody-else@acme-staging.iam.gserviceaccount.com");
    let failure = google.access_token(Some(DEPLOYER), soon()).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Final { why } if why.code == "forbidden" && why.message.contains(DEPLOYER)),
        "{failure:?}"
    );
    world.identity.allow_impersonation(ROBOT, DEPLOYER);
    google.send(Some(DEPLOYER), read_service(&world)).await.unwrap();
    let error = google.send(None, read_service(&world)).await.unwrap_err();
    assert_eq!(error.status_code(), Some(403));
    google.id_token(Some(DEPLOYER), "https://orders.example.com", soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_metadata_server_the_message_says_what_to_set() {
    let world = World::start().await.unwrap();
    let http = Http::new(HttpSettings { allow: world.authorities(), user_agent: "declic-test".into() }).unwrap();
    let settings = GoogleSettings { metadata_host: "127.0.0.1:1".into(), ..Default::default() };
    let google = Google::new(http, settings, || 0).unwrap();
    let failure = google.access_token(None, soon()).await.unwrap_err();
    assert!(failure.why().message.contains("google.credentials"), "{failure:?}");
}

#[test]
fn a_key_file_that_cannot_be_used_is_an_error_that_does_not_quote_it() {
    let http = || Http::new(HttpSettings::default()).unwrap();
    for text in [
        "hunter2",
        "{\"type\":\"service_account\",\"client_email\":\"x@y\",\"private_key\":\"hunter2\"}",
        "{\"type\":\"external_account\",\"x\":\"hunter2\"}",
    ] {
        let settings = GoogleSettings { credentials: Some(Secret::new(text)), ..Default::default() };
        let error = Google::new(http(), settings, || 0).unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("key"), "{error}");
    }
}

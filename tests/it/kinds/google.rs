//! Google's tokens as actions get them: kept, replaced, impersonated, from a key file.

use std::time::{Duration, Instant};

use declic_actions::action::Failure;

use crate::support::actor::Actor;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn issued(actor: &Actor) -> Vec<String> {
    actor.world.identity.ledger.effects_of("token.issued")
}

#[tokio::test]
async fn a_token_is_fetched_once_however_many_want_it() {
    let actor = Actor::new().await;
    let wanted: Vec<_> = (0..20).map(|_| actor.clients.google.access_token(None, soon())).collect();
    let tokens = futures_util::future::join_all(wanted).await;
    let first = tokens[0].as_ref().unwrap();
    assert!(tokens.iter().all(|token| token.as_ref().unwrap() == first));
    assert_eq!(issued(&actor), [actor.identity()]);
}

#[tokio::test]
async fn a_token_that_is_about_to_expire_is_not_used() {
    let actor = Actor::new().await;
    actor.world.identity.tokens_are_valid_for(Duration::from_secs(59));
    for _ in 0..2 {
        actor.clients.google.access_token(None, soon()).await.unwrap();
    }
    assert_eq!(issued(&actor).len(), 2);
}

#[tokio::test]
async fn a_key_file_gives_tokens_of_its_account() {
    let email = "deployer@acme-ops.iam.gserviceaccount.com";
    let actor = Actor::with(Some(email), &[]).await;
    let token = actor.clients.google.access_token(None, soon()).await.unwrap();
    let grant = actor.world.tokens.check(token.expose_text().unwrap()).unwrap();
    assert_eq!(grant.identity, email);
    let token = actor.clients.google.id_token(None, "https://x.example", soon()).await.unwrap();
    assert_eq!(token.expose_text().unwrap().split('.').count(), 3);
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn impersonation_that_is_not_allowed_fails_for_good() {
    let actor = Actor::new().await;
    let target = "web-deployer@acme-staging.iam.gserviceaccount.com";
    let token = actor.clients.google.access_token(Some(target), soon()).await.unwrap();
    assert_eq!(actor.world.tokens.check(token.expose_text().unwrap()).unwrap().identity, target);
    let token = actor.clients.google.id_token(Some(target), "https://x.example", soon()).await.unwrap();
    assert_eq!(token.expose_text().unwrap().split('.').count(), 3);
    actor.assert_nothing_refused();

    actor.world.identity.allow_impersonation(actor.identity(), target);
    let other = "other@acme-staging.iam.gserviceaccount.com";
    match actor.clients.google.access_token(Some(other), soon()).await {
        Err(Failure::Final { why }) => assert!(why.message.contains(other), "{}", why.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_metadata_server_that_stumbles_is_worth_another_attempt() {
    let actor = Actor::new().await;
    actor.world.identity.faults.fail_next(1, 503, None);
    let failed = actor.clients.google.access_token(None, soon()).await;
    assert!(matches!(failed, Err(Failure::Retry { .. })), "{failed:?}");
    actor.clients.google.access_token(None, soon()).await.unwrap();
}

#[tokio::test]
async fn the_metadata_server_names_the_project_within_its_deadline() {
    let actor = Actor::new().await;
    let project = actor.clients.google.project(Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(project.unwrap(), "acme-ops");
    actor.world.identity.faults.slow(5_000);
    let begun = Instant::now();
    assert!(actor.clients.google.project(begun + Duration::from_millis(200)).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

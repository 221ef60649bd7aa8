//! The App's installations: tokens for one repository and one permission, kept while they live; and what happens when they do not.

use declic::clock::Timestamp;

use super::acme::{APP, Acme, DOCS, ID, RULES, WEB, commit};

#[tokio::test]
async fn tokens_are_for_one_repository_and_kept() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    acme.of(&acme.push(WEB, "main", &commit(1))).await;
    let tokens = |acme: &Acme| {
        acme.world.github.ledger.requests().into_iter().filter(|asked| asked.path.ends_with("/access_tokens")).collect::<Vec<_>>()
    };
    let asked = tokens(&acme);
    assert!(asked.iter().all(|asked| asked.status == 201), "{asked:#?}");
    for _ in 0..5 {
        acme.of(&acme.push(WEB, "main", &commit(1))).await;
    }
    assert_eq!(tokens(&acme).len(), asked.len(), "they are used again");
    acme.world.github.revoke_installation_tokens();
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!((brought.started, brought.notes), (vec!["greet".to_owned()], Vec::new()), "a token that ended early is replaced");
    assert!(tokens(&acme).len() > asked.len());
    // The one for acme/web does not reach acme/docs.
    acme.world.github.change_installation(acme.installation, |one| {
        one.repositories = Some([WEB.to_owned()].into());
        true
    });
    let brought = acme.of(&acme.push(DOCS, "main", &commit(9))).await;
    assert!(brought.notes[0].contains("the GitHub App is not installed on acme/docs"), "{brought:?}");
}

#[tokio::test]
async fn a_suspended_or_removed_installation_turns_the_rules_off_until_it_is_back() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    acme.of(&acme.push(WEB, "main", &commit(1))).await;
    acme.world.github.change_installation(acme.installation, |one| {
        one.suspended = true;
        true
    });
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!(brought.started, Vec::<String>::new());
    assert!(brought.notes[0].contains("the installation of the GitHub App on acme/web is suspended"), "{brought:?}");
    acme.pause().await;
    acme.world.github.change_installation(acme.installation, |_| false);
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert!(brought.notes[0].contains("the GitHub App is not installed on acme/web"), "{brought:?}");
    assert!(acme.standing(ID).fault.is_some());
    acme.pause().await;
    acme.world.github.install(APP, "acme", &[("contents", "read")]);
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!((brought.started, brought.notes), (vec!["greet".to_owned()], Vec::new()));
}

#[tokio::test]
async fn a_permission_that_the_app_was_not_given_is_named() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    acme.world.github.change_installation(acme.installation, |one| {
        one.permissions = [("issues".to_owned(), "write".to_owned())].into();
        true
    });
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert!(brought.notes[0].contains("may not read `contents` of acme/web"), "{brought:?}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_put_right_by_githubs() {
    for ahead in [-1500, 1500] {
        let acme = Acme::with_clock(|| Timestamp::now().seconds()).await;
        acme.world.github.set_clock_ahead(ahead);
        acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
        let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
        assert_eq!((brought.started, brought.notes), (vec!["greet".to_owned()], Vec::new()), "{ahead} s");
        let refused = acme.world.github.ledger.requests().iter().filter(|asked| asked.status == 401).count();
        assert_eq!(refused, 1, "{ahead} s: it is learnt once");
    }
}

//! What keeps repositories within what they were granted.

use declic::demo::stand_ins::github::branches::Protection;

use super::acme::{Acme, ID, RULES, WEB, commit};

const DEPLOY: &str = "version: 1
rules:
  deploy:
    on: { github.push: { branches: [main] } }
    steps: [{ uses: cloud-run/deploy, with: { target: web_staging, image: \"europe-docker.pkg.dev/acme/web/web:x\" } }]
  greet:
    on: { github.push: { branches: [main] } }
    steps: [{ uses: github/comment, with: { body: hello } }]
";

#[tokio::test]
async fn deploys_are_off_until_the_branch_is_protected_and_the_files_are_owned() {
    let acme = Acme::new("    require: { protected-branch: true, owners: \"@acme/platform\" }").await;
    let github = &acme.world.github;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(DEPLOY))]);
    let push = |number: u32| acme.push(WEB, "main", &commit(number));
    let expect = async |number: u32, unmet: &str| {
        let brought = acme.of(&push(number)).await;
        assert_eq!(brought.started, ["greet"], "{unmet}");
        assert!(brought.notes[0].starts_with("denied deploy: require") && brought.notes[0].contains(unmet), "{brought:?}");
        assert_eq!(acme.standing(ID).rules, (2, 1), "{unmet}");
    };
    expect(1, "main does not ask for an approving review").await;
    github.protect(WEB, "main", Some(Protection::WithoutReviews));
    expect(1, "main does not ask for an approving review").await;
    github.protect(WEB, "main", Some(Protection::Ruleset { reviews: 1, owners: false }));
    expect(1, "does not ask for the review of code owners").await;
    github.protect(WEB, "main", Some(Protection::Branch { reviews: 1, owners: true }));
    expect(1, "there is no CODEOWNERS").await;
    github.commit_files(WEB, "main", &commit(2), &[&commit(1)], &[("CODEOWNERS", Some("* @acme/everybody\n"))]);
    expect(2, "CODEOWNERS does not give .declic/web.yaml to @acme/platform").await;
    github.commit_files(
        WEB,
        "main",
        &commit(3),
        &[&commit(2)],
        &[("CODEOWNERS", Some("* @acme/everybody\n/.declic/ @acme/Platform\n"))],
    );
    let brought = acme.of(&push(3)).await;
    assert_eq!((brought.started, brought.notes), (vec!["deploy".to_owned(), "greet".to_owned()], Vec::new()));
    github.protect(WEB, "main", Some(Protection::Ruleset { reviews: 2, owners: true }));
    assert_eq!(acme.of(&push(3)).await.started, ["deploy", "greet"], "a ruleset is as good");

    // Protection that is taken away takes the deploys with it, without a commit.
    github.protect(WEB, "main", None);
    expect(3, "main does not ask for an approving review").await;
    // And nothing is deployed on a guess by a process that cannot ask.
    github.protect(WEB, "main", Some(Protection::Branch { reviews: 1, owners: true }));
    assert_eq!(acme.of(&push(3)).await.started, ["deploy", "greet"]);
    github.faults.fail_next(1000, 502, None);
    let acme = acme.restarted();
    let brought = acme.of(&acme.push(WEB, "main", &commit(3))).await;
    assert_eq!(brought.started, ["greet"], "{brought:?}");
}

#[tokio::test]
async fn a_repository_starts_no_more_runs_in_an_hour_than_it_may() {
    let acme = Acme::new("    limits: { runs-per-hour: 3 }").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    let mut started = 0;
    for _ in 0..10 {
        started += acme.of(&acme.push(WEB, "main", &commit(1))).await.started.len();
    }
    assert_eq!(started, 3);
}

#[tokio::test]
async fn a_source_that_was_not_granted_brings_nothing_to_a_repository() {
    let command =
        "version: 1\nrules:\n  chat:\n    on: { slack.command: { source: chat, command: /hello } }\n    reply: { text: hello }\n";
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(command))]);
    acme.of(&acme.push(WEB, "main", &commit(1))).await;
    let fault = acme.standing(ID).fault.expect("it is not granted");
    for refused in ["may not use the event `slack.command`", "may not use the source `chat`"] {
        assert!(fault.contains(refused), "{fault}");
    }
    let mut slack = acme.push(WEB, "main", &commit(1));
    slack.kind = "slack.command".to_owned();
    slack.source = "chat".to_owned();
    slack.event = serde_json::json!({ "command": "/hello" });
    slack.repo = serde_json::Value::Null;
    let asked = acme.world.github.ledger.requests().len();
    assert_eq!(acme.of(&slack).await.started, Vec::<String>::new());
    assert_eq!(acme.world.github.ledger.requests().len(), asked);
}

//! Rules that repositories bring themselves: which are in force, for which deliveries, and what GitHub is asked for them.

mod acme;
mod cases;
mod connect;
mod guards;
mod installations;
mod reviews;
mod serving;
mod site;

use acme::{Acme, DOCS, ID, RULES, WEB, commit};

#[tokio::test]
async fn rules_come_from_the_default_branch_and_hear_only_their_own_repository() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES)), ("README.md", Some("# Web"))]);
    acme.world.github.commit_files(WEB, "feature", &commit(2), &[&commit(1)], &[(".declic/web.yaml", Some("version: 7"))]);
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!(brought.started, ["greet"], "{brought:?}");
    assert_eq!(brought.notes, Vec::<String>::new());
    assert!(brought.revision.starts_with(&format!("{ID}@{}.", commit(1))), "{}", brought.revision);
    // The journal has the files, so that a run can end with the rule that it began with.
    let files = acme.journal_rules(&brought.revision).await.expect("kept");
    assert_eq!(files[0].path, ".declic/web.yaml");

    let elsewhere = acme.of(&acme.push(DOCS, "main", &commit(9))).await;
    assert_eq!((elsewhere.started, elsewhere.notes), (Vec::<String>::new(), Vec::new()), "another repository has no rules");
    let unknown = acme.of(&acme.push("acme/else", "main", &commit(9))).await;
    assert_eq!(
        (unknown.started, unknown.notes),
        (Vec::<String>::new(), Vec::new()),
        "and one that was granted nothing is not read"
    );
    assert_eq!(acme.world.github.ledger.count("GET", "acme/else"), 0);
    assert_eq!(acme.world.github.ledger.refusals().iter().filter(|line| !line.contains("404")).count(), 0);
}

#[tokio::test]
async fn github_is_asked_at_the_first_delivery_and_after_a_push_to_the_default_branch() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    acme.of(&acme.opened(WEB)).await;
    let asked = acme.world.github.ledger.requests().len();
    assert!(asked > 0);
    for _ in 0..20 {
        assert_eq!(acme.of(&acme.push(WEB, "feature", &commit(5))).await.revision, acme.of(&acme.opened(WEB)).await.revision);
    }
    assert_eq!(acme.world.github.ledger.requests().len(), asked, "nothing is asked while what GitHub said is fresh");

    let moved = RULES.replace("greet", "salute");
    acme.rules(&commit(2), &[(".declic/web.yaml", Some(&moved))]);
    let brought = acme.of(&acme.push(WEB, "main", &commit(2))).await;
    assert_eq!(brought.started, ["salute"], "{brought:?}");

    // A push that leaves the branch where it was is answered by 304, which costs nothing, and reads no file.
    let files = acme.world.github.ledger.count("GET", "/contents/") + acme.world.github.ledger.count("GET", "/git/blobs/");
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(2))).await.started, ["salute"]);
    let again = acme.world.github.ledger.count("GET", "/contents/") + acme.world.github.ledger.count("GET", "/git/blobs/");
    assert_eq!(again, files);
    let last: Vec<u16> = acme.world.github.ledger.requests().iter().rev().take(2).map(|asked| asked.status).collect();
    assert_eq!(last, [304, 304]);
}

#[tokio::test]
async fn wrong_files_do_not_replace_right_ones_and_the_commit_says_so() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    acme.of(&acme.push(WEB, "main", &commit(1))).await;
    let beyond = RULES
        .replace("github/comment, with: { body: hello }", "slack/post, with: { connection: chat, channel: \"#a\", text: x }");
    acme.rules(&commit(2), &[(".declic/web.yaml", Some(&beyond))]);
    let brought = acme.of(&acme.push(WEB, "main", &commit(2))).await;
    assert_eq!(brought.started, ["greet"], "the last good rules are in force");
    assert!(
        brought.notes[0].contains(&format!("those of {} are wrong: those of {} are in force", commit(2), commit(1))),
        "{brought:?}"
    );
    assert!(brought.notes[0].contains("may not use the action `slack/post`"), "{brought:?}");
    acme.until("the commit's status", || {
        let statuses = acme.world.github.statuses(WEB, &commit(2));
        statuses.iter().any(|status| status["state"] == "failure" && status["context"] == "declic/rules")
    })
    .await;
    let standing = acme.standing(ID);
    assert_eq!(standing.commit, Some(commit(1)));
    assert!(standing.fault.expect("a fault").contains(".declic/web.yaml:"), "with the line");

    // Known to be wrong: it is not read again for every delivery.
    let blobs = acme.world.github.ledger.count("GET", "/git/blobs/");
    acme.of(&acme.push(WEB, "main", &commit(2))).await;
    assert_eq!(acme.world.github.ledger.count("GET", "/git/blobs/"), blobs);

    acme.rules(&commit(3), &[(".declic/web.yaml", Some(&RULES.replace("greet", "salute")))]);
    let brought = acme.of(&acme.push(WEB, "main", &commit(3))).await;
    assert_eq!((brought.started, brought.notes), (vec!["salute".to_owned()], Vec::new()));
    acme.until("a green status", || {
        acme.world.github.statuses(WEB, &commit(3)).iter().any(|status| status["state"] == "success")
    })
    .await;
}

#[tokio::test]
async fn while_github_is_down_the_last_good_rules_stay_in_force_also_in_a_new_process() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    let before = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    acme.world.github.faults.fail_next(10_000, 503, None);
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!((&brought.started, &brought.revision), (&before.started, &before.revision));
    assert!(brought.notes[0].contains("cannot be read for now"), "{brought:?}");

    let asked = acme.world.github.ledger.requests().len();
    acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!(acme.world.github.ledger.requests().len(), asked, "GitHub is left alone for a while");

    let acme = acme.restarted();
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!((&brought.started, &brought.revision), (&before.started, &before.revision), "{brought:?}");
    // Of a repository that was never read nothing is known: that is no "no rule wants it".
    let unknown = acme.of(&acme.push(DOCS, "main", &commit(9))).await;
    assert!(unknown.notes[0].starts_with("error ") && unknown.started.is_empty(), "{unknown:?}");

    acme.world.github.faults.clear();
    acme.pause().await;
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!((brought.started, brought.notes), (before.started, Vec::new()), "and then everything is as before");
}

#[tokio::test]
async fn a_github_that_hangs_is_waited_for_once() {
    let acme = Acme::new("").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    acme.of(&acme.push(WEB, "main", &commit(1))).await;
    acme.world.github.faults.slow(60_000);
    let begun = std::time::Instant::now();
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, ["greet"]);
    assert!(begun.elapsed() >= acme.timing.patience);
    let begun = std::time::Instant::now();
    // Another repository does not wait as well.
    acme.of(&acme.push(DOCS, "main", &commit(9))).await;
    assert!(begun.elapsed() < acme.timing.patience, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_read_stays_within_its_room() {
    let acme = Acme::with_room("", 20_000).await;
    for (name, number) in [(WEB, 1), (DOCS, 2)] {
        let rules = RULES.replace("greet", &format!("greet-{number}"));
        acme.world.github.commit_files(name, "main", &commit(number), &[], &[(".declic/a.yaml", Some(&rules))]);
    }
    for round in 0..3 {
        assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, ["greet-1"], "{round}");
        assert_eq!(acme.of(&acme.push(DOCS, "main", &commit(2))).await.started, ["greet-2"], "{round}");
    }
    assert_eq!(acme.loaded(), 2);
    let acme = Acme::with_room("", 8_000).await;
    for (name, number) in [(WEB, 1), (DOCS, 2)] {
        acme.world.github.commit_files(name, "main", &commit(number), &[], &[(".declic/a.yaml", Some(RULES))]);
        assert_eq!(acme.of(&acme.push(name, "main", &commit(number))).await.started, ["greet"]);
    }
    assert_eq!(acme.loaded(), 1, "what was used longest ago made room");
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, ["greet"], "and is read again when it is needed");
}

//! Repositories that change under their rules: renamed, transferred, taken over, rewritten, emptied, swollen.

use declic::demo::stand_ins::github::contents::Entry;

use super::acme::{Acme, ID, RULES, WEB, commit};

async fn with_rules() -> Acme {
    let acme = Acme::new("    limits: { rules: 3 }").await;
    acme.rules(&commit(1), &[(".declic/web.yaml", Some(RULES))]);
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, ["greet"]);
    acme
}

#[tokio::test]
async fn a_renamed_repository_keeps_its_rules() {
    let acme = with_rules().await;
    acme.world.github.rename_repository(WEB, "acme/site");
    let brought = acme.of(&acme.push("acme/site", "main", &commit(1))).await;
    assert_eq!(brought.started, ["greet"], "{brought:?}");
    assert_eq!(acme.standing(ID).name, "acme/site");
    // A delivery from before, replayed under the old name, starts nothing in the name of somebody who has it now.
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, Vec::<String>::new());
    assert_eq!(acme.of(&acme.push("acme/site", "main", &commit(1))).await.started, ["greet"]);
}

#[tokio::test]
async fn a_transferred_repository_has_no_rules_until_an_operator_says_so() {
    let acme = with_rules().await;
    acme.world.github.rename_repository(WEB, "globex/web");
    acme.world.github.install(super::acme::APP, "globex", super::acme::PERMISSIONS);
    let brought = acme.of(&acme.push("globex/web", "main", &commit(1))).await;
    assert_eq!(brought.started, Vec::<String>::new());
    assert!(brought.notes[0].contains("was transferred and is globex/web now"), "{brought:?}");
    assert!(acme.standing(ID).commit.is_none());
}

#[tokio::test]
async fn a_name_that_was_taken_over_is_granted_nothing() {
    let acme = with_rules().await;
    acme.world.github.set_repository_id(WEB, 5);
    // GitHub says so, even where a delivery still has the old number.
    let brought = acme.of(&acme.push(WEB, "main", &commit(1))).await;
    assert_eq!(brought.started, Vec::<String>::new());
    assert!(brought.notes[0].contains("acme/web is number 5 at GitHub, and the grant is for number"), "{brought:?}");
    let mut event = acme.push(WEB, "main", &commit(1));
    event.repo["id"] = 5.into();
    let brought = acme.of(&event).await;
    assert_eq!(brought.started, Vec::<String>::new());
    assert!(brought.notes[0].contains("no rules of it are read"), "{brought:?}");
}

#[tokio::test]
async fn a_rewritten_default_branch_counts_as_it_is_now() {
    let acme = with_rules().await;
    acme.rules(&commit(2), &[(".declic/web.yaml", Some(&RULES.replace("greet", "newer")))]);
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(2))).await.started, ["newer"]);
    acme.world.github.move_branch(WEB, "main", &commit(1));
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, ["greet"]);
    // Another branch becomes the default one.
    acme.world.github.commit_files(
        WEB,
        "trunk",
        &commit(3),
        &[],
        &[(".declic/web.yaml", Some(&RULES.replace("greet", "trunk")))],
    );
    acme.world.github.set_default_branch(WEB, "trunk");
    let edited = acme.event("github.repository", WEB, serde_json::json!({ "action": "edited" }));
    acme.of(&edited).await;
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(1))).await.started, ["trunk"], "its rule is about pushes to main");
}

#[tokio::test]
async fn deleted_files_take_their_rules_with_them() {
    let acme = with_rules().await;
    acme.world.github.commit_files(WEB, "main", &commit(2), &[&commit(1)], &[(".declic/web.yaml", None)]);
    let brought = acme.of(&acme.push(WEB, "main", &commit(2))).await;
    assert_eq!((brought.started, brought.notes), (Vec::<String>::new(), Vec::new()));
    let standing = acme.standing(ID);
    assert_eq!((standing.commit, standing.rules, standing.fault), (Some(commit(2)), (0, 0), None));
    // Deleted stays deleted while GitHub is down, too.
    acme.world.github.faults.fail_next(1000, 503, None);
    let acme = acme.restarted();
    assert_eq!(acme.of(&acme.push(WEB, "main", &commit(2))).await.started, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_too_large_or_too_much_or_no_file_is_refused_and_said_so() {
    let large = format!("{RULES}# {}\n", "x".repeat(64 * 1024));
    let four = (1..=4)
        .map(|number| RULES.lines().skip(2).collect::<Vec<_>>().join("\n").replace("greet", &format!("rule-{number}")) + "\n");
    let four = format!("version: 1\nrules:\n{}", four.collect::<String>());
    let acme = with_rules().await;
    let file = |text: &str| Some(Entry::File(text.into()));
    let names: Vec<String> = (0..11).map(|number| format!(".declic/{number:02}.yaml")).collect();
    let many =
        names.iter().enumerate().map(|(number, name)| (name.as_str(), file(&RULES.replace("greet", &format!("rule-{number}")))));
    let anchors = RULES.replace("{ body: hello }", "&a { body: hello }");
    let cases = [
        ("bytes are more than the 65536", vec![(".declic/web.yaml", file(&large))]),
        ("4 rules are more than the 3", vec![(".declic/web.yaml", file(&four))]),
        ("11 rule files are more than the 10", many.collect()),
        ("it is a symlink", vec![(".declic/web.yaml", Some(Entry::Symlink("../secrets.yaml".to_owned())))]),
        ("it is not UTF-8", vec![(".declic/web.yaml", Some(Entry::File(vec![0xff, 0xfe])))]),
        ("anchor", vec![(".declic/web.yaml", file(&anchors))]),
    ];
    for (number, (expected, changes)) in (10..).zip(cases) {
        acme.world.github.commit_entries(WEB, "main", &commit(number), &[], changes);
        let brought = acme.of(&acme.push(WEB, "main", &commit(number))).await;
        assert_eq!(brought.started, ["greet"], "{expected}: the last good rules stay");
        assert!(brought.notes[0].contains(expected), "{expected}: {brought:?}");
        acme.until("a status", || {
            acme.world.github.statuses(WEB, &commit(number)).iter().any(|status| status["state"] == "failure")
        })
        .await;
    }
    // What is below the folder, or of another kind, is not looked at.
    let beside = vec![
        (".declic/web.yaml", file(RULES)),
        (".declic/old/web.yaml", file("no rules")),
        (".declic/notes.md", file("no rules")),
    ];
    acme.world.github.commit_entries(WEB, "main", &commit(30), &[], beside);
    let brought = acme.of(&acme.push(WEB, "main", &commit(30))).await;
    assert_eq!((brought.started, brought.notes), (vec!["greet".to_owned()], Vec::new()));
    assert!(acme.store().exists());
}

//! The real service: a push comes in, the repository's own rule comments on the commit, as the App; and the command that checks its files.

use std::fs;

use serde_json::{Value, json};

use super::acme::{ID, RULES, WEB, commit};
use super::site::Site;
use crate::support::binary::declic;
use crate::support::client::Client;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repositorys_own_rule_acts_beside_the_operators() {
    let site = Site::start("{ events: [github.push], actions: [github/comment] }").await;
    let github = &site.world.github;
    github.commit_files(WEB, "main", &commit(1), &[], &[(".declic/web.yaml", Some(RULES))]);
    let delivery = site.push("guid-1", &commit(1), (WEB, ID)).await;
    let runs = site.runs(&delivery, 2).await;
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:?}");
    let of = |rule: &str| runs.iter().find(|run| run["rule"] == rule).unwrap_or_else(|| panic!("{runs:?}"));
    assert!(of("greet")["revision"].as_str().unwrap_or_default().starts_with(&format!("{ID}@{}.", commit(1))), "{runs:?}");
    assert!(!of("operators")["revision"].as_str().unwrap_or_default().contains('@'));
    assert_eq!(github.commit_comments(WEB, &commit(1)).len(), 1);

    let listed = site.get("/repositories").await;
    assert_eq!(listed.body["items"][0]["commit"], json!(commit(1)), "{}", listed.body);
    assert_eq!((listed.body["items"][0]["rules"].as_u64(), listed.body["items"][0]["name"].as_str()), (Some(1), Some(WEB)));

    // Files that are wrong are told with the decision; the operator's rule, and the last good one of the repository, go on.
    github.commit_files(WEB, "main", &commit(2), &[], &[(".declic/web.yaml", Some("version: 1\nrules: {}\nruls: 1\n"))]);
    let delivery = site.push("guid-2", &commit(2), (WEB, ID)).await;
    assert_eq!(site.runs(&delivery, 2).await.len(), 2);
    assert_eq!(github.commit_comments(WEB, &commit(2)).len(), 1);
    let shown = site.get(&format!("/deliveries/{delivery}/decisions")).await;
    assert!(shown.body.to_string().contains("are wrong: those of"), "{}", shown.body);

    let rules = Client::anonymous().get(&format!("http://{}/rules", site.service.address)).await;
    let page = rules.body.as_str().expect("a page");
    assert!(
        page.contains("Rules of repositories") && page.contains(&commit(1)[..12]) && page.contains("has no `ruls`"),
        "{page}"
    );

    // Another repository that says it is called the same starts nothing of this one's.
    let delivery = site.push("guid-3", &commit(2), (WEB, 99)).await;
    let runs = site.runs(&delivery, 1).await;
    assert_eq!(runs[0]["rule"], "operators");
}

#[test]
fn a_repositorys_files_are_checked_offline_against_what_it_may_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let settings = format!(
        "version: 1\nconnections: {{ chat: {{ type: http, base-url: \"https://chat.example.com\" }} }}\n\
         repositories:\n  - {{ name: {WEB}, id: {ID}, grant: {{ events: [github.push], actions: [github/*] }}, limits: {{ rules: 1 }} }}\n"
    );
    fs::write(folder.join("declic.yaml"), settings).expect("written");
    fs::create_dir(folder.join(".declic")).expect("made");
    let file = folder.join(".declic/web.yaml");
    fs::write(&file, RULES).expect("written");
    let check = |arguments: &[&str]| {
        let output = declic(folder, &[&["check", "--repository", &ID.to_string(), ".declic"], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, said) = check(&[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("granted     action github/comment") && said.contains("granted     event github.push"), "{said}");

    let more = "  call:\n    on: { github.pull_request: { types: [opened] } }\n    steps: [{ uses: http/request, with: { connection: chat, method: POST, path: /x } }]\n";
    fs::write(&file, format!("{RULES}{more}")).expect("written");
    let (status, said) = check(&["--format", "json"]);
    assert_eq!(status, Some(1), "{said}");
    let document: Value = serde_json::from_str(&said).expect("one document");
    let faults: Vec<String> = document["diagnostics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| format!("{} {}", fault["line"], fault["message"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        faults,
        [
            "7 rules of this repository may not use the event `github.pull_request`",
            "8 this repository may not use the action `http/request`",
            "8 this repository may not use the connection `chat`",
            "6 2 rules are more than the 1 that this repository may have",
        ]
    );
    let requests: Vec<String> = document["requests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            format!(
                "{} {} {}",
                one["what"].as_str().unwrap_or_default(),
                one["name"].as_str().unwrap_or_default(),
                one["granted"]
            )
        })
        .collect();
    assert_eq!(
        requests,
        [
            "action github/comment true",
            "action http/request false",
            "connection chat false",
            "event github.pull_request false",
            "event github.push true",
        ]
    );
    let output = declic(folder, &["check", "--repository", "7", ".declic"]);
    assert_eq!(output.status.code(), Some(2));
}

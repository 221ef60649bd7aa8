//! Pull requests that change a repository's rules.

use declic::demo::stand_ins::github::hooks::LoggedAttempt;
use serde_json::{Value, json};

use super::acme::{ID, RULES, WEB, commit};
use super::site::Site;

const TESTED: &str = "
tests:
  - { name: main is greeted, event: github.push, with: { branch: main }, expect: { matched: [greet] } }
";

fn pull(number: u64, sha: &str, fork: bool) -> Value {
    let repo = |id: i64| json!({ "id": id, "full_name": WEB, "name": "web", "fork": fork });
    let head_id = if fork { 99 } else { ID };
    json!({
        "action": "opened", "number": number,
        "pull_request": {
            "number": number, "title": "Other rules", "body": "", "draft": false, "merged": false, "labels": [],
            "html_url": format!("https://github.com/{WEB}/pull/{number}"), "user": { "login": "mona", "id": 2, "type": "User" },
            "head": { "ref": "rules", "sha": sha, "repo": repo(head_id) }, "base": { "ref": "main", "sha": commit(1), "repo": repo(ID) },
        },
        "repository": { "id": ID, "name": "web", "full_name": WEB, "private": false, "default_branch": "main",
            "html_url": format!("https://github.com/{WEB}") },
        "sender": { "login": "mona", "id": 2, "type": "User" },
    })
}

impl Site {
    async fn check(&self, number: u64, guid: &str, sha: &str, fork: bool) -> Value {
        self.world.github.add_issue(WEB, number, Some(sha));
        self.deliver("pull_request", guid, &pull(number, sha, fork)).await;
        self.until("a check run", async || {
            let runs = self.world.github.check_runs(WEB, sha);
            runs.first().filter(|run| run["status"] == "completed").cloned()
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pull_request_that_changes_the_rules_gets_a_check_with_its_faults_at_their_lines() {
    let site = Site::start("{ events: [github.push], actions: [github/comment] }").await;
    let github = &site.world.github;
    let good = format!("{RULES}{TESTED}");
    github.commit_files(WEB, "main", &commit(1), &[], &[(".declic/web.yaml", Some(&good)), ("README.md", Some("# Web"))]);
    let delivery = site.push("guid-1", &commit(1), (WEB, ID)).await;
    site.runs(&delivery, 2).await;

    // Another rule in place of the one that is there: its test fails, and the delivery above would have gone otherwise.
    let other = format!("{}{}", RULES.replace("greet", "wave"), TESTED.replace("[greet]", "[]"));
    github.commit_files(WEB, "rules", &commit(2), &[&commit(1)], &[(".declic/web.yaml", Some(&other))]);
    let run = site.check(7, "guid-2", &commit(2), false).await;
    assert_eq!((run["name"].as_str(), run["conclusion"].as_str()), (Some("declic/rules"), Some("failure")), "{run}");
    assert_eq!(run["output"]["title"], "1 of 1 test failed", "{run}");
    let summary = run["output"]["summary"].as_str().unwrap_or_default().to_owned();
    for part in [
        "**failed**: `main is greeted`",
        "action `github/comment`: granted",
        "`greet` would not start any more",
        "`wave` would start",
    ] {
        assert!(summary.contains(part), "{part}\n{summary}");
    }

    // The same head again, as after a crash, makes no second one.
    site.check(7, "guid-3", &commit(2), false).await;
    assert_eq!(github.check_runs(WEB, &commit(2)).len(), 1);

    // Faults are annotations at their lines; what is asked for beyond the grant is named; nothing of it is in force.
    let beyond = format!(
        "{RULES}  tag:\n    on: {{ github.issues: {{ types: [opened] }} }}\n    steps: [{{ uses: github/label, with: {{ add: [\"@everyone\"] }} }}]\n"
    );
    github.commit_files(WEB, "beyond", &commit(3), &[&commit(1)], &[(".declic/web.yaml", Some(&beyond))]);
    let run = site.check(8, "guid-4", &commit(3), false).await;
    assert_eq!(run["conclusion"], "failure");
    let annotations = run["output"]["annotations"].as_array().cloned().unwrap_or_default();
    let told: Vec<String> = annotations
        .iter()
        .map(|one| {
            format!(
                "{}:{} {} {}",
                one["path"].as_str().unwrap_or_default(),
                one["start_line"],
                one["annotation_level"].as_str().unwrap_or_default(),
                one["message"].as_str().unwrap_or_default().lines().next().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ".declic/web.yaml:7 failure rules of this repository may not use the event `github.issues`",
            ".declic/web.yaml:8 failure this repository may not use the action `github/label`",
        ]
    );
    let summary = run["output"]["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("event `github.issues`: **not granted**"), "{summary}");
    let delivery = site.push("guid-5", &commit(1), (WEB, ID)).await;
    assert_eq!(site.runs(&delivery, 2).await.iter().filter(|run| run["rule"] == "greet").count(), 1);

    // What is good is green; of a stranger's rules it is not told what they would have done.
    github.commit_files(WEB, "fork", &commit(4), &[&commit(1)], &[(".declic/more.yaml", Some(&good.replace("greet", "wave")))]);
    let run = site.check(9, "guid-6", &commit(4), true).await;
    assert_eq!(
        (run["conclusion"].as_str(), run["output"]["title"].as_str()),
        (Some("success"), Some("2 rules, 2 tests passed")),
        "{run}"
    );
    let summary = run["output"]["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("comes from a fork") && !summary.contains("would start"), "{summary}");

    // One that leaves the rules alone gets none.
    github.commit_files(WEB, "docs", &commit(5), &[&commit(1)], &[("README.md", Some("# The web"))]);
    github.add_issue(WEB, 10, Some(&commit(5)));
    let delivery = site.deliver("pull_request", "guid-7", &pull(10, &commit(5), false)).await;
    site.until("a decision", async || {
        let shown = site.get(&format!("/deliveries/{delivery}")).await;
        (shown.body["delivery"]["state"] == "ignored").then_some(())
    })
    .await;
    assert!(github.check_runs(WEB, &commit(5)).is_empty());
}

/// What GitHub did not deliver is taken in for a repository's own rules, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_push_is_recovered_for_the_repositorys_own_rule() {
    let site = Site::start("{ events: [github.push], actions: [github/comment] }").await;
    let github = &site.world.github;
    let rules = RULES.replace("branches: [main]", "branches: [next]");
    github.commit_files(WEB, "main", &commit(1), &[], &[(".declic/web.yaml", Some(&rules))]);
    github.add_commit(WEB, "next", &commit(2), &[&commit(1)]);
    let mut payload: Value = serde_json::from_str(include_str!("../../../src/cli/init/push.json")).expect("the sample is JSON");
    payload["ref"] = json!("refs/heads/next");
    payload["after"] = json!(commit(2));
    payload["head_commit"]["id"] = json!(commit(2));
    payload["repository"]["id"] = json!(ID);
    let attempt = LoggedAttempt {
        guid: "lost".to_owned(),
        event: "push".to_owned(),
        payload,
        status_code: 502,
        delivered_at: declic::clock::Timestamp::now(),
        redelivery: false,
        signature: None,
    };
    github.log_attempt("app", super::acme::APP, attempt);
    site.until("the comment of the recovered push", async || (github.commit_comments(WEB, &commit(2)).len() == 1).then_some(()))
        .await;
}

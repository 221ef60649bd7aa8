//! What Declic did itself comes back as an event: it starts nothing unless a rule asks, and rules that ask come to an end.

use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use serde_json::{Value, json};

use crate::support::scene::{Push, Scene};

const COMMENTS: &str = r#"
version: 1
rules:
  say:
    on: { github.push: { branches: [main] } }
    steps:
      - uses: github/comment
        with: { body: "Seen ${{ short(event.sha) }}" }
  hear:
    on: { github.issue_comment: }
    steps:
      - uses: github/status
        with: { state: success, context: heard, sha: COMMIT }
  hear-all:
    on: { github.issue_comment: { own-events: true } }
    steps:
      - uses: github/status
        with: { state: success, context: heard all, sha: COMMIT }
"#;

fn comment_event(action: &str, comment: &Value, sender: &Value) -> Value {
    json!({
        "action": action,
        "issue": { "number": 7, "title": "Login is slow" },
        "comment": { "id": 1, "html_url": "https://github.com/acme/web/issues/7#issuecomment-1",
            "body": comment["body"], "user": comment["user"] },
        "repository": repository(),
        "sender": sender,
    })
}

fn repository() -> Value {
    json!({ "id": 1, "name": "web", "full_name": REPOSITORY, "private": false, "default_branch": "main",
        "html_url": format!("https://github.com/{REPOSITORY}") })
}

/// The names of the rules whose runs a delivery started and that are over, and what `deliveries show` says.
fn started(scene: &Scene, delivery: &str) -> (Vec<String>, String) {
    let mut shown = Value::Null;
    scene.until("a delivery that was matched and whose runs are over", || {
        let (_, said) = scene.declic(&["deliveries", "show", delivery, "--format", "json"]);
        shown = serde_json::from_str(&said).expect("one document");
        let open = |run: &Value| !["succeeded", "dead", "failed"].contains(&run["run"]["state"].as_str().unwrap_or_default());
        !["accepted", "matching"].contains(&shown["delivery"]["state"].as_str().unwrap_or_default())
            && !shown["runs"].as_array().is_some_and(|runs| runs.iter().any(open))
    });
    let runs = shown["runs"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> = runs.iter().filter_map(|run| run["run"]["rule"].as_str()).map(str::to_owned).collect();
    names.sort();
    (names, scene.declic(&["deliveries", "show", delivery]).1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_of_ours_starts_only_rules_that_ask_for_own_events() {
    let scene = Scene::start(&COMMENTS.replace("COMMIT", FIRST_COMMIT), "").await;
    let push = Push { guid: "p-1", before: "0000000000000000000000000000000000000000", after: FIRST_COMMIT, forced: false };
    let pushed = scene.push(&push).await;
    scene.run_once(&pushed, "succeeded");
    let ours = scene.world.github.commit_comments(REPOSITORY, FIRST_COMMIT).remove(0);
    assert!(ours["user"]["id"].is_u64(), "{ours}");

    let delivery = scene.deliver("issue_comment", "c-1", &comment_event("created", &ours, &ours["user"])).await;
    let (names, said) = started(&scene, &delivery);
    assert_eq!(names, ["hear-all"], "{said}");
    assert!(said.contains("own event") && said.contains("own-events: true"), "{said}");

    // Somebody else acts on a comment that holds the mark: that is not ours to hide.
    let mona = json!({ "login": "mona", "id": 2_000_001, "type": "User" });
    let delivery = scene.deliver("issue_comment", "c-2", &comment_event("edited", &ours, &mona)).await;
    assert_eq!(started(&scene, &delivery).0, ["hear", "hear-all"]);
    // A comment without the mark, even by the same account.
    let plain = json!({ "body": "Thanks!", "user": ours["user"] });
    let delivery = scene.deliver("issue_comment", "c-3", &comment_event("created", &plain, &ours["user"])).await;
    assert_eq!(started(&scene, &delivery).0, ["hear", "hear-all"]);
}

const DISPATCHES: &str = r#"
version: 1
rules:
  once:
    on: { github.repository_dispatch: }
    if: event.payload.action == "once"
    steps:
      - uses: github/repository-dispatch
        with: { event-type: once }
  again:
    on: { github.repository_dispatch: { own-events: true } }
    if: event.payload.action == "again"
    steps:
      - uses: github/repository-dispatch
        with: { event-type: again, payload: { declic_hops: 0 } }
"#;

fn dispatch_event(sent: &Value) -> Value {
    json!({ "action": sent["event_type"], "branch": "main", "client_payload": sent["client_payload"], "repository": repository(),
        "sender": { "login": "declic[bot]", "id": 41, "type": "Bot" }, "installation": { "id": 3 } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_dispatches_is_not_begun_or_ends_at_the_fifth_hop() {
    let scene = Scene::start(DISPATCHES, "").await;
    let sent = |number: usize| scene.world.github.dispatches(REPOSITORY).get(number).cloned();

    let begun = scene.deliver("repository_dispatch", "o-0", &dispatch_event(&json!({ "event_type": "once" }))).await;
    assert_eq!(started(&scene, &begun).0, ["once"]);
    let ours = sent(0).expect("it was sent");
    let back = scene.deliver("repository_dispatch", "o-1", &dispatch_event(&ours)).await;
    let (names, said) = started(&scene, &back);
    assert!(names.is_empty() && said.contains("own event"), "{said}");

    let mut event = json!({ "event_type": "again", "client_payload": {} });
    let mut said = String::new();
    for round in 1..20 {
        let delivery = scene.deliver("repository_dispatch", &format!("a-{round}"), &dispatch_event(&event)).await;
        said = started(&scene, &delivery).1;
        match sent(round) {
            Some(next) => {
                assert_eq!(next["client_payload"]["declic_hops"], round, "what the rule writes there does not count");
                event = next;
            }
            None => break,
        }
    }
    assert_eq!(scene.world.github.dispatches(REPOSITORY).len(), 1 + 5, "{said}");
    assert!(said.contains("start each other in a loop"), "{said}");
}

const TALK: &str = r#"
version: 1
rules:
  answer:
    on: { github.issue_comment: { types: [created], own-events: true } }
    steps:
      - uses: github/comment
        with: { body: "And again", number: "${{ event.payload.issue.number }}" }
  recheck:
    on: { github.check_run: { types: [completed] } }
    steps:
      - uses: github/check-run
        with: { name: again, conclusion: neutral, sha: COMMIT }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn comments_that_answer_each_other_and_checks_that_start_each_other_end_at_the_fifth_hop() {
    let scene = Scene::start(&TALK.replace("COMMIT", FIRST_COMMIT), "").await;
    scene.world.github.add_issue(REPOSITORY, 7, None);
    let mona = json!({ "login": "mona", "id": 2_000_001, "type": "User" });
    let mut event = comment_event("created", &json!({ "body": "hello", "user": mona }), &mona);
    let mut said = String::new();
    for round in 0..20 {
        let delivery = scene.deliver("issue_comment", &format!("c-{round}"), &event).await;
        said = started(&scene, &delivery).1;
        let comments = scene.world.github.issue_comments(REPOSITORY, 7);
        let Some(next) = comments.get(round) else { break };
        event = comment_event("created", next, &next["user"]);
    }
    assert_eq!(scene.world.github.issue_comments(REPOSITORY, 7).len(), 5, "{said}");
    assert!(said.contains("start each other in a loop"), "{said}");

    let check = |shown: &Value| json!({ "action": "completed", "check_run": shown, "repository": repository(), "sender": mona });
    let mut event = check(&json!({ "id": 1, "name": "tests", "head_sha": FIRST_COMMIT, "external_id": "", "status": "completed",
        "conclusion": "success" }));
    for round in 0..20 {
        let delivery = scene.deliver("check_run", &format!("k-{round}"), &event).await;
        said = started(&scene, &delivery).1;
        let Some(next) = scene.world.github.check_runs(REPOSITORY, FIRST_COMMIT).get(round).cloned() else { break };
        event = check(&next);
    }
    assert_eq!(scene.world.github.check_runs(REPOSITORY, FIRST_COMMIT).len(), 5, "{said}");
    assert!(said.contains("start each other in a loop"), "{said}");
}

//! Commands in comments, from the comment to the effect: who may give them is asked of GitHub, and so is what the pull request brings.

use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use serde_json::{Value, json};

use crate::support::openapi;
use crate::support::scene::Scene;

const RULES: &str = r#"
version: 1
rules:
  mark:
    on: { github.command: { command: mark, on: [pull_request], args: { name: { type: quick|plain, default: plain } } } }
    if: event.fork == false
    steps:
      - uses: github/status
        with: { state: success, context: "mark/${{ event.args.name }}", sha: "${{ event.head.sha }}", description: "${{ actor.permission }}" }
  ship:
    on: { github.command: { command: ship } }
    allow: { permission: anyone, teams: [acme/release] }
    steps:
      - uses: github/react
        with: { reaction: rocket }
  hello:
    on: { github.command: { command: hello } }
    allow: { permission: anyone }
    steps:
      - uses: github/react
        with: { reaction: eyes }
"#;

const PULL: u64 = 7;

fn comment(action: &str, id: u64, login: &str, body: &str) -> Value {
    let user = json!({ "login": login, "id": 2_000_001, "type": "User" });
    json!({
        "action": action,
        "issue": { "number": PULL, "title": "Login is slow", "pull_request": { "url": "https://api.github.com/repos/acme/web/pulls/7" } },
        "comment": { "id": id, "html_url": format!("https://github.com/acme/web/pull/7#issuecomment-{id}"), "body": body, "user": user },
        "repository": { "id": 1, "name": "web", "full_name": REPOSITORY, "private": false, "default_branch": "main",
            "html_url": format!("https://github.com/{REPOSITORY}") },
        "sender": user,
    })
}

async fn scene() -> Scene {
    let scene = Scene::start(RULES, "").await;
    scene.world.github.hold_to(openapi::github());
    scene.world.github.add_issue(REPOSITORY, PULL, Some(FIRST_COMMIT));
    scene
}

impl Scene {
    /// The delivery once it is decided and over, with its traces and runs.
    async fn commanded(&self, guid: &str, payload: &Value) -> Value {
        let delivery = self.deliver("issue_comment", guid, payload).await;
        let mut shown = Value::Null;
        self.until("a command that is dealt with", || {
            shown =
                serde_json::from_str(&self.declic(&["deliveries", "show", &delivery, "--format", "json"]).1).expect("a document");
            ["completed", "failed", "ignored"].contains(&shown["delivery"]["state"].as_str().unwrap_or_default())
        });
        shown
    }

    /// A comment that is there to be reacted to.
    fn comment(&self, login: &str, body: &str) -> u64 {
        self.world.github.say(REPOSITORY, PULL, login, body, false);
        self.world.github.issue_comments(REPOSITORY, PULL).last().and_then(|comment| comment["id"].as_u64()).expect("it was said")
    }

    fn asked(&self, part: &str) -> usize {
        self.world.github.ledger.requests().iter().filter(|asked| asked.path.contains(part)).count()
    }
}

fn rules_of(shown: &Value) -> Vec<&str> {
    shown["runs"].as_array().into_iter().flatten().filter_map(|run| run["run"]["rule"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_for_whoever_may_write_with_the_head_of_its_pull_request() {
    let scene = scene().await;
    scene.world.github.permit(REPOSITORY, "mona", "maintain");
    let shown = scene.commanded("c-1", &comment("created", 1, "mona", "/mark quick\nplease")).await;
    assert_eq!((rules_of(&shown), &shown["delivery"]["state"]), (vec!["mark"], &json!("completed")), "{shown}");
    let status = scene.world.github.statuses(REPOSITORY, FIRST_COMMIT).remove(0);
    assert_eq!((&status["context"], &status["description"]), (&json!("mark/quick"), &json!("maintain")));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_team_may_and_those_who_were_only_invited_may_not() {
    let scene = scene().await;
    scene.world.github.join("acme/release", "mona", false);
    scene.world.github.join("acme/release", "mallory", true);
    let id = scene.comment("mallory", "/ship");
    assert_eq!(rules_of(&scene.commanded("c-1", &comment("created", id, "mallory", "/ship")).await), [""; 0]);
    assert_eq!(rules_of(&scene.commanded("c-2", &comment("created", id, "mona", "/ship")).await), ["ship"]);
    let asked = scene.asked("/permission");
    assert_eq!(rules_of(&scene.commanded("c-3", &comment("created", id, "mallory", "/hello")).await), ["hello"]);
    assert_eq!(scene.asked("/permission"), asked, "of anyone nothing is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_on_a_guess_while_github_does_not_answer() {
    let scene = scene().await;
    scene.world.github.permit(REPOSITORY, "mona", "write");
    scene.world.github.faults.fail_next(3, 502, None);
    let shown = scene.commanded("c-1", &comment("created", 1, "mona", "/mark")).await;
    assert_eq!((rules_of(&shown), &shown["delivery"]["state"]), (vec!["(matching)"], &json!("failed")), "{shown}");
    assert!(shown["delivery"]["reason"].as_str().unwrap().contains("nothing is started"), "{shown}");
    // GitHub delivers it again, and answers.
    let shown = scene.commanded("c-1", &comment("created", 1, "mona", "/mark")).await;
    assert_eq!((rules_of(&shown), &shown["delivery"]["state"]), (vec!["mark"], &json!("completed")), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_is_denied_and_an_edited_comment_is_no_command() {
    let scene = scene().await;
    let shown = scene.commanded("c-1", &comment("created", 1, "mallory", "/mark")).await;
    assert_eq!(shown["delivery"]["state"], "ignored");
    let denied = shown["decisions"].as_array().unwrap().iter().find(|trace| trace["rule"] == "mark").unwrap();
    assert_eq!(denied["verdict"], "denied");
    assert!(denied.to_string().contains("actor.permission = read"), "{denied}");
    scene.world.github.permit(REPOSITORY, "mallory", "admin");
    let asked = scene.asked("");
    for (guid, action, body) in [("c-2", "edited", "/mark"), ("c-3", "created", "/unknown"), ("c-4", "created", "please /mark")] {
        assert_eq!(rules_of(&scene.commanded(guid, &comment(action, 2, "mallory", body)).await), [""; 0], "{action} {body}");
    }
    assert_eq!(scene.asked(""), asked, "nothing is asked for what starts nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_do_not_fit_are_answered_with_how_the_command_is_written() {
    let scene = scene().await;
    scene.world.github.permit(REPOSITORY, "mona", "write");
    let answers = || {
        let comments = scene.world.github.issue_comments(REPOSITORY, PULL);
        let bodies = comments.iter().filter_map(|comment| comment["body"].as_str().map(str::to_owned));
        bodies.filter(|body| body.contains("is written")).collect::<Vec<_>>()
    };
    let id = scene.comment("mona", "/mark `fast` @everybody");
    let body = "/mark `fast` @everybody";
    assert_eq!(rules_of(&scene.commanded("c-1", &comment("created", id, "mona", body)).await), [""; 0]);
    let said = answers();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("It is written `/mark [name: quick|plain = plain]`"), "{said:?}");
    assert!(said[0].contains("`\"@everybody\" is one word too many`"), "{said:?}");
    // Delivered once more, by another id: the answer is there already. Strangers are not answered at all.
    scene.commanded("c-2", &comment("created", id, "mona", body)).await;
    let other = scene.comment("mallory", body);
    scene.commanded("c-3", &comment("created", other, "mallory", body)).await;
    assert_eq!(answers().len(), 1);
    assert_eq!(scene.world.github.ledger.effects_of("reaction.created"), [""; 0]);

    // One that is taken up is seen to be: its comment gets a reaction at once.
    let id = scene.comment("mona", "/mark quick");
    assert_eq!(rules_of(&scene.commanded("c-4", &comment("created", id, "mona", "/mark quick")).await), ["mark"]);
    scene.until("a reaction", || scene.world.github.ledger.effects_of("reaction.created") == ["eyes"]);
}

//! A run that asks a person, through the whole service: signed buttons, the journal's answers, restarts.

use std::time::{Duration, Instant};

use declic::journal::record::{RunState, StepRecord};
use declic::run::approval;
use declic_actions::action::Answer;

use crate::replies::service::Service;

const RULE: &str = "  careful:
    on: { slack.command: { source: slack_acme, command: deploy } }
    reply: { when: first, text: asked }
    allow: { slack-users: [U1] }
    steps:
      - id: ask
        uses: approve
        with: { question: \"Deploy ${{ event.text }}?\", at-most: 1h, connection: slack_eng, channel: \"#deploys\", slack-users: [U1, U7] }
      - uses: log
        with: { message: \"${{ steps.ask.outputs.by }} said yes\" }
";

/// The same without a message in Slack: who answers is told by the API.
fn quiet() -> String {
    RULE.replace(", connection: slack_eng, channel: \"#deploys\", slack-users: [U1, U7]", "")
}

async fn waiting(service: &Service, delivery: &str) -> (String, Vec<StepRecord>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let runs = service.journal.runs_of(delivery).await.unwrap();
        if let Some(run) = runs.iter().find(|run| run.state == RunState::Waiting) {
            return (run.id.clone(), service.journal.run(&run.id).await.unwrap().unwrap().1);
        }
        assert!(Instant::now() < deadline, "no run waits: {runs:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn yes(by: &str) -> Answer {
    Answer { approved: true, via: "api".into(), by: by.into(), comment: None }
}

#[tokio::test]
async fn a_run_goes_on_when_somebody_who_may_says_yes_also_after_a_restart() {
    let service = Service::start(&quiet()).await;
    let reply = service.slash("/deploy", "web", "http://127.0.0.1:1/none").await;
    let id = reply.header("x-declic-delivery").to_owned();
    let (run, steps) = waiting(&service, &id).await;
    assert_eq!(steps[0].why.as_ref().unwrap().message, "waits for an answer to: Deploy web?");
    let service = service.restart().await;
    let (run_again, _) = waiting(&service, &id).await;
    assert_eq!(run, run_again);
    let refused = approval::answer(service.journal.as_ref(), &run, yes("U1")).await.unwrap_err();
    assert!(refused.to_string().contains("may not decide"), "{refused}");
    approval::answer(service.journal.as_ref(), &run, yes("ops")).await.unwrap();
    assert!(approval::answer(service.journal.as_ref(), &run, yes("other")).await.is_err(), "the first answer counts");
    service.settled(&reply).await;
    let (record, steps) = service.journal.run(&run).await.unwrap().unwrap();
    assert_eq!(record.state, RunState::Succeeded);
    assert_eq!(steps[0].answer.as_ref().unwrap().by, "ops");
    assert_eq!(steps[1].outcome.as_ref().unwrap().summary, "ops said yes");
}

#[tokio::test]
async fn a_button_is_taken_from_a_signed_request_only_and_only_of_those_who_are_named() {
    let slack = crate::support::slack::start().await;
    let service = Service::with_slack(RULE, &format!("{}/api", slack.url), &slack.authority).await;
    let reply = service.slash("/deploy", "web", "http://127.0.0.1:1/none").await;
    let id = reply.header("x-declic-delivery").to_owned();
    let (run, _) = waiting(&service, &id).await;
    let button = slack.messages().pop().unwrap()["blocks"][2]["elements"][0].clone();
    assert_eq!(button["value"], run.as_str());
    for (user, action) in [("U9", "declic-approve"), ("U1", "declic-approve"), ("U7", "something-else")] {
        assert_eq!(service.button(user, action, &run).await.status, 200);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(waiting(&service, &id).await.0, run, "none of these counts");
    assert_eq!(service.button("U7", button["action_id"].as_str().unwrap(), &run).await.status, 200);
    service.settled(&reply).await;
    let (record, steps) = service.journal.run(&run).await.unwrap().unwrap();
    assert_eq!((record.state, steps[1].outcome.as_ref().unwrap().summary.as_str()), (RunState::Succeeded, "U7 said yes"));
    let closed = slack.messages().pop().unwrap();
    assert_eq!(closed["blocks"][1]["elements"][0]["text"], "approved by U7 (slack)");
}

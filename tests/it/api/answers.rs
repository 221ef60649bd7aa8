//! Yes and no to a run that asks, over the API and in the console's form.

use serde_json::json;

use super::world::{More, World};
use crate::support::client::Reply;

pub const ASKING: &str = "  asking:
    on: { github.push: { branches: [\"ask/*\"] } }
    steps:
      - id: ask
        uses: approve
        with: { question: \"Go on with ${{ event.ref }}?\", github: false }
      - uses: http/request
        with: { connection: alive, method: POST, path: /ok, body: { by: \"${{ steps.ask.outputs.by }}\" } }
";

/// A run that waits for an answer.
async fn waiting(branch: &str) -> (World, String) {
    let world = World::of(More { rules: ASKING, ..More::default() }, |_| {}).await;
    let id = world.send(branch, "d-1").await;
    let run = format!("/runs/{id}-1");
    world.until(&run, |reply| reply.text("/run/state") == "waiting").await;
    (world, run)
}

fn step<'r>(reply: &'r Reply, pointer: &str) -> &'r serde_json::Value {
    reply.body.pointer(&format!("/steps/0{pointer}")).unwrap_or(&serde_json::Value::Null)
}

#[tokio::test]
async fn a_run_that_asks_goes_on_after_a_yes_and_keeps_who_said_it() {
    let (world, run) = waiting("ask/one").await;
    let overview = world.get("/overview").await;
    assert_eq!((&overview.body["waiting"][0]["asks"], overview.text("/waiting/0/step")), (&json!(true), "ask"), "{overview:?}");
    assert!(overview.text("/waiting/0/what").contains("Go on with refs/heads/ask/one?"), "{overview:?}");
    let wrong = world.post(&format!("{run}/approve"), &json!({ "coment": "typo" })).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    let yes = world.post(&format!("{run}/approve"), &json!({ "comment": "looks good" })).await;
    assert_eq!((yes.status, &yes.body["approved"]), (200, &json!(true)), "{yes:?}");
    let done = world.until(&run, |reply| reply.text("/run/state") == "succeeded").await;
    assert_eq!(
        step(&done, "/answer"),
        &json!({ "approved": true, "by": "this machine", "via": "api", "comment": "looks good" }),
        "{done:?}"
    );
    assert_eq!(done.body.pointer("/steps/1/with/body/by"), Some(&json!("this machine")), "{done:?}");
    let again = world.post(&format!("{run}/reject"), &json!({})).await;
    assert_eq!(again.status, 409, "the first answer counts: {again:?}");
    let audit = world.get("/audit").await;
    assert_eq!((audit.text("/items/1/act"), audit.text("/items/1/outcome")), ("approve", "done"), "{audit:?}");
}

#[tokio::test]
async fn a_run_that_asks_fails_after_a_no() {
    let (world, run) = waiting("ask/two").await;
    let no = world.post(&format!("{run}/reject"), &json!({ "comment": "not today" })).await;
    assert_eq!((no.status, &no.body["approved"]), (200, &json!(false)), "{no:?}");
    let done = world.until(&run, |reply| reply.text("/run/state") == "failed").await;
    assert_eq!(done.text("/run/failure/code"), "rejected", "{done:?}");
    assert_eq!(step(&done, "/answer/comment"), "not today");
    assert_eq!(done.body["steps"].as_array().unwrap().len(), 1, "nothing else was done: {done:?}");
}

#[tokio::test]
async fn what_was_said_of_a_run_is_shown_with_its_steps() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let run = world.get(&format!("/runs/{id}-2")).await;
    let log = run.body["log"].as_array().unwrap();
    let of_step: Vec<_> = log.iter().filter(|line| line["step"] == "broken").map(|line| line["name"].as_str().unwrap()).collect();
    assert!(of_step.contains(&"started") && of_step.contains(&"failed"), "{run:?}");
    assert!(log.iter().all(|line| line["at"].as_str().unwrap().ends_with('Z')));
    let other = world.get(&format!("/runs/{id}-1")).await;
    let stays_apart = other.body["log"].as_array().unwrap().iter().all(|line| line["step"] != "broken");
    assert!(stays_apart, "{other:?}");
    let page = world.client.get(&world.url(&format!("/runs/{id}-2"))).await;
    assert!(page.body.as_str().unwrap().contains("<summary>Log</summary>"), "{page:?}");
}

//! `wait/until` and `log`: what counts as "not yet", what ends the waiting, and what is written down.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::server::{self, Api, Running};
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY};
use declic_actions::action::Failure;
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};

const KIND: &str = "wait/until";

/// An order with a state that changes with every look.
struct Orders(Mutex<Vec<(u16, &'static str)>>);

#[async_trait]
impl Api for Orders {
    async fn answer(&self, request: &Request) -> Answer {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/v1/orders/17"));
        let mut states = self.0.lock().unwrap();
        let (status, state) = if states.len() > 1 { states.remove(0) } else { states[0] };
        Answer::json(status, &json!({ "state": state }))
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "message": message }))
    }
}

async fn orders(states: &[(u16, &'static str)]) -> (Running<Orders>, Actor) {
    let states = states.to_vec();
    let orders = server::start(move |_, _| Orders(Mutex::new(states))).await.unwrap();
    let mut actor = Actor::with(None, &[&orders.authority]).await;
    actor.connection = Some(json!({ "type": "http", "base-url": orders.url }));
    (orders, actor)
}

fn params(more: Value) -> Value {
    let mut params = json!({ "connection": "orders", "path": "/v1/orders/17", "until": { "body.state": ["done", "cancelled"] } });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

fn not_yet(failure: Failure) -> (Duration, String) {
    match failure {
        Failure::NotYet { after, why } => (after, why.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_looks_until_what_is_found_is_as_it_should_be() {
    let (orders, actor) = orders(&[(200, "open"), (404, ""), (503, ""), (200, "done")]).await;
    let intent = actor.prepare(KIND, "d1-w-1", params(json!({ "every": "20s" }))).unwrap();
    let kept = Recorder::default();
    for message in ["`body.state` is \"open\", not \"done\" or \"cancelled\"", "answered 404", "answered 503"] {
        let (after, why) = not_yet(actor.attempt(KIND, &intent, 1, &kept).await.unwrap_err());
        assert_eq!(after, Duration::from_secs(20));
        assert!(why.contains(message), "{why}");
    }
    orders.faults.next(1, Fault::Cut);
    not_yet(actor.attempt(KIND, &intent, 1, &kept).await.unwrap_err());
    let outcome = actor.attempt(KIND, &intent, 1, &kept).await.unwrap();
    assert_eq!((&outcome.outputs["looks"], &outcome.outputs["found"]["body"]["state"]), (&json!(5), &json!("done")));
}

#[tokio::test]
async fn its_time_is_up_when_it_has_waited_so_long_and_refused_credentials_are_not_waited_for() {
    let (_orders, mut actor) = orders(&[(200, "open"), (200, "open"), (200, "open"), (401, "")]).await;
    let intent = actor.prepare(KIND, "d1-w-1", params(json!({ "every": "10m", "at-most": "1h" }))).unwrap();
    let kept = Recorder::default();
    actor.waited = Duration::from_secs(3595);
    assert_eq!(
        not_yet(actor.attempt(KIND, &intent, 1, &kept).await.unwrap_err()).0,
        Duration::from_secs(5),
        "the last look is at the end"
    );
    actor.waited = Duration::from_secs(3601);
    let late = actor.attempt(KIND, &intent, 1, &kept).await;
    assert_eq!(code(&late), ("timeout", false));
    assert!(late.unwrap_err().why().message.contains("after 2 looks"));
    actor.waited = Duration::ZERO;
    not_yet(actor.attempt(KIND, &intent, 1, &kept).await.unwrap_err());
    assert_eq!(code(&actor.attempt(KIND, &intent, 1, &kept).await), ("unauthorized", false));
}

#[tokio::test]
async fn a_pull_request_is_waited_for_by_its_checks() {
    let actor = Actor::new().await;
    let number = 9;
    actor.world.github.add_issue(REPOSITORY, number, Some(FIRST_COMMIT));
    let intent = actor.prepare(KIND, "d1-w-1", json!({ "pull-request": number, "until": { "checks": "none", "draft": false } }));
    let outcome = actor.attempt(KIND, &intent.unwrap(), 1, &Recorder::default()).await.unwrap();
    assert_eq!(outcome.outputs["found"]["checks"], "none");
    let intent = actor.prepare(KIND, "d1-w-2", json!({ "pull-request": number, "until": { "approved": true } })).unwrap();
    let (_, why) = not_yet(actor.attempt(KIND, &intent, 1, &Recorder::default()).await.unwrap_err());
    assert_eq!(why, "`approved` is false, not true");
    actor.assert_nothing_refused();
}

#[tokio::test]
async fn a_call_that_could_wait_for_nothing_is_refused_before_it_waits() {
    let (_orders, actor) = orders(&[(200, "")]).await;
    for more in [
        json!({ "pull-request": 17 }),
        json!({ "path": null }),
        json!({ "every": "0s" }),
        json!({ "every": "2h" }),
        json!({ "at-most": "40d" }),
        json!({ "until": { "body.state": { "not": "open" } } }),
        json!({ "path": null, "pull-request": 17, "until": null }),
    ] {
        assert!(actor.prepare(KIND, "d1-w-1", params(more.clone())).is_err(), "{more}");
    }
}

#[tokio::test]
async fn a_line_of_a_rule_is_in_the_run_as_one_line() {
    let actor = Actor::new().await;
    let params = json!({ "message": "Order\n2026 ERROR forged", "fields": { "order": 17 }, "level": "warn" });
    let outcome = actor.run("log", "d1-l-1", params).await.unwrap();
    assert_eq!(outcome.summary, "Order 2026 ERROR forged {\"order\":17}");
    assert!(actor.prepare("log", "d1-l-2", json!({ "message": "" })).is_err());
}

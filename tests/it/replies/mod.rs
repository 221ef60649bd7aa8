//! Answers inside the request: what each provider gets, in time, while the rest goes on.

use std::time::{Duration, Instant};

use declic::journal::record::{DeliveryState, RunState};
use serde_json::{Value, json};

pub mod service;
mod slack;

use service::Service;

/// Answers without doing anything.
const HOURS: &str = "  hours:
    on: { dialogflow.intent: { source: support_es, intents: [opening.hours] } }
    reply: { text: \"9 to 17, ${{ event.query }}\" }
";

/// Looks an order up, and does one thing more after it has answered.
const ORDER: &str = "  order:
    on: { dialogflow.intent: { source: support_cx, intents: [order.status], params: { order_id: string } } }
    steps:
      - id: order
        uses: http/request
        with: { connection: orders_api, path: \"/orders/${{ event.params.order_id }}\", response: { state: string, items: int } }
        timeout: 1500ms
    reply:
      text: \"It is ${{ steps.order.outputs.body.state }}.\"
      set-params: { items: \"${{ steps.order.outputs.body.items }}\" }
      on-error: { text: \"Please try again.\", end-session: true }
    finally:
      - uses: http/request
        with: { connection: orders_api, path: /told }
        timeout: 5s
";

fn cx_text(text: &str) -> Value {
    json!({ "messages": [{ "text": { "text": [text] } }] })
}

#[tokio::test]
async fn dialogflow_is_answered_in_its_own_words() {
    let service = Service::start(&format!("{HOURS}{ORDER}")).await;
    let reply = service.es("r1", "opening.hours", json!({})).await;
    assert_eq!((reply.status, reply.text("/fulfillmentText")), (200, "9 to 17, how?"));
    assert!(reply.header("content-type").starts_with("application/json"), "{reply:?}");
    let reply = service.cx("r2", "order.status", json!({ "order_id": "12345" })).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.body,
        json!({ "fulfillmentResponse": cx_text("It is sent."), "sessionInfo": { "parameters": { "items": 3 } } })
    );
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!((service.asked("/orders/12345"), service.asked("/told")), (1, 1));
}

#[tokio::test]
async fn without_a_rule_that_replies_nothing_changes_for_the_agent() {
    let service = Service::start(&format!("{HOURS}{ORDER}")).await;
    let reply = service.es("r1", "weather", json!({})).await;
    assert_eq!((reply.status, reply.body.clone()), (200, json!({})));
    assert_eq!(service.settled(&reply).await, DeliveryState::Ignored);
    // Nobody listens to commands here, and the delivery is kept all the same.
    let reply = service.slash("/deploy", "api", "https://hooks.slack.com/x").await;
    assert_eq!((reply.status, reply.body.clone()), (200, Value::Null));
    assert_eq!(service.settled(&reply).await, DeliveryState::Ignored);
}

#[tokio::test]
async fn a_step_that_fails_gives_the_fallback() {
    let service = Service::start(ORDER).await;
    service.target.answers(403, json!({ "error": "no" }));
    let reply = service.cx("r1", "order.status", json!({ "order_id": "1" })).await;
    assert_eq!(reply.body["fulfillmentResponse"], cx_text("Please try again."));
    assert_eq!(reply.text("/targetPage"), "projects/p/locations/l/agents/a/flows/f/pages/END_SESSION");
    assert_eq!(service.settled(&reply).await, DeliveryState::Failed);
    assert_eq!(service.asked("/told"), 1, "what follows a failure is done");
    // Another shape than the declared one is a failure as well.
    service.target.answers(200, json!({ "state": "sent", "items": "three" }));
    let reply = service.cx("r2", "order.status", json!({ "order_id": "1" })).await;
    assert_eq!(reply.body["fulfillmentResponse"], cx_text("Please try again."));
}

/// Answers the shop. The check of rules keeps the steps below its deadline, but a target can ask for a longer wait between attempts.
const QUOTE: &str = "  quote:
    on: { http.webhook: { source: shop, body: { kind: quote|order, item: string } } }
    steps:
      - id: price
        uses: http/request
        with: { connection: orders_api, path: \"/prices/${{ event.body.item }}\" }
        timeout: 700ms
        retry: { attempts: 2, wait: 10ms, max-wait: 10ms }
      - uses: http/request
        with: { connection: orders_api, method: POST, path: /noted }
        timeout: 500ms
    reply: { status: 201, body: { price: \"${{ steps.price.outputs.body.price }}\" }, on-error: { status: 503, body: { later: true } } }
";

#[tokio::test]
async fn when_the_time_is_up_the_fallback_is_sent_and_the_steps_go_on() {
    let service = Service::start(QUOTE).await;
    service.target.answers(503, json!({}));
    let started = Instant::now();
    let question = json!({ "kind": "quote", "item": "a1" });
    let reply = service.shop(&question).await;
    let took = started.elapsed();
    service.target.answers(200, json!({ "price": 7 }));
    assert_eq!((reply.status, reply.body.clone()), (503, json!({ "later": true })));
    assert!(took < Duration::from_secs(2), "the shop waits 2 s: {took:?}");
    assert_eq!((service.asked("/prices/a1"), service.asked("/noted")), (1, 0), "the rest is still to come");
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!((service.asked("/prices/a1"), service.asked("/noted")), (2, 1));
    // The shop asks again: now there is an answer, and nothing is done twice.
    let reply = service.shop(&question).await;
    assert_eq!((reply.status, reply.body), (201, json!({ "price": 7 })));
    assert_eq!((service.asked("/prices/a1"), service.asked("/noted")), (2, 1));
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_also_from_another_process() {
    let service = Service::start(&format!("{ORDER}{QUOTE}")).await;
    let first = service.cx("r1", "order.status", json!({ "order_id": "12345" })).await;
    service.target.answers(200, json!({ "state": "lost", "items": 0 }));
    let second = service.cx("r1", "order.status", json!({ "order_id": "12345" })).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(second.header("x-declic-delivery"), first.header("x-declic-delivery"));
    service.settled(&first).await;
    let service = service.restart().await;
    let third = service.cx("r1", "order.status", json!({ "order_id": "12345" })).await;
    assert_eq!((third.status, &third.body), (200, &first.body));
    assert_eq!((service.asked("/orders/12345"), service.asked("/told")), (1, 1));
}

#[tokio::test]
async fn a_request_repeated_while_the_first_one_waits_gets_the_same_answer() {
    let service = Service::start(ORDER).await;
    service.target.takes(Duration::from_millis(400));
    let ask = || service.cx("r1", "order.status", json!({ "order_id": "1" }));
    let later = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        ask().await
    };
    let (first, second) = tokio::join!(ask(), later);
    assert_eq!(first.body["fulfillmentResponse"], cx_text("It is sent."));
    assert_eq!(first.body, second.body);
    assert_eq!(service.asked("/orders/1"), 1);
}

#[tokio::test]
async fn of_two_rules_that_match_the_first_replies_and_both_run() {
    let rules = "  quick:
    on: { http.webhook: { source: shop, body: { n: int } } }
    reply: { body: { by: quick } }
  slow:
    on: { http.webhook: { source: shop, body: { n: int } } }
    steps: [{ id: a, uses: http/request, with: { connection: orders_api, path: /slow }, timeout: 500ms }]
    reply: { body: { by: slow }, on-error: { status: 500 } }
";
    let service = Service::start(rules).await;
    let reply = service.shop(&json!({ "n": 1 })).await;
    assert_eq!((reply.status, reply.body.clone()), (200, json!({ "by": "quick" })));
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!(service.asked("/slow"), 1);
    let turned: String = {
        let (quick, slow) = rules.split_once("  slow:").expect("two rules");
        format!("  slow:{slow}{quick}")
    };
    let service = Service::start(&turned).await;
    let reply = service.shop(&json!({ "n": 1 })).await;
    assert_eq!(reply.body, json!({ "by": "slow" }));
    let states: Vec<RunState> = service.runs(&reply).await.iter().map(|run| run.state).collect();
    assert_eq!(states.len(), 2);
}

#[tokio::test]
async fn what_nobody_replies_to_is_acknowledged_like_any_webhook() {
    let service = Service::start(QUOTE).await;
    let reply = service.shop(&json!({ "kind": "other" })).await;
    assert_eq!(reply.status, 202);
    assert_eq!(reply.text("/id"), reply.header("x-declic-delivery"));
    assert_eq!(service.settled(&reply).await, DeliveryState::Ignored);
}

/// Answers at once and takes its time.
const SLOWLY: &str = "  slowly:
    on: { slack.command: { source: slack_acme, command: /slowly, args: { what: web|api, version: { type: string, default: main } } } }
    reply: { when: first, text: \"On it: *${{ event.args.what }}* at ${{ event.args.version }} <${{ event.text }}>\", visible-to: channel }
    steps: [{ uses: http/request, with: { connection: orders_api, path: /slowly }, timeout: 30s }]
";

#[tokio::test]
async fn slack_is_answered_before_the_steps_and_outsiders_words_are_escaped() {
    let service = Service::start(SLOWLY).await;
    service.target.takes(Duration::from_secs(2));
    let started = Instant::now();
    let reply = service.slash("/slowly", "api <!channel>", "https://hooks.slack.com/x").await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(reply.status, 200);
    let text = "On it: *api* at &lt;!channel&gt; <api &lt;!channel&gt;>";
    assert_eq!(reply.body, json!({ "response_type": "in_channel", "text": text }));
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    assert_eq!(service.asked("/slowly"), 1);
    let reply = service.slash("/slowly", "db", "https://hooks.slack.com/x").await;
    assert_eq!((reply.status, reply.body), (200, Value::Null), "an argument that is none of the words");
}

#[tokio::test]
async fn a_long_run_does_not_hold_up_a_reply() {
    let service = Service::start(&format!("{SLOWLY}{ORDER}")).await;
    service.target.takes(Duration::from_millis(1200));
    // The only worker there is.
    let long = service.slash("/slowly", "api", "https://hooks.slack.com/x").await;
    assert_eq!(long.status, 200);
    while service.asked("/slowly") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    service.target.takes(Duration::ZERO);
    let reply = service.cx("r1", "order.status", json!({ "order_id": "1" })).await;
    assert_eq!(reply.body["fulfillmentResponse"], cx_text("It is sent."));
    assert_eq!(service.runs(&long).await[0].state, RunState::Running, "it still holds the worker");
}

/// Answers whoever writes a message to our number.
const TELEPHONE: &str = "  telephone:
    on: { http.webhook: { source: phone, body: { From: string, Body: string } } }
    steps:
      - id: order
        uses: http/request
        with: { connection: orders_api, path: /orders/latest, response: { state: string } }
        timeout: 5s
    reply: { body: \"${{ event.body.Body }}? It is ${{ steps.order.outputs.body.state }}.\", on-error: { body: Later. } }
";

#[tokio::test]
async fn a_message_is_answered_in_twiml_with_what_it_said_escaped() {
    let service = Service::start(TELEPHONE).await;
    let twiml = |inner: &str| {
        let document = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{inner}</Response>");
        Value::String(document)
    };
    let reply = service.text_message("+15550100", "order <1> & more").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/xml; charset=utf-8"));
    assert_eq!(reply.body, twiml("<Message>order &lt;1&gt; &amp; more? It is sent.</Message>"));
    assert_eq!(service.settled(&reply).await, DeliveryState::Completed);
    service.target.answers(403, json!({ "error": "no" }));
    let reply = service.text_message("+15550100", "and now").await;
    assert_eq!((reply.status, reply.body.clone()), (200, twiml("<Message>Later.</Message>")));
    assert_eq!(service.asked("/orders/latest"), 2);
}

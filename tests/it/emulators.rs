//! `bigquery/insert` and `cloud-tasks/create` against running emulators, which somebody else wrote.

use std::time::{Duration, Instant};

use declic_actions::action::Failure;
use declic_actions::kinds::bigquery_insert::{columns, misfits};
use serde_json::{Value, json};

use crate::support::actor::{Actor, Recorder, code};
use crate::support::client::Client;
use crate::support::echo;
use crate::support::emulators::Emulator;

const INSERT: &str = "bigquery/insert";
const CREATE: &str = "cloud-tasks/create";
const QUEUE: &str = "projects/acme-ops/locations/europe-west1/queues/later";

#[tokio::test]
async fn rows_arrive_in_the_tables_of_a_running_bigquery() {
    let bigquery = Emulator::bigquery().await;
    let client = Client::anonymous();
    let datasets = format!("{}/bigquery/v2/projects/acme-data/datasets", bigquery.url);
    let made =
        client.json("POST", &datasets, &json!({ "datasetReference": { "projectId": "acme-data", "datasetId": "events" } })).await;
    assert_eq!(made.status, 200, "{}", bigquery.log());
    let field = |name: &str, kind: &str, mode: &str| json!({ "name": name, "type": kind, "mode": mode });
    let table = json!({
        "tableReference": { "projectId": "acme-data", "datasetId": "events", "tableId": "orders" },
        "schema": { "fields": [field("order_id", "STRING", "REQUIRED"), field("total", "FLOAT", "NULLABLE"), field("paid", "BOOLEAN", "NULLABLE"),
            field("tags", "STRING", "REPEATED")] },
    });
    let tables = format!("{datasets}/events/tables");
    assert_eq!(client.json("POST", &tables, &table).await.status, 200, "{}", bigquery.log());

    let mut actor = Actor::with(None, &[&bigquery.authority]).await;
    actor.ask_emulator(&bigquery.url);
    let connection = json!({ "type": "bigquery", "project": "acme-data", "dataset": "events", "tables": ["orders", "gone"] });
    actor.connection = Some(connection.clone());
    let row = |row: Value| json!({ "connection": "warehouse", "table": "orders", "row": row });
    let hostile = "\"); DROP TABLE orders; --";
    for (key, row) in [
        ("d1-b-1", row(json!({ "order_id": "o1", "total": 12.5, "paid": true, "tags": ["a", "b"] }))),
        ("d1-b-2", row(json!({ "order_id": hostile }))),
    ] {
        assert_eq!(actor.run(INSERT, key, row).await.unwrap().outputs, json!({ "inserted": 1 }));
    }
    let kept = client.get(&format!("{tables}/orders/data")).await.body;
    let cells: Vec<Vec<&Value>> = kept["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["f"].as_array().unwrap().iter().map(|cell| &cell["v"]).collect())
        .collect();
    assert_eq!(cells.len(), 2, "{kept}");
    assert!(cells.iter().any(|row| row[0] == "o1" && row[1] == "12.5" && row[2] == "true"), "{kept}");
    assert!(cells.iter().any(|row| row[0] == hostile && row[1].is_null()), "{kept}");

    let gone =
        actor.run(INSERT, "d1-b-3", json!({ "connection": "warehouse", "table": "gone", "row": { "order_id": "o1" } })).await;
    assert_eq!(code(&gone), ("not-found", false));
    let found = columns(&actor.clients.google, &connection, "orders", Instant::now() + Duration::from_secs(10)).await.unwrap();
    assert!(misfits(&found, ["order_id", "tags"]).is_empty());
    assert_eq!(misfits(&found, ["totla"]), ["the table has no column `totla`", "the table requires `order_id`"]);
    // This emulator takes a value of the wrong type for an error of its own, where BigQuery answers with errors of the row.
    let wrong = actor.run(INSERT, "d1-b-4", row(json!({ "order_id": "o2", "total": "much" }))).await;
    assert!(matches!(wrong, Err(Failure::Retry { .. })), "{wrong:?}");
}

#[tokio::test]
async fn tasks_are_made_once_by_a_running_cloud_tasks_and_come_with_our_headers_and_a_token() {
    let (tasks, handler) = (Emulator::cloud_tasks(QUEUE).await, echo::start().await);
    let mut actor = Actor::with(None, &[&tasks.authority, &handler.authority]).await;
    actor.ask_emulator(&tasks.url);
    actor.connection = Some(json!({
        "type": "cloud-tasks", "project": "acme-ops", "location": "europe-west1", "queues": ["later", "gone"],
        "base-url": handler.url, "oidc-account": "caller@acme-ops.iam.gserviceaccount.com", "audience": "https://jobs.example.dev",
    }));
    let with = |more: Value| {
        let mut with = json!({ "connection": "later", "queue": "later", "path": "/jobs/thumbnails", "body": { "id": 17 } });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let made = actor.run(CREATE, "d1-t-1", with(json!({ "headers": { "x-kind": "thumbnail" } }))).await.unwrap();
    assert_eq!(made.outputs["created"], true);
    let until = Instant::now() + Duration::from_secs(20);
    while handler.ledger.requests().is_empty() {
        assert!(Instant::now() < until, "the task was not sent:\n{}", tasks.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = handler.ledger.requests().remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str(), &asked.body), ("POST", "/jobs/thumbnails", &json!({ "id": 17 })));
    let again = actor.run(CREATE, "d1-t-1", with(json!({}))).await.unwrap();
    assert_eq!(
        again.outputs,
        json!({ "name": made.outputs["name"], "created": false }),
        "its name is taken, also after it is done"
    );

    // One that waits is found; one under another key is another task.
    let later = with(json!({ "delay": "1h", "deadline": "30s" }));
    let intent = actor.prepare(CREATE, "d1-t-2", later.clone()).unwrap();
    assert!(actor.find(CREATE, &intent, &Recorder::default()).await.unwrap().is_none());
    let waiting = actor.attempt(CREATE, &intent, 1, &Recorder::default()).await.unwrap();
    let found = actor.find(CREATE, &intent, &Recorder::default()).await.unwrap().expect("it is there");
    assert_eq!(found.outputs["name"], waiting.outputs["name"]);
    let shown = Client::bearer("any")
        .get(&format!("{}/v2/{}?responseView=FULL", tasks.url, found.outputs["name"].as_str().unwrap()))
        .await;
    assert_eq!(shown.text("/httpRequest/oidcToken/audience"), "https://jobs.example.dev", "{}", shown.body);
    assert_eq!(shown.text("/dispatchDeadline"), "30s");
    assert_eq!(handler.ledger.requests().len(), 1);

    let gone = actor.run(CREATE, "d1-t-3", with(json!({ "queue": "gone" }))).await;
    assert_eq!(code(&gone), ("not-found", false));
}

//! `bigquery/insert`: one row into one table.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::google::Google;
use crate::http::{Method, Request, shown};
use crate::kinds::google;

/// BigQuery takes no longer insert id.
const LONGEST_ID: usize = 128;
/// Complaints that a message tells; a row can have one for each column.
const MOST_TOLD: usize = 3;

/// The action.
pub struct BigqueryInsert;

static SPEC: Spec = Spec {
    name: "bigquery/insert",
    summary: "Adds a row to a BigQuery table",
    class: Class::Plain,
    parameters: &[
        Field { name: "connection", shape: "connection", summary: "The dataset, by its name under `connections:`" },
        Field { name: "table", shape: "string", summary: "Name of the table, one of the connection's `tables`" },
        Field { name: "row", shape: "{ \"*\": any }", summary: "Columns by name; a column that the table lacks is an error" },
        Field { name: "insert-id", shape: "any?", summary: "What makes the row the same row: the call's key if left out" },
    ],
    outputs: &[Field { name: "inserted", shape: "int", summary: "Rows added" }],
    example: "connection: warehouse\ntable: deploys\nrow: { service: api, ok: true }\n",
    deadline: Duration::from_secs(30),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "BigQuery drops a second row of the same insert id for about a minute, without promising it",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    account: Option<String>,
    /// `projects/P/datasets/D/tables/T`
    table: String,
    insert_id: String,
    row: Map<String, Value>,
}

#[async_trait]
impl Action for BigqueryInsert {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let connection = given::connection(&call, "bigquery")?;
        let row = given
            .optional_object("row")
            .and_then(|row| row.filter(|row| !row.is_empty()).cloned().ok_or_else(|| invalid("`with.row` has no columns")));
        let (table, row, project, dataset, account) = all((
            google::listed(&given, "table", &connection, "tables"),
            row,
            google::segment(&connection, "project"),
            google::segment(&connection, "dataset"),
            google::act_as(&connection),
        ))?;
        let insert_id = given.value("insert-id").map(google::text_of).filter(|id| !id.is_empty());
        let insert_id = match insert_id.unwrap_or_else(|| call.key.clone()) {
            long if long.len() > LONGEST_ID => hex::encode(Sha256::digest(long.as_bytes())),
            short => short,
        };
        let summary = format!("insert a row into {project}.{dataset}.{table}");
        let table = format!("projects/{project}/datasets/{dataset}/tables/{table}");
        given::intent(call, &Plan { account, table, insert_id, row }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let google = &context.clients.google;
        let address = format!("{}/bigquery/v2/{}/insertAll", google.settings().bigquery_url, plan.table);
        let body = json!({
            "skipInvalidRows": false,
            "ignoreUnknownValues": false,
            "rows": [{ "insertId": plan.insert_id, "json": plan.row }],
        });
        let request = Request::to(Method::POST, &address, context.deadline).json(&body);
        let answer = google.send(plan.account.as_deref(), request).await.and_then(|answer| answer.json());
        refused(&answer.map_err(|error| error.into_failure("BigQuery"))?)?;
        let summary = format!("inserted a row into {}", plan.table);
        Ok(Outcome { outputs: json!({ "inserted": 1 }), summary, url: None })
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name; BigQuery does not tell capitals from small letters.
    pub name: String,
    /// A row without it is refused.
    pub required: bool,
}

/// The columns of a table of a connection (its settings, of type `bigquery`): what `declic doctor` holds rows against before one is lost.
pub async fn columns(client: &Google, connection: &Value, table: &str, deadline: Instant) -> Result<Vec<Column>, Failure> {
    let refuse = |why: Why| Failure::Final { why };
    let params = Map::from_iter([("table".to_owned(), Value::from(table))]);
    let call = Call {
        key: String::new(),
        params,
        target: None,
        connection: Some(connection.clone()),
        origin: crate::action::Origin::default(),
    };
    let settings = given::connection(&call, "bigquery").map_err(refuse)?;
    let part = |name: &str| google::segment(&settings, name).map_err(refuse);
    let (project, dataset) = (part("project")?, part("dataset")?);
    let table = google::segment(&given::params(&call), "table").map_err(refuse)?;
    let account = google::act_as(&settings).map_err(refuse)?;
    let base = &client.settings().bigquery_url;
    let address = format!("{base}/bigquery/v2/projects/{project}/datasets/{dataset}/tables/{table}");
    let request = Request::to(Method::GET, &address, deadline);
    let answer = client.send(account.as_deref(), request).await.and_then(|answer| answer.json());
    let answer = answer.map_err(|error| error.into_failure("BigQuery"))?;
    let fields = answer.pointer("/schema/fields").and_then(Value::as_array).into_iter().flatten();
    let text = |field: &Value, name: &str| field.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(fields.map(|field| Column { name: text(field, "name"), required: text(field, "mode") == "REQUIRED" }).collect())
}

/// Why rows with these columns would be refused by a table with those: one sentence each.
pub fn misfits<'r>(columns: &[Column], row: impl IntoIterator<Item = &'r str>) -> Vec<String> {
    let row: Vec<&str> = row.into_iter().collect();
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let unknown = row.iter().filter(|name| !columns.iter().any(|column| same(&column.name, name)));
    let unknown = unknown.map(|name| format!("the table has no column `{}`", shown(name)));
    let missing = columns.iter().filter(|column| column.required && !row.iter().any(|name| same(&column.name, name)));
    unknown.chain(missing.map(|column| format!("the table requires `{}`", shown(&column.name)))).collect()
}

/// A row that BigQuery does not take is an error inside an answer 200.
fn refused(answer: &Value) -> Result<(), Failure> {
    let rows = answer.get("insertErrors").and_then(Value::as_array);
    let errors: Vec<&Value> =
        rows.into_iter().flatten().filter_map(|row| row.get("errors").and_then(Value::as_array)).flatten().collect();
    if rows.is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let text = |error: &Value, field: &str| shown(error.get(field).and_then(Value::as_str).unwrap_or_default());
    let told: Vec<String> =
        errors.iter().take(MOST_TOLD).map(|error| told(&text(error, "location"), &text(error, "message"))).collect();
    let message = format!("BigQuery did not take the row: {}", told.join("; "));
    let passing =
        |error: &&Value| matches!(text(error, "reason").as_str(), "backendError" | "internalError" | "timeout" | "stopped");
    if !errors.is_empty() && errors.iter().all(passing) {
        return Err(Failure::retry("unavailable", message));
    }
    Err(Failure::last("rejected", message))
}

fn told(location: &str, message: &str) -> String {
    if location.is_empty() { message.to_owned() } else { format!("`{location}`: {message}") }
}

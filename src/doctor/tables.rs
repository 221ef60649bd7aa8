//! Tables of BigQuery: do they have the columns that rules write?

use std::collections::BTreeSet;
use std::time::Instant;

use declic_actions::kinds::bigquery_insert::{Column, columns, misfits};
use serde_json::Value;

use super::{Finding, PATIENCE};
use crate::app::Reach;
use crate::rules::model::{RuleSet, Step};
use crate::rules::template::Template;
use crate::settings::Settings;

/// A step that inserts into a table that its rule names.
struct Insert<'r> {
    rule: &'r str,
    connection: String,
    table: String,
    /// Names of the row's columns, unless the row is computed as a whole.
    row: Option<Vec<String>>,
}

/// Asks for the columns of every table that some rule names, once, and holds the rows of the rules against them.
pub(super) async fn examine(settings: &Settings, reach: &Reach, rules: &RuleSet, list: &mut Vec<Finding>) {
    let inserts: Vec<Insert<'_>> = rules
        .rules
        .iter()
        .filter(|rule| rule.enabled)
        .flat_map(|rule| {
            let steps = rule.steps.iter().chain(&rule.on_failure).chain(&rule.finally);
            steps.filter_map(|step| insert(&rule.name, step))
        })
        .collect();
    let tables: BTreeSet<(&str, &str)> =
        inserts.iter().map(|insert| (insert.connection.as_str(), insert.table.as_str())).collect();
    for (connection, table) in tables {
        let Some(entry) = settings.offer.connections.get(connection) else { continue };
        let of_table = inserts.iter().filter(|insert| insert.connection == connection && insert.table == table);
        let outcome = match columns(&reach.google, entry, table, Instant::now() + PATIENCE).await {
            Ok(columns) => fits(&columns, of_table),
            Err(failure) => Err(format!(
                "{}; the account needs `bigquery.tables.get`, which `roles/bigquery.dataEditor` on the dataset has",
                failure.why().message
            )),
        };
        list.push(Finding::of(format!("table {connection}/{table}"), outcome));
    }
}

fn fits<'r>(columns: &[Column], inserts: impl Iterator<Item = &'r Insert<'r>>) -> Result<String, String> {
    let mut faults = BTreeSet::new();
    let (mut held, mut computed) = (0, 0);
    for insert in inserts {
        let Some(row) = &insert.row else {
            computed += 1;
            continue;
        };
        held += 1;
        faults.extend(
            misfits(columns, row.iter().map(String::as_str)).into_iter().map(|misfit| format!("rule {}: {misfit}", insert.rule)),
        );
    }
    if !faults.is_empty() {
        return Err(faults.into_iter().collect::<Vec<_>>().join("; "));
    }
    let computed = if computed > 0 { format!("; {computed} rows are computed and cannot be looked at") } else { String::new() };
    Ok(format!("{} columns, which the rows of {held} steps fit{computed}", columns.len()))
}

fn insert<'r>(rule: &'r str, step: &Step) -> Option<Insert<'r>> {
    if step.uses != "bigquery/insert" {
        return None;
    }
    let with = step.with.outline();
    let named = |name: &str| {
        let text = with.get(name).and_then(Value::as_str)?;
        // An outline shows what is computed as it is written.
        (!text.contains("${{")).then(|| text.to_owned())
    };
    let row = match &step.with {
        Template::Object(fields) => fields.iter().find(|(name, _)| name == "row").and_then(|(_, row)| names(row)),
        Template::Literal(given) => given.get("row").and_then(Value::as_object).map(|row| row.keys().cloned().collect()),
        _ => None,
    };
    Some(Insert { rule, connection: named("connection")?, table: named("table")?, row })
}

fn names(row: &Template) -> Option<Vec<String>> {
    match row {
        Template::Object(fields) => Some(fields.iter().map(|(name, _)| name.clone()).collect()),
        Template::Literal(Value::Object(fields)) => Some(fields.keys().cloned().collect()),
        _ => None,
    }
}

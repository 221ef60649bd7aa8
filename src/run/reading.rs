//! What the expressions of a run can read, and the call that a step makes of it. Pure but for the clock it does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use declic_actions::action::{Action, Call, Field, Intent, Origin, Outcome, Why};
use declic_actions::secret::Secret;
use declic_actions::targets::{CONNECTIONS, SettingKind, TARGETS};
use serde_json::{Map, Value, json};

use super::plan::{Standing, called};
use crate::event::Event;
use crate::journal::record::{Place, RunRecord, StepLabel};
use crate::matching;
use crate::rules::expr::{Environment, EvaluationError};
use crate::rules::model::{Offer, Rule, Step};
use crate::rules::types::Type;
use crate::rules::{registry, shapes};

/// Evaluation that fails is never "false": the step fails with this.
pub fn evaluation(error: &EvaluationError, what: &str) -> Why {
    Why::new("evaluation", format!("{what} cannot be evaluated: {}", error.message))
}

/// The root names for a step of a run.
pub fn environment(
    rule: &Rule,
    event: &Event,
    offer: &Offer,
    standing: &Standing<'_, '_>,
) -> Result<Environment, EvaluationError> {
    let mut environment = matching::environment(rule, event)?;
    let steps: Map<String, Value> = standing
        .named()
        .map(|(id, record)| {
            let result = record.and_then(|record| record.state.result());
            let outputs = record.and_then(|record| record.outcome.as_ref()).map(|outcome| &outcome.outputs);
            (id.to_owned(), json!({"result": result, "outputs": outputs}))
        })
        .collect();
    let mut name = |name: &str, value: Value| environment.names.insert(name.to_owned(), Arc::new(value));
    name("steps", Value::Object(steps));
    if let Some(failure) = standing.failure() {
        name("failure", json!(failure));
    }
    name("result", json!(standing.result()));
    if rule.owner.is_none() {
        // A secret is read as its name. The value joins it only in the hands of the action.
        name("secrets", secret_names(offer));
    }
    Ok(environment)
}

/// What expressions know of secrets.
pub fn secret_names(offer: &Offer) -> Value {
    offer.secrets.iter().map(|secret| (secret.clone(), json!(secret))).collect()
}

/// Where a call comes from.
pub fn origin(run: &RunRecord, event: &Event, label: &StepLabel, place: Place, trace: &str, public_url: Option<&str>) -> Origin {
    let at = |path: &str| event.event.pointer(path);
    Origin {
        delivery: run.delivery.clone(),
        run: run.id.clone(),
        rule: run.rule.clone(),
        step: called(label, place),
        repository: event.repository().map(str::to_owned),
        sha: at("/sha").or_else(|| at("/head/sha")).and_then(Value::as_str).map(str::to_owned),
        number: at("/number").and_then(Value::as_u64),
        actor: event.actor.get("login").or_else(|| at("/user/id")).and_then(Value::as_str).map(str::to_owned),
        comment: at("/comment_id").and_then(Value::as_u64),
        trace: Some(trace.to_owned()),
        hops: event.hops(),
        run_url: public_url.map(|url| format!("{url}/runs/{}", run.id)),
    }
}

/// The call of a step, rendered and resolved.
pub fn call(step: &Step, key: String, environment: &Environment, offer: &Offer, origin: Origin) -> Result<Call, Why> {
    let rendered = step.with.render(environment).map_err(|error| evaluation(&error, "`with`"))?;
    let params = match rendered {
        // A parameter whose value is missing is a parameter that is not given.
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        Value::Null => Map::new(),
        _ => return Err(Why::new("evaluation", "`with` is not a mapping")),
    };
    let target = setting(&params, "target", &offer.targets)?;
    let connection = setting(&params, "connection", &offer.connections)?;
    Ok(Call { key, params, target, connection, origin })
}

fn setting(params: &Map<String, Value>, kind: &str, offered: &BTreeMap<String, Value>) -> Result<Option<Value>, Why> {
    let Some(name) = params.get(kind).and_then(Value::as_str) else { return Ok(None) };
    match offered.get(name) {
        Some(settings) => Ok(Some(settings.clone())),
        None => Err(Why::new(
            "not-found",
            format!("there is no {kind} `{name}` in declic.yaml any more: add it again, or change the rule"),
        )),
    }
}

/// Holds the output whose shape the step declares (`response:` of `http/request`) against that shape.
pub fn as_declared(intent: &Intent, uses: &str, outcome: &Outcome) -> Result<(), Why> {
    let Some((parameter, output)) = registry::declared_output(uses) else { return Ok(()) };
    let Some(declared) = intent.call.params.get(parameter) else { return Ok(()) };
    let shape = shapes::declared(declared).map_err(|faults| {
        let messages: Vec<&str> = faults.iter().map(|found| found.fault.message.as_str()).collect();
        Why::new("evaluation", format!("`{parameter}`: {}", messages.join("; ")))
    })?;
    let value = outcome.outputs.get(output).unwrap_or(&Value::Null);
    shape.fits(value).map_err(|mismatch| {
        let path = mismatch.path.trim_start_matches('.');
        let place = if path.is_empty() { output.to_owned() } else { format!("{output}.{path}") };
        Why::new("shape", format!("the answer does not have the declared shape: `{place}` {}", mismatch.message))
    })
}

/// The secrets that a call names: in parameters of type secret, and in the settings of its target and its connection.
pub fn secrets(action: &dyn Action, call: &Call, all: &BTreeMap<String, Secret>) -> BTreeMap<String, Secret> {
    let mut names = BTreeSet::new();
    named(action.spec().parameters, &call.params, &mut names);
    for (settings, kinds) in [(&call.target, TARGETS), (&call.connection, CONNECTIONS)] {
        let Some(Value::Object(settings)) = settings else { continue };
        if let Some(kind) = kind_of(settings, kinds) {
            named(kind.fields, settings, &mut names);
        }
    }
    names.into_iter().filter_map(|name| Some((name.clone(), all.get(&name)?.clone()))).collect()
}

fn kind_of<'a>(settings: &Map<String, Value>, kinds: &'a [SettingKind]) -> Option<&'a SettingKind> {
    let name = settings.get("type")?.as_str()?;
    kinds.iter().find(|kind| kind.name == name)
}

fn named(fields: &[Field], values: &Map<String, Value>, names: &mut BTreeSet<String>) {
    for field in fields {
        // Every shape of the lists is parsed by a test of the registry.
        if let (Some(value), Ok(kind)) = (values.get(field.name), Type::parse(field.shape)) {
            at_secrets(&kind, value, names);
        }
    }
}

/// The texts at positions of type secret, and at no others.
fn at_secrets(kind: &Type, value: &Value, names: &mut BTreeSet<String>) {
    match (kind, value) {
        (Type::Secret, Value::String(name)) => drop(names.insert(name.clone())),
        (Type::Optional(inner), value) => at_secrets(inner, value, names),
        (Type::Either(structure, plain), value) => {
            at_secrets(structure, value, names);
            at_secrets(plain, value, names);
        }
        (Type::List(inner), Value::Array(items)) => items.iter().for_each(|item| at_secrets(inner, item, names)),
        (Type::Map(inner), Value::Object(fields)) => fields.values().for_each(|field| at_secrets(inner, field, names)),
        (Type::Object(kinds), Value::Object(fields)) => {
            for (name, kind) in kinds {
                if let Some(value) = fields.get(name) {
                    at_secrets(kind, value, names);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(body: &Value) -> Result<(), Why> {
        let params = json!({"response": {"id": "int", "name?": "string"}}).as_object().cloned().unwrap_or_default();
        let call = Call { key: "d-1".to_owned(), params, target: None, connection: None, origin: Origin::default() };
        let intent = Intent { call, plan: Value::Null, summary: String::new() };
        let outcome = Outcome { outputs: json!({"status": 200, "body": body}), summary: String::new(), url: None };
        as_declared(&intent, "http/request", &outcome)
    }

    #[test]
    fn an_answer_must_have_the_shape_that_its_step_declares() {
        assert_eq!(answered(&json!({"id": 7})), Ok(()));
        assert_eq!(answered(&json!({"id": 7, "name": "x", "more": true})), Ok(()));
        for (body, place) in
            [(json!({"id": "7"}), "`body.id`"), (json!({}), "`body.id`"), (json!([1]), "`body`"), (json!(null), "`body`")]
        {
            let why = answered(&body).expect_err("another shape");
            assert_eq!(why.code, "shape");
            assert!(why.message.contains(place), "{}", why.message);
        }
    }

    #[test]
    fn only_secrets_at_positions_of_secrets_are_handed_over() {
        let kind = Type::parse("{ auth: { bearer?: secret, google-id-token?: string }?, keys: [secret] }").expect("a shape");
        let value = json!({"auth": {"bearer": "a", "google-id-token": "b"}, "keys": ["c"], "other": "d"});
        let mut names = BTreeSet::new();
        at_secrets(&kind, &value, &mut names);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "c"]);
    }
}

//! What an action itself says to a call whose values are written out: a channel that the connection does not allow, a percentage above 100.
//!
//! It is told here and not by the first delivery. Calls that depend on the event are looked at by `declic test` and `declic explain`.

use std::collections::BTreeMap;

use declic_actions::action::{Call, Origin, Spec};
use declic_actions::kinds;
use serde_json::{Map, Value};

use super::Checker;
use crate::rules::registry;
use crate::rules::shapes;
use crate::rules::template::Template;
use crate::rules::types::{Escape, Type};
use crate::rules::yaml::Node;

/// Stands for text that is computed, where any text will do.
const SOME_TEXT: &str = "x";

impl Checker<'_> {
    /// Asks the action, if nothing that it could object to depends on the event. `step` is blamed where there is no `with:`.
    pub fn call_fits(&mut self, spec: &'static Spec, with: Option<&Node>, template: &Template, step: &Node) {
        let nowhere = BTreeMap::new();
        let (targets, connections) = match self.ground.offer {
            Some(offer) => (&offer.targets, &offer.connections),
            None if registry::kind_of_partner(spec.name).is_none() => (&nowhere, &nowhere),
            None => return,
        };
        let Some(action) = kinds::find(spec.name) else { return };
        let Some(params) = params(template, &shapes::object(spec.parameters)) else { return };
        let partner = |key: &str, entries: &BTreeMap<String, Value>| {
            params.get(key).and_then(Value::as_str).and_then(|name| entries.get(name).cloned())
        };
        let call = Call {
            key: "d0123456789abcdef".to_owned(),
            target: partner("target", targets),
            connection: partner("connection", connections),
            params,
            origin: everything(),
        };
        let Err(why) = action.prepare(call) else { return };
        let span = with.map_or_else(|| step.span.clone(), |with| blamed(with, &why.message).span.clone());
        self.faults.error("call", span, why.message, None);
    }
}

/// An event that has all that an action can ask for: what is missing then is missing in the rule.
fn everything() -> Origin {
    Origin {
        delivery: "sample".to_owned(),
        run: "sample".to_owned(),
        rule: "sample".to_owned(),
        step: "1".to_owned(),
        repository: Some("acme/web".to_owned()),
        sha: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        number: Some(1),
        actor: Some("octocat".to_owned()),
        comment: Some(1),
        trace: None,
        hops: 0,
        run_url: None,
    }
}

fn params(template: &Template, types: &BTreeMap<String, Type>) -> Option<Map<String, Value>> {
    let given = match template {
        Template::Literal(Value::Object(given)) => given.clone(),
        Template::Object(fields) => {
            fields.iter().map(|(name, field)| Some((name.clone(), known(field, types.get(name)?)?))).collect::<Option<_>>()?
        }
        _ => return None,
    };
    // A parameter whose value is missing is a parameter that is not given.
    Some(given.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// The value, with text in the place of what is computed; `None` where that text would matter.
fn known(template: &Template, expected: &Type) -> Option<Value> {
    let expected = match expected {
        Type::Optional(inner) => inner,
        other => other,
    };
    match (template, expected) {
        (Template::Literal(value), _) => Some(value.clone()),
        (Template::List(items), Type::List(inner)) => items.iter().map(|item| known(item, inner)).collect(),
        (Template::List(items), Type::Any) => items.iter().map(|item| known(item, expected)).collect(),
        (Template::Object(fields), Type::Object(types)) => params(&Template::Object(fields.clone()), types).map(Value::Object),
        (Template::Object(fields), Type::Map(inner)) => object(fields, inner),
        (Template::Object(fields), Type::Any) => object(fields, expected),
        (_, Type::Any | Type::Escaped(Escape::Markdown | Escape::Mrkdwn | Escape::Plain)) => Some(SOME_TEXT.into()),
        _ => None,
    }
}

fn object(fields: &[(String, Template)], inner: &Type) -> Option<Value> {
    fields
        .iter()
        .map(|(name, field)| Some((name.clone(), known(field, inner)?)))
        .collect::<Option<Map<_, _>>>()
        .map(Value::Object)
}

/// The parameter that the message quotes, by value or by name; else all of `with:`.
fn blamed<'n>(with: &'n Node, message: &str) -> &'n Node {
    let quotes = |word: &str| !word.is_empty() && message.contains(&format!("`{word}`"));
    let entries = with.entries().unwrap_or_default();
    let partner = |key: &str| matches!(key, "target" | "connection");
    let by_value =
        entries.iter().find(|entry| !partner(&entry.key) && entry.value.scalar().is_some_and(|scalar| quotes(&scalar.text)));
    by_value.or_else(|| entries.iter().find(|entry| quotes(&entry.key))).map_or(with, |entry| &entry.value)
}

//! What an action itself says to a call whose values are written out: a channel that the connection does not allow, a percentage above 100.
//!
//! It is told here and not by the first delivery. What depends on the event is looked at by `declic test` and `declic explain`.

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
    /// Asks the action what it objects to. `doubtful` are parameters at fault already; what depends on them or on the event is not asked.
    /// `step` is blamed where there is no `with:`.
    pub fn call_fits<'t>(
        &mut self,
        spec: &'static Spec,
        with: Option<&Node>,
        given: &'t [(String, Template)],
        mut doubtful: Vec<&'t str>,
        step: &Node,
    ) {
        let nowhere = BTreeMap::new();
        let (targets, connections) = match self.ground.offer {
            Some(offer) => (&offer.targets, &offer.connections),
            None if registry::kind_of_partner(spec.name).is_none() => (&nowhere, &nowhere),
            None => return,
        };
        let Some(action) = kinds::find(spec.name) else { return };
        let types = shapes::object(spec.parameters);
        let mut params = Map::new();
        for (name, template) in given {
            match types.get(name).and_then(|expected| known(template, expected)) {
                // A parameter whose value is missing is a parameter that is not given.
                Some(Value::Null) => {}
                Some(value) => {
                    params.insert(name.clone(), value);
                }
                None => doubtful.push(name),
            }
        }
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
        let Err(faults) = action.prepare(call) else { return };
        for why in faults.all() {
            let blamed = with.and_then(|with| blamed(with, &why.message));
            let certain = blamed.is_some() && !doubtful.iter().any(|name| mentions(&why.message, name));
            if doubtful.is_empty() || certain {
                let span = blamed.or(with).unwrap_or(step).span.clone();
                self.faults.error("call", span, why.message.clone(), None);
            }
        }
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
        (Template::Object(fields), Type::Object(types)) => object(fields, |name| types.get(name)),
        (Template::Object(fields), Type::Map(inner)) => object(fields, |_| Some(inner)),
        (Template::Object(fields), Type::Any) => object(fields, |_| Some(expected)),
        (_, Type::Any | Type::Escaped(Escape::Markdown | Escape::Mrkdwn | Escape::Plain)) => Some(SOME_TEXT.into()),
        _ => None,
    }
}

/// Without the fields whose value is missing.
fn object<'t>(fields: &[(String, Template)], of: impl Fn(&str) -> Option<&'t Type>) -> Option<Value> {
    let fields = fields.iter().map(|(name, field)| Some((name.clone(), known(field, of(name)?)?)));
    let fields: Option<Map<String, Value>> = fields.collect();
    fields.map(|fields| fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
}

/// The parameter that the message quotes, by value or by name.
fn blamed<'n>(with: &'n Node, message: &str) -> Option<&'n Node> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).filter(|quoted| !quoted.is_empty()).collect();
    let names = quoted.iter().map(|quoted| quoted.strip_prefix("with.").unwrap_or(quoted).split(['.', ':']).next().unwrap_or(""));
    let entries = with.entries().unwrap_or_default();
    let partner = |key: &str| matches!(key, "target" | "connection");
    let by_value = entries
        .iter()
        .find(|entry| !partner(&entry.key) && entry.value.scalar().is_some_and(|scalar| quoted.contains(&scalar.text.as_str())));
    let mut by_name = names.filter_map(|name| entries.iter().find(|entry| entry.key == name));
    by_value.or_else(|| by_name.next()).map(|entry| &entry.value)
}

/// Is the parameter among the words of the message?
fn mentions(message: &str, name: &str) -> bool {
    message.split(|character: char| !character.is_ascii_alphanumeric() && character != '-').any(|word| word == name)
}

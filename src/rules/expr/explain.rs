//! Why a condition holds or not.

use serde_json::Value;

use super::ast::Operator;
use super::datum::Datum;
use super::eval::Machine;
use super::node::{Method, Node, NodeKind};
use super::show::show;
use super::{EvaluationError, Reason, Roots};

/// Evaluates the condition part by part, as far as it decides.
pub(super) fn explain(source: &str, node: &Node, roots: &dyn Roots) -> Result<Reason, EvaluationError> {
    let mut machine = Machine::new(roots);
    reason(source, node, roots, &mut machine)
}

fn reason<'a>(source: &str, node: &'a Node, roots: &'a dyn Roots, machine: &mut Machine<'a>) -> Result<Reason, EvaluationError> {
    let (parts, all) = match &node.kind {
        NodeKind::And(parts) => (parts, true),
        NodeKind::Or(parts) => (parts, false),
        _ => return leaf(source, node, roots, machine),
    };
    let mut reasons = Vec::new();
    let mut holds = all;
    for part in parts {
        let part = reason(source, part, roots, machine)?;
        let decides = part.holds != all;
        reasons.push(part);
        if decides {
            holds = !all;
            break;
        }
    }
    let text = if all { "all of" } else { "any of" };
    Ok(Reason { holds, text: text.to_owned(), found: Vec::new(), parts: reasons, hint: None })
}

fn leaf<'a>(source: &str, node: &'a Node, roots: &'a dyn Roots, machine: &mut Machine<'a>) -> Result<Reason, EvaluationError> {
    let holds = machine.condition(node)?;
    let text = source.get(node.span.clone()).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let hint = if holds { None } else { hint(node, machine) };
    Ok(Reason { holds, text, found: found(node, roots), parts: Vec::new(), hint })
}

/// The fields that were read and what they were.
fn found(node: &Node, roots: &dyn Roots) -> Vec<String> {
    node.paths()
        .into_iter()
        .map(|(path, _)| {
            let (root, fields) = path.split_first().map_or(("", path), |(root, fields)| (root.as_ref(), fields));
            let root = roots.root(root);
            let value = fields.iter().fold(root, |value, name| value.and_then(|value| value.get(name.as_ref())));
            let shown = match value {
                None | Some(Value::Null) => "missing".to_owned(),
                Some(value) => show(value),
            };
            format!("{} = {shown}", path.join("."))
        })
        .collect()
}

/// A near miss in a comparison of texts that failed. Evaluated again: it evaluated before, and an error here only means no hint.
fn hint<'a>(node: &'a Node, machine: &mut Machine<'a>) -> Option<String> {
    let (left, right) = match &node.kind {
        NodeKind::Binary(Operator::Equal | Operator::In, left, right) => (left.as_ref(), right.as_ref()),
        NodeKind::Method(Method::Contains | Method::StartsWith | Method::EndsWith, receiver, arguments) => {
            (receiver.as_ref(), arguments.first()?)
        }
        _ => return None,
    };
    let (a, b) = (machine.datum(left).ok()?, machine.datum(right).ok()?);
    match (&node.kind, &a, &b) {
        (NodeKind::Binary(..), Datum::Text(a), Datum::Text(b)) => near_miss(a, b),
        (NodeKind::Method(method, ..), Datum::Text(a), Datum::Text(b)) => {
            let (a, b) = (a.to_lowercase(), b.to_lowercase());
            let holds = match method {
                Method::StartsWith => a.starts_with(&b),
                Method::EndsWith => a.ends_with(&b),
                _ => a.contains(&b),
            };
            holds.then(|| CASE.to_owned())
        }
        (NodeKind::Binary(..), Datum::Text(text), list) => near_miss_in(text, list),
        (NodeKind::Method(..), list, Datum::Text(text)) => near_miss_in(text, list),
        _ => None,
    }
}

fn near_miss_in(text: &str, list: &Datum<'_>) -> Option<String> {
    (0..list.length()?.min(100)).filter_map(|index| list.item(index)).find_map(|item| match item {
        Datum::Text(item) => near_miss(text, &item),
        _ => None,
    })
}

const CASE: &str = "differs only in case";

/// Why two different texts look the same to people.
pub(crate) fn near_miss(found: &str, wanted: &str) -> Option<String> {
    if found == wanted {
        return None;
    }
    let lower = |text: &str| text.to_lowercase();
    if found.trim() == wanted.trim() {
        return Some("differs only in the space around it".to_owned());
    }
    if lower(found) == lower(wanted) {
        return Some(CASE.to_owned());
    }
    ["refs/heads/", "refs/tags/"].into_iter().find_map(|prefix| {
        (found.strip_prefix(prefix) == Some(wanted) || wanted.strip_prefix(prefix) == Some(found))
            .then(|| format!("differs only in `{prefix}`: names of branches and tags are without it"))
    })
}

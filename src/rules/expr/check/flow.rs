//! What a condition proves about missing values: which paths are there if it is true, or if it is false.

use crate::rules::expr::ast::{Ast, Kind, Operator};

/// Paths that are there if the condition turned out to be `truth`. Names are joined by a character that no name has.
pub(super) fn facts(condition: &Ast, truth: bool) -> Vec<String> {
    match &condition.kind {
        Kind::Not(inner) => facts(inner, !truth),
        Kind::And(parts) if truth => parts.iter().flat_map(|part| facts(part, true)).collect(),
        Kind::Or(parts) if !truth => parts.iter().flat_map(|part| facts(part, false)).collect(),
        // Of "one of them holds" (or "one of them does not") only what follows from each of them is known.
        Kind::And(parts) | Kind::Or(parts) => shared(parts, truth),
        Kind::Binary(Operator::Equal, left, right) if truth => equal(left, right),
        Kind::Binary(Operator::NotEqual, left, right) if !truth => equal(left, right),
        Kind::Binary(Operator::Equal, left, right) | Kind::Binary(Operator::NotEqual, left, right) => not_null(left, right),
        Kind::Binary(Operator::In, left, right) if truth => match &right.kind {
            Kind::List(items)
                if !items.is_empty() && items.iter().all(|item| item.path().is_none() && !matches!(item.kind, Kind::Null)) =>
            {
                let successful = items.iter().all(|item| matches!(&item.kind, Kind::Text(word) if word == "success"));
                there(left).into_iter().chain(outputs(left).filter(|_| successful)).collect()
            }
            _ => Vec::new(),
        },
        Kind::Call(name, arguments) if truth && name.text == "has" => arguments.first().map(there).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn shared(parts: &[Ast], truth: bool) -> Vec<String> {
    let mut parts = parts.iter().map(|part| facts(part, truth));
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |known, next| known.into_iter().filter(|fact| next.contains(fact)).collect())
}

/// `path != null` holds.
fn not_null(left: &Ast, right: &Ast) -> Vec<String> {
    match (&left.kind, &right.kind) {
        (_, Kind::Null) => there(left),
        (Kind::Null, _) => there(right),
        _ => Vec::new(),
    }
}

/// `path == "literal"` holds.
fn equal(left: &Ast, right: &Ast) -> Vec<String> {
    let (path, literal) = if is_literal(right) { (left, right) } else { (right, left) };
    if !is_literal(literal) {
        return Vec::new();
    }
    let successful = matches!(&literal.kind, Kind::Text(word) if word == "success");
    there(path).into_iter().chain(outputs(path).filter(|_| successful)).collect()
}

fn is_literal(ast: &Ast) -> bool {
    matches!(ast.kind, Kind::Bool(_) | Kind::Int(_) | Kind::Double(_) | Kind::Text(_))
}

/// If a value is there, so is everything it is a part of.
fn there(ast: &Ast) -> Vec<String> {
    let path = ast.path().unwrap_or_default();
    (1..=path.len()).map(|length| path[..length].join("\u{0}")).collect()
}

/// `steps.x.result == "success"` proves that `steps.x.outputs` is there.
fn outputs(ast: &Ast) -> impl Iterator<Item = String> {
    let step = match ast.path().as_deref() {
        Some(["steps", step, "result"]) => Some(format!("steps\u{0}{step}\u{0}outputs")),
        _ => None,
    };
    step.into_iter()
}

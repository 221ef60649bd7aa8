//! Types, trust and flow: an [`Ast`] against a [`Scope`], compiled into a [`Node`] on the way. Reports every fault.

mod calls;
mod flow;
mod operators;

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::ast::{Ast, Kind, Word};
use super::node::{Node, NodeKind, Promise};
use super::{Compiled, Environment, Expression, Fault, Scope, eval, parser};
use crate::rules::suggest::closest;
use crate::rules::types::Type;

/// Parses, checks and compiles.
pub(super) fn compile(source: &str, scope: &Scope, condition: bool) -> Result<Expression, Vec<Fault>> {
    let (ast, faults) = parser::parse_on(source);
    // Of what was not understood, nobody knows whether it is true or false.
    let condition = condition && faults.is_empty();
    let mut checker = Checker { source, scope, locals: Vec::new(), present: Vec::new(), faults };
    let checked = if condition { checker.condition(&ast) } else { checker.value(&ast) };
    if !checker.faults.is_empty() {
        checker.faults.sort_by_key(|fault| (fault.span.start, fault.span.end));
        return Err(checker.faults);
    }
    Ok(Expression(Arc::new(Compiled {
        source: source.into(),
        result: checked.result.unwrap_or(Type::Any),
        proven: flow::facts(&ast, true).into(),
        node: checked.node,
    })))
}

/// A part that was looked at. Without a type a fault was reported already, and nothing more is said about it.
struct Checked {
    node: Node,
    result: Option<Type>,
}

struct Checker<'a> {
    source: &'a str,
    scope: &'a Scope,
    /// Variables of `map`, `exists`, …, innermost last.
    locals: Vec<(String, Type)>,
    /// Paths that a test around this place proved to be there: `event.tag`.
    present: Vec<String>,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn fault(&mut self, fault: Fault) -> Checked {
        let span = fault.span.clone();
        self.faults.push(fault);
        failed(span)
    }

    fn text(&self, span: &Range<usize>) -> &str {
        self.source.get(span.clone()).unwrap_or_default()
    }

    /// A value of any type, also a secret as a whole.
    fn value(&mut self, ast: &Ast) -> Checked {
        let span = ast.span.clone();
        let literal = |kind: Value, result: Type| Checked {
            node: Node { span: span.clone(), kind: NodeKind::Constant(Box::new(kind)) },
            result: Some(result),
        };
        let checked = match &ast.kind {
            Kind::Null => return literal(Value::Null, Type::Null),
            Kind::Bool(value) => return literal(Value::Bool(*value), Type::Bool),
            Kind::Int(value) => return literal(Value::from(*value), Type::Int),
            Kind::Double(value) => return literal(Value::from(*value), Type::Double),
            Kind::Text(text) => return literal(Value::from(text.as_str()), Type::Enum(vec![text.clone()])),
            Kind::List(items) => self.list(ast, items),
            Kind::Name(name) => self.name(ast, name),
            Kind::Field(inner, name) => self.field(ast, inner, name),
            Kind::Index(inner, index) => self.index(ast, inner, index),
            Kind::Not(inner) => {
                let inner = self.condition(inner);
                made(ast, NodeKind::Not(Box::new(inner.node)), inner.result.map(|_| Type::Bool))
            }
            Kind::Negate(inner) => self.negate(ast, inner),
            Kind::And(parts) => self.logical(ast, parts, true),
            Kind::Or(parts) => self.logical(ast, parts, false),
            Kind::Binary(operator, left, right) => self.binary(ast, *operator, left, right),
            Kind::Call(name, arguments) => self.call(ast, name, arguments),
            Kind::Method(receiver, name, arguments) => self.method(ast, receiver, name, arguments),
            Kind::Broken(parts) => {
                for part in parts {
                    self.value(part);
                }
                failed(span.clone())
            }
        };
        self.constant(as_double(checked))
    }

    /// What reads nothing has one value, and it is a fault if it has none: `1 / 0`, `int("x")`.
    fn constant(&mut self, checked: Checked) -> Checked {
        if checked.result.is_none() || !checked.node.reads_nothing(self.locals.len()) {
            return checked;
        }
        match eval::Machine::new(&Environment::default()).value(&checked.node) {
            Ok(_) => checked,
            Err(error) => self
                .fault(Fault::new(error.span, error.message).with_help("this is always so: nothing of the event is read here")),
        }
    }

    /// A value that is worked with, so not a secret.
    fn operand(&mut self, ast: &Ast) -> Checked {
        let checked = self.value(ast);
        match &checked.result {
            Some(result) if result.holds_secret() => {
                let fault =
                    Fault::new(ast.span.clone(), "a secret cannot be read, compared or put into a text").with_code("secret");
                self.fault(fault.with_help("give it whole to a parameter that takes a secret: ${{ secrets.name }}"))
            }
            _ => checked,
        }
    }

    /// A value that is there.
    fn present(&mut self, ast: &Ast) -> Checked {
        let mut checked = self.operand(ast);
        if checked.result.as_ref().is_some_and(Type::is_optional) {
            let fault = self.missing(ast);
            self.faults.push(fault);
            checked.result = None;
        }
        checked
    }

    fn missing(&self, ast: &Ast) -> Fault {
        let text = self.text(&ast.span);
        let help = match ast.path().as_deref() {
            Some(["steps", step, "outputs", ..]) => {
                format!(
                    "the step may be skipped or fail: test `steps.{step}.result == \"success\"` first, or give a default: ({text} ?? …)"
                )
            }
            Some(_) => format!("test it first: {text} != null && …, or give a default: ({text} ?? …)"),
            None => format!("give a default: ({text} ?? …)"),
        };
        Fault::new(ast.span.clone(), format!("`{text}` may be missing")).with_help(help)
    }

    /// True or false, and not always the same.
    fn condition(&mut self, ast: &Ast) -> Checked {
        let mut checked = self.present(ast);
        match &checked.result {
            None | Some(Type::Any) => {}
            Some(Type::Bool) if checked.node.reads_nothing(self.locals.len()) => {
                let always = eval::Machine::new(&Environment::default()).condition(&checked.node);
                let message = always.map_or_else(|error| error.message, |always| format!("this is always {always}"));
                return self
                    .fault(Fault::new(ast.span.clone(), message).with_help("leave it out, or test something of the event"));
            }
            Some(Type::Bool) => {}
            Some(other) => {
                let text = self.text(&ast.span);
                let help = match other {
                    Type::Int | Type::Double => format!("compare it: {text} > 0"),
                    Type::List(_) | Type::Map(_) => format!("compare its size: {text}.size() > 0"),
                    other if other.is_stringlike() => format!("compare it: {text} != \"\""),
                    _ => "compare it with something".to_owned(),
                };
                let message = format!("a condition is true or false, this is {}", article(other));
                self.faults.push(Fault::new(ast.span.clone(), message).with_help(help));
                checked.result = None;
            }
        }
        checked.result = checked.result.map(|_| Type::Bool);
        checked
    }

    /// Checks something that is only evaluated where these paths are there.
    fn knowing<T>(&mut self, mut facts: Vec<String>, inner: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.present.len();
        self.present.append(&mut facts);
        let result = inner(self);
        self.present.truncate(before);
        result
    }

    /// `a && b && c` and `a || b || c`: each part is only evaluated if those before were all true, or all false.
    fn logical(&mut self, ast: &Ast, parts: &[Ast], and: bool) -> Checked {
        let mut nodes = Vec::with_capacity(parts.len());
        let mut facts = Vec::new();
        let mut sound = true;
        for part in parts {
            let checked = self.knowing(facts.clone(), |checker| checker.condition(part));
            sound &= checked.result.is_some();
            nodes.push(checked.node);
            facts.extend(flow::facts(part, and));
        }
        made(ast, if and { NodeKind::And(nodes.into()) } else { NodeKind::Or(nodes.into()) }, sound.then_some(Type::Bool))
    }

    fn list(&mut self, ast: &Ast, items: &[Ast]) -> Checked {
        let mut nodes = Vec::with_capacity(items.len());
        let mut inner = Some(Type::nothing());
        for item in items {
            let checked = self.operand(item);
            nodes.push(checked.node);
            inner = match (inner, checked.result) {
                (Some(inner), Some(next)) => match inner.join(&next) {
                    Some(joined) => Some(joined),
                    None => {
                        let message = format!("a list holds one type, and {} is not {}", article(&next), article(&inner));
                        self.fault(Fault::new(item.span.clone(), message)).result
                    }
                },
                _ => None,
            };
        }
        made(ast, NodeKind::List(nodes.into()), inner.map(|inner| Type::List(Box::new(inner))))
    }

    fn name(&mut self, ast: &Ast, name: &str) -> Checked {
        if let Some(slot) = self.locals.iter().rposition(|(local, _)| local == name) {
            let result = self.locals.get(slot).map(|(_, local)| local.clone());
            let result = self.narrowed(ast, result);
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            return made(ast, NodeKind::Local(slot, Vec::new(), Promise::of(result.as_ref())), result);
        }
        match self.scope.names.get(name) {
            Some(root) => {
                let result = self.narrowed(ast, Some(root.clone()));
                made(ast, NodeKind::Path(vec![name.into()], Promise::of(result.as_ref())), result)
            }
            None => {
                let fault = Fault::new(ast.span.clone(), format!("there is no `{name}` here"));
                let help = self.name_help(name);
                self.fault(fault.with_help(help))
            }
        }
    }

    fn name_help(&self, name: &str) -> String {
        let known = || self.scope.names.keys().map(String::as_str).chain(self.locals.iter().map(|(local, _)| local.as_str()));
        if let Some(near) = closest(name, known()) {
            return format!("did you mean `{near}`?");
        }
        match name {
            "github" if self.scope.names.contains_key("event") => {
                "what GitHub sent is in `event`, `repo` and `actor`; its own words are in `event.payload`".to_owned()
            }
            "env" | "inputs" | "matrix" | "needs" | "job" | "runner" => {
                "constants are kept in `vars:`, and read as vars.name".to_owned()
            }
            _ if self.scope.names.is_empty() => "only constants can be used here".to_owned(),
            _ => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        }
    }

    /// The type of a path, without the `?` where a test proved that it is there.
    fn narrowed(&self, ast: &Ast, result: Option<Type>) -> Option<Type> {
        match (result, ast.path()) {
            (Some(Type::Optional(inner)), Some(path)) if self.present.iter().any(|known| path_is(known, &path)) => Some(*inner),
            (result, _) => result,
        }
    }

    fn field(&mut self, ast: &Ast, inner: &Ast, name: &Word) -> Checked {
        let inner_checked = self.value(inner);
        let Some(inner_type) = inner_checked.result else { return failed(ast.span.clone()) };
        let Some(field) = inner_type.field(&name.text) else {
            let fault = self.no_field(inner, &inner_type, &name.text, name.span.clone());
            return self.fault(fault);
        };
        let result = self.narrowed(ast, Some(field));
        // What a path leads through is there if its end is; only the end has to keep a promise.
        let promise = Promise::of(result.as_ref());
        let node = match inner_checked.node.kind {
            NodeKind::Path(mut path, _) => {
                path.reserve_exact(1);
                path.push(name.text.as_str().into());
                NodeKind::Path(path, promise)
            }
            NodeKind::Local(slot, mut path, _) => {
                path.reserve_exact(1);
                path.push(name.text.as_str().into());
                NodeKind::Local(slot, path, promise)
            }
            kind => {
                let inner = Node { span: inner_checked.node.span, kind };
                NodeKind::Field(Box::new(inner), name.text.as_str().into(), promise)
            }
        };
        made(ast, node, result)
    }

    fn no_field(&self, inner: &Ast, of: &Type, name: &str, span: Range<usize>) -> Fault {
        let text = self.text(&inner.span);
        let Type::Object(fields) = of.present() else {
            let fault = Fault::new(span, format!("`{text}` is {}, it has no fields", article(of)));
            return match of.present() {
                _ if calls::is_method(name) => fault.with_help(format!("write {text}.{name}(…)")),
                Type::List(_) => fault.with_help(format!("take one item: {text}.first(), or all: {text}.map(x, x.{name})")),
                _ => fault,
            };
        };
        if let Some(fault) = self.not_of_all(inner, name, &span) {
            return fault;
        }
        let fault = Fault::new(span, format!("`{text}` has no `{name}`"));
        if let Some(near) = closest(name, fields.keys().map(String::as_str)) {
            return fault.with_help(format!("did you mean `{near}`?"));
        }
        let names: Vec<&str> = fields.keys().map(String::as_str).take(16).collect();
        let more = if fields.len() > names.len() { ", …" } else { "" };
        if names.is_empty() { fault } else { fault.with_help(format!("it has: {}{more}", names.join(", "))) }
    }

    /// A field that some events of the rule have and others do not, or not of the same type.
    fn not_of_all(&self, inner: &Ast, name: &str, span: &Range<usize>) -> Option<Fault> {
        let mut path = inner.path()?;
        path.push(name);
        let ("event", fields) = path.split_first().map(|(root, fields)| (*root, fields))? else { return None };
        let of = |event: &Type| fields.iter().try_fold(event.clone(), |inner, name| inner.field(name));
        let found: Vec<(&str, Option<Type>)> = self.scope.events.iter().map(|(name, event)| (*name, of(event))).collect();
        if found.iter().all(|(_, found)| found.is_none()) {
            return None;
        }
        let list = |has: bool| {
            let names = found.iter().filter(|(_, found)| found.is_some() == has).map(|(name, _)| format!("`{name}`"));
            names.collect::<Vec<_>>().join(", ")
        };
        let path = path.join(".");
        let (message, help) = if found.iter().all(|(_, found)| found.is_some()) {
            let types = found.iter().filter_map(|(name, found)| Some(format!("{} in `{name}`", found.as_ref()?.described())));
            (format!("`{path}` is not the same in all events of this rule"), types.collect::<Vec<_>>().join(", "))
        } else {
            (format!("not all events of this rule have `{path}`"), format!("it is in {}, not in {}", list(true), list(false)))
        };
        Some(Fault::new(span.clone(), message).with_help(format!("{help}; write a rule for each")))
    }

    fn index(&mut self, ast: &Ast, inner: &Ast, index: &Ast) -> Checked {
        if let Kind::Text(name) = &index.kind {
            return self.field(ast, inner, &Word { text: name.clone(), span: index.span.clone() });
        }
        let inner_checked = self.operand(inner);
        let index_checked = self.present(index);
        let (Some(of), Some(by)) = (inner_checked.result, index_checked.result) else { return failed(ast.span.clone()) };
        let result = match (of.present(), &by) {
            (Type::Any, by) if by.is_stringlike() || matches!(by, Type::Int | Type::Any) => Type::Any,
            (Type::List(item), Type::Int | Type::Any) => item.as_ref().clone().optional(),
            (Type::Map(item), by) if by.is_stringlike() || *by == Type::Any => item.as_ref().clone().optional(),
            (Type::Object(_), by) if by.is_stringlike() => {
                return self.fault(Fault::new(index.span.clone(), "the name of a field must be written out here"));
            }
            (of, by) => {
                let message = format!("{} has no items that are found by {}", article(of), article(by));
                return self.fault(Fault::new(index.span.clone(), message));
            }
        };
        made(ast, NodeKind::Index(Box::new(inner_checked.node), Box::new(index_checked.node)), Some(result))
    }
}

/// A compiled part of a known type.
fn made(ast: &Ast, kind: NodeKind, result: Option<Type>) -> Checked {
    Checked { node: Node { span: ast.span.clone(), kind }, result }
}

/// A part with a fault in it.
fn failed(span: Range<usize>) -> Checked {
    Checked { node: Node { span, kind: NodeKind::Constant(Box::new(Value::Null)) }, result: None }
}

/// Makes sure that what is declared as a double is one, also where JSON has `2`.
fn as_double(checked: Checked) -> Checked {
    match &checked.result {
        Some(result)
            if *result.present() == Type::Double && !matches!(checked.node.kind, NodeKind::Binary(..) | NodeKind::Negate(_)) =>
        {
            let span = checked.node.span.clone();
            Checked { node: Node { span, kind: NodeKind::ToDouble(Box::new(checked.node)) }, ..checked }
        }
        _ => checked,
    }
}

/// Is the path known by its dotted form?
fn path_is(known: &str, path: &[&str]) -> bool {
    known.split('\u{0}').eq(path.iter().copied())
}

/// A type with its article, for messages.
fn article(of: &Type) -> String {
    match of.word() {
        "any" => "any value".to_owned(),
        "null" => "a missing value".to_owned(),
        word @ ("int" | "object") => format!("an {word}"),
        word => format!("a {word}"),
    }
}

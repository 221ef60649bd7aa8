//! The compiled form of an expression: names resolved, patterns compiled, types no longer needed.

use std::ops::Range;

use regex::Regex;
use serde_json::Value;

use super::ast::Operator;
use super::datum::Datum;
use crate::rules::types::Type;

/// A compiled part with its place, for messages.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub span: Range<usize>,
    pub kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    /// Boxed, like the regular expression: they would make every part of every rule as large as themselves.
    Constant(Box<Value>),
    /// A root name and the fields below it.
    Path(Vec<Box<str>>, Promise),
    /// The variable of an enclosing `map`, `exists`, …, counted from the outermost, and the fields below it.
    Local(u32, Vec<Box<str>>, Promise),
    Field(Box<Node>, Box<str>, Promise),
    Index(Box<Node>, Box<Node>),
    List(Box<[Node]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<[Node]>),
    Or(Box<[Node]>),
    Binary(Operator, Box<Node>, Box<Node>),
    /// `<` and its kind between points in time.
    Order(Operator, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
    Call(Function, Box<Node>),
    Method(Method, Box<Node>, Box<[Node]>),
    Matches(Box<Node>, Box<Regex>),
    Each(Each, Box<Node>, Box<Node>),
    /// JSON does not tell `2` from `2.0`; where the type says double, it is one.
    ToDouble(Box<Node>),
}

/// What the type of a field says of every value that is read there. Payloads come from elsewhere, and a guard such as `x != "fork"` must
/// not hold because the field is gone or became something else: a promise that is not kept is an error, never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise {
    /// May it be missing?
    pub optional: bool,
    pub kind: Promised,
}

/// The kind of value that is promised, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promised {
    Anything,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl Promise {
    /// What a type promises; nothing where there is a fault instead of a type.
    pub fn of(result: Option<&Type>) -> Self {
        let Some(result) = result else { return Self { optional: true, kind: Promised::Anything } };
        let kind = match result.present() {
            Type::Bool => Promised::Bool,
            Type::Int | Type::Double => Promised::Number,
            Type::List(_) => Promised::List,
            Type::Object(_) | Type::Map(_) => Promised::Object,
            kind if kind.is_stringlike() => Promised::Text,
            _ => Promised::Anything,
        };
        Self { optional: result.is_optional() || *result == Type::Any, kind }
    }

    /// Is it kept?
    pub fn is_kept(self, datum: &Datum<'_>) -> bool {
        match (self.kind, datum) {
            (_, Datum::Null) => self.optional,
            (Promised::Anything, _) => true,
            (Promised::Bool, datum) => matches!(datum, Datum::Bool(_)),
            (Promised::Number, datum) => matches!(datum, Datum::Int(_) | Datum::Double(_) | Datum::Json(Value::Number(_))),
            (Promised::Text, datum) => matches!(datum, Datum::Text(_)),
            (Promised::List, datum) => datum.length().is_some(),
            (Promised::Object, datum) => matches!(datum, Datum::Json(Value::Object(_))),
        }
    }

    /// For messages, with its article.
    pub fn word(self) -> &'static str {
        match self.kind {
            Promised::Anything => "any value",
            Promised::Bool => "a bool",
            Promised::Number => "a number",
            Promised::Text => "a string",
            Promised::List => "a list",
            Promised::Object => "an object",
        }
    }
}

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Has,
    String,
    Int,
    Double,
    Json,
    Slug,
    Short,
}

/// Methods whose arguments are values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Contains,
    StartsWith,
    EndsWith,
    Size,
    Lower,
    Upper,
    Trim,
    Split,
    Join,
    Replace,
    First,
    Last,
}

/// Methods that evaluate their second argument for every item of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    Exists,
    All,
    Filter,
    Map,
}

impl Node {
    /// Every part, from the outside in.
    pub fn visit<'a>(&'a self, see: &mut dyn FnMut(&'a Node)) {
        see(self);
        self.children(&mut |child| child.visit(see));
    }

    /// The parts that it is made of.
    fn children<'a>(&'a self, see: &mut dyn FnMut(&'a Node)) {
        match &self.kind {
            NodeKind::Constant(_) | NodeKind::Path(..) | NodeKind::Local(..) => {}
            NodeKind::Field(inner, ..) | NodeKind::Not(inner) | NodeKind::Negate(inner) | NodeKind::ToDouble(inner) => see(inner),
            NodeKind::Call(_, inner) | NodeKind::Matches(inner, _) => see(inner),
            NodeKind::List(parts) | NodeKind::And(parts) | NodeKind::Or(parts) => parts.iter().for_each(see),
            NodeKind::Index(left, right)
            | NodeKind::Binary(_, left, right)
            | NodeKind::Order(_, left, right)
            | NodeKind::Each(_, left, right) => {
                see(left);
                see(right);
            }
            NodeKind::If(condition, yes, no) => [condition, yes, no].into_iter().for_each(|part| see(part)),
            NodeKind::Method(_, receiver, arguments) => {
                see(receiver);
                arguments.iter().for_each(see);
            }
        }
    }

    /// Does it read no name, so that it is always the same? The variables of its own `map`, `exists`, … do not count, as long as `around`,
    /// the number of loops that it stands in, is 0.
    pub fn reads_nothing(&self, around: usize) -> bool {
        let mut nothing = true;
        self.visit(&mut |node| {
            nothing &= match node.kind {
                NodeKind::Path(..) => false,
                NodeKind::Local(..) => around == 0,
                _ => true,
            };
        });
        nothing
    }

    /// A missing value is no surprise here: something else is put in its place.
    pub fn may_be_missing(&mut self) {
        match &mut self.kind {
            NodeKind::Path(.., promise) | NodeKind::Local(.., promise) | NodeKind::Field(.., promise) => promise.optional = true,
            NodeKind::ToDouble(inner) => inner.may_be_missing(),
            _ => {}
        }
    }

    /// Does it hold only where the flag at the path is not set?
    pub fn only_without(&self, flag: &[&str]) -> bool {
        let is_flag = |node: &Node| matches!(&node.kind, NodeKind::Path(path, _) if path.iter().map(AsRef::as_ref).eq(flag.iter().copied()));
        let is = |node: &Node, value: bool| matches!(&node.kind, NodeKind::Constant(found) if **found == Value::Bool(value));
        match &self.kind {
            NodeKind::Not(inner) => is_flag(inner),
            NodeKind::And(parts) => parts.iter().any(|part| part.only_without(flag)),
            NodeKind::Or(parts) => parts.iter().all(|part| part.only_without(flag)),
            NodeKind::Binary(operator @ (Operator::Equal | Operator::NotEqual), left, right) => {
                let excluded = *operator == Operator::NotEqual;
                (is_flag(left) && is(right, excluded)) || (is_flag(right) && is(left, excluded))
            }
            _ => false,
        }
    }

    /// Every context path that is read, with the place of the read, in the order written.
    pub fn paths(&self) -> Vec<(&[Box<str>], &Range<usize>)> {
        let mut paths: Vec<(&[Box<str>], &Range<usize>)> = Vec::new();
        self.visit(&mut |node| {
            if let NodeKind::Path(path, _) = &node.kind
                && !paths.iter().any(|(seen, _)| *seen == path.as_slice())
            {
                paths.push((path, &node.span));
            }
        });
        paths
    }
}

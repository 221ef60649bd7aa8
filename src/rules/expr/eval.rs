//! Evaluation: total, without a clock, within a budget of steps and bytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;

use super::ast::Operator;
use super::datum::Datum;
use super::node::{Each, Function, Node, NodeKind, Promise};
use super::{EvaluationError, MOST_STEPS, Roots};

/// Most bytes of text that one evaluation may make.
const MOST_TEXT: usize = 4 << 20;
/// Most bytes of a result, roughly; a whole payload of the largest body fits.
const MOST_RESULT: usize = 256 << 20;
/// So much text is looked at in one step.
const TEXT_IN_A_STEP: usize = 4096;

/// One evaluation.
pub(super) struct Machine<'a> {
    roots: &'a dyn Roots,
    locals: Vec<Datum<'a>>,
    steps: u32,
    text: usize,
}

pub(super) type Outcome<'a> = Result<Datum<'a>, EvaluationError>;

/// An error at a part.
pub(super) fn error(node: &Node, message: impl Into<String>) -> EvaluationError {
    EvaluationError { span: node.span.clone(), message: message.into() }
}

/// A part by its name, where it has one.
pub(super) fn name_of(node: &Node) -> String {
    match &node.kind {
        NodeKind::Path(path, _) => format!("`{}`", path.join(".")),
        NodeKind::ToDouble(inner) => name_of(inner),
        _ => "this".to_owned(),
    }
}

impl<'a> Machine<'a> {
    pub fn new(roots: &'a dyn Roots) -> Self {
        Self { roots, locals: Vec::new(), steps: 0, text: 0 }
    }

    /// The value of a whole expression.
    pub fn value(&mut self, node: &'a Node) -> Result<Value, EvaluationError> {
        let datum = self.datum(node)?;
        let mut left = MOST_RESULT;
        datum.into_value(&mut left).ok_or_else(|| error(node, "the result is too large"))
    }

    /// True or false.
    pub fn condition(&mut self, node: &'a Node) -> Result<bool, EvaluationError> {
        match self.datum(node)? {
            Datum::Bool(value) => Ok(value),
            other => Err(error(node, format!("{} is {}, not true or false", name_of(node), other.kind()))),
        }
    }

    /// Spends `count` steps.
    pub fn step(&mut self, node: &Node, count: usize) -> Result<(), EvaluationError> {
        self.steps = self.steps.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.steps > MOST_STEPS {
            return Err(error(node, format!("this takes more than {MOST_STEPS} steps: the lists or texts are too long for it")));
        }
        Ok(())
    }

    /// Spends what looking at a text costs.
    pub fn look(&mut self, node: &Node, text: &str) -> Result<(), EvaluationError> {
        self.step(node, text.len() / TEXT_IN_A_STEP)
    }

    /// Asks for room for a new text, before it is made.
    pub fn room(&mut self, node: &Node, bytes: usize) -> Result<(), EvaluationError> {
        self.text = self.text.saturating_add(bytes);
        if self.text > MOST_TEXT {
            return Err(error(node, format!("this makes more than {} MiB of text", MOST_TEXT >> 20)));
        }
        Ok(())
    }

    pub fn datum(&mut self, node: &'a Node) -> Outcome<'a> {
        match &node.kind {
            NodeKind::Constant(value) => return Ok(Datum::from(value.as_ref())),
            NodeKind::Path(path, promise) => return kept(node, *promise, self.path(node, path)?),
            NodeKind::Local(slot, path, promise) => {
                let start = self.locals.get(*slot as usize).cloned().unwrap_or(Datum::Null);
                return kept(node, *promise, path.iter().try_fold(start, |datum, name| field(node, datum, name))?);
            }
            _ => self.step(node, 1)?,
        }
        match &node.kind {
            NodeKind::Constant(_) | NodeKind::Path(..) | NodeKind::Local(..) => Ok(Datum::Null),
            NodeKind::Field(inner, name, promise) => {
                let datum = self.datum(inner)?;
                kept(node, *promise, field(node, datum, name)?)
            }
            NodeKind::Index(inner, index) => self.index(node, inner, index),
            NodeKind::List(items) => {
                let items = items.iter().map(|item| self.datum(item)).collect::<Result<_, _>>()?;
                Ok(Datum::List(Rc::new(items)))
            }
            NodeKind::Not(inner) => Ok(Datum::Bool(!self.condition(inner)?)),
            NodeKind::Negate(inner) => match self.datum(inner)? {
                Datum::Int(value) => value.checked_neg().map(Datum::Int).ok_or_else(|| overflow(node)),
                Datum::Double(value) => Ok(Datum::Double(-value)),
                other => Err(error(inner, format!("`-` takes a number, {} is {}", name_of(inner), other.kind()))),
            },
            NodeKind::And(parts) => {
                for part in parts {
                    if !self.condition(part)? {
                        return Ok(Datum::Bool(false));
                    }
                }
                Ok(Datum::Bool(true))
            }
            NodeKind::Or(parts) => {
                for part in parts {
                    if self.condition(part)? {
                        return Ok(Datum::Bool(true));
                    }
                }
                Ok(Datum::Bool(false))
            }
            NodeKind::Binary(operator, left, right) => self.binary(node, *operator, left, right),
            NodeKind::Order(operator, left, right) => {
                let (a, b) = (self.time(left)?, self.time(right)?);
                Ok(Datum::Bool(ordered(*operator, a.cmp(&b))))
            }
            NodeKind::If(condition, yes, no) => {
                if self.condition(condition)? {
                    self.datum(yes)
                } else {
                    self.datum(no)
                }
            }
            NodeKind::Call(Function::Has, inner) => Ok(Datum::Bool(!matches!(self.datum(inner)?, Datum::Null))),
            NodeKind::Call(function, inner) => self.call(node, *function, inner),
            NodeKind::Method(method, receiver, arguments) => self.method(node, *method, receiver, arguments),
            NodeKind::Matches(receiver, regex) => {
                let text = self.text(receiver)?;
                self.look(node, &text)?;
                Ok(Datum::Bool(regex.is_match(&text)))
            }
            NodeKind::Each(each, receiver, body) => self.each(node, *each, receiver, body),
            NodeKind::ToDouble(inner) => Ok(match self.datum(inner)? {
                Datum::Int(value) => Datum::Double(value as f64),
                other => other,
            }),
        }
    }

    fn path(&self, node: &Node, path: &[Box<str>]) -> Outcome<'a> {
        let Some((root, fields)) = path.split_first() else { return Ok(Datum::Null) };
        let start = self.roots.root(root).map_or(Datum::Null, Datum::from);
        fields.iter().try_fold(start, |datum, name| field(node, datum, name))
    }

    /// A text that is there.
    pub fn text(&mut self, node: &'a Node) -> Result<Cow<'a, str>, EvaluationError> {
        match self.datum(node)? {
            Datum::Text(text) => Ok(text),
            other => Err(error(node, format!("a text is needed here, {} is {}", name_of(node), other.kind()))),
        }
    }

    fn time(&mut self, node: &'a Node) -> Result<chrono::DateTime<chrono::FixedOffset>, EvaluationError> {
        let text = self.text(node)?;
        chrono::DateTime::parse_from_rfc3339(&text)
            .map_err(|_| error(node, "this is not a point in time, such as 2026-11-24T06:00:00Z"))
    }

    fn index(&mut self, node: &'a Node, inner: &'a Node, index: &'a Node) -> Outcome<'a> {
        let (of, by) = (self.datum(inner)?, self.datum(index)?);
        match (&of, &by) {
            (Datum::Null, _) => Ok(Datum::Null),
            (of, Datum::Int(position)) if of.length().is_some() => {
                Ok(usize::try_from(*position).ok().and_then(|position| of.item(position)).unwrap_or(Datum::Null))
            }
            (Datum::Json(Value::Object(entries)), Datum::Text(name)) => {
                Ok(entries.get(name.as_ref()).map_or(Datum::Null, Datum::from))
            }
            _ => Err(error(node, format!("{} is {}, which has no items found by {}", name_of(inner), of.kind(), by.kind()))),
        }
    }

    fn binary(&mut self, node: &'a Node, operator: Operator, left: &'a Node, right: &'a Node) -> Outcome<'a> {
        if operator == Operator::Default {
            return match self.datum(left)? {
                Datum::Null => self.datum(right),
                there => Ok(there),
            };
        }
        let (a, b) = (self.datum(left)?, self.datum(right)?);
        match operator {
            Operator::Equal => Ok(Datum::Bool(self.equal(node, &a, &b)?)),
            Operator::NotEqual => Ok(Datum::Bool(!self.equal(node, &a, &b)?)),
            Operator::In => self.contains(node, &b, &a).and_then(|found| {
                found
                    .map(Datum::Bool)
                    .ok_or_else(|| error(right, format!("`in` looks into a list or a map, {} is {}", name_of(right), b.kind())))
            }),
            operator if operator.orders() => {
                let order = match (&a, &b) {
                    (Datum::Text(a), Datum::Text(b)) => {
                        self.look(node, if a.len() < b.len() { a } else { b })?;
                        Some(a.cmp(b))
                    }
                    (a, b) => a.compare_numbers(b),
                };
                let order = order.ok_or_else(|| {
                    error(
                        node,
                        format!("these have no order: {} is {}, {} is {}", name_of(left), a.kind(), name_of(right), b.kind()),
                    )
                })?;
                Ok(Datum::Bool(ordered(operator, order)))
            }
            operator => self.arithmetic(node, operator, (left, a), (right, b)),
        }
    }

    /// Does a list have the item, or a map the name? `None` if it is neither.
    pub fn contains(&mut self, node: &Node, whole: &Datum<'a>, item: &Datum<'a>) -> Result<Option<bool>, EvaluationError> {
        if let (Datum::Json(Value::Object(entries)), Datum::Text(name)) = (whole, item) {
            return Ok(Some(entries.contains_key(name.as_ref())));
        }
        let Some(length) = whole.length() else { return Ok(None) };
        for index in 0..length {
            self.step(node, 1)?;
            if whole.item(index).map_or(Ok(false), |other| self.equal(node, &other, item))? {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }

    /// Deep equality; ints and doubles are equal if the numbers are, values of different kinds never are.
    fn equal(&mut self, node: &Node, a: &Datum<'a>, b: &Datum<'a>) -> Result<bool, EvaluationError> {
        match (a, b) {
            (Datum::Null, Datum::Null) => Ok(true),
            (Datum::Bool(a), Datum::Bool(b)) => Ok(a == b),
            (Datum::Text(a), Datum::Text(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                self.look(node, a)?;
                Ok(a == b)
            }
            (Datum::Json(Value::Object(a)), Datum::Json(Value::Object(b))) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (name, a) in a {
                    self.step(node, 1)?;
                    let Some(b) = b.get(name) else { return Ok(false) };
                    if !self.equal(node, &Datum::from(a), &Datum::from(b))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Datum::Json(Value::Number(a)), Datum::Json(Value::Number(b))) => Ok(a == b),
            (a, b) if a.length().is_some() => {
                let (Some(length), Some(other)) = (a.length(), b.length()) else { return Ok(false) };
                if length != other {
                    return Ok(false);
                }
                for index in 0..length {
                    self.step(node, 1)?;
                    let (Some(a), Some(b)) = (a.item(index), b.item(index)) else { return Ok(false) };
                    if !self.equal(node, &a, &b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (a, b) => Ok(a.compare_numbers(b) == Some(Ordering::Equal)),
        }
    }

    fn arithmetic(
        &mut self,
        node: &'a Node,
        operator: Operator,
        (left, a): (&Node, Datum<'a>),
        (right, b): (&Node, Datum<'a>),
    ) -> Outcome<'a> {
        match (&a, &b) {
            (Datum::Int(a), Datum::Int(b)) => {
                let result = match operator {
                    Operator::Add => a.checked_add(*b),
                    Operator::Subtract => a.checked_sub(*b),
                    Operator::Multiply => a.checked_mul(*b),
                    _ if *b == 0 => return Err(error(node, "division by zero")),
                    Operator::Divide => a.checked_div(*b),
                    _ => a.checked_rem(*b),
                };
                result.map(Datum::Int).ok_or_else(|| overflow(node))
            }
            (Datum::Int(_) | Datum::Double(_), Datum::Int(_) | Datum::Double(_)) if operator != Operator::Remainder => {
                let double = |datum: &Datum| match datum {
                    Datum::Int(value) => *value as f64,
                    Datum::Double(value) => *value,
                    _ => f64::NAN,
                };
                let (a, b) = (double(&a), double(&b));
                let result = match operator {
                    Operator::Add => a + b,
                    Operator::Subtract => a - b,
                    Operator::Multiply => a * b,
                    _ if b == 0.0 => return Err(error(node, "division by zero")),
                    _ => a / b,
                };
                if result.is_finite() {
                    Ok(Datum::Double(result))
                } else {
                    Err(error(node, "the result is too large for a double"))
                }
            }
            (Datum::Text(a), Datum::Text(b)) if operator == Operator::Add => {
                self.room(node, a.len() + b.len())?;
                Ok(Datum::Text(Cow::Owned(format!("{a}{b}"))))
            }
            (a, b) => match (operator, a.length(), b.length()) {
                (Operator::Add, Some(first), Some(second)) => {
                    self.step(node, first.saturating_add(second))?;
                    let items = (0..first).filter_map(|index| a.item(index)).chain((0..second).filter_map(|index| b.item(index)));
                    Ok(Datum::List(Rc::new(items.collect())))
                }
                _ => {
                    let (symbol, a_name, b_name) = (operator.symbol(), name_of(left), name_of(right));
                    Err(error(node, format!("`{symbol}` does not work here: {a_name} is {}, {b_name} is {}", a.kind(), b.kind())))
                }
            },
        }
    }

    fn each(&mut self, node: &'a Node, each: Each, receiver: &'a Node, body: &'a Node) -> Outcome<'a> {
        let list = self.datum(receiver)?;
        let Some(length) = list.length() else {
            return Err(error(receiver, format!("a list is needed here, {} is {}", name_of(receiver), list.kind())));
        };
        let mut kept = Vec::new();
        for item in (0..length).filter_map(|index| list.item(index)) {
            self.step(node, 1)?;
            self.locals.push(item.clone());
            let result = if each == Each::Map { self.datum(body) } else { self.condition(body).map(Datum::Bool) };
            self.locals.pop();
            match (each, result?) {
                (Each::Exists, Datum::Bool(true)) => return Ok(Datum::Bool(true)),
                (Each::All, Datum::Bool(false)) => return Ok(Datum::Bool(false)),
                (Each::Filter, Datum::Bool(true)) => kept.push(item),
                (Each::Map, value) => kept.push(value),
                _ => {}
            }
        }
        Ok(match each {
            Each::Exists => Datum::Bool(false),
            Each::All => Datum::Bool(true),
            Each::Filter | Each::Map => Datum::List(Rc::new(kept)),
        })
    }
}

fn ordered(operator: Operator, order: Ordering) -> bool {
    match operator {
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn overflow(node: &Node) -> EvaluationError {
    error(node, "the result is too large for an int (64 bits)")
}

/// The value, if it is what its type promised.
fn kept<'a>(node: &Node, promise: Promise, datum: Datum<'a>) -> Outcome<'a> {
    if promise.is_kept(&datum) {
        return Ok(datum);
    }
    let name = name_of(node);
    Err(error(node, format!("{name} is {}, though its type promises {}", datum.kind(), promise.word())))
}

/// A field of a value. What is missing has missing fields; lists and scalars have none, and asking for one is a mistake.
fn field<'a>(node: &Node, datum: Datum<'a>, name: &str) -> Outcome<'a> {
    match datum {
        Datum::Json(Value::Object(entries)) => Ok(entries.get(name).map_or(Datum::Null, Datum::from)),
        Datum::Null => Ok(Datum::Null),
        other => Err(error(node, format!("there is no `{name}` in it: {} was found, not an object", other.kind()))),
    }
}

//! Operators: what they take, and comparisons that can never be true.

use super::{Checked, Checker, article, failed, made};
use crate::rules::expr::Fault;
use crate::rules::expr::ast::{Ast, Kind, Operator};
use crate::rules::expr::node::NodeKind;
use crate::rules::suggest::closest;
use crate::rules::types::Type;

impl Checker<'_> {
    pub(super) fn binary(&mut self, ast: &Ast, operator: Operator, left: &Ast, right: &Ast) -> Checked {
        match operator {
            Operator::Equal | Operator::NotEqual => self.equality(ast, operator, left, right),
            Operator::In => self.membership(ast, left, right),
            Operator::Default => self.default(ast, left, right),
            operator if operator.orders() => self.order(ast, operator, left, right),
            operator => self.arithmetic(ast, operator, left, right),
        }
    }

    fn equality(&mut self, ast: &Ast, operator: Operator, left: &Ast, right: &Ast) -> Checked {
        let (a, b) = (self.operand(left), self.operand(right));
        let (Some(a_type), Some(b_type)) = (&a.result, &b.result) else { return failed(ast.span.clone()) };
        if let Some(fault) = self.never_equal(ast, (left, a_type), (right, b_type)) {
            return self.fault(fault);
        }
        made(ast, NodeKind::Binary(operator, Box::new(a.node), Box::new(b.node)), Some(Type::Bool))
    }

    /// Why two values can never be equal, if that is so.
    fn never_equal(&self, whole: &Ast, (left, a): (&Ast, &Type), (right, b): (&Ast, &Type)) -> Option<Fault> {
        let fault = |message: String| Fault::new(whole.span.clone(), message);
        for (side, of, other) in [(left, a, b), (right, b, a)] {
            if *other == Type::Null && !of.is_optional() && *of != Type::Any {
                let text = self.text(&side.span);
                return Some(fault(format!("`{text}` is never missing")).with_help("leave this test out"));
            }
        }
        if a.is_optional() && *b == Type::Null || b.is_optional() && *a == Type::Null {
            return None;
        }
        if comparable(a, b) {
            return None;
        }
        if let (Type::Enum(words), Type::Enum(others)) = (a.present(), b.present()) {
            let (field, known, given) = if others.len() == 1 { (left, words, others) } else { (right, others, words) };
            let text = self.text(&field.span);
            let given = given.first().map_or("", String::as_str);
            let help = match closest(given, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("it is one of: {}", known.join(", ")),
            };
            return Some(fault(format!("`{text}` is never \"{given}\"")).with_help(help));
        }
        let fault = fault(format!("{} is never equal to {}", a.word(), b.word()));
        Some(match comparison_help((left, a), (right, b)) {
            Some(help) => fault.with_help(help),
            None => fault,
        })
    }

    fn membership(&mut self, ast: &Ast, left: &Ast, right: &Ast) -> Checked {
        let (a, b) = (self.operand(left), self.present(right));
        let (Some(a_type), Some(b_type)) = (&a.result, &b.result) else { return failed(ast.span.clone()) };
        match (b_type, &right.kind) {
            (Type::Any, _) => {}
            (Type::List(inner), Kind::List(items)) if !items.is_empty() => {
                for item in items {
                    let one =
                        if let Kind::Text(text) = &item.kind { Type::Enum(vec![text.clone()]) } else { inner.as_ref().clone() };
                    if let Some(fault) = self.never_equal(item, (left, a_type), (item, &one)) {
                        self.faults.push(fault);
                    }
                }
            }
            (Type::List(inner), _) => {
                if let Some(fault) = self.never_equal(ast, (left, a_type), (right, inner)) {
                    return self.fault(fault);
                }
            }
            (Type::Map(_), _) if a_type.present().is_stringlike() || *a_type == Type::Any => {}
            (other, _) => {
                let fault =
                    Fault::new(right.span.clone(), format!("`in` looks into a list or a map, this is {}", article(other)));
                let text = (self.text(&left.span), self.text(&right.span));
                let help = format!("write {}.contains({})", text.1, text.0);
                return self.fault(if other.is_stringlike() { fault.with_help(help) } else { fault });
            }
        }
        made(ast, NodeKind::Binary(Operator::In, Box::new(a.node), Box::new(b.node)), Some(Type::Bool))
    }

    fn default(&mut self, ast: &Ast, left: &Ast, right: &Ast) -> Checked {
        let (mut a, b) = (self.operand(left), self.operand(right));
        a.node.may_be_missing();
        let (Some(a_type), Some(b_type)) = (&a.result, &b.result) else { return failed(ast.span.clone()) };
        let result = match a_type {
            Type::Null => Some(b_type.clone()),
            // The missing case is the one that is replaced.
            Type::Optional(inner) => inner.join(b_type),
            other => other.join(b_type),
        };
        match result {
            Some(result) => made(ast, NodeKind::Binary(Operator::Default, Box::new(a.node), Box::new(b.node)), Some(result)),
            None => {
                let message = format!("the default of {} cannot be {}", article(a_type.present()), article(b_type));
                self.fault(Fault::new(right.span.clone(), message))
            }
        }
    }

    fn order(&mut self, ast: &Ast, operator: Operator, left: &Ast, right: &Ast) -> Checked {
        let (a, b) = (self.present(left), self.present(right));
        let (Some(a_type), Some(b_type)) = (&a.result, &b.result) else { return failed(ast.span.clone()) };
        for (side, of) in [(left, a_type), (right, b_type)] {
            if matches!(of, Type::Enum(words) if words.len() > 1) {
                let message = format!("`{}` is one of some words, and they have no order", self.text(&side.span));
                return self.fault(Fault::new(ast.span.clone(), message).with_help("list the words: x in [\"a\", \"b\"]"));
            }
        }
        let fits = match (a_type, b_type) {
            (Type::Any, other) | (other, Type::Any) => other.is_number() || other.is_stringlike() || *other == Type::Any,
            (a, b) => a.is_number() && b.is_number() || a.is_stringlike() && b.is_stringlike(),
        };
        if !fits {
            let message = format!("{} and {} have no order", article(a_type), article(b_type));
            let fault = Fault::new(ast.span.clone(), message);
            return self.fault(match comparison_help((left, a_type), (right, b_type)) {
                Some(help) => fault.with_help(help),
                None => fault,
            });
        }
        let in_time = [a_type, b_type].contains(&&Type::Timestamp);
        let (a, b) = (Box::new(a.node), Box::new(b.node));
        made(ast, if in_time { NodeKind::Order(operator, a, b) } else { NodeKind::Binary(operator, a, b) }, Some(Type::Bool))
    }

    fn arithmetic(&mut self, ast: &Ast, operator: Operator, left: &Ast, right: &Ast) -> Checked {
        let (a, b) = (self.present(left), self.present(right));
        let (Some(a_type), Some(b_type)) = (&a.result, &b.result) else { return failed(ast.span.clone()) };
        let result = match (a_type, b_type) {
            (Type::Any, other) | (other, Type::Any) => {
                let fits = other.is_number()
                    || *other == Type::Any
                    || operator == Operator::Add && (other.is_stringlike() || matches!(other, Type::List(_)));
                fits.then_some(if other.is_stringlike() { Type::Text } else { Type::Any })
            }
            (Type::Int, Type::Int) => Some(Type::Int),
            (a, b) if a.is_number() && b.is_number() && operator != Operator::Remainder => Some(Type::Double),
            (a, b) if operator == Operator::Add && a.is_stringlike() && b.is_stringlike() => {
                Some(if a.tainted() || b.tainted() { Type::Text } else { Type::String })
            }
            (Type::List(a), Type::List(b)) if operator == Operator::Add => a.join(b).map(|inner| Type::List(Box::new(inner))),
            _ => None,
        };
        let Some(result) = result else {
            let message = format!("`{}` does not work on {} and {}", operator.symbol(), article(a_type), article(b_type));
            let fault = Fault::new(ast.span.clone(), message);
            let scalar = [(left, a_type, b_type), (right, b_type, a_type)].into_iter().find(|(_, of, other)| {
                operator == Operator::Add && (of.is_number() || **of == Type::Bool) && other.is_stringlike()
            });
            let help = scalar.map(|(side, ..)| format!("write string({})", self.text(&side.span)));
            return self.fault(match help {
                Some(help) => fault.with_help(help),
                None if operator == Operator::Remainder => fault.with_help("% takes two ints"),
                None => fault,
            });
        };
        made(ast, NodeKind::Binary(operator, Box::new(a.node), Box::new(b.node)), Some(result))
    }

    pub(super) fn negate(&mut self, ast: &Ast, inner: &Ast) -> Checked {
        let checked = self.present(inner);
        match &checked.result {
            None => failed(ast.span.clone()),
            Some(Type::Int | Type::Double | Type::Any) => made(ast, NodeKind::Negate(Box::new(checked.node)), checked.result),
            Some(other) => {
                let fault = Fault::new(ast.span.clone(), format!("`-` takes a number, this is {}", article(other)));
                self.fault(if *other == Type::Bool { fault.with_help("write `!` for not") } else { fault })
            }
        }
    }
}

/// Can two values ever be equal?
fn comparable(a: &Type, b: &Type) -> bool {
    match (a.present(), b.present()) {
        (Type::Any, _) | (_, Type::Any) => true,
        (a, b) if a.is_nothing() || b.is_nothing() => true,
        (Type::Enum(words), Type::Enum(others)) => words.iter().any(|word| others.contains(word)),
        (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => comparable(a, b),
        (Type::Object(a), Type::Object(b)) => a.iter().all(|(name, a)| b.get(name).is_none_or(|b| comparable(a, b))),
        (Type::Object(_), Type::Map(_)) | (Type::Map(_), Type::Object(_)) => true,
        (a, b) => a == b || a.is_number() && b.is_number() || a.is_stringlike() && b.is_stringlike(),
    }
}

/// How two sides of different types are made comparable: a literal is simply written differently.
fn comparison_help(left: (&Ast, &Type), right: (&Ast, &Type)) -> Option<String> {
    let conversion = |of: &Type, other: &Type| match (of.present(), other.present()) {
        (of, other) if of.is_number() && other.is_stringlike() => Some("turn one into the other: string(…), int(…)".to_owned()),
        (Type::List(_), other) if other.is_stringlike() => Some("write `in`, or .contains(…)".to_owned()),
        _ => None,
    };
    literal_help(left.0, right.1)
        .or_else(|| literal_help(right.0, left.1))
        .or_else(|| conversion(left.1, right.1))
        .or_else(|| conversion(right.1, left.1))
}

/// What to write instead of a literal of the wrong type.
fn literal_help(side: &Ast, other: &Type) -> Option<String> {
    let other = other.present();
    match &side.kind {
        Kind::Text(text) if other.is_number() && text.parse::<f64>().is_ok() => {
            Some("write the number without quotes".to_owned())
        }
        Kind::Text(text) if *other == Type::Bool && matches!(text.as_str(), "true" | "false") => {
            Some(format!("write {text} without quotes"))
        }
        Kind::Int(_) | Kind::Double(_) if other.is_stringlike() => Some("write the number in quotes".to_owned()),
        Kind::Bool(value) if other.is_stringlike() => Some(format!("write \"{value}\"")),
        _ => None,
    }
}

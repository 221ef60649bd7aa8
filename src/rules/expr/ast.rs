//! What the parser makes of the text, every part with its place, and how it is written back in canonical form.

use std::fmt;
use std::ops::Range;

/// A part of an expression.
#[derive(Debug, Clone)]
pub(super) struct Ast {
    /// Byte offsets into the source.
    pub span: Range<usize>,
    pub kind: Kind,
    /// Levels below and including this one.
    pub depth: usize,
    /// Was it written in parentheses? Its span then includes them.
    pub grouped: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Ast>),
    Name(String),
    Field(Box<Ast>, Word),
    Index(Box<Ast>, Box<Ast>),
    Not(Box<Ast>),
    Negate(Box<Ast>),
    /// `a && b && c`: all of them in a row, so that long conditions do not count as deep ones.
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Binary(Operator, Box<Ast>, Box<Ast>),
    Call(Word, Vec<Ast>),
    Method(Box<Ast>, Word, Vec<Ast>),
    /// What could not be understood, and the parts of it that could.
    Broken(Vec<Ast>),
}

impl Kind {
    /// The parts that it is made of.
    pub fn parts(&self) -> impl Iterator<Item = &Ast> {
        let (first, second, rest): (Option<&Ast>, Option<&Ast>, &[Ast]) = match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Text(_) | Self::Name(_) => (None, None, &[]),
            Self::List(parts) | Self::And(parts) | Self::Or(parts) | Self::Call(_, parts) | Self::Broken(parts) => {
                (None, None, parts)
            }
            Self::Field(inner, _) | Self::Not(inner) | Self::Negate(inner) => (Some(inner), None, &[]),
            Self::Index(left, right) | Self::Binary(_, left, right) => (Some(left), Some(right), &[]),
            Self::Method(receiver, _, arguments) => (Some(receiver), None, arguments),
        };
        first.into_iter().chain(second).chain(rest)
    }
}

/// A name with its place.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub text: String,
    pub span: Range<usize>,
}

/// Operators with two sides, other than `&&` and `||`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Default,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tight `||` and `&&` bind; the operators of [`Operator`] follow.
pub(super) const OR: u8 = 1;
pub(super) const AND: u8 = 2;
const COMPARISON: u8 = 3;
const PREFIX: u8 = 7;
const POSTFIX: u8 = 8;

impl Operator {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Default => "??",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    /// How tight it binds: `??` tighter than comparison, so that `a ?? "x" == "y"` means what it looks like.
    pub fn tightness(self) -> u8 {
        match self {
            Self::Default => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::Remainder => 6,
            _ => COMPARISON,
        }
    }

    /// `==`, `<`, `in` and their kind.
    pub fn compares(self) -> bool {
        self.tightness() == COMPARISON
    }

    /// `<`, `<=`, `>`, `>=`.
    pub fn orders(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

impl Ast {
    /// `event.head.sha` as its names, also where a name is written `["sha"]`; `None` if it is not a plain path.
    pub fn path(&self) -> Option<Vec<&str>> {
        match &self.kind {
            Kind::Name(name) => Some(vec![name]),
            Kind::Field(inner, name) => {
                let mut path = inner.path()?;
                path.push(&name.text);
                Some(path)
            }
            Kind::Index(inner, name) => match &name.kind {
                Kind::Text(name) => {
                    let mut path = inner.path()?;
                    path.push(name);
                    Some(path)
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn tightness(&self) -> u8 {
        match &self.kind {
            Kind::Or(_) => OR,
            Kind::And(_) => AND,
            Kind::Binary(operator, ..) => operator.tightness(),
            Kind::Not(_) | Kind::Negate(_) => PREFIX,
            Kind::Int(number) if *number < 0 => PREFIX,
            Kind::Double(number) if number.is_sign_negative() => PREFIX,
            _ => POSTFIX,
        }
    }

    /// Writes the part, in parentheses if it binds less tightly than its place asks for.
    fn write(&self, formatter: &mut fmt::Formatter<'_>, at_least: u8) -> fmt::Result {
        if self.tightness() < at_least {
            return write!(formatter, "({self})");
        }
        write!(formatter, "{self}")
    }
}

/// Parts with something between them.
fn row(formatter: &mut fmt::Formatter<'_>, parts: &[Ast], between: &str, at_least: u8) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            formatter.write_str(between)?;
        }
        part.write(formatter, at_least)?;
    }
    Ok(())
}

impl fmt::Display for Ast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Null => formatter.write_str("null"),
            Kind::Bool(value) => write!(formatter, "{value}"),
            Kind::Int(value) => write!(formatter, "{value}"),
            Kind::Double(value) => write!(formatter, "{value:?}"),
            Kind::Text(text) => formatter.write_str(&quoted(text)),
            Kind::List(items) => {
                formatter.write_str("[")?;
                row(formatter, items, ", ", 0)?;
                formatter.write_str("]")
            }
            Kind::Name(name) => formatter.write_str(name),
            Kind::Field(inner, name) => {
                inner.write(formatter, POSTFIX)?;
                write!(formatter, ".{}", name.text)
            }
            Kind::Index(inner, index) => {
                inner.write(formatter, POSTFIX)?;
                write!(formatter, "[{index}]")
            }
            Kind::Not(inner) => {
                formatter.write_str("!")?;
                inner.write(formatter, PREFIX)
            }
            // A number in parentheses stays a negation of it; `-1` is a literal.
            Kind::Negate(inner) if matches!(inner.kind, Kind::Int(_) | Kind::Double(_)) => write!(formatter, "-({inner})"),
            Kind::Negate(inner) => {
                formatter.write_str("-")?;
                inner.write(formatter, PREFIX)
            }
            Kind::And(parts) => row(formatter, parts, " && ", AND + 1),
            Kind::Or(parts) => row(formatter, parts, " || ", OR + 1),
            Kind::Binary(operator, left, right) => {
                let tightness = operator.tightness();
                left.write(formatter, if operator.compares() { tightness + 1 } else { tightness })?;
                write!(formatter, " {} ", operator.symbol())?;
                right.write(formatter, tightness + 1)
            }
            Kind::Call(name, arguments) => {
                write!(formatter, "{}(", name.text)?;
                row(formatter, arguments, ", ", 0)?;
                formatter.write_str(")")
            }
            Kind::Method(receiver, name, arguments) => {
                receiver.write(formatter, POSTFIX)?;
                write!(formatter, ".{}(", name.text)?;
                row(formatter, arguments, ", ", 0)?;
                formatter.write_str(")")
            }
            Kind::Broken(parts) => row(formatter, parts, " ", 0),
        }
    }
}

/// A text literal that reads back as the same text.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

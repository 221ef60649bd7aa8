//! Tokens into an [`Ast`]. Stops at the first fault: after it, everything would be a guess.

use std::ops::Range;

use super::ast::{AND, Ast, Kind, OR, Operator, Word};
use super::lexer::{Token, tokens};
use super::{DEEPEST, Fault, LONGEST};

/// Parses a whole source text.
pub(super) fn parse(source: &str) -> Result<Ast, Fault> {
    if source.len() > LONGEST {
        return Err(Fault::new(
            LONGEST..source.len(),
            format!("an expression has at most {LONGEST} bytes, this has {}", source.len()),
        )
        .with_help("move parts of it to `vars:`"));
    }
    let mut parser = Parser { tokens: tokens(source)?, at: 0, open: 0 };
    if *parser.peek() == Token::End {
        return Err(Fault::new(0..source.len(), "an expression is missing here"));
    }
    let ast = parser.binary(OR)?;
    match parser.peek() {
        Token::End => Ok(ast),
        _ => Err(parser.unexpected("an operator")),
    }
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    /// Parentheses, lists and signs that are open around this place.
    open: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.get(self.at).map_or(0..0, |(_, span)| span.clone())
    }

    fn take(&mut self, symbol: &str) -> bool {
        let there = matches!(self.peek(), Token::Symbol(next) if *next == symbol);
        self.at += usize::from(there);
        there
    }

    /// Takes `symbol` and returns where it ends.
    fn expect(&mut self, symbol: &'static str) -> Result<usize, Fault> {
        let end = self.span().end;
        if self.take(symbol) { Ok(end) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let span = self.span();
        let fault = match self.peek() {
            Token::End => return Fault::new(span, format!("the expression ends where {wanted} is needed")),
            Token::Symbol(symbol) => Fault::new(span, format!("`{symbol}` stands where {wanted} is needed")),
            Token::Name(name) => Fault::new(span, format!("`{name}` stands where {wanted} is needed")),
            Token::Text(_) => Fault::new(span, format!("a text stands where {wanted} is needed")),
            Token::Int(_) | Token::Double(_) => Fault::new(span, format!("a number stands where {wanted} is needed")),
        };
        match self.peek() {
            Token::Name(name) if name == "and" => fault.with_help("write `&&`"),
            Token::Name(name) if name == "or" => fault.with_help("write `||`"),
            Token::Text(_) if self.at > 0 && matches!(self.tokens.get(self.at - 1), Some((Token::Text(_), _))) => {
                fault.with_help("a quote inside a text is written \\' or \\\"")
            }
            _ => fault,
        }
    }

    /// Guards the parser's own stack; the depth of the result is checked where parts are put together.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.open >= DEEPEST {
            return Err(too_deep(self.span()));
        }
        self.open += 1;
        let result = inner(self);
        self.open -= 1;
        result
    }

    /// Operators that bind at least as tightly as `at_least`.
    fn binary(&mut self, at_least: u8) -> Result<Ast, Fault> {
        let mut left = self.prefix()?;
        loop {
            let place = self.span();
            let (symbol, tightness) = match self.peek() {
                Token::Symbol("||") => (None, OR),
                Token::Symbol("&&") => (None, AND),
                token => match operator(token) {
                    Some(operator) => (Some(operator), operator.tightness()),
                    None => return Ok(left),
                },
            };
            if tightness < at_least {
                return Ok(left);
            }
            self.at += 1;
            let right = self.binary(tightness + 1)?;
            left = match symbol {
                None => logical(tightness, left, right)?,
                Some(operator) if operator.compares() && is_comparison(&left) => {
                    return Err(Fault::new(place, "comparisons cannot be chained")
                        .with_help("write a == b && b == c, or put one of them in parentheses"));
                }
                Some(operator) => {
                    let span = left.span.start..right.span.end;
                    node(span, Kind::Binary(operator, Box::new(left), Box::new(right)))?
                }
            };
        }
    }

    fn prefix(&mut self) -> Result<Ast, Fault> {
        let start = self.span().start;
        if self.take("!") {
            let inner = self.deeper(Self::prefix)?;
            return node(start..inner.span.end, Kind::Not(Box::new(inner)));
        }
        if self.take("-") {
            let end = self.span().end;
            let literal = match self.peek() {
                Token::Int(digits) => Some(Kind::Int(int(&format!("-{digits}"), start..end)?)),
                Token::Double(number) => Some(Kind::Double(-number)),
                _ => None,
            };
            if let Some(literal) = literal {
                self.at += 1;
                return node(start..end, literal);
            }
            let inner = self.deeper(Self::prefix)?;
            return node(start..inner.span.end, Kind::Negate(Box::new(inner)));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<Ast, Fault> {
        let mut ast = self.primary()?;
        loop {
            let start = ast.span.start;
            if self.take(".") {
                let name = self.word()?;
                ast = if self.take("(") {
                    let (arguments, end) = self.arguments(")")?;
                    node(start..end, Kind::Method(Box::new(ast), name, arguments))?
                } else {
                    node(start..name.span.end, Kind::Field(Box::new(ast), name))?
                };
            } else if self.take("[") {
                let index = self.deeper(|parser| parser.binary(OR))?;
                let end = self.expect("]")?;
                ast = node(start..end, Kind::Index(Box::new(ast), Box::new(index)))?;
            } else {
                return Ok(ast);
            }
        }
    }

    fn word(&mut self) -> Result<Word, Fault> {
        let span = self.span();
        match self.peek() {
            Token::Name(name) => {
                let text = name.clone();
                self.at += 1;
                Ok(Word { text, span })
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn primary(&mut self) -> Result<Ast, Fault> {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Int(digits) => Kind::Int(int(&digits, span.clone())?),
            Token::Double(number) => Kind::Double(number),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) => {
                self.at += 1;
                return self.name(name, span);
            }
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.deeper(|parser| parser.binary(OR))?;
                let end = self.expect(")")?;
                return Ok(Ast { span: span.start..end, grouped: true, ..inner });
            }
            Token::Symbol("[") => {
                self.at += 1;
                let (items, end) = self.arguments("]")?;
                return node(span.start..end, Kind::List(items));
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.at += 1;
        node(span, kind)
    }

    fn name(&mut self, name: String, span: Range<usize>) -> Result<Ast, Fault> {
        let kind = match name.as_str() {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            "in" => return Err(Fault::new(span, "`in` needs a value on its left")),
            _ if self.take("(") => {
                let (arguments, end) = self.arguments(")")?;
                let start = span.start;
                return node(start..end, Kind::Call(Word { text: name, span }, arguments));
            }
            _ => Kind::Name(name),
        };
        node(span, kind)
    }

    /// Values up to the closing symbol, and where that ends.
    fn arguments(&mut self, close: &'static str) -> Result<(Vec<Ast>, usize), Fault> {
        let mut arguments = Vec::new();
        loop {
            let end = self.span().end;
            if self.take(close) {
                return Ok((arguments, end));
            }
            arguments.push(self.deeper(|parser| parser.binary(OR))?);
            let end = self.span().end;
            if self.take(close) {
                return Ok((arguments, end));
            }
            if !self.take(",") {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
    }
}

fn operator(token: &Token) -> Option<Operator> {
    Some(match token {
        Token::Symbol("==") => Operator::Equal,
        Token::Symbol("!=") => Operator::NotEqual,
        Token::Symbol("<") => Operator::Less,
        Token::Symbol("<=") => Operator::LessOrEqual,
        Token::Symbol(">") => Operator::Greater,
        Token::Symbol(">=") => Operator::GreaterOrEqual,
        Token::Symbol("??") => Operator::Default,
        Token::Symbol("+") => Operator::Add,
        Token::Symbol("-") => Operator::Subtract,
        Token::Symbol("*") => Operator::Multiply,
        Token::Symbol("/") => Operator::Divide,
        Token::Symbol("%") => Operator::Remainder,
        Token::Name(name) if name == "in" => Operator::In,
        _ => return None,
    })
}

/// A comparison that is not in parentheses.
fn is_comparison(ast: &Ast) -> bool {
    matches!(&ast.kind, Kind::Binary(operator, ..) if operator.compares()) && !ast.grouped
}

/// Joins `a && b` and `c` to one row. Parts in parentheses stay groups of their own only for the other operator: `(a && b) && c` is `a && b && c`.
fn logical(tightness: u8, left: Ast, right: Ast) -> Result<Ast, Fault> {
    let span = left.span.start..right.span.end;
    let mut parts = Vec::new();
    for side in [left, right] {
        match side.kind {
            Kind::Or(inner) if tightness == OR => parts.extend(inner),
            Kind::And(inner) if tightness == AND => parts.extend(inner),
            _ => parts.push(side),
        }
    }
    node(span, if tightness == OR { Kind::Or(parts) } else { Kind::And(parts) })
}

fn int(digits: &str, span: Range<usize>) -> Result<i64, Fault> {
    digits.parse().map_err(|_| Fault::new(span, "this number is too large for an int (64 bits)"))
}

fn too_deep(span: Range<usize>) -> Fault {
    Fault::new(span, format!("an expression nests at most {DEEPEST} levels")).with_help("move parts of it to `vars:`")
}

/// Puts a part together, if it is not too deep.
fn node(span: Range<usize>, kind: Kind) -> Result<Ast, Fault> {
    let deepest = |parts: &[Ast]| parts.iter().map(|part| part.depth).max().unwrap_or(0);
    let below = match &kind {
        Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Double(_) | Kind::Text(_) | Kind::Name(_) => 0,
        Kind::List(parts) | Kind::And(parts) | Kind::Or(parts) | Kind::Call(_, parts) => deepest(parts),
        Kind::Field(inner, _) | Kind::Not(inner) | Kind::Negate(inner) => inner.depth,
        Kind::Index(left, right) | Kind::Binary(_, left, right) => left.depth.max(right.depth),
        Kind::Method(receiver, _, arguments) => receiver.depth.max(deepest(arguments)),
    };
    if below >= DEEPEST {
        return Err(too_deep(span));
    }
    Ok(Ast { span, kind, depth: below + 1, grouped: false })
}

//! Tokens into an [`Ast`]. After a fault it reads on, so that whoever wrote three of them is told of three: at operators, commas and
//! brackets it is known again what was meant, and what was not understood is [`Kind::Broken`], of which nothing more is said.

use std::ops::Range;

use super::ast::{AND, Ast, Kind, OR, Operator, Word};
use super::lexer::{Token, tokens};
use super::{DEEPEST, Fault, LONGEST};

/// Parses a whole source text without a fault.
pub(super) fn parse(source: &str) -> Result<Ast, Vec<Fault>> {
    let (ast, faults) = parse_on(source);
    if faults.is_empty() { Ok(ast) } else { Err(faults) }
}

/// Parses a whole source text as far as it can be understood, with every fault.
pub(super) fn parse_on(source: &str) -> (Ast, Vec<Fault>) {
    if source.len() > LONGEST {
        let fault =
            Fault::new(LONGEST..source.len(), format!("an expression has at most {LONGEST} bytes, this has {}", source.len()));
        return (broken(0..source.len(), Vec::new()), vec![fault.with_help("move parts of it to `vars:`")]);
    }
    let (tokens, faults) = tokens(source);
    let mut parser = Parser { tokens, at: 0, open: 0, brackets: Vec::new(), faults, last: None };
    if *parser.peek() == Token::End {
        let span = 0..source.len();
        parser.faults.push(Fault::new(span.clone(), "an expression is missing here"));
        return (broken(span, Vec::new()), parser.faults);
    }
    let mut ast = parser.whole("an operator");
    while *parser.peek() != Token::End {
        // A comma or a bracket that nothing opened.
        parser.complain("an operator");
        parser.at += 1;
        if *parser.peek() != Token::End {
            ast = parser.go_on(ast);
            ast = parser.rest(ast, "an operator");
        }
    }
    (ast, parser.faults)
}

struct Parser {
    tokens: Vec<(Token, Range<usize>)>,
    at: usize,
    /// Parentheses, lists and signs that are open around this place.
    open: usize,
    /// What closes the brackets that are open around this place.
    brackets: Vec<&'static str>,
    faults: Vec<Fault>,
    /// The token that was complained of last.
    last: Option<usize>,
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

    /// Is an expression over here, one way or the other?
    fn at_stop(&self) -> bool {
        matches!(self.peek(), Token::End | Token::Symbol("," | ")" | "]"))
    }

    /// Tells of what stands here, unless it follows from what was told already: of a row of words, only the first is a surprise.
    fn complain(&mut self, wanted: &str) {
        let told = matches!(self.peek(), Token::Wrong | Token::Unknown);
        let follows = self.last.is_some_and(|last| self.at <= last + 1);
        self.last = Some(self.at);
        if !told && !follows {
            let fault = self.unexpected(wanted);
            self.faults.push(fault);
        }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let span = self.span();
        let fault = match self.peek() {
            Token::End => return Fault::new(span, format!("the expression ends where {wanted} is needed")),
            Token::Symbol(symbol) => Fault::new(span, format!("`{symbol}` stands where {wanted} is needed")),
            Token::Name(name) => Fault::new(span, format!("`{name}` stands where {wanted} is needed")),
            Token::Int(_) | Token::Double(_) => Fault::new(span, format!("a number stands where {wanted} is needed")),
            _ => Fault::new(span, format!("a text stands where {wanted} is needed")),
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

    /// Gives up: what is left is not looked at.
    fn too_deep(&mut self, span: Range<usize>) -> Ast {
        let fault = Fault::new(span.clone(), format!("an expression nests at most {DEEPEST} levels"));
        self.faults.push(fault.with_help("move parts of it to `vars:`"));
        self.at = self.tokens.len().saturating_sub(1);
        self.last = Some(self.at);
        broken(span, Vec::new())
    }

    /// Guards the parser's own stack; the depth of the result is checked where parts are put together.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Ast) -> Ast {
        if self.open >= DEEPEST {
            return self.too_deep(self.span());
        }
        self.open += 1;
        let result = inner(self);
        self.open -= 1;
        result
    }

    /// Puts a part together, if it is not too deep.
    fn node(&mut self, span: Range<usize>, kind: Kind) -> Ast {
        let below = kind.parts().map(|part| part.depth).max().unwrap_or(0);
        if below >= DEEPEST {
            return self.too_deep(span);
        }
        Ast { span, kind, depth: below + 1, grouped: false }
    }

    /// An expression up to a comma, a closing bracket or the end; `wanted` is what has to stand there.
    fn whole(&mut self, wanted: &str) -> Ast {
        let ast = self.binary(OR);
        self.rest(ast, wanted)
    }

    /// What still stands before the end of an expression that is over.
    fn rest(&mut self, mut ast: Ast, wanted: &str) -> Ast {
        while !self.at_stop() {
            self.complain(wanted);
            ast = self.go_on(ast);
        }
        ast
    }

    /// Reads what stands where an operator has to, as if there were one.
    fn go_on(&mut self, before: Ast) -> Ast {
        if matches!(self.peek(), Token::Name(name) if matches!(name.as_str(), "and" | "or")) || operator(self.peek()).is_some() {
            self.at += 1;
        }
        if self.at_stop() {
            return broken(before.span.clone(), vec![before]);
        }
        let more = self.binary(OR);
        let span = before.span.start..more.span.end;
        // A single word was hardly meant as a name.
        let parts = if matches!(more.kind, Kind::Name(_)) { vec![before] } else { vec![before, more] };
        broken(span, parts)
    }

    /// Takes the closing symbol of an expression and returns where it ends.
    fn close(&mut self, close: &'static str) -> usize {
        let end = self.span().end;
        if self.take(close) {
            return end;
        }
        self.complain(&format!("`{close}`"));
        while self.take(",") {
            self.whole(&format!("`{close}`"));
        }
        self.close_anyhow(close);
        end
    }

    /// Takes a closing symbol, also a wrong one if it closes nothing else.
    fn close_anyhow(&mut self, close: &'static str) {
        let closes = match self.peek() {
            Token::Symbol(symbol @ (")" | "]")) => *symbol == close || !self.brackets.contains(symbol),
            _ => false,
        };
        self.at += usize::from(closes);
    }

    /// Something in brackets.
    fn within<T>(&mut self, close: &'static str, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.brackets.push(close);
        let result = inner(self);
        self.brackets.pop();
        result
    }

    /// Operators that bind at least as tightly as `at_least`.
    fn binary(&mut self, at_least: u8) -> Ast {
        let mut left = self.prefix();
        loop {
            let place = self.span();
            let (symbol, tightness) = match self.peek() {
                Token::Symbol("||") | Token::Unknown => (None, OR),
                Token::Symbol("&&") => (None, AND),
                token => match operator(token) {
                    Some(operator) => (Some(operator), operator.tightness()),
                    None => return left,
                },
            };
            if tightness < at_least {
                return left;
            }
            let unknown = *self.peek() == Token::Unknown;
            self.at += 1;
            let right = self.binary(tightness + 1);
            let span = left.span.start..right.span.end;
            left = match symbol {
                None if unknown => broken(span, vec![left, right]),
                None => {
                    let kind = logical(tightness, left, right);
                    self.node(span, kind)
                }
                Some(operator) if operator.compares() && is_comparison(&left) => {
                    let fault = Fault::new(place, "comparisons cannot be chained");
                    self.faults.push(fault.with_help("write a == b && b == c, or put one of them in parentheses"));
                    broken(span, vec![left, right])
                }
                Some(operator) => self.node(span, Kind::Binary(operator, Box::new(left), Box::new(right))),
            };
        }
    }

    fn prefix(&mut self) -> Ast {
        let start = self.span().start;
        if self.take("!") {
            let inner = self.deeper(Self::prefix);
            return self.node(start..inner.span.end, Kind::Not(Box::new(inner)));
        }
        if self.take("-") {
            let span = start..self.span().end;
            match self.peek().clone() {
                Token::Int(digits) => {
                    self.at += 1;
                    return self.int(&format!("-{digits}"), span);
                }
                Token::Double(number) => {
                    self.at += 1;
                    return self.node(span, Kind::Double(-number));
                }
                _ => {}
            }
            let inner = self.deeper(Self::prefix);
            return self.node(start..inner.span.end, Kind::Negate(Box::new(inner)));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Ast {
        let mut ast = self.primary();
        loop {
            let start = ast.span.start;
            if self.take(".") {
                ast = match self.word() {
                    None => broken(ast.span.clone(), vec![ast]),
                    Some(name) if self.take("(") => {
                        let (arguments, end) = self.arguments(")");
                        self.node(start..end, Kind::Method(Box::new(ast), name, arguments))
                    }
                    Some(name) => self.node(start..name.span.end, Kind::Field(Box::new(ast), name)),
                };
            } else if self.take("[") {
                let index = self.within("]", |parser| parser.deeper(|parser| parser.whole("`]`")));
                let end = self.close("]");
                ast = self.node(start..end, Kind::Index(Box::new(ast), Box::new(index)));
            } else {
                return ast;
            }
        }
    }

    fn word(&mut self) -> Option<Word> {
        let span = self.span();
        if let Token::Name(name) = self.peek() {
            let text = name.clone();
            self.at += 1;
            return Some(Word { text, span });
        }
        self.complain("a name");
        self.skip();
        None
    }

    /// Passes over something that cannot stand here, unless it says how to go on.
    fn skip(&mut self) {
        let tells = self.at_stop() || matches!(self.peek(), Token::Unknown | Token::Symbol("||" | "&&" | "(" | "["));
        self.at += usize::from(!tells && operator(self.peek()).is_none());
    }

    fn primary(&mut self) -> Ast {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Int(digits) => {
                self.at += 1;
                return self.int(&digits, span);
            }
            Token::Double(number) => Kind::Double(number),
            Token::Text(text) => Kind::Text(text),
            Token::Name(name) => {
                self.at += 1;
                return self.name(name, span);
            }
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.within(")", |parser| parser.deeper(|parser| parser.whole("`)`")));
                let end = self.close(")");
                return Ast { span: span.start..end, grouped: true, ..inner };
            }
            Token::Symbol("[") => {
                self.at += 1;
                let (items, end) = self.arguments("]");
                return self.node(span.start..end, Kind::List(items));
            }
            _ => {
                self.complain("a value");
                self.skip();
                return broken(span, Vec::new());
            }
        };
        self.at += 1;
        self.node(span, kind)
    }

    fn int(&mut self, digits: &str, span: Range<usize>) -> Ast {
        match digits.parse() {
            Ok(number) => self.node(span, Kind::Int(number)),
            Err(_) => {
                self.faults.push(Fault::new(span.clone(), "this number is too large for an int (64 bits)"));
                broken(span, Vec::new())
            }
        }
    }

    fn name(&mut self, name: String, span: Range<usize>) -> Ast {
        let kind = match name.as_str() {
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "null" => Kind::Null,
            "in" => {
                self.faults.push(Fault::new(span.clone(), "`in` needs a value on its left"));
                let right = self.deeper(Self::prefix);
                return broken(span.start..right.span.end, vec![right]);
            }
            "not" if matches!(self.peek(), Token::Name(_)) => {
                self.faults.push(Fault::new(span.clone(), "there is no `not`").with_help("write `!`"));
                let inner = self.deeper(Self::prefix);
                return broken(span.start..inner.span.end, vec![inner]);
            }
            _ if self.take("(") => {
                let (arguments, end) = self.arguments(")");
                let start = span.start;
                return self.node(start..end, Kind::Call(Word { text: name, span }, arguments));
            }
            _ => Kind::Name(name),
        };
        self.node(span, kind)
    }

    /// Values up to the closing symbol, and where that ends.
    fn arguments(&mut self, close: &'static str) -> (Vec<Ast>, usize) {
        let wanted = format!("`,` or `{close}`");
        let mut arguments = Vec::new();
        loop {
            let end = self.span().end;
            if self.take(close) {
                return (arguments, end);
            }
            arguments.push(self.within(close, |parser| parser.deeper(|parser| parser.whole(&wanted))));
            let end = self.span().end;
            if self.take(close) {
                return (arguments, end);
            }
            if !self.take(",") {
                self.complain(&wanted);
                self.close_anyhow(close);
                return (arguments, end);
            }
        }
    }
}

/// Something that was told of already; its parts are still looked at.
fn broken(span: Range<usize>, parts: Vec<Ast>) -> Ast {
    let parts: Vec<Ast> = parts.into_iter().flat_map(understood).collect();
    let below = parts.iter().map(|part| part.depth).max().unwrap_or(0);
    Ast { span, kind: Kind::Broken(parts), depth: below + 1, grouped: false }
}

/// The parts of something broken, or the whole of something sound: what is broken twice nests no deeper for that.
fn understood(ast: Ast) -> Vec<Ast> {
    match ast.kind {
        Kind::Broken(parts) => parts,
        _ => vec![ast],
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
fn logical(tightness: u8, left: Ast, right: Ast) -> Kind {
    let mut parts = Vec::new();
    for side in [left, right] {
        match side.kind {
            Kind::Or(inner) if tightness == OR => parts.extend(inner),
            Kind::And(inner) if tightness == AND => parts.extend(inner),
            _ => parts.push(side),
        }
    }
    if tightness == OR { Kind::Or(parts) } else { Kind::And(parts) }
}

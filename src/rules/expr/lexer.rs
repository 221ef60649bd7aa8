//! Source text into tokens.

use std::ops::Range;

use super::Fault;

/// A word of the language.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Digits as written: a sign before them decides whether they fit.
    Int(String),
    Double(f64),
    Text(String),
    Name(String),
    Symbol(&'static str),
    /// Told of already, in the place of a value.
    Wrong,
    /// Told of already, in the place of an operator.
    Unknown,
    End,
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 21] =
    ["||", "&&", "==", "!=", "<=", ">=", "??", "<", ">", "+", "-", "*", "/", "%", "!", ".", ",", "(", ")", "[", "]"];

/// What people write out of habit, what it is called here, and what it was meant to be.
static HABITS: [(&str, &str, &str, Token); 7] = [
    ("===", "there is no `===`", "write `==`: types are never mixed", Token::Symbol("==")),
    ("=~", "there is no `=~`", "write x.matches(\"…\")", Token::Unknown),
    ("=", "`=` does not compare", "write `==`", Token::Symbol("==")),
    ("&", "there is no `&`", "write `&&`", Token::Symbol("&&")),
    ("|", "there is no `|`", "write `||`", Token::Symbol("||")),
    ("?", "there is no `?:`", "write if(condition, a, b), or a ?? b for a default", Token::Unknown),
    (":", "there is no `?:`", "write if(condition, a, b)", Token::Unknown),
];

/// All tokens with their places, the last one [`Token::End`], and every fault: what is wrong is a token that says so, and reading goes on.
pub(super) fn tokens(source: &str) -> (Vec<(Token, Range<usize>)>, Vec<Fault>) {
    let mut lexer = Lexer { source, at: 0, faults: Vec::new() };
    let mut out = Vec::new();
    while let Some(first) = lexer.rest().chars().next() {
        let start = lexer.at;
        let token = lexer.token(first);
        // Whatever it is, it has a length.
        lexer.at = lexer.at.max(start + first.len_utf8());
        out.extend(token.map(|token| (token, start..lexer.at)));
    }
    out.push((Token::End, source.len()..source.len()));
    (out, lexer.faults)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    faults: Vec<Fault>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    /// Takes the next token; `None` for what stands between tokens.
    fn token(&mut self, first: char) -> Option<Token> {
        match first {
            space if space.is_whitespace() => None,
            '"' | '\'' => Some(self.text(first)),
            '0'..='9' => Some(self.number()),
            'a'..='z' | 'A'..='Z' | '_' => {
                let rest = self.rest();
                let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                self.at += length;
                Some(Token::Name(rest[..length].to_owned()))
            }
            _ => self.symbol(first),
        }
    }

    fn symbol(&mut self, first: char) -> Option<Token> {
        let rest = self.rest();
        if !rest.starts_with("===")
            && let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol))
        {
            self.at += symbol.len();
            return Some(Token::Symbol(symbol));
        }
        let start = self.at;
        if let Some((habit, message, help, meant)) = HABITS.iter().find(|(habit, ..)| rest.starts_with(habit)) {
            self.at += habit.len();
            // `a ? b : c` is one mistake.
            if !(*habit == ":" && self.faults.iter().any(|fault| fault.message == *message)) {
                self.faults.push(Fault::new(start..self.at, *message).with_help(*help));
            }
            return Some(meant.clone());
        }
        let fault = Fault::new(start..start + first.len_utf8(), format!("`{}` has no meaning here", first.escape_debug()));
        match first {
            '{' => {
                let fault = Fault::new(start..start + 1, "there are no object literals");
                self.faults.push(fault.with_help("write the object as YAML, with ${{ }} in its values"));
                self.skip_to('}');
                Some(Token::Wrong)
            }
            '“' | '”' | '‘' | '’' | '`' => {
                self.faults.push(fault.with_help("texts are written \"…\" or '…'"));
                self.skip_to(match first {
                    '“' => '”',
                    '‘' => '’',
                    other => other,
                });
                Some(Token::Wrong)
            }
            '$' => {
                self.faults.push(fault.with_help("this is an expression already: leave out ${{ }}"));
                self.at += if rest.starts_with("${{") { 3 } else { 1 };
                None
            }
            '}' if self.faults.iter().any(|fault| self.source.get(fault.span.clone()) == Some("$")) => None,
            _ => {
                self.faults.push(fault);
                Some(Token::Wrong)
            }
        }
    }

    /// Passes over what belongs to the fault that was just told, up to the character that ends it; only over that one if there is none.
    fn skip_to(&mut self, end: char) {
        let after = |rest: &str| rest.char_indices().skip(1).find(|(_, c)| *c == end).map(|(index, _)| index + end.len_utf8());
        self.at += after(self.rest()).unwrap_or(0);
    }

    fn number(&mut self) -> Token {
        let rest = self.rest();
        let digits = |from: usize| rest.get(from..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let whole = digits(0);
        let mut length = whole;
        if rest.get(length..).is_some_and(|rest| rest.starts_with('.')) && digits(length + 1) > 0 {
            length += 1 + digits(length + 1);
        }
        if rest.get(length..).is_some_and(|rest| rest.starts_with(['e', 'E'])) {
            let sign = usize::from(rest.get(length + 1..).is_some_and(|rest| rest.starts_with(['+', '-'])));
            let exponent = digits(length + 1 + sign);
            if exponent > 0 {
                length += 1 + sign + exponent;
            }
        }
        let start = self.at;
        let text = rest.get(..length).unwrap_or_default();
        let unit = rest.get(length..).unwrap_or_default();
        let unit = unit.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(unit.len());
        self.at += length + unit;
        if unit > 0 {
            let fault = Fault::new(start..start + length + 1, "a name cannot begin with a digit, and a number has no unit");
            self.faults.push(fault.with_help("put texts in quotes"));
            return Token::Wrong;
        }
        if length == whole {
            return Token::Int(text.to_owned());
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Token::Double(number),
            _ => {
                self.faults.push(Fault::new(start..self.at, "this number is too large"));
                Token::Wrong
            }
        }
    }

    /// A text literal with both of its quotes.
    fn text(&mut self, quote: char) -> Token {
        let (start, rest) = (self.at, self.rest());
        let mut out = String::new();
        let mut characters = rest.char_indices().skip(1);
        while let Some((index, character)) = characters.next() {
            match character {
                end if end == quote => {
                    self.at += index + 1;
                    return Token::Text(out);
                }
                '\\' => match characters.next().map(|(_, escape)| escape) {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some(itself @ ('\\' | '"' | '\'')) => out.push(itself),
                    Some('u') => match unicode(&mut characters) {
                        Some(character) => out.push(character),
                        None => {
                            let fault = Fault::new(start + index..start + index + 2, "`\\u` needs the number of a character");
                            self.faults.push(fault.with_help("write \\u{1f680}"));
                        }
                    },
                    Some(other) => {
                        let span = start + index..start + index + 1 + other.len_utf8();
                        let fault = Fault::new(span, format!("`\\{}` is no escape", other.escape_debug()));
                        self.faults.push(fault.with_help("a backslash is written `\\\\`"));
                    }
                    None => break,
                },
                other => out.push(other),
            }
        }
        self.at = self.source.len();
        self.faults.push(Fault::new(start..self.at, "the closing quote is missing"));
        Token::Wrong
    }
}

/// The rest of `\u{1f680}`. What is wrong is taken no further than it is right, so that a quote still ends the text.
fn unicode(characters: &mut (impl Iterator<Item = (usize, char)> + Clone)) -> Option<char> {
    let mut ahead = characters.clone();
    if ahead.next().map(|(_, open)| open) != Some('{') {
        return None;
    }
    let digits: String = ahead.by_ref().map(|(_, c)| c).take(8).take_while(|c| *c != '}').collect();
    let found = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).filter(|_| digits.len() < 8)?;
    *characters = ahead;
    Some(found)
}

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
    End,
}

/// Longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 21] =
    ["||", "&&", "==", "!=", "<=", ">=", "??", "<", ">", "+", "-", "*", "/", "%", "!", ".", ",", "(", ")", "[", "]"];

/// What people write out of habit, and what it is called here.
const HABITS: [(&str, &str, &str); 8] = [
    ("{", "there are no object literals", "write the object as YAML, with ${{ }} in its values"),
    ("===", "there is no `===`", "write `==`: types are never mixed"),
    ("=~", "there is no `=~`", "write x.matches(\"…\")"),
    ("=", "`=` does not compare", "write `==`"),
    ("&", "there is no `&`", "write `&&`"),
    ("|", "there is no `|`", "write `||`"),
    ("?", "there is no `?:`", "write if(condition, a, b), or a ?? b for a default"),
    (":", "there is no `?:`", "write if(condition, a, b)"),
];

/// All tokens with their places, the last one [`Token::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, Range<usize>)>, Fault> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(first) = source.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = &source[at..];
        let (token, length) = match first {
            space if space.is_whitespace() => {
                at += space.len_utf8();
                continue;
            }
            '"' | '\'' => text(rest, first, at)?,
            '0'..='9' => number(rest, at)?,
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Name(rest[..length].to_owned()), length)
            }
            _ => symbol(rest, first, at)?,
        };
        out.push((token, at..at + length));
        at += length;
    }
    out.push((Token::End, source.len()..source.len()));
    Ok(out)
}

fn symbol(rest: &str, first: char, at: usize) -> Result<(Token, usize), Fault> {
    if !rest.starts_with("===")
        && let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol))
    {
        return Ok((Token::Symbol(symbol), symbol.len()));
    }
    if let Some((habit, message, help)) = HABITS.iter().find(|(habit, ..)| rest.starts_with(habit)) {
        return Err(Fault::new(at..at + habit.len(), *message).with_help(*help));
    }
    let fault = Fault::new(at..at + first.len_utf8(), format!("`{}` has no meaning here", first.escape_debug()));
    Err(match first {
        '“' | '”' | '‘' | '’' | '`' => fault.with_help("texts are written \"…\" or '…'"),
        '$' => fault.with_help("this is an expression already: leave out ${{ }}"),
        _ => fault,
    })
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), Fault> {
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
    let span = at..at + length;
    if rest.get(length..).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')) {
        return Err(Fault::new(at..at + length + 1, "a name cannot begin with a digit, and a number has no unit")
            .with_help("put texts in quotes"));
    }
    let text = rest.get(..length).unwrap_or_default();
    if length == whole {
        return Ok((Token::Int(text.to_owned()), length));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((Token::Double(number), length)),
        _ => Err(Fault::new(span, "this number is too large")),
    }
}

/// A text literal; returns its value and its length in the source with both quotes.
fn text(rest: &str, quote: char, at: usize) -> Result<(Token, usize), Fault> {
    let mut out = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            end if end == quote => return Ok((Token::Text(out), index + 1)),
            '\\' => {
                let escape = characters.next().map(|(_, escape)| escape);
                match escape {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some(itself @ ('\\' | '"' | '\'')) => out.push(itself),
                    Some('u') => out.push(unicode(&mut characters, at + index)?),
                    Some(other) => {
                        let span = at + index..at + index + 1 + other.len_utf8();
                        return Err(Fault::new(span, format!("`\\{}` is no escape", other.escape_debug()))
                            .with_help("a backslash is written `\\\\`"));
                    }
                    None => break,
                }
            }
            other => out.push(other),
        }
    }
    Err(Fault::new(at..at + rest.len(), "the closing quote is missing"))
}

/// The rest of `\u{1f680}`.
fn unicode(characters: &mut impl Iterator<Item = (usize, char)>, at: usize) -> Result<char, Fault> {
    let fault = || Fault::new(at..at + 2, "`\\u` needs the number of a character").with_help("write \\u{1f680}");
    if characters.next().map(|(_, open)| open) != Some('{') {
        return Err(fault());
    }
    let digits: String = characters.take_while(|(_, c)| *c != '}').map(|(_, c)| c).take(7).collect();
    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).ok_or_else(fault)
}

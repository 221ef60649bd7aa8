//! The shape notation: text to type and back.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use super::{Escape, Type};
use crate::rules::suggest::closest;

/// Shapes nest at most this deep.
const DEEPEST: usize = 32;

/// Something wrong in a shape, at a byte range of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct ShapeFault {
    /// Byte offsets into the shape's text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

const NAMED: [(&str, Type); 17] = [
    ("any", Type::Any),
    ("null", Type::Null),
    ("bool", Type::Bool),
    ("int", Type::Int),
    ("double", Type::Double),
    ("string", Type::String),
    ("text", Type::Text),
    ("duration", Type::Duration),
    ("timestamp", Type::Timestamp),
    ("secret", Type::Secret),
    ("target", Type::Target),
    ("connection", Type::Connection),
    ("markdown", Type::Escaped(Escape::Markdown)),
    ("mrkdwn", Type::Escaped(Escape::Mrkdwn)),
    ("post", Type::Escaped(Escape::Post)),
    ("plain", Type::Escaped(Escape::Plain)),
    ("url-path", Type::Escaped(Escape::UrlPath)),
];

/// Words of other languages, and what they are here.
const FOREIGN: [(&str, &str); 9] = [
    ("number", "int or double"),
    ("integer", "int"),
    ("float", "double"),
    ("boolean", "bool"),
    ("str", "string"),
    ("object", "{ name: T }, or any"),
    ("map", r#"{ "*": T }"#),
    ("array", "[T]"),
    ("list", "[T]"),
];

impl Type {
    /// Reads the shape notation; every fault is reported, up to where it cannot be read on.
    pub fn parse(text: &str) -> Result<Self, Vec<ShapeFault>> {
        let mut reader = Reader { text, at: 0, depth: 0, faults: Vec::new() };
        let shape = reader.shape();
        reader.space();
        if shape.is_ok() && !reader.rest().is_empty() {
            reader.faults.push(fault(reader.at..text.len(), "this is left over after the type"));
        }
        match shape {
            Ok(shape) if reader.faults.is_empty() => Ok(shape),
            Ok(_) => Err(reader.faults),
            Err(last) => Err(reader.faults.into_iter().chain([last]).collect()),
        }
    }
}

/// A message without advice.
fn fault(span: Range<usize>, message: impl Into<String>) -> ShapeFault {
    ShapeFault { span, message: message.into(), help: None }
}

/// A place in the text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// Behind these it can be read on.
    faults: Vec<ShapeFault>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Takes `symbol`, after white space, if it is next.
    fn take(&mut self, symbol: char) -> bool {
        self.space();
        let there = self.rest().starts_with(symbol);
        if there {
            self.at += symbol.len_utf8();
        }
        there
    }

    fn expect(&mut self, symbol: char) -> Result<(), ShapeFault> {
        if self.take(symbol) {
            return Ok(());
        }
        let next = self.rest().chars().next().map_or(0, char::len_utf8);
        Err(fault(self.at..self.at + next, format!("`{symbol}` is missing here")))
    }

    fn shape(&mut self) -> Result<Type, ShapeFault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(fault(self.at..self.text.len(), format!("a type nests at most {DEEPEST} levels")));
        }
        let shape = if self.take('[') {
            let inner = self.shape()?;
            self.expect(']')?;
            Type::List(Box::new(inner))
        } else if self.take('{') {
            self.fields()?
        } else {
            self.words()?
        };
        let structure = matches!(shape, Type::List(_) | Type::Object(_) | Type::Map(_));
        let shape = if structure && self.take('|') { Type::Either(Box::new(shape), Box::new(self.words()?)) } else { shape };
        self.depth -= 1;
        Ok(if self.take('?') { shape.optional() } else { shape })
    }

    fn fields(&mut self) -> Result<Type, ShapeFault> {
        let mut fields = BTreeMap::new();
        while !self.take('}') {
            let (key, span) = self.word()?;
            let optional = self.take('?');
            self.expect(':')?;
            let shape = self.shape()?;
            if key == "*" && fields.is_empty() {
                self.take(',');
                self.expect('}')?;
                return Ok(Type::Map(Box::new(shape)));
            }
            let shape = if optional { shape.optional() } else { shape };
            if key == "*" || fields.insert(key.to_owned(), shape).is_some() {
                self.faults.push(fault(span, format!("`{key}` cannot stand beside the names before it")));
            }
            if !self.take(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(Type::Object(fields))
    }

    /// A named type, or an enumeration.
    fn words(&mut self) -> Result<Type, ShapeFault> {
        self.space();
        let start = self.at;
        let quoted = self.rest().starts_with(['"', '\'']);
        let (first, span) = self.word()?;
        let mut words: Vec<String> = first.split('|').map(|word| word.trim().to_owned()).collect();
        while self.take('|') {
            let (next, _) = self.word()?;
            words.extend(next.split('|').map(|word| word.trim().to_owned()));
        }
        let optional =
            words.last_mut().is_some_and(|word| quoted && word.len() > 1 && word.ends_with('?') && word.pop().is_some());
        let shape = match words.as_slice() {
            [only] => match NAMED.iter().find(|(name, _)| name == only) {
                Some((_, named)) => named.clone(),
                None if quoted && !only.is_empty() => Type::Enum(words),
                None => {
                    self.faults.push(unknown(only, span));
                    Type::Any
                }
            },
            several => {
                let repeated = several.iter().enumerate().any(|(index, word)| word.is_empty() || several[..index].contains(word));
                if repeated {
                    self.faults.push(fault(start..self.at, "an enumeration has different words, none of them empty"));
                }
                Type::Enum(words)
            }
        };
        Ok(if optional { shape.optional() } else { shape })
    }

    /// A bare or quoted word and its place.
    fn word(&mut self) -> Result<(&'a str, Range<usize>), ShapeFault> {
        self.space();
        let start = self.at;
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '"' | '\'')) {
            let inner = rest.get(1..).unwrap_or_default();
            let Some(length) = inner.find(quote) else {
                return Err(fault(start..self.text.len(), "the closing quote is missing"));
            };
            self.at += length + 2;
            return Ok((inner.get(..length).unwrap_or_default(), start..self.at));
        }
        let end = rest.find(|c: char| c.is_whitespace() || "{}[],:?|\"'".contains(c)).unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        if word.is_empty() {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            return Err(fault(start..start + next, "a type or a name is missing here"));
        }
        self.at += end;
        Ok((word, start..self.at))
    }
}

/// The message for a word that names no type.
fn unknown(word: &str, span: Range<usize>) -> ShapeFault {
    let foreign = FOREIGN.iter().find(|(name, _)| *name == word).map(|(_, here)| format!("write {here}"));
    let near = || closest(word, NAMED.iter().map(|(name, _)| *name)).map(|name| format!("did you mean `{name}`?"));
    ShapeFault {
        span,
        message: format!("`{word}` is not a type; use string, text, int, double, bool, any, a|b, [T], {{ name: T }} or T?"),
        help: foreign.or_else(near),
    }
}

impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enum(words) if words.len() == 1 || words.iter().any(|word| !is_bare(word)) => {
                write!(formatter, "\"{}\"", words.join("|"))
            }
            Self::Enum(words) => formatter.write_str(&words.join("|")),
            Self::List(inner) => write!(formatter, "[{inner}]"),
            Self::Map(inner) => write!(formatter, "{{ \"*\": {inner} }}"),
            Self::Object(fields) if fields.is_empty() => formatter.write_str("{}"),
            Self::Object(fields) => {
                for (index, (name, field)) in fields.iter().enumerate() {
                    formatter.write_str(if index == 0 { "{ " } else { ", " })?;
                    let (mark, field) = match field {
                        Self::Optional(inner) => ("?", inner.as_ref()),
                        other => ("", other),
                    };
                    if is_bare(name) {
                        write!(formatter, "{name}{mark}: {field}")?
                    } else {
                        write!(formatter, "\"{name}\"{mark}: {field}")?
                    }
                }
                formatter.write_str(" }")
            }
            Self::Either(structure, plain) => write!(formatter, "{structure}|{plain}"),
            Self::Optional(inner) => write!(formatter, "{inner}?"),
            named => formatter.write_str(NAMED.iter().find(|(_, shape)| shape == named).map_or("any", |(name, _)| name)),
        }
    }
}

/// Can the word be written without quotes?
fn is_bare(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "{}[],:?|\"'*".contains(c))
}

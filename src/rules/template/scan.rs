//! Finds `${{ }}` in a text.

use std::ops::Range;

use crate::rules::expr::Fault;

/// A piece of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    /// Where the expression is, without the braces and the space around it.
    Expression(Range<usize>),
}

/// Cuts a text into pieces. A `}}` within a text literal of an expression does not end it; `$${{` stands for `${{` itself.
pub(super) fn scan(text: &str) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(found) = rest.find("${{") else {
            literal.push_str(rest);
            break;
        };
        let start = at + found;
        if let Some(before) = rest.get(..found).and_then(|before| before.strip_suffix('$')) {
            literal.push_str(before);
            literal.push_str("${{");
            at = start + 3;
            continue;
        }
        literal.push_str(rest.get(..found).unwrap_or_default());
        let Some(end) = end_of(text, start + 3) else {
            let fault = Fault::new(start..text.len(), "`${{` is never closed");
            return Err(
                fault.with_help("close it with }} (and check the quotes inside); for the characters themselves write $${{")
            );
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Expression(trimmed(text, start + 3..end)));
        at = end + 2;
    }
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Where the `}}` is that closes an expression beginning at `from`.
fn end_of(text: &str, from: usize) -> Option<usize> {
    let mut quote = None;
    let mut bytes = text.as_bytes().iter().enumerate().skip(from);
    while let Some((index, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => {
                bytes.next();
            }
            (Some(open), byte) if byte == open => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'}') if text.as_bytes().get(index + 1) == Some(&b'}') => return Some(index),
            _ => {}
        }
    }
    None
}

fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let inner = text.get(span.clone()).unwrap_or_default();
    if inner.trim().is_empty() {
        return span;
    }
    let start = span.start + inner.len() - inner.trim_start().len();
    start..start + inner.trim().len()
}

//! From an offset in a scalar's text back to the file: through quotes, escapes, folding and indentation.

use std::ops::Range;

use super::{Scalar, Style};

/// `None` where the text cannot be followed to its end; then the caller points at the whole scalar.
pub fn place(source: &str, span: &Range<usize>, scalar: &Scalar, range: &Range<usize>) -> Option<Range<usize>> {
    let raw = source.get(span.clone())?;
    let places = match scalar.style {
        Style::Plain => follow(raw, &scalar.text, Escapes::None)?,
        Style::Literal => follow(raw, scalar.text.trim_end(), Escapes::Verbatim)?,
        Style::Folded => follow(raw, scalar.text.trim_end(), Escapes::None)?,
        Style::Single => inner(raw, &scalar.text, Escapes::Single)?,
        Style::Double => inner(raw, &scalar.text, Escapes::Double)?,
    };
    let start = places.iter().find(|place| place.text == range.start).map(|place| place.raw.start);
    let end = places.iter().rev().find(|place| place.text < range.end).map(|place| place.raw.end);
    let start = start.or(end)?;
    let end = end.unwrap_or(start).max(start);
    Some(span.start + start..span.start + end)
}

fn inner(raw: &str, text: &str, escapes: Escapes) -> Option<Vec<Place>> {
    let mut places = follow(raw.get(1..raw.len().checked_sub(1)?)?, text, escapes)?;
    for place in &mut places {
        place.raw = place.raw.start + 1..place.raw.end + 1;
    }
    Some(places)
}

/// A character of the text, and the bytes that stand for it in the file.
struct Place {
    text: usize,
    raw: Range<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    /// None, and blanks before a line break are no part of the text
    None,
    /// None, and every blank counts
    Verbatim,
    /// `''`
    Single,
    /// `\n`, `\u00e9`, a `\` at the end of a line
    Double,
}

/// Walks the text and the file together. Line breaks in the file stand for a break, a blank or nothing in the text,
/// and blanks around them may stand for nothing; every other character must be found.
fn follow(raw: &str, text: &str, escapes: Escapes) -> Option<Vec<Place>> {
    let mut places = Vec::with_capacity(text.len());
    let mut at = 0;
    for (offset, wanted) in text.char_indices() {
        let next = loop {
            let rest = raw.get(at..)?;
            let found = rest.chars().next()?;
            let length = match (escapes, found) {
                (Escapes::Single, '\'') => 2,
                (Escapes::Double, '\\') => {
                    let length = escape_length(rest)?;
                    if rest[1..].starts_with(['\n', '\r']) {
                        at += length;
                        continue;
                    }
                    length
                }
                _ if found == wanted && (escapes == Escapes::Verbatim || !at_fold(rest, wanted)) => found.len_utf8(),
                _ if matches!(found, '\n' | '\r') && matches!(wanted, ' ' | '\n') => found.len_utf8(),
                _ if matches!(found, ' ' | '\t' | '\n' | '\r') => {
                    at += found.len_utf8();
                    continue;
                }
                _ => return None,
            };
            break at..at + length;
        };
        at = next.end;
        places.push(Place { text: offset, raw: next });
    }
    Some(places)
}

/// Blanks before a line break were swallowed by the fold.
fn at_fold(rest: &str, wanted: char) -> bool {
    wanted == ' ' && rest.trim_start_matches([' ', '\t']).starts_with(['\n', '\r'])
}

fn escape_length(rest: &str) -> Option<usize> {
    let kind = rest[1..].chars().next()?;
    Some(match kind {
        'x' => 4,
        'u' => 6,
        'U' => 10,
        '\n' | '\r' => 1 + rest[1..].len() - rest[1..].trim_start().len(),
        other => 1 + other.len_utf8(),
    })
}

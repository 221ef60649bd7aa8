//! Faults of YAML itself, and the advice that usually mends them.

use std::ops::Range;

use crate::rules::diagnostic::Diagnostic;

/// The first character that has no business in a text file: the parser would end at a NUL and read on as if nothing were there,
/// and direction marks make a reviewer see something else than what is read.
pub fn character(file: &str, text: &str) -> Option<Diagnostic> {
    let (at, found) = text.char_indices().find(|(_, found)| {
        (found.is_control() && !matches!(found, '\n' | '\r' | '\t'))
            || matches!(found, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
            || (*found == '\u{feff}' && !text.starts_with('\u{feff}'))
    })?;
    let message = format!("the character U+{:04X} cannot be seen and is not accepted here", u32::from(found));
    let help = format!("in a quoted text write it as \"\\u{:04X}\"", u32::from(found));
    Some(Diagnostic::error(file, "yaml", at..at + found.len_utf8(), message).help(help))
}

/// The parser gave up at `at`.
pub fn syntax(file: &str, text: &str, at: usize, info: &str) -> Diagnostic {
    if info.contains("unknown anchor") {
        return alias(file, text, at);
    }
    let message = if info.contains("invalid escape") || info.contains("unknown escape") {
        "this is not valid YAML: there is no such escape in a \"quoted\" text"
    } else {
        "this is not valid YAML"
    };
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |next| at + next.len_utf8());
    let fault = Diagnostic::error(file, "yaml", at..end, message);
    match advice(text, at, info) {
        Some(help) => fault.help(help),
        None => fault,
    }
}

/// What people most often did who got a syntax error at that place.
fn advice(text: &str, at: usize, info: &str) -> Option<String> {
    let line_start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let before = text.get(line_start..at)?;
    let rest = text.get(at..)?.lines().next().unwrap_or("");
    if before.trim_start_matches(' ').starts_with('\t') || (before.trim().is_empty() && rest.starts_with('\t')) {
        return Some("YAML indents with spaces, not tabs".to_owned());
    }
    if before.ends_with('$') && rest.starts_with("{{") {
        return Some("inside { } or [ ] a value with ${{ }} must be quoted: { url: \"${{ … }}\" }".to_owned());
    }
    if rest.starts_with(':') && before.contains(": ") {
        return Some("the value contains `: `; quote it, or use a block: `text: >-`".to_owned());
    }
    if info.contains("escape") {
        return Some("write \\\\ for a backslash, or the text in single quotes".to_owned());
    }
    if rest.starts_with(['@', '`', '%']) {
        return Some("a value that begins with @, ` or % must be quoted".to_owned());
    }
    if info.contains("quoted scalar") {
        return Some("a quote was opened and not closed".to_owned());
    }
    if info.contains("simple key") || info.contains("block mapping") || info.contains("block collection") {
        return Some("look at the indentation, and for a missing `:` or an open quote in the lines above".to_owned());
    }
    None
}

/// `*name`; most often a pattern that was not quoted.
pub fn alias(file: &str, text: &str, at: usize) -> Diagnostic {
    let rest = text.get(at..).unwrap_or("");
    let length = rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
    let word = rest.get(..length).unwrap_or("");
    let fault = Diagnostic::error(file, "yaml-alias", at..at + length, "aliases (*name) are not supported");
    if word.get(1..).is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))) {
        return fault.help("write the value out, or put it in `vars:` and use ${{ vars.name }}; a pattern must be quoted");
    }
    fault.help(format!("a pattern that begins with `*` must be quoted: \"{word}\""))
}

/// `&name`, shown at the value behind it.
pub fn anchor(file: &str, text: &str, span: &Range<usize>) -> Diagnostic {
    let decorated = text.get(span.clone()).unwrap_or("");
    let name = decorated.find(char::is_whitespace).unwrap_or(decorated.len());
    let behind = decorated.get(name..).unwrap_or("");
    let value = name + (behind.len() - behind.trim_start().len());
    let start = if behind.trim().is_empty() { span.start } else { span.start + value };
    Diagnostic::error(file, "yaml-anchor", start..span.end, "anchors (&name) are not supported")
        .help("write the value out, or put it in `vars:` and use ${{ vars.name }}")
}

/// `!name`; `bare` if nothing stands behind it, so that it was meant as the value.
pub fn tag(file: &str, text: &str, span: &Range<usize>, bare: bool) -> Diagnostic {
    let written = text.get(span.clone()).unwrap_or("");
    if written.starts_with("!!") {
        return Diagnostic::error(file, "yaml-tag", span.clone(), "tags (!!type) are not supported")
            .help("write the value alone; quote it if it must be a text");
    }
    let end = if bare { span.end } else { span.end.min(span.start + written.lines().next().map_or(0, str::len)) };
    Diagnostic::error(file, "yaml-tag", span.start..end, "a plain value cannot begin with `!` in YAML")
        .help("quote it: '!event.draft' or \"!docs/**\"")
}

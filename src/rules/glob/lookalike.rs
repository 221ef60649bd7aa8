//! Patterns that can never match because they are written for something else: refs, regular expressions, file systems.

use super::{GlobFault, Subject};

const GLOB: &str = "this is a glob, not a regular expression: * stays within one /, ** crosses it";

/// Refuses a pattern whose subject can never look like this. A sign after `\` is meant as itself and let through.
pub(super) fn check(text: &str, subject: Subject) -> Result<(), GlobFault> {
    let pattern = text.strip_prefix('!').unwrap_or(text);
    let fault = |message: String, help: String| Err(GlobFault::new(0..text.len(), message).with_help(help));
    match subject {
        Subject::Path => {
            if let Some(rest) = pattern.strip_prefix("./").or_else(|| pattern.strip_prefix('/')) {
                let rest = rest.trim_start_matches(['.', '/']);
                return fault(
                    "paths start at the root of the repository, without `/` or `./`".to_owned(),
                    format!("write `{rest}`"),
                );
            }
            if pattern.ends_with('/') {
                return fault("a path of a file never ends in `/`".to_owned(), format!("write `{pattern}**`"));
            }
            if pattern.split('/').any(|segment| segment == "..") {
                return fault("a path never contains `..`".to_owned(), "paths start at the root of the repository".to_owned());
            }
        }
        Subject::Branch | Subject::Tag => reference(text, pattern, subject)?,
        Subject::Name => {}
    }
    regular_expression(text, pattern)
}

/// What git never allows in the name of a branch or tag.
fn reference(text: &str, pattern: &str, subject: Subject) -> Result<(), GlobFault> {
    let what = if subject == Subject::Branch { "branch" } else { "tag" };
    let fault = |message: String, help: String| Err(GlobFault::new(0..text.len(), message).with_help(help));
    for (prefix, owner, key) in [("refs/heads/", Subject::Branch, "branches"), ("refs/tags/", Subject::Tag, "tags")] {
        if let Some(rest) = pattern.strip_prefix(prefix) {
            let help = if owner == subject { format!("write `{rest}`") } else { format!("write it under {key}: [\"{rest}\"]") };
            return fault(format!("the name of a {what} is written without `{prefix}`"), help);
        }
    }
    let bare = unescaped(pattern);
    if let Some(odd) = bare.chars().find(|c| matches!(c, '^' | '~' | ':' | ' ') || c.is_control()) {
        return fault(format!("a {what} name never contains `{}`", odd.escape_debug()), GLOB.to_owned());
    }
    if bare.contains("..") || bare.starts_with('/') || bare.ends_with('/') || bare.contains("//") {
        return fault(format!("a {what} name never has `..` or `//`, and no `/` at its ends"), GLOB.to_owned());
    }
    if bare.split('/').any(|segment| segment.starts_with('.')) {
        return fault(format!("no part of a {what} name begins with `.`"), GLOB.to_owned());
    }
    Ok(())
}

/// Signs that only make sense in a regular expression.
fn regular_expression(text: &str, pattern: &str) -> Result<(), GlobFault> {
    let fault = |message: String| Err(GlobFault::new(0..text.len(), message).with_help(GLOB));
    let bare = unescaped(pattern);
    if bare.starts_with('^') || bare.ends_with('$') {
        return fault("a pattern always covers the whole name, without `^` and `$`".to_owned());
    }
    if bare.contains('(') && bare.contains('|') && bare.contains(')') {
        return fault("there is no `(a|b)` in a pattern: list both".to_owned());
    }
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == '\\'
            && let Some(escaped) = characters.next()
            && escaped.is_ascii_alphanumeric()
        {
            return fault(format!("`\\{escaped}` has no meaning in a pattern"));
        }
    }
    Ok(())
}

/// The pattern with every escaped sign replaced by a letter.
fn unescaped(pattern: &str) -> String {
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character == '\\' {
            characters.next();
            out.push('x');
        } else {
            out.push(character);
        }
    }
    out
}

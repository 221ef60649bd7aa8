//! One pattern. Most are plain names or prefixes and need no regular expression; the others are translated when first used, because
//! compiling costs a hundred microseconds and several kilobytes.

use std::sync::OnceLock;

use regex::Regex;

use super::{GlobFault, LONGEST};

/// A compiled pattern. There may be a hundred thousand of them, so it keeps its text once.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// As written.
    text: Box<str>,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// Exactly this; nothing means the text as written.
    Name(Option<Box<str>>),
    /// This, then anything: `docs/**`. Nothing means the text as written, without the stars.
    Prefix(Option<Box<str>>),
    /// A regular expression, once it was needed; nothing in it means that it cannot be compiled.
    Regex(OnceLock<Option<Box<Regex>>>),
}

impl Pattern {
    /// Reads a pattern.
    pub fn compile(text: &str) -> Result<Self, GlobFault> {
        if text.len() > LONGEST {
            return Err(GlobFault::new(LONGEST..text.len(), format!("a pattern has at most {LONGEST} bytes")));
        }
        let positive = positive(text);
        let atoms = atoms(text, text.len() - positive.len())?;
        if atoms.is_empty() {
            return Err(GlobFault::new(0..text.len(), "this pattern is empty: it would never match"));
        }
        Ok(Self { text: text.into(), test: test(&atoms, positive) })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does a match let the input in?
    pub fn includes(&self) -> bool {
        !self.text.starts_with('!')
    }

    /// The only text that matches, if there is only one.
    pub fn name(&self) -> Option<&str> {
        match &self.test {
            Test::Name(name) => Some(name.as_deref().unwrap_or_else(|| positive(&self.text))),
            Test::Prefix(_) | Test::Regex(_) => None,
        }
    }

    /// Does the whole input match? An exclusion that cannot be compiled excludes, an inclusion does not include.
    pub fn matches(&self, input: &str) -> bool {
        match &self.test {
            Test::Name(name) => name.as_deref().unwrap_or_else(|| positive(&self.text)) == input,
            Test::Prefix(prefix) => {
                input.starts_with(prefix.as_deref().unwrap_or_else(|| positive(&self.text).trim_end_matches("**")))
            }
            Test::Regex(compiled) => match compiled.get_or_init(|| regex(&self.text).map(Box::new)) {
                Some(regex) => regex.is_match(input),
                None => !self.includes(),
            },
        }
    }
}

/// The pattern without its `!`.
fn positive(text: &str) -> &str {
    text.strip_prefix('!').unwrap_or(text)
}

/// The regular expression that means the same.
fn regex(text: &str) -> Option<Regex> {
    let atoms = atoms(text, text.len() - positive(text).len()).ok()?;
    let mut source = String::from("(?s)^(?:");
    atoms.iter().for_each(|atom| translate(atom, &mut source));
    source.push_str(")$");
    Regex::new(&source).ok()
}

/// What a pattern is made of.
#[derive(Debug, PartialEq)]
enum Atom {
    Character(char),
    /// `[a-c1]` as ranges.
    Class(Vec<(char, char)>),
    /// `*`
    Segment,
    /// `**`
    Anything,
    /// `**/`, which may also be no directory at all.
    Directories,
    /// `?` or `+` after a character.
    Repeated(Box<Atom>, char),
}

fn atoms(text: &str, offset: usize) -> Result<Vec<Atom>, GlobFault> {
    let mut atoms = Vec::new();
    let mut at = offset;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next().unwrap_or_default();
        let (atom, length) = match first {
            '*' if rest.starts_with("**/") => (Atom::Directories, 3),
            '*' if rest.starts_with("**") => (Atom::Anything, 2),
            '*' => (Atom::Segment, 1),
            '[' => class(rest, at)?,
            '\\' => match rest.chars().nth(1) {
                Some(escaped) => (Atom::Character(escaped), 1 + escaped.len_utf8()),
                None => {
                    return Err(
                        GlobFault::new(at..at + 1, "nothing follows the `\\`").with_help("a backslash itself is written `\\\\`")
                    );
                }
            },
            '?' | '+' => match atoms.pop() {
                Some(single @ (Atom::Character(_) | Atom::Class(_))) => (Atom::Repeated(Box::new(single), first), 1),
                _ => return Err(nothing_to_repeat(first, at)),
            },
            other => (Atom::Character(other), other.len_utf8()),
        };
        atoms.push(atom);
        at += length;
    }
    Ok(atoms)
}

fn nothing_to_repeat(quantifier: char, at: usize) -> GlobFault {
    let times = if quantifier == '?' { "zero or one time" } else { "one or more times" };
    GlobFault::new(at..at + 1, format!("`{quantifier}` stands for the character before it, {times}; there is none"))
        .with_help(format!("for any characters write `*`, for the sign itself `\\{quantifier}`"))
}

/// `[…]` at the beginning of `rest`.
fn class(rest: &str, at: usize) -> Result<(Atom, usize), GlobFault> {
    let Some(end) = rest.find(']') else {
        return Err(GlobFault::new(at..at + rest.len(), "the `]` is missing").with_help("the sign itself is written `\\[`"));
    };
    let span = at..at + end + 1;
    let inner: Vec<char> = rest.get(1..end).unwrap_or_default().chars().collect();
    if inner.is_empty() {
        return Err(GlobFault::new(span, "`[]` lists no character"));
    }
    if let Some(odd) = inner.iter().find(|c| !c.is_ascii_alphanumeric() && **c != '-') {
        let fault =
            GlobFault::new(span, format!("only letters, digits and ranges of them stand in `[ ]`, not `{}`", odd.escape_debug()));
        return Err(if matches!(odd, '!' | '^') { fault.with_help("there is no \"none of these\" here") } else { fault });
    }
    let mut ranges = Vec::new();
    let mut left = inner.as_slice();
    while let [low, tail @ ..] = left {
        left = match tail {
            ['-', high, tail @ ..] if *low != '-' && *high != '-' => {
                ranges.push(range(*low, *high).map_err(|message| GlobFault::new(span.clone(), message))?);
                tail
            }
            tail if *low != '-' => {
                ranges.push((*low, *low));
                tail
            }
            _ => return Err(GlobFault::new(span, "a `-` in `[ ]` stands between two letters or digits")),
        };
    }
    Ok((Atom::Class(ranges), end + 1))
}

fn range(low: char, high: char) -> Result<(char, char), String> {
    let same_kind = low.is_ascii_digit() && high.is_ascii_digit()
        || low.is_ascii_lowercase() && high.is_ascii_lowercase()
        || low.is_ascii_uppercase() && high.is_ascii_uppercase();
    if !same_kind {
        return Err(format!("the range {low}-{high} is none: write a-z, A-Z or 0-9"));
    }
    if low > high {
        return Err(format!("the range {low}-{high} runs backwards"));
    }
    Ok((low, high))
}

/// The cheapest test that does it.
fn test(atoms: &[Atom], written: &str) -> Test {
    let plain = |atoms: &[Atom]| {
        let characters = atoms.iter().map(|atom| if let Atom::Character(c) = atom { Some(*c) } else { None });
        characters.collect::<Option<String>>()
    };
    // Only escapes make it differ from what was written.
    let kept = |text: String, written: &str| (text != written).then(|| text.into_boxed_str());
    if let Some(name) = plain(atoms) {
        return Test::Name(kept(name, written));
    }
    if let Some((Atom::Anything, before)) = atoms.split_last()
        && let Some(prefix) = plain(before)
    {
        return Test::Prefix(kept(prefix, written.trim_end_matches("**")));
    }
    Test::Regex(OnceLock::new())
}

fn translate(atom: &Atom, out: &mut String) {
    match atom {
        Atom::Character(character) => out.push_str(&regex::escape(character.encode_utf8(&mut [0; 4]))),
        Atom::Class(ranges) => {
            out.push('[');
            ranges.iter().for_each(|(low, high)| out.extend([*low, '-', *high]));
            out.push(']');
        }
        Atom::Segment => out.push_str("[^/]*"),
        Atom::Anything => out.push_str(".*"),
        Atom::Directories => out.push_str("(?:.+/)?"),
        Atom::Repeated(inner, quantifier) => {
            translate(inner, out);
            out.push(*quantifier);
        }
    }
}

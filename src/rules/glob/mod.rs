//! GitHub Actions' filter patterns: `*` within a path segment, `**` across, `?` and `+` after a character, `[]`, `!` in front, `\` escapes.

mod lookalike;
mod pattern;

use std::ops::Range;

use pattern::Pattern;

/// Most bytes of one pattern.
pub const LONGEST: usize = 1000;

/// One `branches:`, `tags:` or `paths:` list, compiled. A later pattern wins over an earlier one.
#[derive(Debug, Clone)]
pub struct GlobSet {
    patterns: Box<[Pattern]>,
}

/// A pattern that cannot be used, at a byte range of its text.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobFault {
    /// Which pattern of the list.
    pub index: usize,
    /// Byte offsets into that pattern.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Is it about the list as a whole, not about that pattern?
    pub whole_list: bool,
}

impl GlobFault {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { index: 0, span, message: message.into(), help: None, whole_list: false }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What the patterns are held against; decides which look-alikes are refused (`refs/heads/`, `./`, `^`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// `branches:`
    Branch,
    /// `tags:`
    Tag,
    /// `paths:`
    Path,
    /// Anything else: repositories, images, policies.
    Name,
}

impl GlobSet {
    /// Compiles a list, reporting every faulty pattern; an empty list and a list of only `!` patterns are faults too.
    pub fn compile(patterns: &[String], subject: Subject) -> Result<Self, Vec<GlobFault>> {
        let mut faults = Vec::new();
        let mut compiled = Vec::with_capacity(patterns.len());
        for (index, text) in patterns.iter().enumerate() {
            match lookalike::check(text, subject).and_then(|()| Pattern::compile(text)) {
                Ok(pattern) => compiled.push(pattern),
                Err(fault) => faults.push(GlobFault { index, ..fault }),
            }
        }
        if faults.is_empty() && !compiled.iter().any(Pattern::includes) {
            faults.push(nothing_included(patterns, subject));
        }
        if faults.is_empty() { Ok(Self { patterns: compiled.into() }) } else { Err(faults) }
    }

    /// Whether the input is in, and the pattern that decided: the last one that matches. `None`: no pattern matches, so it is out.
    pub fn decide(&self, input: &str) -> (bool, Option<&str>) {
        let decisive = self.patterns.iter().rev().find(|pattern| pattern.matches(input));
        decisive.map_or((false, None), |pattern| (pattern.includes(), Some(pattern.text())))
    }

    /// As written.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(Pattern::text)
    }

    /// The names themselves, if every pattern is one and excludes nothing: then an index can look them up.
    pub fn names(&self) -> Option<Vec<&str>> {
        self.patterns.iter().map(|pattern| pattern.name().filter(|_| pattern.includes())).collect()
    }
}

fn nothing_included(patterns: &[String], subject: Subject) -> GlobFault {
    let key = match subject {
        Subject::Branch => "branches: ",
        Subject::Tag => "tags: ",
        Subject::Path => "paths: ",
        Subject::Name => "",
    };
    let end = patterns.first().map_or(0, String::len);
    let fault = match patterns {
        [] => GlobFault::new(0..0, "the list is empty: nothing would ever match")
            .with_help("leave the filter out to let everything in"),
        _ => {
            let written: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
            GlobFault::new(0..end, "only excluding patterns: nothing would ever match")
                .with_help(format!("put what to include first: {key}[\"**\", {}]", written.join(", ")))
        }
    };
    GlobFault { whole_list: true, ..fault }
}

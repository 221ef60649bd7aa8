//! GitHub Actions' filter patterns: `*` within a path segment, `**` across, `?` and `+` after a character, `[]`, `!` in front, `\` escapes.

use std::ops::Range;

/// One `branches:`, `tags:` or `paths:` list, compiled. A later pattern wins over an earlier one.
#[derive(Debug, Clone)]
pub struct GlobSet {
    patterns: Vec<String>,
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
}

/// What the patterns are held against; decides which look-alikes are refused (`refs/heads/`, `./`, `^`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Compiles a list, reporting every faulty pattern; a list of only `!` patterns is a fault.
    pub fn compile(patterns: &[String], subject: Subject) -> Result<Self, Vec<GlobFault>> {
        let _ = subject;
        let _ = patterns;
        todo!()
    }

    /// The pattern that decided, and whether the input is in.
    pub fn decide(&self, input: &str) -> (bool, Option<&str>) {
        let _ = input;
        todo!()
    }

    /// As written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

//! A fault with its place, and how it is shown.

use std::ops::Range;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Runs, but look at it.
    Warning,
    /// Does not start.
    Error,
}

/// One fault of a rule or settings file.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Stable word: `unknown-key`, `type`, …
    pub code: &'static str,
    /// Path as the user gave it.
    pub file: String,
    /// Byte offsets into the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Another place that matters (`first given here`).
    pub related: Option<(Range<usize>, String)>,
}

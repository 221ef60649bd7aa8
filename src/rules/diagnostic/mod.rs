//! A fault with its place, and how it is shown.

use std::ops::Range;

mod machine;
mod text;

pub use machine::{github, json, sarif};
pub use text::render;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Runs, but look at it.
    Warning,
    /// Does not start.
    Error,
}

impl Severity {
    /// `warning` or `error`, as every format spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
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
    /// What may be a secret: excerpts show `…` there.
    pub conceals: Option<Range<usize>>,
}

impl Diagnostic {
    /// An error without help.
    pub fn error(file: &str, code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            file: file.to_owned(),
            span,
            message: message.into(),
            help: None,
            related: None,
            conceals: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with another place that matters.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Line and column from 1, columns in characters, of where it begins in `source`.
    pub fn position(&self, source: &str) -> (usize, usize) {
        position(source, self.span.start)
    }
}

/// Line and column from 1, columns in characters, of a byte offset. Offsets beyond the end count as the end.
pub fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}

/// A text that was read, for showing faults in it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Path as the user gave it.
    pub path: &'a str,
    /// Its whole text.
    pub text: &'a str,
}

/// The text of a diagnostic's file; empty if it is not among them.
fn text_of<'a>(sources: &[Source<'a>], file: &str) -> &'a str {
    sources.iter().find(|source| source.path == file).map_or("", |source| source.text)
}

/// Faults of one file as they are found.
#[derive(Debug)]
pub struct Faults {
    file: String,
    found: Vec<Diagnostic>,
}

impl Faults {
    /// None yet.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new() }
    }

    /// The file they are in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Adds an error, with advice if there is any.
    pub fn error(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        let mut fault = Diagnostic::error(&self.file, code, span, message);
        fault.help = help;
        self.found.push(fault);
    }

    /// The error added last may be about a secret that stands there: no excerpt shows it.
    pub fn conceal(&mut self, span: Range<usize>) {
        if let Some(last) = self.found.last_mut() {
            last.conceals = Some(span);
        }
    }

    /// Adds a warning, with advice if there is any.
    pub fn warning(&mut self, code: &'static str, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.error(code, span, message, help);
        if let Some(last) = self.found.last_mut() {
            last.severity = Severity::Warning;
        }
    }

    /// Adds those found elsewhere.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Diagnostic>) {
        self.found.extend(others);
    }

    /// How many errors.
    pub fn errors(&self) -> usize {
        self.found.iter().filter(|fault| fault.severity == Severity::Error).count()
    }

    /// All of them in the order of the file.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|fault| fault.span.start);
        self.found
    }
}

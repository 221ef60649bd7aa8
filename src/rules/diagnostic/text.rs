//! Faults for people: the lines they are on, underlined.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Diagnostic, Severity, Source, text_of};

/// Every fault with its excerpt and an empty line after it; plain, or coloured for a terminal.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source<'_>], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut shown = String::new();
    for diagnostic in diagnostics {
        // Another fault on the same line shows it as well, so what one of them conceals is concealed for all.
        let others = diagnostics.iter().filter(|other| other.file == diagnostic.file);
        let concealed = others.filter_map(|other| other.conceals.clone()).collect();
        let masked = Masked::new(text_of(sources, &diagnostic.file), concealed);
        shown.push_str(&one(diagnostic, &masked, &renderer));
        shown.push_str("\n\n");
    }
    shown
}

fn one(diagnostic: &Diagnostic, masked: &Masked, renderer: &Renderer) -> String {
    let text = masked.text.as_str();
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut snippet = Snippet::source(text)
        .path(diagnostic.file.as_str())
        .annotation(AnnotationKind::Primary.span(inside(text, &masked.span(&diagnostic.span))));
    if let Some((span, label)) = &diagnostic.related {
        snippet = snippet.annotation(AnnotationKind::Context.span(inside(text, &masked.span(span))).label(label.as_str()));
    }
    let mut group = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The renderer panics on offsets outside the text or within a character, so they are moved to where it does not.
fn inside(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |mut offset: usize| {
        offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

/// A text with `…` for what must not be seen, and where its places have moved to. Lines stay lines.
struct Masked {
    text: String,
    /// Of each replaced piece: where it was, and where its mark is.
    moved: Vec<(Range<usize>, Range<usize>)>,
}

impl Masked {
    fn new(text: &str, mut concealed: Vec<Range<usize>>) -> Self {
        concealed.sort_by_key(|span| span.start);
        let mut masked = Self { text: String::with_capacity(text.len()), moved: Vec::new() };
        let mut done = 0;
        for span in concealed.iter().map(|span| inside(text, span)) {
            masked.text.push_str(text.get(done..span.start).unwrap_or_default());
            let mut at = span.start.max(done);
            for piece in text.get(at..span.end).unwrap_or_default().split_inclusive('\n') {
                let line = piece.trim_end_matches('\n');
                let mark = masked.text.len();
                if !line.is_empty() {
                    masked.text.push('…');
                }
                masked.moved.push((at..at + line.len(), mark..masked.text.len()));
                masked.text.push_str(piece.get(line.len()..).unwrap_or_default());
                at += piece.len();
            }
            done = at;
        }
        masked.text.push_str(text.get(done..).unwrap_or_default());
        masked
    }

    fn span(&self, span: &Range<usize>) -> Range<usize> {
        self.place(span.start, false)..self.place(span.end, true)
    }

    fn place(&self, offset: usize, is_end: bool) -> usize {
        let Some((was, is)) = self.moved.iter().rev().find(|(was, _)| was.start <= offset) else { return offset };
        if offset >= was.end {
            return is.end + (offset - was.end);
        }
        if is_end && offset > was.start { is.end } else { is.start }
    }
}

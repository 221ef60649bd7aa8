//! Faults for people: the lines they are on, underlined.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Diagnostic, Severity, Source, text_of};

/// Every fault with its excerpt and an empty line after it; plain, or coloured for a terminal.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source<'_>], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut shown = String::new();
    for diagnostic in diagnostics {
        shown.push_str(&one(diagnostic, text_of(sources, &diagnostic.file), &renderer));
        shown.push_str("\n\n");
    }
    shown
}

fn one(diagnostic: &Diagnostic, text: &str, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut snippet = Snippet::source(text)
        .path(diagnostic.file.as_str())
        .annotation(AnnotationKind::Primary.span(inside(text, &diagnostic.span)));
    if let Some((span, label)) = &diagnostic.related {
        snippet = snippet.annotation(AnnotationKind::Context.span(inside(text, span)).label(label.as_str()));
    }
    let mut group = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The renderer panics on offsets outside the text or within a character, so they are moved to where it does not.
fn inside(text: &str, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
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

//! From parser events to the tree, without recursion.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::faults;
use super::{Content, Entry, Node, Scalar, Style};
use crate::rules::diagnostic::Diagnostic;

/// How much a file may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes.
    pub bytes: usize,
    /// Scalars, lists and mappings.
    pub nodes: usize,
    /// Lists and mappings within each other.
    pub depth: usize,
}

impl Limits {
    /// For files of repositories: anyone who may write to one can make us read them.
    pub const REPOSITORY: Self = Self { bytes: 64 * 1024, nodes: 20_000, depth: 32 };
    /// For the operator's own files.
    pub const OPERATOR: Self = Self { bytes: 1024 * 1024, nodes: 200_000, depth: 32 };
}

/// Reads one document. The tree is missing if anything but duplicate keys is wrong; an empty file is an empty mapping.
pub fn read(file: &str, text: &str, limits: Limits) -> (Option<Node>, Vec<Diagnostic>) {
    if text.len() > limits.bytes {
        let message = format!("this file has {} bytes, more than the {} that are read", text.len(), limits.bytes);
        return (None, vec![Diagnostic::error(file, "limit", 0..0, message)]);
    }
    if let Some(fault) = faults::character(file, text) {
        return (None, vec![fault]);
    }
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file,
        text,
        limits,
        bytes: Bytes::new(body, text.len() - body.len()),
        open: Vec::new(),
        root: None,
        nodes: 0,
        documents: 0,
        diagnostics: Vec::new(),
        broken: false,
    };
    let mut parser = Parser::new_from_str(body);
    builder.take_all(&mut parser);
    let empty = Node { span: 0..0, content: Content::Mapping(Vec::new()) };
    let tree = (!builder.broken).then(|| builder.root.unwrap_or(empty));
    (tree, builder.diagnostics)
}

/// The parser counts characters, we count bytes.
struct Bytes {
    of_character: Option<Vec<usize>>,
    base: usize,
    end: usize,
}

impl Bytes {
    fn new(body: &str, base: usize) -> Self {
        let of_character = (!body.is_ascii()).then(|| body.char_indices().map(|(offset, _)| offset).collect());
        Self { of_character, base, end: body.len() }
    }

    fn offset(&self, character: usize) -> usize {
        let within = match &self.of_character {
            None => character.min(self.end),
            Some(offsets) => offsets.get(character).copied().unwrap_or(self.end),
        };
        self.base + within
    }
}

/// A list or mapping that is not closed yet.
struct Open {
    start: usize,
    /// Written with brackets or braces?
    flow: bool,
    content: Content,
    key: Option<(String, Range<usize>)>,
    /// Where each key of a mapping was given first.
    seen: HashMap<String, Range<usize>>,
}

struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    limits: Limits,
    bytes: Bytes,
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
    diagnostics: Vec<Diagnostic>,
    broken: bool,
}

impl Builder<'_> {
    fn take_all(&mut self, parser: &mut Parser<'_, StrInput<'_>>) {
        while let Some(event) = parser.next_event() {
            match event {
                Ok((Event::StreamEnd, _)) => return,
                Ok((event, span)) => {
                    let span = self.bytes.offset(span.start.index())..self.bytes.offset(span.end.index());
                    if !self.take(event, span) {
                        self.broken = true;
                        return;
                    }
                }
                // Behind something that YAML reads differently than it was meant, its rest makes no sense: that is no news.
                Err(_) if self.broken => return,
                Err(error) => {
                    let at = self.bytes.offset(error.marker().index());
                    // The parser looks ahead as far as a flow reaches, so it may meet its own limit before ours.
                    if error.info().contains("recursion limit") {
                        self.too_deep(at..at);
                    } else {
                        self.fault(faults::syntax(self.file, self.text, at, error.info()));
                    }
                    return;
                }
            }
        }
    }

    fn fault(&mut self, fault: Diagnostic) {
        self.broken = true;
        self.diagnostics.push(fault);
    }

    fn too_deep(&mut self, span: Range<usize>) {
        let message = format!("lists and mappings may be nested {} deep", self.limits.depth);
        self.fault(Diagnostic::error(self.file, "limit", span, message));
    }

    /// False if reading on makes no sense.
    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> bool {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.fault(Diagnostic::error(self.file, "yaml", span, "only one YAML document per file"));
                    return false;
                }
                true
            }
            Event::Alias(_) => {
                // Behind an anchor that was reported, its aliases are no news.
                if !self.diagnostics.iter().any(|fault| fault.code == "yaml-anchor") {
                    self.fault(faults::alias(self.file, self.text, span.start));
                }
                self.finish(Node { span, content: Content::Scalar(Scalar { text: String::new(), style: Style::Plain }) })
            }
            Event::Scalar(text, style, anchor, tag) => {
                let bare = text.is_empty() && style == ScalarStyle::Plain;
                self.decorations(&span, anchor, tag.as_ref(), bare);
                let span = self.scalar_span(span, style, &text);
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                self.finish(Node { span, content: Content::Scalar(Scalar { text: text.into_owned(), style }) })
            }
            Event::SequenceStart(anchor, tag) => self.begin(span, anchor, tag.as_ref(), Content::List(Vec::new())),
            Event::MappingStart(anchor, tag) => self.begin(span, anchor, tag.as_ref(), Content::Mapping(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
        }
    }

    fn decorations(&mut self, span: &Range<usize>, anchor: usize, tag: Option<&Cow<'_, Tag>>, bare: bool) {
        if tag.is_some() {
            self.fault(faults::tag(self.file, self.text, span, bare && anchor == 0));
        } else if anchor > 0 {
            self.fault(faults::anchor(self.file, self.text, span));
        }
    }

    /// An empty value's span may reach over the blanks behind it, a block's over the line break at its end.
    fn scalar_span(&self, span: Range<usize>, style: ScalarStyle, text: &str) -> Range<usize> {
        if style == ScalarStyle::Plain && text.is_empty() {
            return span.start..span.start;
        }
        self.trimmed(span)
    }

    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let length = self.text.get(span.clone()).map_or(0, |text| text.trim_end().len());
        span.start..span.start + length
    }

    fn begin(&mut self, span: Range<usize>, anchor: usize, tag: Option<&Cow<'_, Tag>>, content: Content) -> bool {
        self.decorations(&span, anchor, tag, false);
        if self.open.len() >= self.limits.depth {
            self.too_deep(span);
            return false;
        }
        let flow = self.text.get(span.clone()).is_some_and(|text| text.contains(['{', '[']));
        self.open.push(Open { start: span.start, flow, content, key: None, seen: HashMap::new() });
        true
    }

    fn end(&mut self, span: &Range<usize>) -> bool {
        let Some(open) = self.open.pop() else { return true };
        let last = match &open.content {
            Content::Mapping(entries) => entries.last().map(|entry| entry.value.span.end.max(entry.span.end)),
            Content::List(items) => items.last().map(|item| item.span.end),
            Content::Scalar(_) => None,
        };
        // The parser's span of a closing bracket reaches to the next token.
        let end = if open.flow { span.start + 1 } else { last.unwrap_or(open.start) };
        self.finish(Node { span: open.start..end.max(open.start), content: open.content })
    }

    /// Puts a complete node where it belongs.
    fn finish(&mut self, node: Node) -> bool {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            let message = format!("this file has more than the {} values that are read", self.limits.nodes);
            self.fault(Diagnostic::error(self.file, "limit", node.span, message));
            return false;
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return true;
        };
        match (&mut open.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Mapping(_), None) => return self.key(node),
            (Content::Mapping(entries), Some((key, span))) => {
                if open.seen.get(&key).is_some_and(|first| *first == span) {
                    entries.push(Entry { key, span, value: node });
                }
            }
            (Content::Scalar(_), _) => {}
        }
        true
    }

    fn key(&mut self, node: Node) -> bool {
        let Content::Scalar(scalar) = node.content else {
            self.fault(Diagnostic::error(self.file, "yaml", node.span, "a key must be a text, not a list or a mapping"));
            return false;
        };
        let Some(open) = self.open.last_mut() else { return false };
        open.key = Some((scalar.text.clone(), node.span.clone()));
        match open.seen.get(&scalar.text) {
            Some(first) => {
                let message = format!("`{}` is given twice", scalar.text);
                let fault = Diagnostic::error(self.file, "duplicate-key", node.span, message);
                let fault = fault.related(first.clone(), "first given here");
                self.diagnostics.push(fault);
            }
            None => {
                open.seen.insert(scalar.text.clone(), node.span.clone());
                if scalar.text == "<<" && scalar.style == Style::Plain {
                    let fault = Diagnostic::error(self.file, "yaml-merge", node.span, "merge keys (<<) are not supported");
                    self.fault(fault);
                }
            }
        }
        true
    }
}

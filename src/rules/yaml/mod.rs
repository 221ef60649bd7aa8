//! YAML into a tree with byte spans; anchors, aliases, tags, merge keys and duplicate keys are faults.
//!
//! Everything is kept as it was written: whether `0123456e7` is a number or a text is for the position that it stands in to say.

use std::ops::Range;

mod faults;
mod offsets;
mod read;
mod scalar;
#[cfg(test)]
mod tests;

pub use read::{Limits, read};
pub use scalar::{Plain, Scalar, Style, duration};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Byte offsets into the file; a quoted scalar includes its quotes.
    pub span: Range<usize>,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A text, a number, …
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written, without duplicate keys.
    Mapping(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub span: Range<usize>,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The entries, if it is a mapping. An empty value (`on:` and nothing behind it) is one without entries.
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            Content::Scalar(scalar) if scalar.is_null() => Some(&[]),
            _ => None,
        }
    }

    /// The items, if it is a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The entry with that key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// What it is, in words: `a list`, `a mapping`, `a string`, …
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
            Content::Scalar(scalar) => scalar.kind(),
        }
    }

    /// Where a range of the scalar's text stands in the file; the whole node where that cannot be told exactly.
    pub fn place(&self, source: &str, range: &Range<usize>) -> Range<usize> {
        match &self.content {
            Content::Scalar(scalar) => offsets::place(source, &self.span, scalar, range).unwrap_or_else(|| self.span.clone()),
            _ => self.span.clone(),
        }
    }

    /// As JSON, with plain scalars resolved by YAML's core schema.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.content {
            Content::Scalar(scalar) => scalar.to_json(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Mapping(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
        }
    }
}

//! Types of the rule language, and the shape notation they are written in.
//!
//! A shape is `string int double bool any null`, `text` (a string that an outsider can choose), `a|b` (one of these words), `[T]`, `{ k: T, k?: T }`,
//! `{ "*": T }`, `T?`, `[T]|U` or `{ … }|U` (a structure, or a plain value in its place), or a position of a parameter: `duration timestamp secret target connection markdown mrkdwn post plain url-path`.
//! An enumeration of a single word is written in quotes: `"open"`.

mod accept;
mod common;
mod fit;
mod notation;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use accept::Misfit;
pub use fit::Mismatch;
pub(crate) use fit::{is_duration, kind};
pub use notation::ShapeFault;

/// A type. Objects are closed: a name that is not in `fields` is an error, unless the object is a [`Type::Map`].
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Anything; operations on it are checked when they run.
    Any,
    /// Only the missing value.
    Null,
    /// `true` or `false`.
    Bool,
    /// 64-bit signed.
    Int,
    /// IEEE 754 double.
    Double,
    /// Text nobody outside can choose freely.
    String,
    /// Text an outsider can choose: may go to escaped positions and typed data, never into names.
    Text,
    /// One of these words. Of no words: nothing at all, the type of what an empty list holds.
    Enum(Vec<String>),
    /// A length of time, written `30s`, `5m`, `2h`.
    Duration,
    /// RFC 3339 text.
    Timestamp,
    /// The name of a secret; its value can only be given whole to a parameter of this type.
    Secret,
    /// The literal name of an entry of `targets:`.
    Target,
    /// The literal name of an entry of `connections:`.
    Connection,
    /// Text that is shown escaped in the named way.
    Escaped(Escape),
    /// A list.
    List(Box<Type>),
    /// Known names.
    Object(BTreeMap<String, Type>),
    /// Any name, one type.
    Map(Box<Type>),
    /// A list or an object, or a plain value that stands in its place.
    Either(Box<Type>, Box<Type>),
    /// The value, or missing.
    Optional(Box<Type>),
}

/// How outsiders' text is made harmless at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// GitHub: no HTML, mentions defused.
    Markdown,
    /// Slack: `& < >`, so no `<!channel>`.
    Mrkdwn,
    /// X: plain text in which no `@name` tells anybody.
    Post,
    /// As it is, but known to be shown as plain text.
    Plain,
    /// Percent-encoded as one path segment.
    UrlPath,
}

/// Enumerations that grow beyond this many words by `if` or `??` become plain strings.
const MOST_WORDS: usize = 64;

impl Type {
    /// The type of an empty list's items: no value has it, every position accepts it.
    pub(crate) const fn nothing() -> Self {
        Self::Enum(Vec::new())
    }

    /// Does no value have this type?
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Enum(words) if words.is_empty())
    }

    /// May the value be missing?
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::Optional(_) | Self::Null)
    }

    /// The type once the value is known to be there.
    pub fn present(&self) -> &Self {
        match self {
            Self::Optional(inner) => inner.present(),
            other => other,
        }
    }

    /// The same type, but the value may be missing.
    pub fn optional(self) -> Self {
        match self {
            Self::Optional(_) | Self::Any | Self::Null => self,
            other => Self::Optional(Box::new(other)),
        }
    }

    /// Can an outsider choose any text in it? `any` counts, because nobody declared what is in there.
    pub fn tainted(&self) -> bool {
        match self {
            Self::Any | Self::Text => true,
            Self::List(inner) | Self::Map(inner) | Self::Optional(inner) => inner.tainted(),
            Self::Either(structure, plain) => structure.tainted() || plain.tainted(),
            Self::Object(fields) => fields.values().any(Self::tainted),
            _ => false,
        }
    }

    /// The same shape as it comes from outside: every `string` becomes `text`. For declared bodies, parameters and responses.
    pub fn from_outside(self) -> Self {
        match self {
            Self::String => Self::Text,
            Self::List(inner) => Self::List(Box::new(inner.from_outside())),
            Self::Map(inner) => Self::Map(Box::new(inner.from_outside())),
            Self::Optional(inner) => Self::Optional(Box::new(inner.from_outside())),
            Self::Either(structure, plain) => Self::Either(Box::new(structure.from_outside()), Box::new(plain.from_outside())),
            Self::Object(fields) => Self::Object(fields.into_iter().map(|(name, field)| (name, field.from_outside())).collect()),
            other => other,
        }
    }

    /// Is it a text in some form?
    pub fn is_stringlike(&self) -> bool {
        matches!(
            self,
            Self::String
                | Self::Text
                | Self::Enum(_)
                | Self::Duration
                | Self::Timestamp
                | Self::Target
                | Self::Connection
                | Self::Escaped(_)
        )
    }

    /// Is it an `int` or a `double`?
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    /// The type of a named field. A name of a map may be missing, and so is every field of what may itself be missing;
    /// fields of `any` are `any`. `None` if there is no such field.
    pub fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Any => Some(Self::Any),
            Self::Object(fields) => fields.get(name).cloned(),
            Self::Map(inner) => Some(inner.as_ref().clone().optional()),
            Self::Optional(inner) => inner.field(name).map(Self::optional),
            _ => None,
        }
    }

    /// The type that holds values of both, if there is one.
    pub fn join(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (left, right) if left == right => left.clone(),
            (left, right) if left.is_nothing() => right.clone(),
            (left, right) if right.is_nothing() => left.clone(),
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::Null, some) | (some, Self::Null) => some.clone().optional(),
            (Self::Optional(left), right) | (right, Self::Optional(left)) => left.join(right.present())?.optional(),
            (left, right) if left.is_number() && right.is_number() => Self::Double,
            (Self::Enum(left), Self::Enum(right)) => {
                let mut words = left.clone();
                words.extend(right.iter().filter(|word| !left.contains(word)).cloned());
                if words.len() > MOST_WORDS { Self::String } else { Self::Enum(words) }
            }
            (left, right) if left.is_stringlike() && right.is_stringlike() => {
                if left.tainted() || right.tainted() {
                    Self::Text
                } else {
                    Self::String
                }
            }
            (Self::List(left), Self::List(right)) => Self::List(Box::new(left.join(right)?)),
            (Self::Map(left), Self::Map(right)) => Self::Map(Box::new(left.join(right)?)),
            (Self::Object(left), Self::Object(right)) if left.keys().eq(right.keys()) => {
                let fields = left.iter().zip(right.values());
                Self::Object(fields.map(|((name, a), b)| Some((name.clone(), a.join(b)?))).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// One word for messages: `int`, `string`, `list`, …
    pub fn word(&self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String | Self::Enum(_) | Self::Target | Self::Connection | Self::Escaped(_) => "string",
            Self::Text => "text",
            Self::Duration => "duration",
            Self::Timestamp => "timestamp",
            Self::Secret => "secret",
            Self::List(_) => "list",
            Self::Object(_) | Self::Map(_) => "object",
            Self::Either(..) => "value",
            Self::Optional(inner) => inner.word(),
        }
    }

    /// The word with its article: `an int`, `a string`; for enumerations the words themselves.
    pub fn described(&self) -> String {
        match self {
            Self::Any => "any value".to_owned(),
            Self::Null => "a missing value".to_owned(),
            Self::Enum(words) if words.len() > 1 && words.len() <= 12 => format!("one of {}", words.join(", ")),
            Self::Int => "an int".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Object(_) | Self::Map(_) => "an object".to_owned(),
            Self::Either(structure, plain) => format!("{} or {}", plain.described(), structure.described()),
            Self::Optional(inner) => inner.described(),
            Self::Target => "the name of a target".to_owned(),
            Self::Connection => "the name of a connection".to_owned(),
            other => format!("a {}", other.word()),
        }
    }
}

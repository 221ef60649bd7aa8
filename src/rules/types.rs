//! Types of the rule language, and the shape notation they are written in.
//!
//! A shape is `string int double bool any null`, `text` (a string that an outsider can choose), `a|b` (one of these words), `[T]`, `{ k: T, k?: T }`,
//! `{ "*": T }`, `T?`, or a position of a parameter: `duration timestamp secret target connection markdown mrkdwn plain url-path`.

use std::collections::BTreeMap;

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
    /// One of these words.
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
    /// As it is, but known to be shown as plain text.
    Plain,
    /// Percent-encoded as one path segment.
    UrlPath,
}

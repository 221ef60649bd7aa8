//! Where the words of a request stand: `{header:x-event}`, `{body:event.type}`. A provider's file and an operator's settings say it alike.

use std::collections::BTreeMap;

use declic_actions::secret::Secret;
use serde_json::Value;

use super::auth::Many;
use crate::inbound::Inbound;
use crate::sources::form;
use crate::verify::path::Path;

/// A request with its body read, as far as it is JSON or a form.
pub struct View<'i> {
    /// The request.
    pub inbound: &'i Inbound,
    /// The body: JSON, the fields of a form, or `null`.
    pub document: Value,
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A header, there once.
    Header(String),
    /// A parameter of the query, there once.
    Query(String),
    /// A value in the body; with `LIST.*.PATH` those in all items of a list.
    Body(Path),
    /// The first key at the top of the body that is none of these.
    KeyBesides(Vec<String>),
    /// Nothing, if there is something at this path of the body; else the pattern does not fit.
    Has(Path),
    /// What the challenge is about.
    Token,
    /// The MAC over that.
    Mac,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// Text with places in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

/// Places, and what must stand there.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Vec<(Pattern, Vec<String>)>);

impl Conditions {
    /// From what is written: `body:type`, and the texts that may stand there; for `has:PATH` the empty one.
    pub fn read(written: BTreeMap<String, Many<String>>) -> Result<Self, String> {
        let read = written.into_iter().map(|(at, texts)| Ok((Pattern::place(&at)?, texts.list())));
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Do they all hold?
    pub fn hold(&self, view: &View<'_>) -> bool {
        self.0.iter().all(|(at, texts)| at.render(view, Token::default()).is_some_and(|found| texts.contains(&found)))
    }
}

/// What a challenge adds to a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Token<'t> {
    /// The token itself.
    pub text: &'t str,
    /// The MAC over it as it is written.
    pub mac: &'t str,
}

impl Pattern {
    /// Reads a pattern.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((name, after)) = after.split_once('}') else { return Err(format!("`{text}` has a `{{` without `}}`")) };
            pieces.push(Piece::Place(place(name)?));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// One place, as it stands between the braces.
    pub fn place(text: &str) -> Result<Self, String> {
        Self::read(&format!("{{{text}}}"))
    }

    /// The text, if everything in it is there.
    pub fn render(&self, view: &View<'_>, token: Token<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Place(place) => text.push_str(&place.find(view, token)?),
            }
        }
        Some(text)
    }

    /// The headers, if the pattern reads nothing else: whoever signs for a provider sets them.
    pub fn only_headers(&self) -> Vec<&str> {
        let read = self.0.iter().filter(|piece| matches!(piece, Piece::Place(_)));
        let headers = read.map(|piece| if let Piece::Place(Place::Header(name)) = piece { Some(name.as_str()) } else { None });
        headers.collect::<Option<_>>().unwrap_or_default()
    }
}

fn place(name: &str) -> Result<Place, String> {
    Ok(match name.split_once(':').unwrap_or((name, "")) {
        ("header", name) if !name.is_empty() => Place::Header(name.to_ascii_lowercase()),
        ("query", name) if !name.is_empty() => Place::Query(name.to_owned()),
        ("body", path) if !path.is_empty() => Place::Body(Path::read(path)?),
        ("has", path) if !path.is_empty() => Place::Has(Path::read(path)?),
        ("key-besides", names) => Place::KeyBesides(names.split(',').map(|name| name.trim().to_owned()).collect()),
        ("token", "") => Place::Token,
        ("mac", "") => Place::Mac,
        _ => {
            let known = "header:NAME, query:NAME, body:PATH, has:PATH, key-besides:NAMES";
            return Err(format!("`{{{name}}}` is no place in a request; known: {known}"));
        }
    })
}

impl Place {
    fn find(&self, view: &View<'_>, token: Token<'_>) -> Option<String> {
        let found = match self {
            Self::Header(name) => view.inbound.header(name)?.to_owned(),
            Self::Query(name) => form::only(view.inbound.query.as_bytes(), name).ok()?,
            Self::Body(path) => {
                let texts: Option<Vec<String>> = path.all(&view.document)?.into_iter().map(text).collect();
                texts?.join(" ")
            }
            Self::Has(path) => return path.one(&view.document).filter(|value| !value.is_null()).map(|_| String::new()),
            Self::KeyBesides(names) => view.document.as_object()?.keys().find(|key| !names.contains(key))?.clone(),
            Self::Token => token.text.to_owned(),
            Self::Mac => token.mac.to_owned(),
        };
        (!found.is_empty()).then_some(found)
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Does the request show this secret there? In constant time.
pub fn shows(pattern: &Pattern, view: &View<'_>, secrets: &[Secret]) -> bool {
    let Some(shown) = pattern.render(view, Token::default()) else { return false };
    secrets.iter().any(|secret| crate::verify::credential::equal(secret, shown.as_bytes()))
}

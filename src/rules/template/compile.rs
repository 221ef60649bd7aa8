//! A scalar against the type of its position.

use std::ops::Range;

use serde_json::{Number, Value};

use super::scan::{Piece, scan};
use super::{Part, Template};
use crate::rules::expr::{Expression, Fault, Scope};
use crate::rules::suggest::closest;
use crate::rules::types::{Escape, Misfit, Type, is_duration};

pub(super) fn scalar(text: &str, expected: &Type, scope: &Scope) -> Result<Template, Vec<Fault>> {
    let pieces = scan(text).map_err(|fault| vec![fault])?;
    match pieces.as_slice() {
        [Piece::Literal(literal)] => {
            self::literal(literal, text.len(), expected).map(Template::Literal).map_err(|fault| vec![fault])
        }
        [Piece::Expression(span)] => whole(text, span, expected, scope),
        _ => mixed(text, &pieces, expected, scope),
    }
}

/// Compiles the expression at a place of the text.
fn expression(text: &str, span: &Range<usize>, scope: &Scope) -> Result<Expression, Vec<Fault>> {
    let source = text.get(span.clone()).unwrap_or_default();
    Expression::compile(source, scope).map_err(|faults| faults.into_iter().map(|fault| fault.moved(span.start)).collect())
}

fn whole(text: &str, span: &Range<usize>, expected: &Type, scope: &Scope) -> Result<Template, Vec<Fault>> {
    let expression = expression(text, span, scope)?;
    let given = expression.result();
    if let Type::Secret = given
        && *expected.present() == Type::Secret
        && let Some(name) = expression.path().as_deref().and_then(<[&str]>::last)
    {
        return Ok(Template::Literal(Value::from(*name)));
    }
    match expected.accepts(given) {
        Ok(()) => {
            let position = unescaped_if_safe(expected, given);
            Ok(Template::Whole(expression, position))
        }
        Err(misfit) => Err(vec![misfit_fault(misfit, text, span, expected, given)]),
    }
}

fn misfit_fault(misfit: Misfit, text: &str, span: &Range<usize>, expected: &Type, given: &Type) -> Fault {
    let source = text.get(span.clone()).unwrap_or_default();
    match misfit {
        Misfit::Untrusted => untrusted(text),
        Misfit::Literal => literal_only(text, expected),
        Misfit::Missing => Fault::new(span.clone(), "this may be missing, and a value is needed here")
            .with_help(format!("give a default: ${{{{ {source} ?? … }}}}")),
        Misfit::Kind if given.holds_secret() => secret_in_text(span),
        Misfit::Kind if *expected.present() == Type::Secret => plain_secret(text.len()),
        Misfit::Kind => {
            let given_word = match given.present() {
                Type::Enum(words) if words.len() == 1 => format!("\"{}\"", words.join("")),
                Type::Enum(words) if words.len() <= 12 => format!("one of {}", words.join(", ")),
                Type::Bool => "a bool".to_owned(),
                other => other.described(),
            };
            let fault = Fault::new(span.clone(), format!("this must be {}, this is {given_word}", expected.described()))
                .with_code("type");
            match expected.present() {
                Type::String | Type::Text | Type::Escaped(_) => {
                    fault.with_help(format!("write it as JSON: ${{{{ json({source}) }}}}"))
                }
                Type::Int if given.present().is_stringlike() => fault.with_help(format!("write ${{{{ int({source}) }}}}")),
                Type::Duration => fault.with_help("such as 30s, 5m, 2h"),
                _ => fault,
            }
        }
    }
}

fn untrusted(text: &str) -> Fault {
    Fault::new(0..text.len(), "this is used as it is, but part of this text can be chosen by an outsider")
        .with_code("untrusted")
        .with_help("use a value that cannot be chosen freely (event.sha, event.number), or slug(…)")
}

fn literal_only(text: &str, expected: &Type) -> Fault {
    let message = format!("this must be {}, written out", expected.described());
    Fault::new(0..text.len(), message)
        .with_code("type")
        .with_help("names are never computed, so that a search finds every rule that uses one")
}

fn secret_in_text(span: &Range<usize>) -> Fault {
    Fault::new(span.clone(), "a secret cannot be read, compared or put into a text")
        .with_code("secret")
        .with_help("give it whole to a parameter that takes a secret: ${{ secrets.name }}")
}

fn plain_secret(length: usize) -> Fault {
    Fault::new(0..length, "this is a secret and cannot be written into a rule file")
        .with_code("plain-secret")
        .with_help("keep the value in the server's secret store and write ${{ secrets.name }}")
}

/// The position without its escaping, if the value cannot hold an outsider's text (and, for Slack, no sign that means something).
fn unescaped_if_safe(expected: &Type, given: &Type) -> Type {
    match expected {
        Type::Escaped(escape) if escaping(*escape, given).is_none() => Type::Text,
        Type::Optional(inner) => Type::Optional(Box::new(unescaped_if_safe(inner, given))),
        other => other.clone(),
    }
}

/// Does a value of this type need the escaping? The author's own words (literals, also chosen by `if`) are left alone.
fn escaping(escape: Escape, given: &Type) -> Option<Escape> {
    let given = given.present();
    let needed = match escape {
        Escape::Plain => false,
        Escape::UrlPath => true,
        Escape::Markdown | Escape::Post => given.tainted(),
        Escape::Mrkdwn => given.tainted() || given.is_stringlike() && !matches!(given, Type::Enum(_)),
    };
    needed.then_some(escape)
}

/// Text and expressions: the result is a text, whatever the expressions are.
fn mixed(text: &str, pieces: &[Piece], expected: &Type, scope: &Scope) -> Result<Template, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut parts = Vec::new();
    let mut tainted = false;
    let escape = match expected.present() {
        Type::Escaped(escape) => Some(*escape),
        _ => None,
    };
    for piece in pieces {
        let span = match piece {
            Piece::Literal(literal) => {
                parts.push(Part::Literal(literal.clone()));
                continue;
            }
            Piece::Expression(span) => span,
        };
        match expression(text, span, scope) {
            Err(mut found) => faults.append(&mut found),
            Ok(expression) => {
                faults.extend(not_text(text, span, expression.result()));
                tainted |= expression.result().tainted();
                let escape = escape.and_then(|escape| escaping(escape, expression.result()));
                parts.push(Part::Value(expression, escape));
            }
        }
    }
    match expected.present() {
        Type::Any | Type::Text | Type::Escaped(_) => {}
        Type::String => {
            if tainted {
                faults.push(untrusted(text));
            }
        }
        Type::Target | Type::Connection => faults.push(literal_only(text, expected)),
        Type::Secret => faults.push(plain_secret(text.len())),
        other => {
            let message = format!("this must be {}, this is a string", other.described());
            faults.push(Fault::new(0..text.len(), message).with_code("type"));
        }
    }
    if faults.is_empty() { Ok(Template::Text(parts)) } else { Err(faults) }
}

/// Why a value cannot be part of a text.
fn not_text(text: &str, span: &Range<usize>, given: &Type) -> Option<Fault> {
    let source = text.get(span.clone()).unwrap_or_default();
    if given.holds_secret() {
        return Some(secret_in_text(span));
    }
    if given.is_optional() {
        let fault = Fault::new(span.clone(), "this may be missing, and a text cannot hold a missing value");
        return Some(fault.with_help(format!("give a default: ${{{{ {source} ?? \"…\" }}}}")));
    }
    match given {
        Type::List(_) => Some(
            Fault::new(span.clone(), "a list cannot be part of a text")
                .with_help(format!("write ${{{{ {source}.join(\", \") }}}} or ${{{{ json({source}) }}}}")),
        ),
        Type::Object(_) | Type::Map(_) => {
            Some(Fault::new(span.clone(), "an object cannot be part of a text").with_help(format!("use json({source})")))
        }
        _ => None,
    }
}

/// A scalar without expressions, as its position wants it.
fn literal(text: &str, length: usize, expected: &Type) -> Result<Value, Fault> {
    let wrong = || Fault::new(0..length, format!("this must be {}, this is a string", expected.described())).with_code("type");
    match expected.present() {
        Type::Null => Err(wrong()),
        Type::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "yes" | "on" | "y" | "Yes" | "True" => Err(wrong().with_help("write true")),
            "no" | "off" | "n" | "No" | "False" => Err(wrong().with_help("write false")),
            _ => Err(wrong()),
        },
        Type::Int => text.parse::<i64>().map(Value::from).map_err(|_| wrong()),
        Type::Double => text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number).ok_or_else(wrong),
        Type::Enum(words) if !words.iter().any(|word| word == text) => {
            let fault = Fault::new(0..length, format!("this must be {}, not `{text}`", expected.described())).with_code("type");
            Err(match closest(text, words.iter().map(String::as_str)) {
                Some(near) => fault.with_help(format!("did you mean `{near}`?")),
                None => fault,
            })
        }
        Type::Duration if !is_duration(text) => Err(wrong().with_help("such as 30s, 5m, 2h")),
        Type::Timestamp if chrono::DateTime::parse_from_rfc3339(text).is_err() => {
            Err(wrong().with_help("such as 2026-11-24T06:00:00Z"))
        }
        Type::Secret => Err(plain_secret(length)),
        Type::List(_) | Type::Object(_) | Type::Map(_) => Err(wrong()),
        _ => Ok(Value::from(text)),
    }
}

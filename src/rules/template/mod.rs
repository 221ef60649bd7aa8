//! Text with `${{ }}` in it, and trees of such text: a step's `with:`.

mod compile;
mod render;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::rules::expr::{Environment, EvaluationError, Expression, Fault, Scope};
use crate::rules::types::{Escape, Type};

/// A scalar of a rule file. `${{ e }}` alone keeps the value's type; within other text it is put in as text, escaped as the position asks.
#[derive(Debug, Clone)]
pub enum Template {
    /// No expression in it.
    Literal(Value),
    /// Exactly one expression and nothing else, for a position of this type: what `any` turns out to be is checked against it,
    /// numbers become text where text is asked for, and text is escaped where the position is escaped.
    Whole(Expression, Type),
    /// Text and expressions in turn.
    Text(Vec<Part>),
    /// A YAML list.
    List(Vec<Template>),
    /// A YAML mapping, in the order written.
    Object(Vec<(String, Template)>),
}

/// A piece of a text.
#[derive(Debug, Clone)]
pub enum Part {
    /// The author's own words, left alone.
    Literal(String),
    /// A value, escaped if the position asks for it.
    Value(Expression, Option<Escape>),
}

impl Template {
    /// Compiles one scalar for a position of type `expected`; faults carry byte offsets into `text`. `$${{` is a literal `${{`.
    /// A text without expressions becomes the literal of that type: `"5"` for `int` is 5. Where YAML's own typing decides (is it quoted?),
    /// check the literal before and use [`Template::literal`].
    pub fn scalar(text: &str, expected: &Type, scope: &Scope) -> Result<Self, Vec<Fault>> {
        compile::scalar(text, expected, scope)
    }

    /// Fills it in. Missing values are `null`, also in lists and objects.
    pub fn render(&self, environment: &Environment) -> Result<Value, EvaluationError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Whole(expression, position) => render::whole(expression, position, environment),
            Self::Text(parts) => render::text(parts, environment).map(Value::String),
            Self::List(items) => items.iter().map(|item| item.render(environment)).collect::<Result<_, _>>().map(Value::Array),
            Self::Object(fields) => {
                let fields = fields.iter().map(|(name, field)| Ok((name.clone(), field.render(environment)?)));
                fields.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }

    /// The type of what it renders to: what a variable made from it has.
    pub fn result(&self) -> Type {
        match self {
            Self::Literal(value) => literal_type(value),
            Self::Whole(expression, _) => expression.result().clone(),
            Self::Text(_) if self.expressions().iter().any(|expression| expression.result().tainted()) => Type::Text,
            Self::Text(_) => Type::String,
            Self::List(items) => list_type(items.iter().map(Self::result)),
            Self::Object(fields) => Type::Object(fields.iter().map(|(name, field)| (name.clone(), field.result())).collect()),
        }
    }

    /// Every expression in it.
    pub fn expressions(&self) -> Vec<&Expression> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Whole(expression, _) => vec![expression],
            Self::Text(parts) => parts
                .iter()
                .filter_map(|part| match part {
                    Part::Literal(_) => None,
                    Part::Value(expression, _) => Some(expression),
                })
                .collect(),
            Self::List(items) => items.iter().flat_map(Self::expressions).collect(),
            Self::Object(fields) => fields.iter().flat_map(|(_, field)| field.expressions()).collect(),
        }
    }

    /// A template without expressions.
    pub fn literal(value: Value) -> Self {
        Self::Literal(value)
    }

    /// What it renders to with nothing known: literals kept, expressions as their source. For listings.
    pub fn outline(&self) -> Value {
        let braces = |expression: &Expression| format!("${{{{ {} }}}}", expression.source());
        match self {
            Self::Literal(value) => value.clone(),
            Self::Whole(expression, _) => Value::String(braces(expression)),
            Self::Text(parts) => Value::String(
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Literal(text) => text.clone(),
                        Part::Value(expression, _) => braces(expression),
                    })
                    .collect(),
            ),
            Self::List(items) => Value::Array(items.iter().map(Self::outline).collect()),
            Self::Object(fields) => Value::Object(fields.iter().map(|(name, field)| (name.clone(), field.outline())).collect()),
        }
    }

    /// The fields of an object template by name.
    pub fn fields(&self) -> BTreeMap<&str, &Template> {
        match self {
            Self::Object(fields) => fields.iter().map(|(name, template)| (name.as_str(), template)).collect(),
            _ => BTreeMap::new(),
        }
    }
}

/// The type of a literal: of any string, not only of this one, so that a constant can be compared with others.
fn literal_type(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Number(number) if number.is_f64() => Type::Double,
        Value::Number(_) => Type::Int,
        Value::String(_) => Type::String,
        Value::Array(items) => list_type(items.iter().map(literal_type)),
        Value::Object(fields) => Type::Object(fields.iter().map(|(name, field)| (name.clone(), literal_type(field))).collect()),
    }
}

fn list_type(items: impl Iterator<Item = Type>) -> Type {
    let joined = items.map(Some).reduce(|a, b| a?.join(&b?));
    Type::List(Box::new(match joined {
        None => Type::nothing(),
        Some(joined) => joined.unwrap_or(Type::Any),
    }))
}

//! Text with `${{ }}` in it, and trees of such text: a step's `with:`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::rules::expr::{Environment, EvaluationError, Expression, Fault, Scope};
use crate::rules::types::{Escape, Type};

/// A scalar of a rule file. `${{ e }}` alone keeps the value's type; within other text it is put in as text, escaped as the position asks.
#[derive(Debug, Clone)]
pub enum Template {
    /// No expression in it.
    Literal(Value),
    /// Exactly one expression and nothing else.
    Whole(Expression),
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
    pub fn scalar(text: &str, expected: &Type, scope: &Scope) -> Result<Self, Vec<Fault>> {
        let _ = (text, expected, scope);
        todo!()
    }

    /// Fills it in.
    pub fn render(&self, environment: &Environment) -> Result<Value, EvaluationError> {
        let _ = environment;
        todo!()
    }

    /// Every expression in it.
    pub fn expressions(&self) -> Vec<&Expression> {
        todo!()
    }

    /// A template without expressions.
    pub fn literal(value: Value) -> Self {
        Self::Literal(value)
    }

    /// What it renders to with nothing known: literals kept, expressions as their source. For listings.
    pub fn outline(&self) -> Value {
        todo!()
    }

    /// The fields of an object template by name.
    pub fn fields(&self) -> BTreeMap<&str, &Template> {
        match self {
            Self::Object(fields) => fields.iter().map(|(name, template)| (name.as_str(), template)).collect(),
            _ => BTreeMap::new(),
        }
    }
}

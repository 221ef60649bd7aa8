//! The expression language: typed, total, bounded, compiled once.
//!
//! Source text -> `lexer` -> `parser` (AST with byte spans) -> `check` (types and trust against a [`Scope`]) -> [`Expression`] -> `eval`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::rules::types::Type;

/// What can be read at one place of a rule file: `event`, `repo`, `vars`, `steps`, … with their types.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Root names.
    pub names: BTreeMap<String, Type>,
}

/// Something wrong in an expression, at a byte range of its source text.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Byte offsets into the expression's own text.
    pub span: Range<usize>,
    /// Stable word: `expression`, `untrusted`, `type`, …
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Values of the root names while something is evaluated.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Root names; a missing value is `null`.
    pub names: BTreeMap<String, Arc<Value>>,
}

/// An expression that was checked against a scope; evaluating it cannot go on for ever and cannot panic.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
    result: Type,
}

/// Evaluation failed: this is never "false", the rule or step is in error.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationError {
    /// Byte offsets into the expression's own text.
    pub span: Range<usize>,
    /// For the user.
    pub message: String,
}

/// Why a condition is true or not: the tree that `explain`, the journal and the console show.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Reason {
    /// Did this part hold?
    pub holds: bool,
    /// The part as written: `!event.deleted`, or `all of` / `any of` for a group.
    pub text: String,
    /// Fields read and what was found: `event.deleted = false`. Values are shortened; secrets never occur in conditions.
    pub found: Vec<String>,
    /// Parts of a group.
    pub parts: Vec<Reason>,
    /// A near miss: `differs only in case`.
    pub hint: Option<String>,
}

impl Expression {
    /// Parses and checks; every fault is reported, not only the first.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, Vec<Fault>> {
        let _ = (source, scope);
        todo!()
    }

    /// As written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The type it evaluates to ([`Type::Text`] or a structure of it if an outsider can choose part of it).
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// True if it reads the context path, such as `event.payload`.
    pub fn reads(&self, path: &[&str]) -> bool {
        let _ = path;
        todo!()
    }

    /// The value, or why there is none.
    pub fn evaluate(&self, environment: &Environment) -> Result<Value, EvaluationError> {
        let _ = environment;
        todo!()
    }

    /// Evaluates a condition and says why.
    pub fn explain(&self, environment: &Environment) -> Result<Reason, EvaluationError> {
        let _ = environment;
        todo!()
    }
}

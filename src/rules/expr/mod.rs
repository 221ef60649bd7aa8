//! The expression language: typed, total, bounded, compiled once.
//!
//! Source text -> `lexer` -> `parser` (`ast` with byte spans) -> `check` (types, trust and flow against a [`Scope`]) -> `node` -> `eval`.

mod ast;
mod call;
mod check;
mod datum;
mod escape;
mod eval;
mod explain;
mod lexer;
mod node;
mod parser;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use crate::rules::types::Type;

pub(crate) use datum::text_of;
pub use escape::{escape_markdown, escape_mrkdwn, escape_post, escape_url_path};
pub(crate) use explain::near_miss;
pub use show::show;

/// Most bytes of an expression's text.
pub const LONGEST: usize = 2000;
/// Most levels that an expression nests.
pub const DEEPEST: usize = 48;
/// Most steps of one evaluation: every operator, call and item of a loop is one, and so are 4 KiB of text looked at.
pub const MOST_STEPS: u32 = 10_000;

/// What can be read at one place of a rule file: `event`, `repo`, `vars`, `steps`, … with their types.
///
/// Flow typing: a value that is [`Type::Optional`] counts as present where a test says so (`x != null && …`, `has(x) && …`,
/// `x == "…" && …`, `if(x != null, …)`). For steps, declare `steps` as an object of `{ result: success|failure|skipped, outputs: {…}? }`:
/// `steps.x.result == "success"` then proves that `steps.x.outputs` is there. Secrets are fields of type [`Type::Secret`].
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Root names.
    pub names: BTreeMap<String, Type>,
    /// Where `event` is what several events have in common: each by its name with its own type, to say which of them has not what was asked for.
    pub events: Arc<[(&'static str, Type)]>,
}

impl Scope {
    /// The scope behind a condition that held: what it proved to be there is not optional any more.
    #[must_use]
    pub fn assuming(&self, condition: &Expression) -> Self {
        let mut scope = self.clone();
        for path in condition.0.proven.iter() {
            let mut parts = path.split('\u{0}');
            let root = parts.next().and_then(|root| scope.names.get_mut(root));
            if let Some(root) = root {
                assume(root, parts);
            }
        }
        scope
    }
}

/// Takes the `?` off the field that the path leads to.
fn assume<'a>(kind: &mut Type, mut path: impl Iterator<Item = &'a str>) {
    let Some(name) = path.next() else {
        if let Type::Optional(inner) = kind {
            *kind = inner.as_ref().clone();
        }
        return;
    };
    let inner = match kind {
        Type::Optional(inner) => inner.as_mut(),
        other => other,
    };
    if let Type::Object(fields) = inner
        && let Some(field) = fields.get_mut(name)
    {
        assume(field, path);
    }
}

/// Something wrong in an expression, at a byte range of its source text.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Byte offsets into the expression's own text.
    pub span: Range<usize>,
    /// Stable word: `expression`, `untrusted`, `type`, `secret`.
    pub code: &'static str,
    /// What is wrong. Messages about a whole parameter begin with "this"; see [`Fault::about`].
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Fault {
    /// A fault of an expression, without advice.
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, code: "expression", message: message.into(), help: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The same fault with the place moved by `offset` bytes, for an expression within a longer text.
    #[must_use]
    pub fn moved(mut self, offset: usize) -> Self {
        self.span = self.span.start + offset..self.span.end + offset;
        self
    }

    /// Says which parameter it is about: "this must be an int" becomes "`traffic` must be an int".
    #[must_use]
    pub fn about(mut self, parameter: &str) -> Self {
        if matches!(self.code, "type" | "untrusted")
            && let Some(rest) = self.message.strip_prefix("this ")
        {
            self.message = format!("`{parameter}` {rest}");
        }
        self
    }
}

/// Values of the root names while something is evaluated.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Root names; a missing value is `null`.
    pub names: BTreeMap<String, Arc<Value>>,
}

/// Where an evaluation finds the values of root names: in an [`Environment`], or where they are already, without copying them.
pub trait Roots {
    /// The value of a root name; a missing value is `null`.
    fn root(&self, name: &str) -> Option<&Value>;
}

impl Roots for Environment {
    fn root(&self, name: &str) -> Option<&Value> {
        self.names.get(name).map(AsRef::as_ref)
    }
}

/// An expression that was checked against a scope; evaluating it cannot go on for ever and cannot panic.
#[derive(Debug, Clone)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: Box<str>,
    result: Type,
    /// Paths that are there if it is true, as `flow` writes them.
    proven: Box<[String]>,
    node: node::Node,
}

/// Evaluation failed: this is never "false", the rule or step is in error.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationError {
    /// Byte offsets into the expression's own text.
    pub span: Range<usize>,
    /// For the user.
    pub message: String,
}

impl fmt::Display for EvaluationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for EvaluationError {}

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
    /// Parses and checks a value of any type; every fault is reported, not only the first.
    pub fn compile(source: &str, scope: &Scope) -> Result<Self, Vec<Fault>> {
        check::compile(source, scope, false)
    }

    /// Parses and checks a condition (`if:`): it must be true or false, never missing, and not always the same.
    pub fn compile_condition(source: &str, scope: &Scope) -> Result<Self, Vec<Fault>> {
        check::compile(source, scope, true)
    }

    /// As written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The same expression in canonical form: one space around operators, no parentheses that change nothing.
    /// Made anew each time: nothing that runs needs it.
    pub fn canonical(&self) -> String {
        parser::parse(&self.0.source).map_or_else(|_| self.0.source.to_string(), |ast| ast.to_string())
    }

    /// The type it evaluates to ([`Type::Text`] or a structure of it if an outsider can choose part of it).
    pub fn result(&self) -> &Type {
        &self.0.result
    }

    /// The names of the path, if the expression is nothing but one: `event.head.sha`.
    pub fn path(&self) -> Option<Vec<&str>> {
        match &self.0.node.kind {
            node::NodeKind::Path(path, _) => Some(path.iter().map(AsRef::as_ref).collect()),
            _ => None,
        }
    }

    /// True if it may read the context path, such as `event.payload`: the path itself, something in it, or a whole that includes it.
    pub fn reads(&self, path: &[&str]) -> bool {
        self.0.node.paths().iter().any(|(read, _)| read.iter().zip(path).all(|(a, b)| a.as_ref() == *b))
    }

    /// True if the condition can only hold where the flag at the path is not set: `!event.fork && …`.
    pub fn only_without(&self, flag: &[&str]) -> bool {
        self.0.node.only_without(flag)
    }

    /// The value, or why there is none.
    pub fn evaluate(&self, environment: &Environment) -> Result<Value, EvaluationError> {
        eval::Machine::new(environment).value(&self.0.node)
    }

    /// Does the condition hold?
    pub fn holds(&self, roots: &dyn Roots) -> Result<bool, EvaluationError> {
        eval::Machine::new(roots).condition(&self.0.node)
    }

    /// Evaluates a condition and says why.
    pub fn explain(&self, roots: &dyn Roots) -> Result<Reason, EvaluationError> {
        explain::explain(&self.0.source, &self.0.node, roots)
    }
}

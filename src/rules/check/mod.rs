//! The checker: a tree against the registry, every fault in one pass.
//!
//! What comes out has nothing left to get wrong: `serve` cannot meet an unknown name, a wrong type or a missing value that
//! this could have found.

mod advice;
mod call;
mod cases;
mod collapse;
mod file;
pub mod keys;
mod names;
mod reply;
mod rule;
mod scope;
mod shape;
mod steps;
mod trigger;
mod trust;

pub use cases::happening;
pub use names::is_granted;

use crate::rules::compact::compact;
use crate::rules::diagnostic::{Diagnostic, Faults, Severity};
use crate::rules::expr::{Expression, Fault, Scope};
use crate::rules::model::{Grant, Offer, Rule};
use crate::rules::template::Template;
use crate::rules::testing::Case;
use crate::rules::types::Type;
use crate::rules::values::{Positions, literal, not_a, value};
use crate::rules::yaml::{self, Limits, Node, Scalar};

/// Longest `timeout:`, `wait:` and `max-wait:`; a run that waits for people can take as long.
const LONGEST_TIME: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);

/// What rules are checked against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ground<'a> {
    /// The operator's names; `None` leaves names unchecked.
    pub offer: Option<&'a Offer>,
    /// The repository that the file comes from; `None` for the operator's own files.
    pub repository: Option<Repository<'a>>,
}

/// A repository that brings rules of its own.
#[derive(Debug, Clone, Copy)]
pub struct Repository<'a> {
    /// `owner/name`
    pub name: &'a str,
    /// What its rules may use.
    pub grant: &'a Grant,
}

/// A file after checking.
#[derive(Debug)]
pub struct Checked {
    /// Its rules; without those that are at fault.
    pub rules: Vec<Rule>,
    /// Its tests; without those that are at fault.
    pub cases: Vec<Case>,
    /// Names of the rules in the file, right or wrong, and where they stand.
    pub names: Vec<(String, std::ops::Range<usize>)>,
    /// Tests in the file, right or wrong.
    pub case_count: usize,
    /// What is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// Of a file that cannot be read at all.
    pub fn unreadable(fault: Diagnostic) -> Self {
        Self { rules: Vec::new(), cases: Vec::new(), names: Vec::new(), case_count: 0, diagnostics: vec![fault] }
    }

    /// Faults that keep the file from being used.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|fault| fault.severity == Severity::Error).count()
    }

    /// `1 rule, 12 tests, 0 errors, 0 warnings`
    pub fn counts(&self) -> String {
        let counts =
            [(self.names.len(), "rule"), (self.case_count, "test"), (self.errors(), "error"), (self.warnings(), "warning")];
        counts.map(|(count, word)| counted(count, word)).join(", ")
    }

    /// Faults that do not.
    pub fn warnings(&self) -> usize {
        self.diagnostics.len() - self.errors()
    }
}

/// Checks a rule file. `path` is for people.
pub fn check(path: &str, text: &str, ground: &Ground<'_>) -> Checked {
    let limits = if ground.repository.is_some() { Limits::REPOSITORY } else { Limits::OPERATOR };
    let (tree, unreadable) = yaml::read(path, text, limits);
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut checker = Checker { text, lines, faults: Faults::new(path), ground };
    checker.faults.extend(unreadable);
    let mut checked = Checked { rules: Vec::new(), cases: Vec::new(), names: Vec::new(), case_count: 0, diagnostics: Vec::new() };
    if let Some(tree) = tree {
        checker.file(&tree, &mut checked);
    }
    checked.diagnostics = checker.faults.finish();
    compact(&mut checked.rules);
    checked
}

/// `1 rule`, `2 rules`, `0 deliveries`.
pub fn counted(count: usize, word: &str) -> String {
    match word.strip_suffix('y') {
        _ if count == 1 => format!("1 {word}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {word}s"),
    }
}

/// One pass over one file.
struct Checker<'a> {
    text: &'a str,
    /// Where each line begins, so that placing a thousand rules does not count the file's lines a thousand times.
    lines: Vec<usize>,
    faults: Faults,
    ground: &'a Ground<'a>,
}

impl Checker<'_> {
    /// `file:line` of an offset, for people.
    fn place(&self, offset: usize) -> String {
        let line = self.lines.partition_point(|start| *start <= offset);
        format!("{}:{line}", self.faults.file())
    }

    /// Faults of an expression or template in that scalar.
    fn at(&mut self, node: &Node, faults: Vec<Fault>, name: &str) {
        for fault in faults {
            // Whether text from outside may stand here is a question about the whole value.
            let whole = fault.code == "untrusted";
            let span = if whole { node.span.clone() } else { node.place(self.text, &fault.span) };
            let fault = fault.about(name);
            self.faults.error(fault.code, span, fault.message, fault.help);
        }
    }

    /// `if:`, always an expression.
    fn condition(&mut self, node: &Node, scope: &Scope) -> Option<Expression> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
            let message = format!("`if` must be an expression, this is {}", node.kind());
            self.faults.error("type", node.span.clone(), message, None);
            return None;
        };
        if let Some(inner) = scalar.text.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
            let message = "`if:` is always an expression, without ${{ }}";
            let inner = inner.trim();
            let quoted = inner.starts_with(['!', '"', '\'', '[', '{', '*', '&']) || inner.contains(": ") || inner.contains(" #");
            let written = if quoted { format!("'{}'", inner.replace('\'', "''")) } else { inner.to_owned() };
            self.faults.error("if-braces", node.span.clone(), message, Some(format!("write `if: {written}`")));
            return None;
        }
        match Expression::compile_condition(&scalar.text, scope) {
            Ok(expression) => Some(expression),
            Err(faults) => {
                self.at(node, faults, "if");
                None
            }
        }
    }

    /// A value that may hold `${{ }}`, for a position of that type.
    fn template(&mut self, node: &Node, expected: &Type, scope: &Scope, name: &str) -> Option<Template> {
        value(&mut Templates { checker: self, scope }, node, expected, name)
    }

    /// A text that stands for itself: no `${{ }}`.
    fn plain_text(&mut self, node: &Node, name: &str) -> Option<String> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.is_null()) else {
            let message = format!("`{name}` must be a string, this is {}", node.kind());
            self.faults.error("type", node.span.clone(), message, None);
            return None;
        };
        if scalar.text.contains("${{") {
            let message = format!("`{name}` stands for itself: no ${{{{ }}}} here");
            self.faults.error("literal", node.span.clone(), message, None);
            return None;
        }
        Some(scalar.text.clone())
    }

    /// One text or a list of them, each with its node.
    fn texts<'n>(&mut self, node: &'n Node, name: &str) -> Vec<(&'n Node, String)> {
        if node.scalar().is_none() && node.items().is_none() {
            not_a(&mut self.faults, &node.span, &format!("`{name}`"), "a list", node.kind());
            return Vec::new();
        }
        let nodes: Vec<&Node> = node.items().map_or_else(|| vec![node], |items| items.iter().collect());
        nodes.into_iter().filter_map(|item| self.plain_text(item, name).map(|text| (item, text))).collect()
    }

    /// `true` or `false`.
    fn flag(&mut self, node: &Node, name: &str) -> Option<bool> {
        self.literal(node, &Type::Bool, name)?.as_bool()
    }

    /// A length of time.
    fn duration(&mut self, node: &Node, name: &str) -> Option<std::time::Duration> {
        let found = self.literal(node, &Type::Duration, name)?.as_str().and_then(yaml::duration)?;
        if found.is_zero() {
            let message = format!("`{name}` leaves no time at all");
            self.faults.error("type", node.span.clone(), message, Some("such as 30s, 5m, 2h".to_owned()));
            return None;
        }
        if found > LONGEST_TIME {
            let message = format!("`{name}` is at most 30d: nothing waits for longer");
            self.faults.error("type", node.span.clone(), message, None);
            return None;
        }
        Some(found)
    }

    /// A scalar without `${{ }}` of that type.
    fn literal(&mut self, node: &Node, expected: &Type, name: &str) -> Option<serde_json::Value> {
        match node.scalar() {
            Some(scalar) => literal(&mut self.faults, node, scalar, expected, name),
            None => {
                let message = format!("`{name}` must be {}, this is {}", crate::rules::values::described(expected), node.kind());
                self.faults.error("type", node.span.clone(), message, None);
                None
            }
        }
    }
}

/// Values of rule files: text with `${{ }}`, literal names, secrets by name.
struct Templates<'c, 'a> {
    checker: &'c mut Checker<'a>,
    scope: &'c Scope,
}

impl Positions for Templates<'_, '_> {
    fn faults(&mut self) -> &mut Faults {
        &mut self.checker.faults
    }

    fn scalar(&mut self, node: &Node, scalar: &Scalar, expected: &Type, name: &str) -> Option<Template> {
        let inner = match expected {
            Type::Optional(inner) => inner.as_ref(),
            other => other,
        };
        let computed = scalar.text.contains("${{");
        match inner {
            Type::Target => self.checker.partner(node, scalar, names::Partner::Target, name),
            Type::Connection => self.checker.partner(node, scalar, names::Partner::Connection, name),
            Type::Secret if !computed => {
                let message = format!("`{name}` is a secret and cannot be written into a rule file");
                let help = "keep the value in the server's secret store and write ${{ secrets.name }}".to_owned();
                self.checker.faults.error("plain-secret", node.span.clone(), message, Some(help));
                self.checker.faults.conceal(node.span.clone());
                None
            }
            _ if computed => match Template::scalar(&scalar.text, expected, self.scope) {
                Ok(template) => Some(template),
                Err(faults) => {
                    self.checker.at(node, faults, name);
                    None
                }
            },
            _ => literal(&mut self.checker.faults, node, scalar, expected, name).map(Template::literal),
        }
    }

    fn stands_for_all(&self, scalar: &Scalar) -> bool {
        scalar.text.contains("${{")
    }
}

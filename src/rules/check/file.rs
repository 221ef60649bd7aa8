//! The file: version, variables, rules and tests.

use std::collections::BTreeMap;

use super::{Checked, Checker, advice, keys as known, scope};
use crate::rules::expr::Scope;
use crate::rules::template::Template;
use crate::rules::types::Type;
use crate::rules::values::{keys, not_a};
use crate::rules::yaml::{Entry, Node};

/// `vars:` after checking: templates in order, and what each is.
#[derive(Default, Clone)]
pub struct Variables {
    /// Name and value, in the order written.
    pub values: Vec<(String, Template)>,
    /// Name and type.
    pub types: BTreeMap<String, Type>,
}

impl Checker<'_> {
    /// Everything in it.
    pub fn file(&mut self, tree: &Node, checked: &mut Checked) {
        let entries = keys(&mut self.faults, tree, "a rule file", known::FILE, advice::file);
        if tree.entries().is_none() {
            return;
        }
        let section = |key: &str| entries.iter().find(|entry| entry.key == key);
        self.version(section("version"));
        let mut shared = Variables::default();
        if let Some(entry) = section("vars") {
            self.variables(entry, &scope::of_file(), &mut shared);
        }
        match section("rules") {
            Some(entry) => self.rules(entry, &shared, checked),
            None if entries.is_empty() => {
                self.faults.error(
                    "missing",
                    tree.span.clone(),
                    "this file has no rules",
                    Some("rules: { name: { on: …, steps: … } }".to_owned()),
                );
            }
            None => self.faults.error("missing", tree.span.start..tree.span.start, "a rule file needs `rules`", None),
        }
        if let Some(entry) = section("tests") {
            self.cases(entry, section("rules").map(|rules| &rules.value), checked);
        }
    }

    fn version(&mut self, entry: Option<&Entry>) {
        match entry {
            None => self.faults.error("missing", 0..0, "a rule file needs `version: 1`", None),
            Some(entry) if entry.value.scalar().is_none_or(|scalar| scalar.text != "1") => {
                let help = "write `version: 1`".to_owned();
                self.faults.error("version", entry.value.span.clone(), "only version 1 is known here", Some(help));
            }
            Some(_) => {}
        }
    }

    fn rules(&mut self, entry: &Entry, shared: &Variables, checked: &mut Checked) {
        let Some(entries) = entry.value.entries() else {
            not_a(&mut self.faults, &entry.value.span, "`rules`", "a mapping of names", entry.value.kind());
            return;
        };
        checked.names = entries.iter().map(|entry| (entry.key.clone(), entry.span.clone())).collect();
        for entry in entries {
            let before = self.faults.errors();
            let rule = self.rule(entry, shared);
            if self.faults.errors() == before {
                checked.rules.extend(rule);
            }
        }
    }

    /// `vars:`; a later one may read an earlier one, and one of a rule hides one of the file.
    pub fn variables(&mut self, entry: &Entry, scope: &Scope, into: &mut Variables) {
        let Some(entries) = entry.value.entries() else {
            not_a(&mut self.faults, &entry.value.span, "`vars`", "a mapping of names", entry.value.kind());
            return;
        };
        let mut scope = scope.clone();
        for entry in entries {
            if !is_identifier(&entry.key) {
                let message = format!("`{}` cannot be used in an expression", entry.key);
                self.faults.error("id", entry.span.clone(), message, Some(identifier_advice(&entry.key)));
                continue;
            }
            scope.names.insert("vars".to_owned(), Type::Object(into.types.clone()));
            let value = self.template(&entry.value, &Type::Any, &scope, &entry.key);
            let kind = value.as_ref().map_or(Type::Any, Template::result);
            into.types.insert(entry.key.clone(), kind);
            into.values.retain(|(name, _)| *name != entry.key);
            into.values.push((entry.key.clone(), value.unwrap_or_else(|| Template::literal(serde_json::Value::Null))));
        }
    }
}

/// A name that can stand behind a dot in an expression.
pub fn is_identifier(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.as_bytes().first().is_some_and(|first| !first.is_ascii_digit())
        && name.len() <= 63
}

/// What to write instead of a name that cannot.
pub fn identifier_advice(name: &str) -> String {
    let mended: String = name
        .chars()
        .map(|found| found.to_ascii_lowercase())
        .map(|found| if found.is_ascii_lowercase() || found.is_ascii_digit() { found } else { '_' })
        .collect();
    if is_identifier(&mended) {
        return format!("use lower-case letters, digits and _: `{mended}`");
    }
    "use lower-case letters, digits and _, beginning with a letter".to_owned()
}

//! Shapes that rules write as YAML: `body:`, `params:`, `args:`, `response:`.

use super::Checker;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::model::Argument;
use crate::rules::shapes::{self, Misdeclared};
use crate::rules::types::Type;
use crate::rules::values::{keys, literal, not_a};
use crate::rules::yaml::{Content, Node};

impl Checker<'_> {
    /// The declared type, as it comes from outside; a fault is shown at the whole declaration, which is the thing to look at, and in it.
    pub fn shape(&mut self, node: &Node) -> Option<Type> {
        match shapes::declared(&node.to_json()) {
            Ok(shape) => Some(shape),
            Err(faults) => {
                for Misdeclared { path, fault } in faults {
                    let at = path.iter().try_fold(node, |node, place| match &node.content {
                        Content::List(items) => items.get(*place),
                        Content::Mapping(entries) => entries.get(*place).map(|entry| &entry.value),
                        Content::Scalar(_) => None,
                    });
                    let at = at.unwrap_or(node);
                    let place = at.place(self.text, &fault.span);
                    let mut shown = Diagnostic::error(self.faults.file(), "type", node.span.clone(), fault.message);
                    shown.help = fault.help;
                    self.faults.extend([if place == node.span { shown } else { shown.related(place, "here") }]);
                }
                None
            }
        }
    }

    /// `args:`, in the order in which they stand behind the command.
    pub fn arguments(&mut self, node: &Node) -> Option<Vec<Argument>> {
        let Some(entries) = node.entries() else {
            not_a(&mut self.faults, &node.span, "`args`", "a mapping of names", node.kind());
            return None;
        };
        let mut arguments = Vec::new();
        let mut whole = true;
        for entry in entries {
            if !super::file::is_identifier(&entry.key) {
                let message = format!("`{}` cannot be used in an expression", entry.key);
                self.faults.error("id", entry.span.clone(), message, Some(super::file::identifier_advice(&entry.key)));
                whole = false;
                continue;
            }
            let long = entry.value.get("type");
            let Some(shape) = self.shape(long.map_or(&entry.value, |long| &long.value)) else {
                whole = false;
                continue;
            };
            let mut default = None;
            if long.is_some() {
                keys(&mut self.faults, &entry.value, &format!("the argument `{}`", entry.key), &["type", "default"], |_| None);
                if let Some(given) = entry.value.get("default")
                    && let Some(scalar) = given.value.scalar()
                {
                    default = literal(&mut self.faults, &given.value, scalar, &shape, "default");
                }
            }
            arguments.push(Argument { name: entry.key.clone(), shape, default });
        }
        whole.then_some(arguments)
    }
}

//! The list of actions. A new one is a file here and two adjacent lines below; checker, schema, reference and metrics follow.

use crate::action::Action;

/// Every action, in the order of the reference.
pub static ALL: &[&dyn Action] = &[];

/// The action of that name, as in `uses:`.
pub fn find(name: &str) -> Option<&'static dyn Action> {
    ALL.iter().copied().find(|action| action.spec().name == name)
}

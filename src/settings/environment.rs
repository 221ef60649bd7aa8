//! The process environment, and a stand-in for it in tests.

use std::collections::BTreeMap;

/// Where variables come from.
#[derive(Debug, Clone)]
pub struct Environment(Variables);

#[derive(Debug, Clone)]
enum Variables {
    Process,
    Given(BTreeMap<String, String>),
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self(Variables::Process)
    }

    /// Exactly these variables.
    pub fn given<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self(Variables::Given(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    /// The value of a variable. An unset one and one that is not UTF-8 are none.
    pub fn get(&self, name: &str) -> Option<String> {
        match &self.0 {
            Variables::Process => {
                // A name with `=` or NUL makes the standard library panic.
                if name.is_empty() || name.contains(['=', '\0']) {
                    return None;
                }
                #[expect(clippy::disallowed_methods, reason = "this is the one place")]
                std::env::var(name).ok()
            }
            Variables::Given(variables) => variables.get(name).cloned(),
        }
    }
}

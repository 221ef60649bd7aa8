//! The OpenAPI document: made from the operations, served, and part of the reference.

use std::sync::OnceLock;

use serde_json::{Value, json};

/// Completes what the operations say of themselves by what holds for all of them.
fn complete(mut document: Value) -> Value {
    // What refuses unknown keys says so.
    for name in ["Backtest", "Comment", "File", "Files", "Play", "Redrive"] {
        if let Some(schema) = document["components"]["schemas"].get_mut(name) {
            schema["additionalProperties"] = Value::Bool(false);
        }
    }
    document["security"] = json!([{ "token": [] }, {}]);
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `admin:`, or an ID token of its issuer. On this machine nothing is needed as long as `admin:` is not set."
        }
    });
    document
}

/// The methods of every path, for those who ask with another one.
#[derive(Debug, Default)]
pub(super) struct Methods(Vec<(Vec<String>, String)>);

impl Methods {
    /// From the document.
    pub fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let entry = |(path, operations): (&String, &Value)| {
            let names = operations.as_object().into_iter().flatten().map(|(name, _)| name.to_ascii_uppercase());
            let mut names: Vec<String> =
                names.filter(|name| matches!(name.as_str(), "GET" | "POST" | "PUT" | "DELETE")).collect();
            if names.iter().any(|name| name == "GET") {
                names.push("HEAD".to_owned());
            }
            (path.split('/').map(str::to_owned).collect(), names.join(", "))
        };
        Self(paths.map(entry).collect())
    }

    /// `GET, HEAD` of a path below the interface's own.
    pub fn allowed(&self, path: &str) -> Option<&str> {
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &[String]| {
            template.len() == parts.len()
                && template.iter().zip(&parts).all(|(expected, part)| expected.starts_with('{') || expected == part)
        };
        self.0.iter().find(|(template, _)| fits(template)).map(|(_, allowed)| allowed.as_str())
    }
}

/// The document, for the reference.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = super::service(super::Described).spec();
        complete(serde_json::from_str(&text).unwrap_or_default())
    })
}

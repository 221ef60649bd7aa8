//! JSON Schemas for editors, made from the lists that the checker works with. Draft 7, which every YAML extension knows.
//!
//! A schema finds what can be said of keys and plain values: unknown keys, missing ones, words of a list. What depends on
//! meaning (types of expressions, outsiders' text, grants) is for `declic check`.

mod config;
mod rules;
mod shape;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use config::config;
pub use rules::rules;

/// The text of a schema, as `declic schema` prints it.
pub fn text(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// A mapping of exactly these keys, with `required` ones among them.
fn closed(properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The same from pairs.
fn mapping<const N: usize>(properties: [(&str, Value); N], required: &[&str]) -> Value {
    closed(properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect(), required)
}

/// What is shown when the key is pointed at.
fn described(mut schema: Value, text: &str) -> Value {
    schema["description"] = text.into();
    schema
}

/// Applies `then` where the property is that word.
fn when(property: &str, word: &str, then: Value) -> Value {
    json!({ "if": { "properties": { property: { "const": word } }, "required": [property] }, "then": then })
}

//! Arguments of a command: the words behind it, by position, with the defaults of the rule.

use serde_json::{Map, Value};

use crate::event::Event;
use crate::rules::expr::show;
use crate::rules::model::{Argument, Trigger};
use crate::rules::types::Type;

/// `event.args` as the rule declares it: from a list of words, or from an object whose gaps get their defaults.
/// `None` if the trigger declares none. An error says which word does not fit.
pub(super) fn read(trigger: &Trigger, event: &Event) -> Result<Option<Value>, String> {
    if !trigger.shapes.iter().any(|(name, _)| name == "args") {
        return Ok(None);
    }
    let given = event.event.get("args").unwrap_or(&Value::Null);
    let mut read = match given {
        Value::Object(fields) => fields.clone(),
        Value::Array(words) => by_position(words, &trigger.arguments)?,
        _ => Map::new(),
    };
    for argument in &trigger.arguments {
        let missing = read.get(&argument.name).is_none_or(Value::is_null);
        if let Some(default) = argument.default.as_ref().filter(|_| missing) {
            read.insert(argument.name.clone(), default.clone());
        }
    }
    Ok(Some(Value::Object(read)))
}

fn by_position(words: &[Value], arguments: &[Argument]) -> Result<Map<String, Value>, String> {
    if let Some(extra) = words.get(arguments.len()) {
        return Err(format!("{} is one word too many", show(extra)));
    }
    let named = arguments.iter().zip(words);
    Ok(named.map(|(argument, word)| (argument.name.clone(), typed(word, &argument.shape))).collect())
}

/// A word as the declared type, where it reads as one; the shape check says what is wrong otherwise.
fn typed(word: &Value, shape: &Type) -> Value {
    let Some(text) = word.as_str() else { return word.clone() };
    let read = match shape.present() {
        Type::Int => text.parse::<i64>().ok().map(Value::from),
        Type::Double => text.parse::<f64>().ok().and_then(serde_json::Number::from_f64).map(Value::Number),
        Type::Bool => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    read.unwrap_or_else(|| word.clone())
}

//! Shapes as types: those of the registry, and those that rules declare.

use std::collections::BTreeMap;

use declic_actions::action::Field;
use serde_json::Value;

use crate::rules::types::{ShapeFault, Type};

/// The object type of a list of fields; every field whose shape ends in `?` may be left out.
pub fn object(fields: &[Field]) -> BTreeMap<String, Type> {
    fields.iter().map(|field| (field.name.to_owned(), of(field.shape))).collect()
}

/// May the field be left out? (`any?` is `any` as a type, so the shape decides.)
pub fn is_optional(field: &Field) -> bool {
    field.shape.ends_with('?')
}

/// The type of a shape that is part of this program; a test parses every one of them.
pub fn of(shape: &str) -> Type {
    Type::parse(shape).unwrap_or(Type::Any)
}

/// The type that a rule declares as YAML or JSON: a text is a shape, `[T]` and `{ k: T }` may also be written as a list and a mapping.
/// Text in it is an outsider's.
pub fn declared(written: &Value) -> Result<Type, ShapeFault> {
    parse(written).map(Type::from_outside)
}

fn parse(written: &Value) -> Result<Type, ShapeFault> {
    match written {
        Value::String(shape) => Type::parse(shape),
        Value::Array(items) => match items.as_slice() {
            [item] => Ok(Type::List(Box::new(parse(item)?))),
            _ => Err(fault("a list has one type of items: write [T]")),
        },
        Value::Object(fields) => {
            let mut types = BTreeMap::new();
            for (key, shape) in fields {
                let shape = parse(shape)?;
                if key == "*" {
                    if fields.len() > 1 {
                        return Err(fault("\"*\" stands alone: any name, one type"));
                    }
                    return Ok(Type::Map(Box::new(shape)));
                }
                match key.strip_suffix('?') {
                    Some(key) => types.insert(key.to_owned(), shape.optional()),
                    None => types.insert(key.clone(), shape),
                };
            }
            Ok(Type::Object(types))
        }
        _ => Err(fault("a type is missing here; use string, text, int, double, bool, any, a|b, [T], { name: T } or T?")),
    }
}

fn fault(message: &str) -> ShapeFault {
    ShapeFault { span: 0..0, message: message.to_owned(), help: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::registry::{self, ACTOR, DELIVERY, FAILURE, REPOSITORY};

    #[test]
    fn every_shape_of_the_registry_is_a_type() {
        let mut fields: Vec<&Field> = [ACTOR, DELIVERY, FAILURE, REPOSITORY].into_iter().flatten().collect();
        fields.extend(registry::events().flat_map(|event| event.fields));
        fields.extend(registry::events().filter_map(|event| event.reply.as_ref()).flat_map(|reply| reply.fields));
        fields.extend(registry::actions().flat_map(|spec| spec.parameters.iter().chain(spec.outputs)));
        fields.extend(
            declic_actions::targets::TARGETS.iter().chain(declic_actions::targets::CONNECTIONS).flat_map(|kind| kind.fields),
        );
        assert!(fields.len() > 100);
        for field in fields {
            assert!(Type::parse(field.shape).is_ok(), "{}: {:?}", field.name, Type::parse(field.shape));
        }
    }
}

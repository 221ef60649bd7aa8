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

/// Something wrong in a declared type.
#[derive(Debug, Clone, PartialEq)]
pub struct Misdeclared {
    /// Which value of the declaration it is in: the number of the item or field at each level, from the outside in.
    pub path: Vec<usize>,
    /// What is wrong; its place is within that value's text.
    pub fault: ShapeFault,
}

/// The type that a rule declares as YAML or JSON: a text is a shape, `[T]` and `{ k: T }` may also be written as a list and a mapping.
/// Text in it is an outsider's. Every fault is reported.
pub fn declared(written: &Value) -> Result<Type, Vec<Misdeclared>> {
    let mut faults = Vec::new();
    let declared = parse(written, &mut Vec::new(), &mut faults);
    if faults.is_empty() { Ok(declared.from_outside()) } else { Err(faults) }
}

/// `any` where there is a fault.
fn parse(written: &Value, path: &mut Vec<usize>, faults: &mut Vec<Misdeclared>) -> Type {
    let mut fault = |message: &str| {
        let fault = ShapeFault { span: 0..0, message: message.to_owned(), help: None };
        faults.push(Misdeclared { path: path.clone(), fault });
        Type::Any
    };
    match written {
        Value::String(shape) => match Type::parse(shape) {
            Ok(shape) => shape,
            Err(found) => {
                faults.extend(found.into_iter().map(|fault| Misdeclared { path: path.clone(), fault }));
                Type::Any
            }
        },
        Value::Array(items) => match items.as_slice() {
            [item] => Type::List(Box::new(inner(0, item, path, faults))),
            _ => fault("a list has one type of items: write [T]"),
        },
        Value::Object(fields) => {
            if fields.len() > 1 && fields.contains_key("*") {
                fault("\"*\" stands alone: any name, one type");
            }
            let mut types = BTreeMap::new();
            for (place, (key, shape)) in fields.iter().enumerate() {
                let shape = inner(place, shape, path, faults);
                if key == "*" && fields.len() == 1 {
                    return Type::Map(Box::new(shape));
                }
                match key.strip_suffix('?') {
                    Some(key) => types.insert(key.to_owned(), shape.optional()),
                    None => types.insert(key.clone(), shape),
                };
            }
            Type::Object(types)
        }
        _ => fault("a type is missing here; use string, text, int, double, bool, any, a|b, [T], { name: T } or T?"),
    }
}

fn inner(place: usize, written: &Value, path: &mut Vec<usize>, faults: &mut Vec<Misdeclared>) -> Type {
    path.push(place);
    let shape = parse(written, path, faults);
    path.pop();
    shape
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

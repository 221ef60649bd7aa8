//! What values of two types have in common.

use super::Type;

impl Type {
    /// The type by which values of both can be read: of objects the fields that both have, each with its common type; otherwise their
    /// [`Type::join`]. `None` if there is none.
    pub fn common(&self, other: &Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Optional(left), right) | (right, Self::Optional(left)) => left.common(right.present())?.optional(),
            (Self::Object(left), Self::Object(right)) => {
                let shared = left.iter().filter_map(|(name, left)| {
                    let common = left.common(right.get(name)?)?;
                    Some((name.clone(), common))
                });
                Self::Object(shared.collect())
            }
            (Self::List(left), Self::List(right)) => Self::List(Box::new(left.common(right)?)),
            (Self::Map(left), Self::Map(right)) => Self::Map(Box::new(left.common(right)?)),
            (left, right) => left.join(right)?,
        })
    }
}

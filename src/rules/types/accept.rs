//! Which expression may stand where: assignability with its reason.

use super::Type;

/// Why a value of one type cannot go to a position of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It is of another kind.
    Kind,
    /// It may be missing, and the position cannot be.
    Missing,
    /// An outsider can choose it, and the position is used as it is.
    Untrusted,
    /// The position takes a literal name only.
    Literal,
}

impl Type {
    /// May an expression of type `given` stand at a position of this type? A string position also takes numbers and flags,
    /// as text; what is `any` is checked again when it is there.
    pub fn accepts(&self, given: &Type) -> Result<(), Misfit> {
        match (self, given) {
            (Self::Any, given) => {
                if given.holds_secret() {
                    Err(Misfit::Kind)
                } else {
                    Ok(())
                }
            }
            (Self::Target | Self::Connection, _) => Err(Misfit::Literal),
            (_, given) if given.is_nothing() => Ok(()),
            (Self::Optional(_) | Self::Null, Self::Null) => Ok(()),
            (Self::Optional(inner), given) => inner.accepts(given.present()),
            (_, Self::Optional(_) | Self::Null) => Err(Misfit::Missing),
            (Self::Either(structure, _), Self::List(_) | Self::Object(_) | Self::Map(_)) => structure.accepts(given),
            (Self::Either(structure, plain), Self::Any) => structure.accepts(given).and_then(|()| plain.accepts(given)),
            (Self::Either(_, plain), given) if self != given => plain.accepts(given),
            (expected, Self::Any) => expected.accepts_any(),
            (Self::Text | Self::Escaped(_), given) => as_text(given),
            (Self::String, Self::Text) => Err(Misfit::Untrusted),
            (Self::String, given) => as_text(given),
            (Self::Enum(words), Self::Enum(given)) if given.iter().all(|word| words.contains(word)) => Ok(()),
            (Self::Duration, Self::Enum(words)) if words.iter().all(|word| super::is_duration(word)) => Ok(()),
            (Self::Double, Self::Int) => Ok(()),
            (Self::List(expected), Self::List(given)) | (Self::Map(expected), Self::Map(given)) => expected.accepts(given),
            (Self::Map(expected), Self::Object(given)) => given
                .values()
                .filter(|field| !field.is_optional() || expected.is_optional())
                .try_for_each(|field| expected.accepts(field)),
            (Self::Object(expected), Self::Object(given)) => {
                expected.iter().try_for_each(|(name, expected)| match given.get(name) {
                    Some(given) => expected.accepts(given),
                    None if expected.is_optional() => Ok(()),
                    None => Err(Misfit::Missing),
                })
            }
            (expected, given) if expected == given => Ok(()),
            _ => Err(Misfit::Kind),
        }
    }

    /// `any` may stand where the kind is checked when it is there and trust does not matter.
    fn accepts_any(&self) -> Result<(), Misfit> {
        match self {
            Self::String | Self::Secret => Err(Misfit::Untrusted),
            Self::List(inner) | Self::Map(inner) | Self::Optional(inner) => inner.accepts_any(),
            Self::Object(fields) => fields.values().try_for_each(Self::accepts_any),
            _ => Ok(()),
        }
    }

    /// Is there a secret anywhere in it?
    pub(crate) fn holds_secret(&self) -> bool {
        match self {
            Self::Secret => true,
            Self::List(inner) | Self::Map(inner) | Self::Optional(inner) => inner.holds_secret(),
            Self::Object(fields) => fields.values().any(Self::holds_secret),
            Self::Either(structure, plain) => structure.holds_secret() || plain.holds_secret(),
            _ => false,
        }
    }
}

/// Scalars can be written out as text; secrets, lists and objects cannot.
fn as_text(given: &Type) -> Result<(), Misfit> {
    match given {
        Type::Bool | Type::Int | Type::Double => Ok(()),
        given if given.is_stringlike() => Ok(()),
        _ => Err(Misfit::Kind),
    }
}

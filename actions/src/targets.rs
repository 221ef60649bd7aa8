//! What an operator can declare under `targets:` and `connections:`: the kinds and the fields of each.

use crate::action::Field;

/// One value of `type:` under `targets:` or `connections:`.
#[derive(Debug)]
pub struct SettingKind {
    /// The value of `type:`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// Its keys besides `type`, in the shape language; a `secret` is the name of an entry of `secrets:`.
    pub fields: &'static [Field],
}

/// Kinds of `targets:`: what a deploy may touch.
pub static TARGETS: &[SettingKind] = &[];

/// Kinds of `connections:`: what an action may talk to.
pub static CONNECTIONS: &[SettingKind] = &[];

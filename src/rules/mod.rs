//! Rule files: read ([`yaml`]), checked ([`check`]) against the registry, compiled into the [`model`]. Pure: no IO, no clock.

pub mod check;
mod compact;
pub mod diagnostic;
pub mod expr;
pub mod github_payloads;
pub mod glob;
pub mod load;
pub mod model;
pub mod overlap;
pub mod registry;
pub mod requested;
pub mod shapes;
pub mod suggest;
pub mod template;
pub mod testing;
pub mod types;
pub mod values;
pub mod yaml;

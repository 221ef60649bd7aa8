//! The interface over HTTP, against the real command: what can be seen, what can be asked for, and who may.

mod acts;
mod answers;
mod described;
mod reading;
mod remote;
pub mod world;

pub use answers::ASKING;

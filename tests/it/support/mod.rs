//! What the tests stand on: the service under test, senders, and checkers of contracts.

pub mod actor;
pub mod binary;
pub mod client;
pub mod discovery;
pub mod echo;
pub mod openapi;
pub mod packages;
pub mod service;
pub mod vectors;

pub use vectors::vectors;

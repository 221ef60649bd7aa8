//! What the tests stand on: the service under test, senders, and checkers of contracts.

pub mod actor;
pub mod binary;
pub mod chat;
pub mod client;
pub mod described;
pub mod discovery;
pub mod echo;
pub mod emulators;
pub mod google_apis;
pub mod held;
pub mod inward;
pub mod issuer;
pub mod openapi;
pub mod packages;
pub mod postgres;
pub mod rsa;
pub mod scene;
pub mod service;
pub mod shown;
pub mod slack;
pub mod vectors;
pub mod whole;
pub mod x;

pub use vectors::vectors;

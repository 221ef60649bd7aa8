//! What Declic does to the outside world: one file a kind in [`kinds`], on one HTTP client ([`http`]).
//!
//! This crate knows nothing of the server, the rule language or the store: it is given a [`action::Call`] and says what came of it.

pub mod action;
mod cloud_run;
pub mod github;
mod given;
pub mod google;
pub mod hops;
pub mod http;
pub mod kinds;
mod registry;
pub mod secret;
pub mod targets;

//! The engine on a real store: steps, failures, retries, crashes, and how it stops.

mod action;
mod clocks;
mod crashes;
mod dry;
mod parked;
mod revival;
mod runs;
mod stopping;
mod targets;
mod world;

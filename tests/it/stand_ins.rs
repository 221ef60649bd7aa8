//! The stand-ins refuse what the real services refuse; otherwise a test against them would prove nothing.

mod cloud_run;
mod contracts;
mod dialogflow;
mod github;
mod identity;
mod registry;

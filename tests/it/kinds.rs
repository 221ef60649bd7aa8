//! Every action against the stand-ins: what it does, what it makes of each failure, what a crash leaves behind.

mod crashes;
mod deploy;
mod deploy_failures;
mod fulfill;
mod github;
mod google;
mod request;
mod traffic;

//! Every action against the stand-ins: what it does, what it makes of each failure, what a crash leaves behind.

mod agents;
mod approve;
mod builds;
mod canary;
mod chat;
mod command;
mod crashes;
mod data;
mod deploy;
mod deploy_failures;
mod failures;
mod fulfill;
mod github;
mod github_changing;
mod github_limits;
mod github_reading;
mod google;
mod jobs;
mod request;
mod slack;
mod streaks;
mod traffic;
mod waiting;
mod x;

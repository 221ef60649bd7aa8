//! Tests of behaviour, through the public surface: one file a stage, stand-ins over HTTP in `support`.

mod crash;
mod docs;
mod egress;
mod engine;
mod examples;
mod expressions;
mod github_events;
mod github_payloads;
mod globs;
mod google_tokens;
mod hostile;
mod http_request;
mod journal;
mod kinds;
mod matching;
mod push_decisions;
mod receive;
mod resume;
mod rule_files;
mod send;
mod serve;
mod settings;
mod stand_ins;
mod support;
mod tidy;
mod verification;

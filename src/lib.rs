//! Declic turns verified webhooks into actions. The path of a delivery, in the order of the files:
//!
//! | stage | file | what it does |
//! |---|---|---|
//! | receive | [`receive`], [`inbound`] | reads at most the source's cap, finds the source by the whole path |
//! | verify | [`verify`], [`sources`] | checks the raw bytes; only here a [`verify::Verified`] is made |
//! | recover | [`recover`] | what GitHub did not deliver, from its delivery log, by the same way |
//! | journal | [`journal`] | appends durably and tells new from duplicate; only now the 2xx |
//! | match | [`event`], [`repositories`], [`matching`], [`rules`] | pure: decode, index, filters, `if`, and a reason for every rule |
//! | run | [`run`], [`dispatch`] | claims a run, does one step at a time, retries |
//! | act | `declic_actions` | one file a kind |
//! | report | [`report`] | keeps GitHub and the metrics true |
//! | look and act | [`access`], [`api`], [`console`] | who is let in, what they see, and what they ask for |

pub mod access;
pub mod api;
pub mod app;
pub mod backtest;
pub mod cli;
pub mod clock;
pub mod connect;
pub mod console;
pub mod demo;
pub mod dispatch;
pub mod doctor;
pub mod event;
pub mod happening;
pub mod inbound;
pub mod journal;
pub mod json;
pub mod matching;
pub mod receive;
pub mod recover;
pub mod reference;
pub mod reload;
pub mod report;
pub mod repositories;
pub mod rule_files;
pub mod rules;
pub mod run;
pub mod schema;
pub mod settings;
pub mod sources;
pub mod telemetry;
pub mod verify;

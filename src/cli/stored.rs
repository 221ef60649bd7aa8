//! What commands about a store have in common: which store, which part of a listing, and how it is shown.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::complain;
use super::ledger::{Elsewhere, Here, Ledger, Trouble};
use super::remote::Remote;
use crate::clock::Timestamp;
use crate::journal::record::Listing;
use crate::settings::Environment;

/// Which store, and how it is shown.
#[derive(clap::Args)]
pub struct From {
    /// The operator's settings
    #[arg(long, value_name = "FILE", default_value = "declic.yaml", global = true)]
    config: PathBuf,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Text, global = true)]
    pub format: Format,
    /// Ask a service elsewhere, with the token in DECLIC_TOKEN, instead of the store on this machine
    #[arg(long, value_name = "URL", global = true)]
    remote: Option<String>,
}

/// Says what was found, or why nothing was.
pub fn tell(shown: Result<String, Trouble>) -> ExitCode {
    match shown {
        Ok(text) => {
            out!("{text}");
            ExitCode::SUCCESS
        }
        Err(trouble) => complain(trouble.status, trouble.why.trim_end()),
    }
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables and lines
    Text,
    /// One JSON document
    Json,
}

/// Which part of a listing: the same filters as the API has.
#[derive(clap::Args, Default)]
pub struct Filters {
    /// Only those of this source
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only those of this event: github.push, or the provider's word
    #[arg(long, value_name = "KIND")]
    event: Option<String>,
    /// Only those about this repository
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// Only runs of this rule, or deliveries that started it
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only those received within this time, such as 24h, or since a moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only those received longer ago than this, or before a moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only those with this text in an id, a title, a repository, a rule or a reason
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only those before this id
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// At most so many [default: 20]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Filters {
    /// As the store and the API understand it.
    pub fn listing(&self, states: Vec<String>) -> Listing {
        Listing {
            before: self.before.clone(),
            limit: self.limit.unwrap_or(20),
            states,
            source: self.source.clone(),
            event: self.event.clone(),
            repository: self.repository.clone(),
            rule: self.rule.clone(),
            since: self.since,
            until: self.until,
            text: self.text.clone(),
        }
    }
}

impl From {
    /// The file of settings.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Is the store of another machine meant?
    pub fn is_elsewhere(&self) -> bool {
        self.remote.is_some()
    }

    /// Who is asked.
    pub fn ledger(&self, environment: &Environment) -> Result<Box<dyn Ledger>, Trouble> {
        Ok(match &self.remote {
            Some(address) => Box::new(Elsewhere(Remote::new(address, environment)?)),
            None => Box::new(Here::new(&self.config, environment)?),
        })
    }

    /// For people by `text`, for programs by `value`.
    pub fn shown(&self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> String {
        match self.format {
            Format::Text => text(),
            Format::Json => document(&value()),
        }
    }
}

/// `24h` ago, or `2026-11-24T06:00:00Z`.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(length) = length(text) {
        return Ok(Timestamp::now().before(length));
    }
    let moment = chrono::DateTime::parse_from_rfc3339(text);
    let moment = moment.map_err(|_| "write a time such as 24h, or a moment such as 2026-11-24T06:00:00Z".to_owned())?;
    Ok(Timestamp(moment.timestamp_millis()))
}

/// `90s`, `15m`, `24h`, `7d`.
pub fn length(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|seconds| *seconds > 0) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("write a number and s, m, h or d, such as 24h".to_owned()),
    }
}

/// JSON for programs, readable for people.
pub fn document(value: &Value) -> String {
    // A tree of values always has a text.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

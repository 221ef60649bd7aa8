//! What `declic deliveries` and `declic runs` have in common: which store, which page of a listing, and how it is shown.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::remote::{Ask, Remote};
use super::{WRONG, complain};
use crate::journal::record::Listing;
use crate::journal::sqlite::ReadOnly;
use crate::journal::{Journal, JournalError};
use crate::settings::{self, Environment, Mode};

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

/// Says what was found, or that there is nothing of that id: status 1.
pub fn tell(shown: Result<Option<String>, JournalError>, missing: &str) -> ExitCode {
    match shown {
        Ok(Some(text)) => {
            out!("{text}");
            ExitCode::SUCCESS
        }
        Ok(None) => complain(WRONG, missing),
        Err(error) => complain(WRONG, error),
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

/// Which part of a listing.
#[derive(clap::Args, Default)]
pub struct Page {
    /// Only those before this id
    #[arg(long, value_name = "ID")]
    before: Option<String>,
    /// At most so many [default: 20]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Page {
    /// The same of a service elsewhere.
    pub fn of(&self, ask: Ask) -> Ask {
        ask.with("limit", Some(self.limit.unwrap_or(20).to_string())).with("cursor", self.before.clone())
    }

    /// A listing of this part, of everything there is.
    pub fn listing(&self) -> Listing {
        Listing { before: self.before.clone(), limit: self.limit.unwrap_or(20), ..Listing::default() }
    }
}

impl From {
    /// The file of settings.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The service elsewhere, if one is named. The error is for the user.
    pub fn remote(&self, environment: &Environment) -> Result<Option<Remote>, String> {
        self.remote.as_deref().map(|address| Remote::new(address, environment)).transpose()
    }

    /// The store that the settings name. The error is for the user.
    pub fn open(&self, environment: &Environment) -> Result<ReadOnly, String> {
        let loaded = settings::load(&self.config, Mode::Names, environment).map_err(|unusable| unusable.render(false))?;
        loaded.settings.store.place.look()
    }

    /// The same for changing it, beside the process that serves from it.
    pub async fn beside(&self, environment: &Environment) -> Result<Arc<dyn Journal>, String> {
        let loaded = settings::load(&self.config, Mode::Names, environment).map_err(|unusable| unusable.render(false))?;
        loaded.settings.store.place.beside().await
    }
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

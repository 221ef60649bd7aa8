//! `declic doctor`: is everything there that the service needs, and how is it mended if not?

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::stored::Format;
use super::{USAGE, WRONG, block_on, complain};
use crate::doctor::{self, Finding, Findings, State};
use crate::settings::{self, Environment, Mode};

/// Arguments of `declic doctor`.
#[derive(clap::Args)]
#[command(after_help = "\
It looks at the settings, the rules, every secret, the store, GitHub and Google, and says of old secrets whether they are safe to remove.
It changes nothing and can run beside `declic serve`.

Exit status: 0 nothing is wrong, 1 something is, 2 the settings cannot be used.")]
pub struct Arguments {
    /// The operator's settings
    #[arg(long, value_name = "FILE", default_value = "declic.yaml")]
    config: PathBuf,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Looks, and says what it found.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let loaded = match settings::load(&arguments.config, Mode::Resolved, environment) {
        Ok(loaded) => loaded,
        Err(unusable) => {
            return complain(USAGE, format_args!("the settings cannot be used\n{}", unusable.render(super::colour()).trim_end()));
        }
    };
    let mut found = block_on(doctor::examine(loaded.settings));
    let says = match loaded.warnings.len() {
        0 => "they are right".to_owned(),
        count => format!("they can be used, with {count} warnings: see `declic check`"),
    };
    let state = if loaded.warnings.is_empty() { State::Fine } else { State::Note };
    found.list.insert(0, Finding { about: format!("settings {}", arguments.config.display()), state, says });
    match arguments.format {
        Format::Text => text(&found),
        Format::Json => out!("{}\n", document(&found)),
    }
    let wrong = found.list.iter().any(|finding| finding.state == State::Wrong);
    ExitCode::from(if wrong { WRONG } else { 0 })
}

fn text(found: &Findings) {
    for Finding { about, state, says } in &found.list {
        outln!("{:<5}  {about}: {}", state.word(), says.trim_end().replace('\n', "\n       "));
    }
    let wrong = found.list.iter().filter(|finding| finding.state == State::Wrong).count();
    outln!("{}", if wrong == 0 { "nothing is wrong".to_owned() } else { format!("{wrong} of {} wrong", found.list.len()) });
}

fn document(found: &Findings) -> Value {
    let wrong = found.list.iter().any(|finding| finding.state == State::Wrong);
    let list: Vec<Value> = found.list.iter().map(Finding::json).collect();
    json!({ "ok": !wrong, "findings": list, "rotations": found.rotations })
}

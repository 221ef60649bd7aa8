//! `declic store`: care of the file that holds everything.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::paint::{Paint, printable, table};
use super::stored::{Format, From};
use super::{USAGE, WRONG, colour, complain};
use crate::journal::sqlite::{OpenError, care};
use crate::settings::{self, Environment, Mode};

/// Arguments of `declic store`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic store                                     how large it is, and what it holds
  declic store backup /backup/declic-monday.db     a copy as of one moment, while `declic serve` runs
  declic store check                               is it whole? status 1 if not
  declic store compact                             give unused room back to the disk; stop `declic serve` first

To go back to a backup: stop `declic serve`, remove the store with its `-wal` and `-shm`, and copy the backup to its place.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    from: From,
}

#[derive(clap::Subcommand)]
enum Command {
    /// How large it is, and what it holds
    Info,
    /// Copy it while it is served from
    Backup {
        /// Where the copy goes
        to: PathBuf,
        /// Replace a file of that name
        #[arg(long)]
        force: bool,
    },
    /// Read all of it and say what is wrong
    Check,
    /// Make the file as small as what it holds; nothing may serve from it meanwhile
    Compact,
}

const ON_A_SERVER: &str = "the store is on a PostgreSQL server, whose own tools look after it: pg_dump copies it, its tables are in the schema \
                           of the settings, and autovacuum gives room back";

/// Status 1 if the store is not whole or the work cannot be done, 2 if the settings cannot be read.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    if arguments.from.is_elsewhere() {
        return complain(USAGE, "a store is looked after on the machine that it is on: run this there, without --remote");
    }
    let path = match settings::load(arguments.from.config(), Mode::Names, environment) {
        Ok(loaded) => match loaded.settings.store.place.file() {
            Some(path) => path.to_owned(),
            None => return complain(USAGE, ON_A_SERVER),
        },
        Err(unusable) => return complain(USAGE, unusable.render(false)),
    };
    let json = arguments.from.format == Format::Json;
    let done = match arguments.command.as_ref().unwrap_or(&Command::Info) {
        Command::Info => info(&path, json),
        Command::Backup { to, force } => backup(&path, to, *force, json),
        Command::Check => check(&path, json),
        Command::Compact => compact(&path, json),
    };
    done.unwrap_or_else(|error| complain(WRONG, error))
}

fn info(path: &Path, json: bool) -> Result<ExitCode, OpenError> {
    let measure = care::measure(path)?;
    if json {
        outln!("{}", json!({ "path": path, "store": measure }));
        return Ok(ExitCode::SUCCESS);
    }
    let paint = Paint::new(colour());
    outln!("{}", paint.bold(&path.display().to_string()));
    outln!(
        "  {} in the file, {} of it unused, {} in the log; schema {}",
        bytes(measure.file),
        bytes(measure.free),
        bytes(measure.log),
        measure.schema
    );
    let mut rows = Vec::new();
    for (what, states) in [("deliveries", &measure.deliveries), ("runs", &measure.runs)] {
        rows.extend(states.iter().map(|(state, count)| vec![what.to_owned(), state.clone(), count.to_string()]));
    }
    if rows.is_empty() {
        outln!("  nothing has come in yet");
    } else {
        out!(
            "{}",
            table(&["WHAT", "STATE", "COUNT"], &rows, paint, |column, cell| if column == 1 {
                paint.state(cell)
            } else {
                cell.to_owned()
            })
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn backup(path: &Path, to: &Path, force: bool, json: bool) -> Result<ExitCode, OpenError> {
    let shown = std::io::stderr().is_terminal() && !json;
    let progress = |copied: u64, of: u64| {
        if shown {
            // A terminal that is gone needs no progress.
            let _ = write!(std::io::stderr(), "\r\x1b[K{} of about {}", bytes(copied), bytes(of));
        }
    };
    let size = care::backup(path, to, force, progress);
    if shown {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let size = size?;
    if json {
        outln!("{}", json!({ "backup": to, "bytes": size }));
    } else {
        outln!("{} copied to {}", bytes(size), to.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn check(path: &Path, json: bool) -> Result<ExitCode, OpenError> {
    let faults = care::check(path)?;
    let paint = Paint::new(colour());
    if json {
        outln!("{}", json!({ "whole": faults.is_empty(), "faults": faults }));
    } else if faults.is_empty() {
        outln!("{} {} is whole", paint.green("✓"), path.display());
    } else {
        outln!("{} {} is damaged: stop `declic serve`, keep this file, and go back to a backup", paint.red("✗"), path.display());
        for fault in &faults {
            outln!("  {}", printable(fault));
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WRONG) })
}

fn compact(path: &Path, json: bool) -> Result<ExitCode, OpenError> {
    let (before, after) = care::compact(path)?;
    if json {
        outln!("{}", json!({ "before": before, "after": after }));
    } else {
        outln!("{}: {} before, {} now", path.display(), bytes(before), bytes(after));
    }
    Ok(ExitCode::SUCCESS)
}

/// A size for people, in binary units.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS.get(unit).unwrap_or(&"TiB"))
}

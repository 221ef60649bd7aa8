//! `declic init`: a folder that works after one secret is filled in.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{USAGE, WRONG, complain};
use crate::schema;

/// Arguments of `declic init`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  declic init            in the current folder\n  declic init hooks      in a new folder `hooks`"
)]
pub struct Arguments {
    /// Folder to start in; made if it is not there
    #[arg(default_value = ".")]
    directory: PathBuf,
}

/// What is written: nothing that exists is overwritten.
const FILES: &[(&str, &str)] = &[
    ("declic.yaml", include_str!("init/declic.yaml")),
    ("rules/staging.yaml", include_str!("init/staging.yaml")),
    (".env.example", include_str!("init/env.example")),
    ("payloads/push.json", include_str!("init/push.json")),
];

/// What the first lines of the YAML files point editors to; made by this very version.
fn schemas() -> [(&'static str, String); 2] {
    [("schema/rules.schema.json", schema::text(&schema::rules())), ("schema/config.schema.json", schema::text(&schema::config()))]
}

/// Writes the files and says what to do next.
pub fn run(arguments: &Arguments) -> ExitCode {
    let schemas = schemas();
    let files: Vec<(&str, &str)> =
        FILES.iter().copied().chain(schemas.iter().map(|(name, text)| (*name, text.as_str()))).collect();
    let existing: Vec<&str> =
        files.iter().map(|(name, _)| *name).filter(|name| arguments.directory.join(name).exists()).collect();
    if !existing.is_empty() {
        let there = existing.join(", ");
        return complain(USAGE, format_args!("{there}: already there in {}; nothing was written", arguments.directory.display()));
    }
    for (name, text) in &files {
        let path = arguments.directory.join(name);
        if let Err(error) = write(&path, text) {
            return complain(WRONG, format_args!("{}: {error}", path.display()));
        }
        outln!("wrote {}", path.display());
    }
    outln!("{}", include_str!("init/next.txt").trim_end());
    ExitCode::SUCCESS
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

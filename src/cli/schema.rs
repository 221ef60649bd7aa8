//! `declic schema`: JSON Schemas for editors.

use std::process::ExitCode;

use crate::schema;

/// Arguments of `declic schema`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic schema rules > schema/rules.schema.json     for rule files
  declic schema config > schema/config.schema.json   for declic.yaml

An editor with YAML support finds it by the first line of a file:
  # yaml-language-server: $schema=../schema/rules.schema.json")]
pub struct Arguments {
    /// Of which files
    #[arg(value_enum)]
    of: Files,
}

/// Which files a schema describes.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Files {
    /// Rule files
    Rules,
    /// declic.yaml
    Config,
}

/// Prints it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let schema = match arguments.of {
        Files::Rules => schema::rules(),
        Files::Config => schema::config(),
    };
    out!("{}", schema::text(&schema));
    ExitCode::SUCCESS
}

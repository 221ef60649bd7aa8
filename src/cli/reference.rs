//! `declic reference`: writes the generated pages, or says whether they are up to date.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{WRONG, complain};
use crate::reference;

/// Arguments of `declic reference`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  declic reference                  writes docs/reference/\n  declic reference --check          says whether the pages are up to date (status 1 if not)"
)]
pub struct Arguments {
    /// Where the pages are
    #[arg(default_value = "docs/reference")]
    directory: PathBuf,
    /// Write nothing; end with status 1 if a page is not what would be written
    #[arg(long)]
    check: bool,
}

/// Writes or checks.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut stale = Vec::new();
    for page in reference::pages() {
        let path = arguments.directory.join(page.name);
        if fs::read_to_string(&path).is_ok_and(|text| text == page.text) {
            continue;
        }
        if arguments.check {
            stale.push(path.display().to_string());
            continue;
        }
        let written = fs::create_dir_all(&arguments.directory).and_then(|()| fs::write(&path, page.text));
        if let Err(error) = written {
            return complain(WRONG, format_args!("{}: {error}", path.display()));
        }
        outln!("wrote {}", path.display());
    }
    if stale.is_empty() {
        return ExitCode::SUCCESS;
    }
    complain(WRONG, format_args!("not up to date: {}; run `declic reference`", stale.join(", ")))
}

//! The `declic` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    declic::cli::main()
}

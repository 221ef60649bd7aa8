//! The `declic` command.

use std::process::ExitCode;

/// A delivery is some hundred small allocations on one thread that are freed on another: a quarter of its time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    declic::cli::main()
}

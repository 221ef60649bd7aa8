//! The `declic` command.

use std::process::ExitCode;

/// A delivery is some hundred small allocations on one thread that are freed on another: a quarter of its time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    small_pages();
    declic::cli::main()
}

/// Where the kernel gives out pages of 2 MiB to whoever asks for a few bytes, most of the start was clearing them, and an idle process held twice
/// what it needs. Commands that we start inherit it.
#[cfg(target_os = "linux")]
fn small_pages() {
    // A kernel without the choice has nothing to switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn small_pages() {}

//! What commands write: whoever stops reading ends them quietly, a disk that is full does not go unnoticed.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use super::WRONG;

/// Writes to standard output. A reader who has gone away (`declic runs list | head -1`) wants no more, so the command ends with
/// status 0; any other fault ends it with a message and status 1.
pub fn write(text: Arguments<'_>) {
    let mut stdout = std::io::stdout().lock();
    // Flushed here: what is left for the end of the process fails in silence.
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "declic: the output cannot be written: {error}");
            std::process::exit(i32::from(WRONG));
        }
    }
}

/// `print!` for commands, by way of [`write`].
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

/// `println!` for commands, by way of [`write`].
macro_rules! outln {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

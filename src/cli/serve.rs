//! `declic serve`: take in deliveries and act on them until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `declic serve`.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  declic serve\n  declic serve --config /etc/declic/declic.yaml --listen 0.0.0.0:8080\n\nSIGHUP reads the rule files again; SIGTERM drains for up to 10 seconds."
)]
pub struct Arguments {
    /// The operator's settings
    #[arg(long, value_name = "FILE", default_value = "declic.yaml")]
    config: PathBuf,
    /// Address to listen on; wins over PORT in the environment, which wins over the file
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(arguments: Arguments) -> ExitCode {
    let _ = arguments;
    todo!()
}

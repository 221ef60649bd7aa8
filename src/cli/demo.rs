//! `declic demo`: the whole path on this machine.

use std::net::SocketAddr;
use std::process::ExitCode;

/// Arguments of `declic demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when it is done: status 0 only if the deploy reached the service and the reply its commit
    #[arg(long)]
    exit: bool,
}

/// Runs it.
pub fn run(arguments: Arguments) -> ExitCode {
    let _ = arguments;
    todo!()
}

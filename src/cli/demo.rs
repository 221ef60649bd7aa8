//! `declic demo`: the whole path on this machine.

use std::net::SocketAddr;
use std::process::ExitCode;

use super::serve::told_to_stop;
use super::{USAGE, WRONG, block_on, colour, complain};
use crate::demo::Demo;

/// Arguments of `declic demo`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  declic demo            shows the path of a push, then stays up to be looked at
  declic demo --exit     ends when it is done: status 0 only if the deploy reached the service and the reply its commit

Nothing leaves this machine: Cloud Run, the image registry, GitHub and Dialogflow are stand-ins on 127.0.0.1.")]
pub struct Arguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// End when it is done
    #[arg(long)]
    exit: bool,
}

/// Runs it in a folder that goes with it.
pub fn run(arguments: Arguments) -> ExitCode {
    let folder = match tempfile::Builder::new().prefix("declic-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => return complain(USAGE, format_args!("no temporary folder can be made: {error}")),
    };
    block_on(async {
        let demo = match Demo::prepare(folder.path(), arguments.listen).await {
            Ok(demo) => demo,
            Err(why) => return complain(USAGE, why),
        };
        let stop = match told_to_stop() {
            Ok(stop) => (!arguments.exit).then_some(stop),
            Err(error) => return complain(WRONG, format_args!("signals cannot be received: {error}")),
        };
        match demo.run(&mut std::io::stdout(), colour(), stop).await {
            Ok(verdict) if verdict.missing.is_empty() => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(WRONG),
            Err(why) => complain(WRONG, why),
        }
    })
}

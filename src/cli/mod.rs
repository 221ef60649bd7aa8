//! The command line: one file a command. Exit status: 0 fine, 1 something is wrong with what was asked about, 2 usage or settings.

use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::settings::Environment;

#[macro_use]
mod output;

mod backtest;
mod check;
mod connect;
mod deliveries;
mod demo;
mod doctor;
mod explain;
mod init;
mod ledger;
mod paint;
mod reasons;
mod recover;
mod reference;
mod remote;
mod runs;
mod schema;
pub(crate) mod send;
mod serve;
mod store;
mod stored;
mod test;

/// The command is wrong, or the settings are.
pub const USAGE: u8 = 2;
/// What was asked about is wrong: a rule, a test, a run.
pub const WRONG: u8 = 1;

#[derive(Parser)]
#[command(name = "declic", version, about = "Turns verified webhooks into actions.", after_help = EXAMPLES, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  declic demo                                   see the whole path on this machine, nothing else needed
  declic init hooks && cd hooks                 start a folder with settings and a first rule
  declic check                                  is everything right with settings and rules?
  declic serve --config declic.yaml             run it
  declic send github --event push --payload push.json
                                                sign and send as GitHub would
  declic deliveries show ID                     what came in, and why each rule matched or did not";

#[derive(Subcommand)]
enum Command {
    /// Take in deliveries and act on them
    Serve(serve::Arguments),
    /// Show the whole path on this machine: a signed push in, a deploy and a reply out
    Demo(demo::Arguments),
    /// Check settings and rules; nothing wrong starts
    Check(check::Arguments),
    /// Look at settings, secrets, store, GitHub and Google: what is wrong, and how to mend it
    Doctor(doctor::Arguments),
    /// Run the tests of rule files
    Test(test::Arguments),
    /// Say for every rule why an event starts it, or why not
    Explain(explain::Arguments),
    /// Show what edited rules would have done with recorded deliveries, without doing it
    Backtest(backtest::Arguments),
    /// Sign and send a delivery as the provider would
    Send(send::Arguments),
    /// List deliveries, or show one: verified how, matched why
    Deliveries(deliveries::Arguments),
    /// List runs, or show one: every step, attempt and reason
    Runs(runs::Arguments),
    /// Take in what GitHub did not deliver, from the delivery log of its hooks
    Recover(recover::Arguments),
    /// Care for the store: its size, a backup, a check, compaction
    Store(store::Arguments),
    /// Make what Declic needs elsewhere: a GitHub App with its keys
    Connect(connect::Arguments),
    /// Start a folder: settings, a first rule, an example of the environment
    Init(init::Arguments),
    /// Write the generated reference, or say whether it is up to date
    Reference(reference::Arguments),
    /// Print the JSON Schema of rule files or settings, for editors
    Schema(schema::Arguments),
    /// Print a completion script for a shell
    ///
    /// For bash: declic completions bash > /etc/bash_completion.d/declic
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Check(arguments) => check::run(&arguments, &Environment::of_process()),
        Command::Doctor(arguments) => doctor::run(&arguments, &Environment::of_process()),
        Command::Test(arguments) => test::run(&arguments, &Environment::of_process()),
        Command::Explain(arguments) => explain::run(&arguments, &Environment::of_process()),
        Command::Backtest(arguments) => backtest::run(&arguments, &Environment::of_process()),
        Command::Send(arguments) => send::run(&arguments, &Environment::of_process()),
        Command::Deliveries(arguments) => deliveries::run(&arguments, &Environment::of_process()),
        Command::Runs(arguments) => runs::run(&arguments, &Environment::of_process()),
        Command::Recover(arguments) => recover::run(&arguments, &Environment::of_process()),
        Command::Store(arguments) => store::run(&arguments, &Environment::of_process()),
        Command::Connect(arguments) => connect::run(&arguments, &Environment::of_process()),
        Command::Init(arguments) => init::run(&arguments),
        Command::Reference(arguments) => reference::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "declic", &mut script);
            out!("{}", String::from_utf8_lossy(&script));
            ExitCode::SUCCESS
        }
    }
}

/// Says what went wrong, and how the command ends.
pub(crate) fn complain(status: u8, message: impl Display) -> ExitCode {
    eprintln!("declic: {message}");
    ExitCode::from(status)
}

/// Colour only where a person looks.
pub(crate) fn colour() -> bool {
    std::io::stdout().is_terminal()
}

/// A runtime for commands that talk to something.
pub(crate) fn block_on<F: Future>(work: F) -> F::Output {
    runtime().block_on(work)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the operating system gives a process its threads and its poll handle, or nothing works")
}

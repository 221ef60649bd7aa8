//! `declic serve`: take in deliveries and act on them until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Level, info};

use super::{USAGE, WRONG, block_on, complain};
use crate::app;
use crate::rules::diagnostic::{Source, render};
use crate::settings::{self, Environment, Loaded, Mode, Settings};
use crate::telemetry::{self, Form};

/// Arguments of `declic serve`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  declic serve
  declic serve --config /etc/declic/declic.yaml --listen 0.0.0.0:8080

Rule files are read again when they change, and on SIGHUP; faulty ones are not taken. SIGTERM and SIGINT stop it: running steps get
up to 8.5 seconds, and what is not finished goes on at the next start.")]
pub struct Arguments {
    /// The operator's settings
    #[arg(long, value_name = "FILE", default_value = "declic.yaml")]
    config: PathBuf,
    /// Address to listen on; wins over PORT in the environment, which wins over the file
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Do nothing: match deliveries, render what every step would do, and record it (`declic runs show`)
    #[arg(long)]
    dry_run: bool,
    /// Log more: every delivery taken in
    #[arg(long, short)]
    verbose: bool,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(arguments: Arguments) -> ExitCode {
    let loaded = match settings::load(&arguments.config, Mode::Resolved, &Environment::of_process()) {
        Ok(loaded) => loaded,
        Err(unusable) => {
            return complain(USAGE, format_args!("the settings cannot be used\n{}", unusable.render(super::colour())));
        }
    };
    warn(&loaded, &arguments.config);
    let mut settings = loaded.settings;
    settings.dry_run = arguments.dry_run;
    if let Some(listen) = arguments.listen {
        settings.listen = listen;
    }
    let level = if arguments.verbose { Level::DEBUG } else { Level::INFO };
    block_on(async {
        let project = app::project(&settings).await;
        telemetry::start(&Form::choose(settings.log, settings.on_cloud_run, project), level);
        serve(settings).await
    })
}

async fn serve(settings: Settings) -> ExitCode {
    let (address, dry_run) = (settings.listen, settings.dry_run);
    // From the first moment: as process 1 of a container there is no default action for SIGTERM.
    let stop = match told_to_stop() {
        Ok(stop) => stop,
        Err(error) => return complain(WRONG, format_args!("signals cannot be received: {error}")),
    };
    // Bound before the rest is built: a port that is taken should be the first thing to be said.
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return complain(USAGE, format_args!("cannot listen on {address}: {error}")),
    };
    let service = match app::assemble(settings).await {
        Ok(service) => service,
        Err(why) => return complain(USAGE, why),
    };
    let address = listener.local_addr().unwrap_or(address);
    info!(version = env!("CARGO_PKG_VERSION"), "listening on http://{address}");
    if dry_run {
        tracing::warn!("dry run: deliveries are taken in and matched, and no step does anything");
    }
    match service.serve(listener, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(WRONG, format_args!("serving ended: {error}")),
    }
}

/// Listens for SIGTERM and SIGINT from now on; what it gives is done at the first of them.
pub(super) fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn warn(loaded: &Loaded, path: &std::path::Path) {
    if loaded.warnings.is_empty() {
        return;
    }
    let path = path.to_string_lossy();
    eprintln!("{}", render(&loaded.warnings, &[Source { path: &path, text: &loaded.text }], super::colour()));
}

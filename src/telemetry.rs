//! Log lines: Cloud Logging's JSON on Cloud Run, readable ones elsewhere. No secret and no body in any of them.
//!
//! A span with a field `trace` (32 hexadecimal digits) ties all lines of a delivery together; on Cloud Run that field becomes
//! `logging.googleapis.com/trace`, so that the console shows them as one.

use std::io::{IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::Log;

mod cloud;
#[cfg(test)]
mod tests;

/// How lines are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text {
        /// With colours?
        colour: bool,
    },
    /// Cloud Logging's JSON, one object a line.
    Cloud {
        /// The Google Cloud project, if known: makes trace ids into links.
        project: Option<String>,
    },
}

impl Form {
    /// What `log:` says, given where we run.
    pub fn choose(log: Log, on_cloud_run: bool, project: Option<String>) -> Self {
        match log {
            Log::Json => Self::Cloud { project },
            Log::Auto if on_cloud_run => Self::Cloud { project },
            Log::Auto | Log::Text => Self::Text { colour: std::io::stderr().is_terminal() },
        }
    }
}

/// Starts logging to standard error, once in a process. `level` is the least severe that is written; libraries stay a step quieter.
pub fn start(form: &Form, level: Level) {
    // A second start keeps the first: that happens only in tests.
    let _ = subscriber(form, level, std::io::stderr).try_init();
}

/// The same with another place to write to.
fn subscriber<W>(form: &Form, level: Level, writer: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let quieter = level.min(Level::WARN);
    let filter = EnvFilter::new(format!("{quieter},declic={level},declic_actions={level}"));
    match form {
        Form::Text { colour } => {
            let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(*colour).with_target(false);
            Box::new(tracing_subscriber::registry().with(filter).with(lines))
        }
        Form::Cloud { project } => {
            Box::new(tracing_subscriber::registry().with(filter).with(cloud::Layer::new(writer, project.clone())))
        }
    }
}

/// Writes a line; a log that cannot be written has nowhere to say so.
fn write_line<'w, W: MakeWriter<'w>>(writer: &'w W, line: &str) {
    let _ = writer.make_writer().write_all(line.as_bytes());
}

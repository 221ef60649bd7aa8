//! `declic backtest`: edited rules against recorded deliveries, as a difference.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use super::check::{Operator, files};
use super::paint::{Paint, printable};
use super::{USAGE, WRONG, colour, complain, reasons};
use crate::backtest::records::{Differing, Records, Report, look};
use crate::backtest::{Change, Difference, Input};
use crate::clock::Timestamp;
use crate::matching::Index;
use crate::rules::check::counted;
use crate::rules::diagnostic::{Source, render};
use crate::rules::load;
use crate::rules::yaml::duration;
use crate::settings::Environment;

/// Arguments of `declic backtest`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic backtest                            the rule files that declic.yaml names, against the last 7 days
  declic backtest rules/web.yaml --since 1d  other files in their place
  declic backtest --limit 50 --format json

Nothing is done and nothing is written: steps give what they gave then. Exit status 0, whether or not anything differs;
1 if the store cannot be read, 2 if rules, settings or the command are wrong.")]
pub struct Arguments {
    /// Rule files, folders or patterns; default: those that the settings name
    paths: Vec<String>,
    /// How far back
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = length)]
    since: std::time::Duration,
    /// At most so many deliveries, the newest
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The operator's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn length(text: &str) -> Result<std::time::Duration, String> {
    duration(text).ok_or_else(|| "write a number and a unit: 90m, 24h, 7d".to_owned())
}

/// How the answer is shown.
#[derive(Clone, Copy, Default, PartialEq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// Compares and shows.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let (operator, index) = match prepared(arguments, environment) {
        Ok(prepared) => prepared,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    let Some(settings) = &operator.settings else {
        return complain(USAGE, "the settings are missing: name them with --config; they say where the store is");
    };
    let oldest = Timestamp::now().before(arguments.since);
    let most = arguments.limit.unwrap_or(usize::MAX);
    let report = Records::open(settings).and_then(|records| look(oldest, most, &records, &index, &settings.offer));
    match report {
        Ok(report) => {
            match arguments.format {
                Format::Text => out!("{}", text(&report, Paint::new(colour()))),
                Format::Json => outln!("{:#}", report.document()),
            }
            ExitCode::SUCCESS
        }
        Err(why) => complain(WRONG, why),
    }
}

fn prepared(arguments: &Arguments, environment: &Environment) -> Result<(Operator, Index), String> {
    let operator = Operator::usable(arguments.config.as_deref(), environment)?;
    let files = files(&arguments.paths, &operator)?;
    let loaded = load::load(&files, operator.settings.as_ref().map(|settings| &settings.offer)).map_err(|faults| {
        let sources: Vec<Source<'_>> = files.iter().map(|file| Source { path: &file.path, text: &file.text }).collect();
        format!("the rules are wrong\n\n{}", render(&faults, &sources, false))
    })?;
    Ok((operator, Index::new(Arc::new(loaded.set))))
}

fn text(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for Differing { delivery, differences } in &report.differing {
        let what = format!("{} {}", printable(&delivery.source), printable(&delivery.event_type));
        let _ = writeln!(text, "{}  {what}  {}", paint.bold(&delivery.id), paint.dim(&delivery.received_at.rfc3339()));
        for difference in differences {
            shown(&mut text, difference, paint);
        }
    }
    for (id, why) in &report.unreadable {
        let _ = writeln!(text, "{id}  not compared: {}", printable(why));
    }
    let [fire, not, other, fail] = report.counts();
    let _ = writeln!(
        text,
        "{}: {fire} would now fire, {not} would no longer fire, {other} would fire with other inputs, {fail} would fail",
        counted(report.looked_at, "delivery")
    );
    text
}

fn shown(text: &mut String, difference: &Difference, paint: Paint) {
    let rule = printable(&difference.rule);
    match &difference.change {
        Change::WouldFire { calls } => {
            let _ = writeln!(text, "  {} {rule} would now fire", paint.green("+"));
            for call in calls {
                let _ = writeln!(text, "      would run {} {}", call.uses, printable(&call.with.to_string()));
            }
        }
        Change::WouldNotFire { trace } => {
            let _ = writeln!(text, "  {} {rule} would no longer fire", paint.red("-"));
            match trace {
                Some(trace) => reasons::render(trace, paint).lines().skip(1).for_each(|line| {
                    let _ = writeln!(text, "  {line}");
                }),
                None => text.push_str("      there is no such rule for this event any more\n"),
            }
        }
        Change::OtherInputs { inputs } => {
            let _ = writeln!(text, "  ~ {rule} would fire with other inputs");
            for Input { step, path, then, now } in inputs {
                let side = |value: &Value| if value.is_null() { "nothing".to_owned() } else { printable(&value.to_string()) };
                let _ = writeln!(text, "      {step}, {path}: {} -> {}", side(then), side(now));
            }
        }
        Change::WouldFail { why } => {
            let _ = writeln!(text, "  {} {rule} would fail", paint.red("!"));
            for why in why {
                let _ = writeln!(text, "      {}", printable(why));
            }
        }
    }
}

//! `declic backtest`: edited rules against recorded deliveries, as a difference.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use poem_openapi::types::{ParseFromJSON, ToJSON};
use serde_json::{Value, json};

use super::check::{Operator, files};
use super::ledger::Trouble;
use super::paint::{Paint, printable};
use super::remote::{Ask, Remote, faults, sent};
use super::{colour, complain, reasons};
use crate::api::shapes::Delivery;
use crate::backtest::records::{Records, Report, look};
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
  declic backtest rules/web.yaml --remote https://hooks.example    against what a service elsewhere received

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
    /// Compare with what a service elsewhere received, with the token in DECLIC_TOKEN; by its own rules if no PATHS are given
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
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

/// What came of comparing, wherever it was done.
struct Compared {
    looked_at: u64,
    /// Would fire, would not, other inputs, would fail.
    counts: [u64; 4],
    differing: Vec<(Delivery, Vec<Difference>)>,
    unreadable: Vec<String>,
}

/// Compares and shows.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let compared = match &arguments.remote {
        Some(address) => Remote::new(address, environment).and_then(|remote| elsewhere(&remote, arguments)),
        None => here(arguments, environment),
    };
    match compared {
        Ok(compared) => {
            match arguments.format {
                Format::Text => out!("{}", text(&compared, Paint::new(colour()))),
                Format::Json => outln!("{:#}", compared.document()),
            }
            ExitCode::SUCCESS
        }
        Err(trouble) => complain(trouble.status, trouble.why.trim_end()),
    }
}

fn here(arguments: &Arguments, environment: &Environment) -> Result<Compared, Trouble> {
    let (operator, index) = prepared(arguments, environment).map_err(Trouble::usage)?;
    let settings = operator.settings.as_ref();
    let settings = settings
        .ok_or_else(|| Trouble::usage("the settings are missing: name them with --config; they say where the store is"))?;
    let oldest = Timestamp::now().before(arguments.since);
    let most = arguments.limit.unwrap_or(usize::MAX);
    let report = Records::open(settings).and_then(|records| look(oldest, most, &records, &index, &settings.offer));
    Ok(Compared::of(report.map_err(Trouble::wrong)?))
}

fn elsewhere(remote: &Remote, arguments: &Arguments) -> Result<Compared, Trouble> {
    let since = Timestamp::now().before(arguments.since).rfc3339();
    let body = json!({ "files": sent(&arguments.paths)?, "since": since, "limit": arguments.limit });
    let answer = remote.ask(&Ask::post("/backtest", body))?;
    faults(&answer)?;
    Compared::read(&answer)
        .ok_or_else(|| Trouble::usage("the service answers, but not as this Declic does: is it of another version?"))
}

impl Compared {
    fn of(report: Report) -> Self {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            looked_at: number(report.looked_at),
            counts: report.counts().map(number),
            differing: report.differing.into_iter().map(|one| (one.delivery.into(), one.differences)).collect(),
            unreadable: report.unreadable.into_iter().map(|(id, why)| format!("{id}: {why}")).collect(),
        }
    }

    /// From an answer of the API.
    fn read(answer: &Value) -> Option<Self> {
        let count = |name: &str| answer[name].as_u64();
        let differing = |one: &Value| {
            let delivery = Delivery::parse_from_json(one.get("delivery").cloned()).ok()?;
            Some((delivery, serde_json::from_value(one["differences"].clone()).ok()?))
        };
        Some(Self {
            looked_at: count("looked_at")?,
            counts: [count("would_fire")?, count("would_not_fire")?, count("other_inputs")?, count("would_fail")?],
            differing: answer["deliveries"].as_array()?.iter().map(differing).collect::<Option<_>>()?,
            unreadable: serde_json::from_value(answer["unreadable"].clone()).ok()?,
        })
    }

    /// For programs: as the API has it.
    fn document(&self) -> Value {
        let [fire, not, other, fail] = self.counts;
        let differing = |(delivery, differences): &(Delivery, Vec<Difference>)| json!({ "delivery": delivery.to_json(), "differences": differences });
        json!({
            "looked_at": self.looked_at,
            "would_fire": fire, "would_not_fire": not, "other_inputs": other, "would_fail": fail,
            "deliveries": self.differing.iter().map(differing).collect::<Vec<_>>(),
            "unreadable": self.unreadable,
        })
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

fn text(compared: &Compared, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for (delivery, differences) in &compared.differing {
        let what = format!("{} {}", printable(&delivery.source), printable(&delivery.event_type));
        let _ = writeln!(text, "{}  {what}  {}", paint.bold(&delivery.id), paint.dim(&delivery.received_at.0.rfc3339()));
        for difference in differences {
            shown(&mut text, difference, paint);
        }
    }
    for why in &compared.unreadable {
        let _ = writeln!(text, "not compared: {}", printable(why));
    }
    let [fire, not, other, fail] = compared.counts;
    let _ = writeln!(
        text,
        "{}: {fire} would now fire, {not} would no longer fire, {other} would fire with other inputs, {fail} would fail",
        counted(usize::try_from(compared.looked_at).unwrap_or(usize::MAX), "delivery")
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

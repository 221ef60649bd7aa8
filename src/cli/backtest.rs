//! `declic backtest`: edited rules against recorded deliveries, as a difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::check::{Operator, files};
use super::paint::{Paint, printable};
use super::{USAGE, WRONG, colour, complain, reasons};
use crate::backtest::{Change, Difference, Input, Recorded, compare};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::journal::record::{Delivery, DeliveryRecord, Listing};
use crate::journal::sqlite::ReadOnly;
use crate::matching::Index;
use crate::rules::diagnostic::{Source, render};
use crate::rules::load;
use crate::rules::model::{Offer, RuleSet};
use crate::rules::yaml::duration;
use crate::settings::{Environment, Settings};
use crate::sources::Decoder;

/// Deliveries are listed in pages of this size.
const PAGE: usize = 500;

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

/// What the store holds, read without secrets.
pub(super) struct Records {
    store: ReadOnly,
    decoders: BTreeMap<String, Result<Decoder, String>>,
}

impl Records {
    /// The store that the settings name.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let store = ReadOnly::open(&settings.store.path).map_err(|error| error.to_string())?;
        let decoders = settings.sources.iter().map(|source| (source.name.clone(), Decoder::new(source))).collect();
        Ok(Self { store, decoders })
    }

    /// A delivery as rules see it. The error is for the user.
    pub fn event(&self, id: &str) -> Result<Event, String> {
        let delivery = self.store.delivery(id).map_err(|error| error.to_string())?;
        let delivery = delivery.ok_or_else(|| format!("there is no delivery {id}; `declic deliveries` lists them"))?;
        self.decoded(&delivery)?.ok_or_else(|| "no rule can ask for this kind of event".to_owned())
    }

    fn decoded(&self, delivery: &Delivery) -> Result<Option<Event>, String> {
        let source = &delivery.content.source;
        match self.decoders.get(source) {
            None => Err(format!("the settings have no source `{source}`, from which it came")),
            Some(Err(why)) => Err(format!("the source `{source}` {why}")),
            Some(Ok(decoder)) => decoder.decode(delivery),
        }
    }
}

/// One delivery for which something would be different.
#[derive(Serialize)]
struct Differing {
    delivery: DeliveryRecord,
    differences: Vec<Difference>,
}

#[derive(Default)]
struct Report {
    looked_at: usize,
    unreadable: Vec<(String, String)>,
    differing: Vec<Differing>,
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
    let report = Records::open(settings).and_then(|records| look(arguments, &records, &index, &settings.offer));
    match report {
        Ok(report) => {
            match arguments.format {
                Format::Text => out!("{}", text(&report, Paint::new(colour()))),
                Format::Json => outln!("{:#}", document(&report)),
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

/// Page by page, newest first, one delivery at a time.
fn look(arguments: &Arguments, records: &Records, index: &Index, offer: &Offer) -> Result<Report, String> {
    let oldest = Timestamp::now().0.saturating_sub(i64::try_from(arguments.since.as_millis()).unwrap_or(i64::MAX));
    let most = arguments.limit.unwrap_or(usize::MAX);
    let mut report = Report::default();
    let mut old_rules = OldRules { records, offer, known: BTreeMap::new() };
    let mut before = None;
    loop {
        let listing = Listing { before: before.take(), limit: PAGE, ..Listing::default() };
        let page = records.store.deliveries(&listing).map_err(|error| error.to_string())?;
        let Some(last) = page.last() else { return Ok(report) };
        before = Some(last.id.clone());
        for delivery in page {
            if delivery.received_at.0 < oldest || report.looked_at + report.unreadable.len() >= most {
                return Ok(report);
            }
            one(delivery, records, index, offer, &mut old_rules, &mut report)?;
        }
    }
}

fn one(
    delivery: DeliveryRecord,
    records: &Records,
    index: &Index,
    offer: &Offer,
    old_rules: &mut OldRules<'_>,
    report: &mut Report,
) -> Result<(), String> {
    let failed = |error: crate::journal::JournalError| error.to_string();
    // It may have been forgotten since the page was read.
    let Some(stored) = records.store.delivery(&delivery.id).map_err(failed)? else { return Ok(()) };
    let Some((_, Some(traces))) = records.store.delivery_record(&delivery.id).map_err(failed)? else { return Ok(()) };
    let event = match records.decoded(&stored) {
        Ok(Some(event)) => event,
        Ok(None) => {
            report.looked_at += 1;
            return Ok(());
        }
        Err(why) => {
            report.unreadable.push((delivery.id, why));
            return Ok(());
        }
    };
    let Ok(traces) = serde_json::from_value(traces) else {
        report.unreadable.push((delivery.id, "its reasons were written by another version".to_owned()));
        return Ok(());
    };
    let mut recorded = Recorded { traces, runs: Vec::new() };
    for run in records.store.runs_of(&delivery.id).map_err(failed)? {
        let rules = old_rules.of(&run.revision)?;
        let steps = records.store.run(&run.id).map_err(failed)?.map(|(_, steps)| steps).unwrap_or_default();
        recorded.runs.push((run, steps, rules));
    }
    report.looked_at += 1;
    let differences = compare(&event, &recorded, index, Some(offer));
    if !differences.is_empty() {
        report.differing.push(Differing { delivery, differences });
    }
    Ok(())
}

/// Rule sets that runs began with, each read once. Those that this version cannot read are left out.
struct OldRules<'a> {
    records: &'a Records,
    offer: &'a Offer,
    known: BTreeMap<String, Option<Arc<RuleSet>>>,
}

impl OldRules<'_> {
    fn of(&mut self, revision: &str) -> Result<Option<Arc<RuleSet>>, String> {
        if let Some(rules) = self.known.get(revision) {
            return Ok(rules.clone());
        }
        let files = self.records.store.rules(revision).map_err(|error| error.to_string())?;
        let rules = files.and_then(|files| load::load(&files, Some(self.offer)).ok()).map(|loaded| Arc::new(loaded.set));
        self.known.insert(revision.to_owned(), rules.clone());
        Ok(rules)
    }
}

/// How many differences of each kind: would fire, would not, other inputs, would fail.
fn counts(report: &Report) -> [usize; 4] {
    let mut counts = [0; 4];
    for difference in report.differing.iter().flat_map(|differing| &differing.differences) {
        let [fire, not, other, fail] = &mut counts;
        *match difference.change {
            Change::WouldFire { .. } => fire,
            Change::WouldNotFire { .. } => not,
            Change::OtherInputs { .. } => other,
            Change::WouldFail { .. } => fail,
        } += 1;
    }
    counts
}

fn document(report: &Report) -> Value {
    let [fire, not, other, fail] = counts(report);
    let unreadable: Vec<Value> = report.unreadable.iter().map(|(id, why)| json!({ "delivery": id, "why": why })).collect();
    json!({
        "looked_at": report.looked_at,
        "would_fire": fire, "would_not_fire": not, "other_inputs": other, "would_fail": fail,
        "deliveries": report.differing,
        "unreadable": unreadable,
    })
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
    let [fire, not, other, fail] = counts(report);
    let _ = writeln!(
        text,
        "{} deliveries: {fire} would now fire, {not} would no longer fire, {other} would fire with other inputs, {fail} would fail",
        report.looked_at
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

//! `declic deliveries`: what came in, and what became of it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::paint::{Paint, printable, table};
use super::remote::{Ask, Remote};
use super::stored::{Format, From, Page, document, tell};
use super::{USAGE, WRONG, block_on, colour, complain, reasons, runs};
use crate::journal::JournalError;
use crate::journal::record::{Delivery, DeliveryRecord, DeliveryState, Listing};
use crate::journal::sqlite::ReadOnly;
use crate::matching::{Index, Trace};
use crate::settings::{self, Environment, Mode};
use crate::{reload, rule_files, sources};

/// Arguments of `declic deliveries`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic deliveries                                the newest ones
  declic deliveries list --state failed --limit 5
  declic deliveries show 06f3k9z2m8x1q             how it was verified, why each rule matched or did not, and what was done
  declic deliveries show 06f3k9z2m8x1q --body > push.json
  declic deliveries --remote https://hooks.example of a service elsewhere, with the token in DECLIC_TOKEN
  declic deliveries replay 06f3k9z2m8x1q           as if it came in now: matched by the rules of today, with effects of its own

All of this works while `declic serve` runs; what it is asked to do, it begins within a second.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    from: From,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List deliveries, newest first
    List(List),
    /// Show one delivery: its verification, the reasons of every rule, its runs
    Show {
        /// Our id of the delivery
        id: String,
        /// Print the raw body and nothing else
        #[arg(long)]
        body: bool,
    },
    /// Take a delivery in once more: the rules of today decide, and effects are made anew
    Replay {
        /// Our id of the delivery
        id: String,
        /// Only say what the rules of today would do with it
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args, Default)]
struct List {
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,
    /// Only those of this source
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    #[command(flatten)]
    page: Page,
}

fn states() -> clap::builder::PossibleValuesParser {
    DeliveryState::ALL.iter().map(|state| state.word()).collect::<Vec<_>>().into()
}

/// Status 1 if there is no such delivery.
fn replay(id: &str, dry_run: bool, from: &From, environment: &Environment) -> ExitCode {
    if dry_run {
        return match rehearse(id, from, environment) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(why) => complain(WRONG, why.trim_end()),
        };
    }
    let replayed = block_on(async { Ok::<_, String>(from.beside(environment).await?.replay(id).await) });
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    match replayed {
        Ok(new) => {
            println!("{}", if from.format == Format::Json { json!({ "delivery": new }).to_string() } else { new });
            ExitCode::SUCCESS
        }
        Err(error) => complain(WRONG, error),
    }
}

/// What the rules of today make of a kept delivery, with all reasons.
fn rehearse(id: &str, from: &From, environment: &Environment) -> Result<String, String> {
    let loaded = settings::load(from.config(), Mode::Resolved, environment).map_err(|unusable| unusable.render(false))?;
    let settings = loaded.settings;
    let store = settings.store.place.look()?;
    let delivery = store.delivery(id).map_err(|error| error.to_string())?.ok_or("there is no such delivery")?;
    let wanted = settings.sources.iter().find(|source| source.name == delivery.content.source);
    let wanted = wanted.ok_or_else(|| format!("there is no source `{}` any more", delivery.content.source))?;
    let source = sources::build(wanted, &settings.secrets, &sources::Around::default())?;
    let folder = settings.file.parent().map_or_else(PathBuf::new, Path::to_owned);
    let files = rule_files::read(&folder, &settings.rules)?;
    let index = Index::new(Arc::new(reload::rebuild(&files, &settings.offer)?));
    let Some(event) = source.decode(&delivery, true)? else { return Ok("no rule can ask for this kind of event\n".to_owned()) };
    let decisions = index.decide(&event);
    if from.format == Format::Json {
        return Ok(document(&json!({ "traces": decisions.traces })));
    }
    let paint = Paint::new(colour());
    let reasons: String = decisions.traces.iter().map(|trace| reasons::render(trace, paint)).collect();
    Ok(if reasons.is_empty() { "no rule is about this event of this source\n".to_owned() } else { reasons })
}

/// The same through the API of another service.
fn elsewhere(remote: &Remote, arguments: &Arguments) -> ExitCode {
    let format = arguments.from.format;
    let list = |which: &List| {
        let ask = which.page.of(Ask::get("/deliveries")).with("source", which.source.clone()).with("state", which.state.clone());
        let columns = [
            ("ID", "/id"),
            ("RECEIVED", "/received_at"),
            ("SOURCE", "/source"),
            ("EVENT", "/event_type"),
            ("STATE", "/state"),
            ("PROVIDER'S ID", "/delivery_id"),
        ];
        remote.list(&ask, format, &columns)
    };
    match &arguments.command {
        None => list(&List::default()),
        Some(Command::List(which)) => list(which),
        Some(Command::Show { id, body: true }) => match block_on(remote.bytes(&Ask::get(format!("/deliveries/{id}/body")))) {
            Ok(bytes) => written(&bytes),
            Err(why) => complain(WRONG, why),
        },
        Some(Command::Show { id, .. }) => remote.document(&Ask::get(format!("/deliveries/{id}"))),
        Some(Command::Replay { id, dry_run: true }) => {
            remote.document(&Ask::get(format!("/deliveries/{id}/decisions")).with("rules", Some("now")))
        }
        Some(Command::Replay { id, .. }) => {
            remote.line(&Ask::post(format!("/deliveries/{id}/replay"), json!({})), format, |answer| {
                answer["delivery"].as_str().unwrap_or_default().to_owned()
            })
        }
    }
}

/// Status 1 if there is no such delivery.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    match arguments.from.remote(environment) {
        Ok(Some(remote)) => return elsewhere(&remote, arguments),
        Ok(None) => {}
        Err(why) => return complain(USAGE, why),
    }
    if let Some(Command::Replay { id, dry_run }) = &arguments.command {
        return replay(id, *dry_run, &arguments.from, environment);
    }
    let store = match arguments.from.open(environment) {
        Ok(store) => store,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    let shown = match &arguments.command {
        None => list(&store, &List::default(), arguments.from.format),
        Some(Command::List(which)) => list(&store, which, arguments.from.format),
        Some(Command::Show { id, body: true }) => return body(&store, id),
        Some(Command::Show { id, .. } | Command::Replay { id, .. }) => show(&store, id, arguments.from.format),
    };
    tell(shown, "there is no such delivery; `declic deliveries` lists them, and old ones are removed after `store.keep`")
}

fn list(store: &ReadOnly, which: &List, format: Format) -> Result<Option<String>, JournalError> {
    let listing = Listing { states: which.state.iter().cloned().collect(), source: which.source.clone(), ..which.page.listing() };
    let deliveries = store.deliveries(&listing)?;
    if format == Format::Json {
        return Ok(Some(document(&json!(deliveries))));
    }
    if deliveries.is_empty() {
        return Ok(Some("no deliveries\n".to_owned()));
    }
    let paint = Paint::new(colour());
    let rows: Vec<Vec<String>> = deliveries.iter().map(row).collect();
    Ok(Some(table(&["ID", "RECEIVED", "SOURCE", "EVENT", "STATE", "PROVIDER'S ID"], &rows, paint, |column, cell| {
        if column == 4 { paint.state(cell) } else { cell.to_owned() }
    })))
}

fn row(delivery: &DeliveryRecord) -> Vec<String> {
    vec![
        delivery.id.clone(),
        delivery.received_at.rfc3339(),
        printable(&delivery.source),
        printable(&delivery.event_type),
        delivery.state.word().to_owned(),
        printable(&delivery.delivery_id),
    ]
}

fn show(store: &ReadOnly, id: &str, format: Format) -> Result<Option<String>, JournalError> {
    let Some((delivery, traces)) = store.delivery_record(id)? else { return Ok(None) };
    let mut all = Vec::new();
    for run in store.runs_of(id)? {
        all.extend(store.run(&run.id)?);
    }
    if format == Format::Json {
        let headers = store.delivery(id)?.map(|delivery| delivery.content.headers);
        let runs: Vec<Value> = all.iter().map(|(run, steps)| runs::as_json(run, steps)).collect();
        return Ok(Some(document(&json!({"delivery": delivery, "headers": headers, "traces": traces, "runs": runs}))));
    }
    let paint = Paint::new(colour());
    let mut text = head(&delivery, store.delivery(id)?.as_ref(), paint);
    text.push_str(&why(traces, paint));
    for (run, steps) in &all {
        text.push('\n');
        text.push_str(&runs::render(run, steps, paint));
    }
    Ok(Some(text))
}

fn head(record: &DeliveryRecord, delivery: Option<&Delivery>, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{} {value}", paint.dim(&format!("{name:<12}")));
    };
    line("delivery", &format!("{}  {}", paint.bold(&record.id), paint.state(record.state.word())));
    line("source", &format!("{} {}", printable(&record.source), printable(&record.event_type)));
    line("provider's", &format!("{}{}", printable(&record.delivery_id), if record.replay { "  (a replay)" } else { "" }));
    line("verified", &printable(&record.verified));
    line("received", &format!("{}  ({} bytes)", record.received_at.rfc3339(), record.size));
    line("trace", &printable(&record.trace));
    if let Some(reason) = &record.reason {
        line("reason", &paint.red(&printable(reason)));
    }
    for (name, value) in delivery.iter().flat_map(|delivery| &delivery.content.headers) {
        line("header", &format!("{}: {}", printable(name), printable(value)));
    }
    text
}

/// The reasons of every rule; a store of another version may hold traces that cannot be read.
fn why(traces: Option<Value>, paint: Paint) -> String {
    let Some(traces) = traces else { return "\nnot matched yet\n".to_owned() };
    match serde_json::from_value::<Vec<Trace>>(traces.clone()) {
        Ok(traces) if traces.is_empty() => "\nno rule is about this event of this source\n".to_owned(),
        Ok(traces) => traces.iter().fold("\n".to_owned(), |text, trace| text + &reasons::render(trace, paint)),
        Err(_) => format!("\n{}", document(&traces)),
    }
}

/// Bytes as they are.
fn written(bytes: &[u8]) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(WRONG, error),
    }
}

fn body(store: &ReadOnly, id: &str) -> ExitCode {
    match store.delivery(id) {
        Ok(Some(delivery)) => written(&delivery.content.body),
        Ok(None) => complain(WRONG, "there is no such delivery"),
        Err(error) => complain(WRONG, error),
    }
}

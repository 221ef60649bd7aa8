//! `declic deliveries`: what came in, and what became of it.

use std::fmt::Write;
use std::process::ExitCode;

use poem_openapi::types::ToJSON;
use serde_json::json;

use super::ledger::{Ledger, Trouble, Whole};
use super::paint::{Paint, printable, table};
use super::stored::{Filters, From, tell};
use super::{WRONG, colour, complain, reasons, runs};
use crate::api::shapes::Delivery;
use crate::journal::record::DeliveryState;
use crate::matching::Trace;
use crate::settings::Environment;

/// Arguments of `declic deliveries`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic deliveries                                the newest ones
  declic deliveries list --state failed --since 24h --limit 5
  declic deliveries list --repository acme/web --text 'fix login'
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
    /// Only those in this state; can be given several times
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Vec<String>,
    #[command(flatten)]
    filters: Filters,
}

fn states() -> clap::builder::PossibleValuesParser {
    DeliveryState::ALL.iter().map(|state| state.word()).collect::<Vec<_>>().into()
}

/// Status 1 if there is no such delivery.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let from = &arguments.from;
    let ledger = match from.ledger(environment) {
        Ok(ledger) => ledger,
        Err(trouble) => return tell(Err(trouble)),
    };
    let paint = Paint::new(colour());
    match &arguments.command {
        None => tell(list(ledger.as_ref(), &List::default(), from)),
        Some(Command::List(which)) => tell(list(ledger.as_ref(), which, from)),
        Some(Command::Show { id, body: true }) => match ledger.body(id) {
            Ok(body) => written(&body),
            Err(trouble) => tell(Err(trouble)),
        },
        Some(Command::Show { id, .. }) => {
            tell(ledger.delivery(id).map(|whole| from.shown(|| render(&whole, paint), || whole.document())))
        }
        Some(Command::Replay { id, dry_run: true }) => {
            tell(ledger.decisions(id).map(|traces| from.shown(|| why(&traces, paint), || json!({ "decisions": traces }))))
        }
        Some(Command::Replay { id, .. }) => {
            tell(ledger.replay(id).map(|new| from.shown(|| format!("{new}\n"), || json!({ "delivery": new }))))
        }
    }
}

fn list(ledger: &dyn Ledger, which: &List, from: &From) -> Result<String, Trouble> {
    let deliveries = ledger.deliveries(&which.filters.listing(which.state.clone()))?;
    let text = || {
        if deliveries.is_empty() {
            return "no deliveries\n".to_owned();
        }
        let paint = Paint::new(colour());
        let rows: Vec<Vec<String>> = deliveries.iter().map(row).collect();
        table(&["ID", "RECEIVED", "SOURCE", "EVENT", "STATE", "PROVIDER'S ID"], &rows, paint, |column, cell| {
            if column == 4 { paint.state(cell) } else { cell.to_owned() }
        })
    };
    Ok(from.shown(text, || deliveries.to_json().unwrap_or_default()))
}

fn row(delivery: &Delivery) -> Vec<String> {
    vec![
        delivery.id.clone(),
        delivery.received_at.0.rfc3339(),
        printable(&delivery.source),
        printable(&delivery.event_type),
        delivery.state.0.clone(),
        printable(&delivery.delivery_id),
    ]
}

fn render(whole: &Whole, paint: Paint) -> String {
    let mut text = head(whole, paint);
    text.push('\n');
    let undecided = matches!(whole.delivery.state.0.as_str(), "accepted" | "matching");
    text.push_str(&if undecided { "not matched yet\n".to_owned() } else { why(&whole.decisions, paint) });
    for run in &whole.runs {
        text.push('\n');
        text.push_str(&runs::render(run, paint));
    }
    text
}

fn head(whole: &Whole, paint: Paint) -> String {
    let delivery = &whole.delivery;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{} {value}", paint.dim(&format!("{name:<12}")));
    };
    line("delivery", &format!("{}  {}", paint.bold(&delivery.id), paint.state(&delivery.state.0)));
    line("source", &format!("{} {}", printable(&delivery.source), printable(&delivery.event_type)));
    line("provider's", &format!("{}{}", printable(&delivery.delivery_id), if delivery.replay { "  (a replay)" } else { "" }));
    line("verified", &printable(&delivery.verified));
    line("received", &format!("{}  ({} bytes)", delivery.received_at.0.rfc3339(), delivery.size));
    line("trace", &printable(&delivery.trace));
    if let Some(reason) = &delivery.reason {
        line("reason", &paint.red(&printable(reason)));
    }
    for header in &whole.headers {
        line("header", &format!("{}: {}", printable(&header.name), printable(&header.value)));
    }
    text
}

/// The reasons of every rule.
fn why(traces: &[Trace], paint: Paint) -> String {
    if traces.is_empty() {
        return "no rule is about this event of this source\n".to_owned();
    }
    traces.iter().map(|trace| reasons::render(trace, paint)).collect()
}

/// Bytes as they are.
fn written(bytes: &[u8]) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(WRONG, error),
    }
}
